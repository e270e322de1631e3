"""The Chrome DevTools Protocol over a pair of pipes: commands out, results and events in.

Messages are JSON with a NUL after each. Commands may be in flight together and are carried out
by the browser in the order in which they were sent to one session. This file doesn't know
what the commands mean, and it sets no deadlines: its callers do, around groups of calls.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

from universe2.core.host import InfrastructureFault

Listener = Callable[[dict[str, Any]], None]


class ProtocolRefusal(InfrastructureFault):
    """The browser answered a command with an error."""


class Connection(asyncio.Protocol):
    """One browser's command channel. All futures fail when it is lost."""

    def __init__(self) -> None:
        self._last = 0
        self._pending: dict[int, tuple[str, asyncio.Future[dict[str, Any]]]] = {}
        self._listeners: dict[tuple[str, str], Listener] = {}
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
        future.add_done_callback(_retrieved)
        if self._lost or self._writer is None:
            future.set_exception(InfrastructureFault(f"{method}: {self._lost or 'not connected'}"))
            return future
        self._last += 1
        self._pending[self._last] = method, future
        message = {"id": self._last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._writer.write(json.dumps(message).encode() + b"\0")
        return future

    def listen(self, method: str, session: str, listener: Listener) -> None:
        """Call ``listener`` with the parameters of every such event, instead of an earlier one."""
        self._listeners[session, method] = listener

    def expect(self, method: str, session: str) -> asyncio.Future[dict[str, Any]]:
        """The parameters of the next such event. Takes the place of an earlier listener."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_retrieved)
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
        begin = 0
        while (end := self._buffer.find(b"\0", max(begin, start))) >= 0:
            self._dispatch(json.loads(self._buffer[begin:end]))
            begin = end + 1
        del self._buffer[:begin]

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
            future.set_exception(ProtocolRefusal(f"{method}: {message['error'].get('message')}"))
        else:
            future.set_result(message["result"])

    def _fail(self, reason: str) -> None:
        self._lost = self._lost or reason
        pending, self._pending = self._pending, {}
        for method, future in pending.values():
            if not future.done():
                future.set_exception(InfrastructureFault(f"{method}: {self._lost}"))


def _retrieved(future: asyncio.Future[dict[str, Any]]) -> None:
    # A future that nobody awaits must not complain when its browser dies.
    if not future.cancelled():
        future.exception()
