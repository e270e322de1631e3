"""Stream: one gRPC stream to a server, on a TCP connection of its own. It knows messages, not sessions."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import grpc

from universe2.client.tls import tls_of
from universe2.core.errors import (
    AuthenticationError,
    CapacityError,
    DeadlineError,
    ProtocolError,
    ServerLostError,
    Universe2Error,
    UsageError,
    error_named,
)
from universe2.wire.frames import MAX_MESSAGE_BYTES, decode
from universe2.wire.sockets import MessageSocket
from universe2.wire.v1 import universe_pb2 as pb

METHOD = "/universe2.wire.v1.Universe/Session"
CONNECT_SECONDS = 20.0
"""How long a connection may take at most until the other side speaks gRPC."""
_EARLIER = 0.25
"""So much before our own deadline gRPC gives a connection up: it knows why that came to nothing."""
_SLACK = 2**16
_PLACE = re.compile(r"(\[[^\s\[\]]+\]|[^\s:/?#@\[\]]+):(\d{1,5})")
"""host:port, an IPv6 address in brackets"""


class Broken(ServerLostError):
    """A stream ended, and another might do. ``refused``: nobody listens at the address."""

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


def channel_to(address: str, connect_seconds: float = CONNECT_SECONDS) -> grpc.Channel:
    """A channel of its own TCP connection to ``host:port`` or ``tls://host:port``. Nothing is sent yet.

    An attempt to connect that came to nothing fails a little before ``connect_seconds`` are over (but gRPC
    takes a second or so at least).

    With TLS, ``?ca=FILE`` names who signed the server's certificate (otherwise those that the
    system trusts), ``&cert=FILE&key=FILE`` the client's own, and ``&name=HOST`` the name in the
    server's certificate, if it isn't the host. Raises UsageError.
    """
    place = _checked_place(address)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES + _SLACK),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        # despite its name also the time that one attempt to connect may take
        (
            "grpc.min_reconnect_backoff_ms",
            int(1000 * max(min(connect_seconds, CONNECT_SECONDS) - _EARLIER, 0.1)),
        ),
    ]
    if not address.startswith("tls://"):
        return grpc.insecure_channel(place, options=options)
    secrets, name = tls_of(address)
    if name:
        options.append(("grpc.ssl_target_name_override", name))
    return grpc.secure_channel(place, secrets, options=options)


def _checked_place(address: str) -> str:
    """The host:port of an address. Raises UsageError."""
    if not address.strip():
        raise UsageError(
            "a remote is empty: name a server as host:port, or leave remote out (is a variable not set?)"
        )
    place = urlsplit(address).netloc if address.startswith("tls://") else address
    found = _PLACE.fullmatch(place)
    if found is None or not 0 < int(found[2]) < 2**16:
        raise UsageError(
            f"a remote is host:port or tls://host:port, with a port from 1 to 65535, got {address!r}; "
            "servers listen on 15900 unless told otherwise"
        )
    return place


def credentials(token: str | None) -> list[tuple[str, str]]:
    """The metadata that shows a token. Raises UsageError for one that no server can have."""
    if not token:
        return []
    if fault := _token_fault(token):
        raise UsageError(f"the token {fault}")  # not its value: this may end up in a log
    return [("authorization", f"Bearer {token}")]


def _token_fault(token: object) -> str:
    """What is wrong with a token, without showing it: gRPC would. Empty if nothing is."""
    if not isinstance(token, str):
        return f"must be a text, got {type(token).__name__}"
    if token != token.strip():
        where = "end" if token != token.rstrip() else "beginning"
        what = "a line break" if set(token) - set(token.strip()) & set("\r\n") else "white space"
        return f"has {what} at its {where}: did you .strip() what was read from a file?"
    if "\n" in token or "\r" in token:
        return "has a line break in it: a token is one line; was a file of several read?"
    if not token.isascii():
        return "has characters that are not ASCII: was it copied from a formatted text?"
    if not token.isprintable():
        return "has characters that can't be printed: was a file read that is no text?"
    return ""


def as_error(error: grpc.RpcError, address: str) -> Universe2Error:
    """gRPC's error as ours."""
    code, details = error.code(), error.details()
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return AuthenticationError(
            f"{address}: {details}; give the server's token (commands: --token-file FILE, Python: token=…)"
        )
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return ProtocolError(f"{address} is a gRPC server, but not one of universe2")
    said = details or code.name
    causes = (cause for sign, cause in _CAUSES.items() if sign in said)
    return Broken(f"{address}: {next(causes, said)}", "Connection refused" in said)


_UNANSWERED = "nothing there answered: is the machine up, and does a firewall drop what is sent to it?"
_CAUSES = {
    "DNS resolution failed": "no such host: the name is not known here; is it spelled right?",
    "SETTINGS frame": "something there takes connections and never speaks: is it a universe2 server's port, "
    "and does that server still run (is it stopped, or its machine overloaded)?",
    "Handshake": "something there takes connections, but no TLS came to be: is it the port of a server with "
    "TLS, and does that server still run?",
    "Timeout occurred": _UNANSWERED,
    "tcp handshaker shutdown": _UNANSWERED,
    "Connection refused": "nobody listens there (connection refused): does a server run there, on that port?",
    "Socket closed": "the connection broke (socket closed): the server ended, or the network between; or, if "
    "it never worked, does the server speak TLS (tls://…), or want a client certificate (?cert=…&key=…)?",
    "empty address list": "gRPC can't use the address's TLS files: are ca, cert and key right?",
    "WRONG_VERSION_NUMBER": "something there doesn't speak TLS: does the server run without (then leave "
    "tls:// out of the address), or is it another port?",
    "has expired": "the server's certificate has expired: renew it there (or is the clock wrong here?)",
    "CERTIFICATE_VERIFY_FAILED": "the server's certificate is signed by nobody who is trusted here: name the "
    "file of who signed it by ?ca=FILE; if that is done, is it the file of another server?",
    "is not in peer certificate": "the server's certificate is not for this host: say for which it is by "
    "?name=HOST, or use that in the address",
}
"""What gRPC says → what it means to whoever wrote the address"""


def told(error: pb.Error, prefix: str = "") -> Universe2Error:
    """What a server said was wrong, as our error."""
    found = error_named(error.type, prefix + error.message)
    if isinstance(found, CapacityError):
        found.retry_after = error.retry_after_seconds
    return found


class LocalStream:
    """The same over a Unix socket of this machine."""

    def __init__(self, address: str, connection: MessageSocket) -> None:
        self.began = time.monotonic()
        self._address = address
        self._connection = connection
        self.ready, self.receive = connection.ready, connection.receive

    def send(self, message: bytes) -> None:
        # If it breaks, whoever reads learns it too, and sees to what is lost.
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def __iter__(self) -> Iterator[memoryview]:
        return iter(self._connection)

    def first(self, timeout: float) -> pb.Header:
        timer = threading.Timer(timeout, self.hang_up)
        timer.start()
        try:
            message = self.receive()
        finally:
            timer.cancel()
        if message is None:
            raise Broken(f"{self._address}: the server closed the socket")
        return decode(message).header

    def half_close(self) -> None:
        self._connection.finish()

    def hang_up(self) -> None:
        self._connection.close()


class Stream:
    """Messages out without waiting, messages in by iteration, which raises Universe2Error at a bad end."""

    def __init__(self, address: str, token: str | None, connect_seconds: float = CONNECT_SECONDS) -> None:
        self.began = time.monotonic()
        self._address = address
        metadata = credentials(token)
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channel = channel_to(address, connect_seconds)
        stream = self._channel.stream_stream(METHOD)
        self._call: Any = stream(iter(self._outbox.get, None), metadata=metadata)

    def send(self, message: bytes) -> None:
        self._outbox.put(message)

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._call
        except grpc.RpcError as error:
            raise as_error(error, self._address) from None

    def first(self, timeout: float) -> pb.Header:
        """The header of the first message, if it comes within ``timeout`` seconds. Raises Universe2Error."""
        timer = threading.Timer(timeout, self.hang_up)
        timer.start()
        try:
            return decode(next(iter(self._call))).header
        except grpc.RpcError as error:
            raise as_error(error, self._address) from None
        except StopIteration:
            raise Broken(f"{self._address}: the server ended the stream") from None
        finally:
            timer.cancel()

    def half_close(self) -> None:
        """Nothing more will be sent."""
        self._outbox.put(None)

    def hang_up(self) -> None:
        """End it at once. May be called twice, from any thread."""
        self._call.cancel()
        self._outbox.put(None)
        self._channel.close()


def call_info(address: str, token: str | None, timeout: float) -> pb.InfoReply:
    """What a server says about itself. Raises ServerLostError, AuthenticationError, DeadlineError."""
    metadata = credentials(token)
    with channel_to(address, timeout) as channel:
        info: Any = channel.unary_unary(
            "/universe2.wire.v1.Universe/Info",
            request_serializer=pb.InfoRequest.SerializeToString,
            response_deserializer=pb.InfoReply.FromString,
        )
        try:
            reply: pb.InfoReply = info(pb.InfoRequest(), timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise DeadlineError(f"{address}: no answer to info within {timeout:g} s") from None
            raise as_error(error, address) from None
    return reply
