"""The Chrome DevTools Protocol over a pair of pipes: commands out, results and events in.

Messages are JSON with a NUL after each. Commands may be in flight together and are carried out
by the browser in the order in which they were sent to one session. This file doesn't know
what the commands mean, and it sets no deadlines: its callers do, around groups of calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from universe2.core.host import InfrastructureFault

Listener = Callable[[dict[str, Any]], None]
_encode = json.JSONEncoder(separators=(",", ":")).encode
_EVENT = b'{"method":"'
"""how an event begins; most are of no interest, and aren't read any further"""


class ProtocolRefusal(InfrastructureFault):
    """The browser answered a command with an error."""


class Connection(asyncio.Protocol):
    """One browser's command channel. All futures fail when it is lost."""

    def __init__(self) -> None:
        self._last = 0
        self._pending: dict[int, tuple[str, asyncio.Future[dict[str, Any]]]] = {}
        self._listeners: dict[tuple[str, str], Listener] = {}
        self._heard: set[bytes] = set()
        """the events that have listeners"""
        self._together: list[bytes] | None = None
        """what waits to go out in one piece"""
        self._buffer = bytearray()
        self._lost = ""
        self._reader: asyncio.BaseTransport | None = None
        self._writer: asyncio.WriteTransport | None = None

    @classmethod
    async def open(cls, read_fd: int, write_fd: int) -> Connection:
        """Take over both descriptors; ``close`` closes them."""
        loop = asyncio.get_running_loop()
        connection = cls()
        writer, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(write_fd, "wb", 0))
        reader, _ = await loop.connect_read_pipe(lambda: connection, os.fdopen(read_fd, "rb", 0))
        connection._writer, connection._reader = writer, reader
        return connection

    @property
    def unanswered(self) -> list[str]:
        """The commands and events that are waited for, oldest first."""
        return [method for method, _ in self._pending.values()]

    def send(self, method: str, session: str = "", **params: Any) -> asyncio.Future[dict[str, Any]]:
        """Send a command without waiting. The future need not be awaited."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if self._lost or self._writer is None:
            _fail(future, InfrastructureFault(f"{method}: {self._lost or 'not connected'}"))
            return future
        self._last += 1
        self._pending[self._last] = method, future
        message = {"id": self._last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        encoded = _encode(message).encode() + b"\0"
        if self._together is None:
            self._writer.write(encoded)
        else:
            self._together.append(encoded)
        return future

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is sent within goes out in one piece: each write wakes the browser up. No waiting within."""
        unsent: list[bytes] = []
        self._together = unsent
        try:
            yield
        finally:
            self._together = None
            if not self._lost and self._writer is not None and unsent:
                self._writer.write(b"".join(unsent))

    def listen(self, method: str, session: str, listener: Listener) -> None:
        """Call ``listener`` with the parameters of every such event, instead of an earlier one."""
        self._listeners[session, method] = listener
        self._heard.add(method.encode())

    def expect(self, method: str, session: str) -> asyncio.Future[dict[str, Any]]:
        """The parameters of the next such event. Takes the place of an earlier listener."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._last += 1
        number = self._last
        self._pending[number] = method, future

        def arrived(params: dict[str, Any]) -> None:
            self._pending.pop(number, None)
            if not future.done():
                future.set_result(params)

        self.listen(method, session, arrived)
        return future

    def close(self, why: str = "the connection was closed") -> None:
        """Close both pipes; a browser started with them exits by itself."""
        self._fail(why)
        for transport in (self._writer, self._reader):
            if transport is not None:
                transport.close()

    def data_received(self, data: bytes) -> None:
        start = len(self._buffer)
        self._buffer += data
        end = self._buffer.rfind(b"\0", start)
        if end < 0:
            return
        # Taken out first: whatever becomes of them, the next ones begin where these end.
        messages = bytes(self._buffer[:end]).split(b"\0")
        del self._buffer[: end + 1]
        for message in messages:
            if message.startswith(_EVENT) and message[len(_EVENT) :].partition(b'"')[0] not in self._heard:
                continue
            try:
                self._dispatch(json.loads(message))
            except Exception as error:  # noqa: BLE001 (whoever waits is told)
                what = message[:100].decode(errors="replace")
                self.close(f"{type(error).__name__}: {error}, while this side dealt with {what}")
                return

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the browser is gone: it closed its pipe (killed, crashed, or out of memory?)")

    def _dispatch(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            listener = self._listeners.get((message.get("sessionId", ""), message["method"]))
            if listener is not None:
                listener(message["params"])
            return
        method, future = self._pending.pop(message["id"], ("", None))
        if future is None or future.done():
            return
        if "error" in message:
            _fail(future, ProtocolRefusal(f"{method}: {message['error'].get('message')}"))
        else:
            future.set_result(message["result"])

    def _fail(self, reason: str) -> None:
        self._lost = self._lost or reason
        pending, self._pending = self._pending, {}
        for method, future in pending.values():
            if not future.done():
                _fail(future, InfrastructureFault(f"{method}: {self._lost}"))


def _fail(future: asyncio.Future[dict[str, Any]], error: InfrastructureFault) -> None:
    future.set_exception(error)
    future.exception()  # one that nobody awaits must not complain when its browser dies
