"""Connection: one stream to one server, with its receiving thread.

It numbers what is sent, checks the numbers of what comes, and matches answers with questions.
Once it is lost or poisoned it is never used again. What batches mean is not its business.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from universe2.core.errors import (
    AuthenticationError,
    DeadlineError,
    ProtocolError,
    ServerLostError,
    Universe2Error,
    error_named,
)
from universe2.wire.buffers import Buffer
from universe2.wire.frames import MAX_MESSAGE_BYTES, Assembler, Frame, chunks, encode
from universe2.wire.v1 import universe_pb2 as pb

log = logging.getLogger("universe2.client")

METHOD = "/universe2.wire.v1.Universe/Session"
_SLACK = 2**16


def channel_to(address: str) -> grpc.Channel:
    """A channel of its own TCP connection. Nothing is sent yet."""
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES + _SLACK),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
    ]
    return grpc.insecure_channel(address, options=options)


def credentials(token: str | None) -> list[tuple[str, str]]:
    """The metadata that shows a token."""
    return [("authorization", f"Bearer {token}")] if token else []


def as_error(error: grpc.RpcError, address: str) -> Universe2Error:
    """gRPC's error as ours."""
    code, details = error.code(), error.details()
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return AuthenticationError(f"{address}: {details}; pass token=… with the server's token")
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineError(f"{address}: no answer in time")
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return ProtocolError(f"{address} is a gRPC server, but not one of universe2")
    return ServerLostError(f"{address}: {details or code.name}")


class Connection:
    """One open session. Raises what the server answers if it can't be opened.

    ``sink(connection, what)`` is called in the receiving thread: with every Frame that answers
    no question, and once, at the end, with the error that ended the session.
    """

    def __init__(
        self,
        address: str,
        ask: pb.Open,
        sink: Callable[[Connection, Frame | Universe2Error], None],
        token: str | None,
        open_deadline: float,
    ) -> None:
        self.address = address
        self.heard = time.monotonic()
        self._sink = sink
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sequence = 0
        self._lock = threading.Lock()
        self._answers: dict[int, queue.SimpleQueue[Frame | Universe2Error]] = {}
        self._session = ""
        self._message_bytes = MAX_MESSAGE_BYTES
        self._over = False
        self._reason: Universe2Error | None = None
        self._channel = channel_to(address)
        stream = self._channel.stream_stream(METHOD)
        self._call = stream(iter(self._outbox.get, None), metadata=credentials(token))
        self._receiver = threading.Thread(target=self._receive, daemon=True, name=f"receive {address}")
        self._receiver.start()
        try:
            frame = self.ask(pb.Header(open=ask), (), open_deadline)
        except Universe2Error:
            self.close()
            raise
        self.opened = frame.header.opened
        self.mask = bytes(frame.buffers[0]) if frame.buffers else b""
        self._session = self.opened.session
        self._message_bytes = min(self.opened.max_message_bytes, MAX_MESSAGE_BYTES) or MAX_MESSAGE_BYTES

    def send(self, header: pb.Header, buffers: Sequence[Buffer] = ()) -> int:
        """Send a frame, without waiting. ``buffers`` may be changed afterwards. Its number."""
        with self._lock:
            return self._send(header, buffers)

    def ask(self, header: pb.Header, buffers: Sequence[Buffer], timeout: float) -> Frame:
        """Send a frame and wait for the one that answers it. Raises the answer if it is an error."""
        answer: queue.SimpleQueue[Frame | Universe2Error] = queue.SimpleQueue()
        with self._lock:
            if self._over:
                raise self.reason
            self._answers[self._sequence + 1] = answer
            number = self._send(header, buffers)
        try:
            found = answer.get(timeout=timeout)
        except queue.Empty:
            kind = header.WhichOneof("body")
            late = DeadlineError(f"{self.address}: no answer to {kind} within {timeout:g} s")
            self.poison(late)
            raise late from None
        finally:
            self._answers.pop(number, None)
        if isinstance(found, Universe2Error):
            raise found
        if found.header.HasField("error"):
            raise error_named(found.header.error.type, found.header.error.message)
        return found

    def poison(self, reason: Universe2Error) -> None:
        """Give the session up: nothing that still comes on its stream counts."""
        self._finish(reason)
        self.close()

    @property
    def reason(self) -> Universe2Error:
        """Why the session is over."""
        return self._reason or ServerLostError(f"{self.address}: the session is over")

    @property
    def alive(self) -> bool:
        return not self._over

    def say_goodbye(self) -> None:
        """Ask the server to end the session in good order; ``close`` waits for it."""
        with self._lock:
            if not self._over:
                self._over = True
                self._send(pb.Header(close=pb.Close()), ())
                self._outbox.put(None)

    def close(self, wait: float = 0.0) -> None:
        """End the session; the server frees its slots. May be called twice.

        After ``say_goodbye`` it waits at most ``wait`` seconds until the server has done so.
        """
        with self._lock:
            self._over = True
        self._outbox.put(None)
        if wait > 0:
            self._receiver.join(wait)
        self._call.cancel()
        self._channel.close()

    def _send(self, header: pb.Header, buffers: Sequence[Buffer]) -> int:
        self._sequence += 1
        header.sequence = self._sequence
        header.session = self._session
        for message in chunks(encode(header, buffers), header, self._message_bytes):
            self._outbox.put(message)
        return self._sequence

    def _receive(self) -> None:
        assembler = Assembler()
        reason: Universe2Error = ServerLostError(f"{self.address}: the server ended the session")
        try:
            for message in self._call:
                self.heard = time.monotonic()
                frame = assembler.add(message)
                if frame is None or frame.header.HasField("heartbeat"):
                    continue
                if (fatal := self._dispatch(frame)) is not None:
                    reason = fatal
                    break
        except grpc.RpcError as error:
            reason = as_error(error, self.address)
        except ProtocolError as error:
            reason = error
        except Exception as error:
            log.exception("%s: receiving failed", self.address)
            reason = Universe2Error(f"{self.address}: receiving failed: {type(error).__name__}: {error}")
        self._finish(reason)
        self.close()

    def _dispatch(self, frame: Frame) -> Universe2Error | None:
        header = frame.header
        answer = self._answers.get(header.reply_to)
        if answer is not None:
            answer.put(frame)
        elif header.HasField("error") and not header.reply_to:
            return error_named(header.error.type, f"{self.address}: {header.error.message}")
        elif not self._over:
            self._sink(self, frame)
        return None

    def _finish(self, reason: Universe2Error) -> None:
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            tell = not self._over and self._session != ""
            self._over = True
            waiting = list(self._answers.values())
        for answer in waiting:
            answer.put(reason)
        if tell:
            self._sink(self, reason)


def call_info(address: str, token: str | None, timeout: float) -> pb.InfoReply:
    """What a server says about itself."""
    with channel_to(address) as channel:
        info: Any = channel.unary_unary(
            "/universe2.wire.v1.Universe/Info",
            request_serializer=pb.InfoRequest.SerializeToString,
            response_deserializer=pb.InfoReply.FromString,
        )
        try:
            reply: pb.InfoReply = info(pb.InfoRequest(), timeout=timeout, metadata=credentials(token))
        except grpc.RpcError as error:
            raise as_error(error, address) from None
    return reply
