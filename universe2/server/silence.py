"""Silence: for how long a stream may keep a thread waiting for its next message.

gRPC gives every call a thread before it has a message, and sets no limit to that wait: who opens enough
calls and says nothing on them has all threads. At the door it is the same. So each wait is counted here,
and ``cut`` ends those that are too long. What messages mean is not known here.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from universe2.server.auth import OPEN_SERVICE

FIRST_SECONDS = 10.0
"""A stream that owes a message for longer is cancelled."""

OPEN_SECONDS = 0.5
"""The same for a call that needs no token. Its one message comes with it, and others wait for its thread."""

OPEN_THREADS = 32
"""For calls that need no token: apart from the others', so that strangers can't take those."""


class Hanger(Protocol):
    """What a session must be able to do to the stream that it has, whatever carries it."""

    def cancel(self) -> object: ...
    def add_callback(self, callback: Callable[[], None]) -> bool: ...


class Silence:
    """Streams that owe a message, and until when."""

    def __init__(self) -> None:
        self._until: dict[Hanger, float] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def of(self, context: Hanger, seconds: float | None = None) -> Iterator[None]:
        """Inside, a message is waited for: until ``cut`` finds that it took ``seconds`` (FIRST_SECONDS)."""
        with self._lock:
            self._until[context] = time.monotonic() + (FIRST_SECONDS if seconds is None else seconds)
        try:
            yield
        finally:
            with self._lock:
                self._until.pop(context, None)

    def cut(self) -> None:
        """Cancel the streams that have owed a message for too long."""
        now = time.monotonic()
        with self._lock:
            mute = [context for context, until in self._until.items() if now > until]
        for context in mute:
            context.cancel()

    def within(self, requests: Iterator[Any], context: Hanger, seconds: float | None) -> Iterator[Any]:
        """The messages of a stream, none of which may take longer than ``of`` says."""
        while True:
            with self.of(context, seconds):
                request = next(requests, None)
            if request is None:
                return
            yield request


class Punctual(grpc.ServerInterceptor):  # type: ignore[misc]  # gRPC has no types
    """Holds the messages of all calls to ``silence``'s limit, but those of the method ``but``.

    Calls that need no token run on the threads of ``open_pool``.
    """

    def __init__(self, silence: Silence, but: str, open_pool: ThreadPoolExecutor) -> None:
        self._silence = silence
        self._but = but
        self._open_pool = open_pool

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        handler = continuation(details)
        if handler is None or details.method == self._but:
            return handler
        is_open = details.method.startswith(OPEN_SERVICE)
        behaviour = self._behaviour(handler, OPEN_SECONDS if is_open else None)
        if is_open:
            behaviour.experimental_thread_pool = self._open_pool  # type: ignore[attr-defined]
        if handler.response_streaming:
            make = grpc.stream_stream_rpc_method_handler
        else:
            make = grpc.stream_unary_rpc_method_handler
        # For one request gRPC itself would wait: as a stream, also of one, it is for the behaviour to do.
        read = handler.request_deserializer if handler.request_streaming else None
        return make(behaviour, read, handler.response_serializer)

    def _behaviour(self, handler: Any, seconds: float | None) -> Callable[..., Any]:
        kinds = handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream
        (inner,) = filter(None, kinds)

        def punctual(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
            messages = self._silence.within(requests, context, seconds)
            if handler.request_streaming:
                return inner(messages, context)
            return inner(_only(messages, handler.request_deserializer, context), context)

        return punctual


def _only(messages: Iterator[bytes], read: Callable[[bytes], Any], context: grpc.ServicerContext) -> Any:
    """The one request of a call that has one."""
    for message in messages:
        try:
            return read(message)
        except DecodeError as error:
            context.abort(grpc.StatusCode.INTERNAL, f"the request is not readable: {error}")
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "the call needs one request; it ended without")
    return None
