"""Who may call: a bearer token compared in constant time, and where a server may listen."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from universe2.core.errors import UsageError

OPEN_SERVICE = "/grpc.health.v1.Health/"
"""Callable without a token, so that a load balancer can ask."""


class TokenInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # gRPC has no types
    """Refuses every call, health apart, without ``authorization: Bearer <token>``."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or details.method.startswith(OPEN_SERVICE):
            return handler
        given = dict(details.invocation_metadata).get("authorization", "")
        given = given.encode() if isinstance(given, str) else given
        if hmac.compare_digest(given, self._expected):
            return handler
        return _refusal(handler, "the token is wrong" if given else "the server asks for a token; none came")


def _refusal(handler: Any, message: str) -> Any:
    """A handler of the same kind that does nothing but refuse."""

    def refuse(_request: Any, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, message)

    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(refuse)
    return grpc.unary_unary_rpc_method_handler(refuse)


def read_token(path: Path) -> str:
    """The token in a file: its only line, 16 characters or more."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"cannot read the token file {path}: {error.strerror}") from None
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"the token in {path} must be one line of at least 16 printable ASCII characters")
    return token


def check_address(host: str, token: str | None, insecure: bool) -> None:
    """Refuse to listen beyond this machine without a token, unless told so in so many words."""
    if token or insecure or host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(
            f"{host} can be reached from other machines, and without a token anyone there could run "
            "environments here; give --token-file FILE, or --insecure if that is what you want"
        )
