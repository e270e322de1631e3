"""Who may call: bearer tokens compared in constant time, TLS, and where a server may listen."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import grpc

from universe2.core.errors import UsageError
from universe2.core.pem import read_ca, read_identity
from universe2.server.capacity import Share

OPEN_SERVICE = "/grpc.health.v1.Health/"
"""Callable without a token, so that a load balancer can ask."""


@dataclass(frozen=True)
class Holder:
    """Somebody who may call: a name for logs and limits, the token, and what it entitles to."""

    name: str
    token: str = field(repr=False)
    share: Share = field(default_factory=Share)


def holder_of(holders: Sequence[Holder], metadata: Iterable[tuple[str, str | bytes]]) -> Holder | None:
    """Whose token a call shows. All are compared, so that the time taken tells nothing."""
    given = dict(metadata).get("authorization", "")
    given = given.encode() if isinstance(given, str) else given
    found = None
    for holder in holders:
        if hmac.compare_digest(given, f"Bearer {holder.token}".encode()):
            found = holder
    return found


@dataclass(frozen=True)
class Who:
    """Who calls, for logs: from where, and by whose token, where there are any."""

    peer: str
    holder: str = ""

    def __str__(self) -> str:
        return f"{self.holder} at {self.peer}" if self.holder else self.peer


def who_calls(context: grpc.ServicerContext, holder: Holder | None) -> Who:
    """gRPC says ``ipv4:10.0.0.7:40312``, and ``ipv6:%5B::1%5D:40312``."""
    peer = unquote(context.peer()).removeprefix("ipv4:").removeprefix("ipv6:")
    return Who(peer, "" if holder is None else holder.name)


class TokenInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # gRPC has no types
    """Refuses every call, health apart, without ``authorization: Bearer <token>``."""

    def __init__(self, holders: Sequence[Holder]) -> None:
        self._holders = holders

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or details.method.startswith(OPEN_SERVICE):
            return handler
        if holder_of(self._holders, details.invocation_metadata) is not None:
            return handler
        given = "authorization" in dict(details.invocation_metadata)
        return _refusal(handler, "the token is wrong" if given else "the server asks for a token; none came")


def _refusal(handler: Any, message: str) -> Any:
    """A handler that does nothing but refuse, at once: as a stream, whose request gRPC doesn't wait for."""

    def refuse(_requests: Any, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, message)

    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(refuse)
    return grpc.stream_unary_rpc_method_handler(refuse)


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """TLS from PEM files; with ``client_ca`` only clients whose certificate it signed may connect."""
    ca = None if client_ca is None else read_ca(client_ca, "client CA")
    pair = read_identity(key, certificate)
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)


def check_address(host: str, token: bool, insecure: bool) -> None:
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
