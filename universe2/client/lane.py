"""Lane: one environment's way through a session, which may have several. What a part asks and hears by.

A session ends for all its lanes at once, unless they leave: then it ends with the last.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from universe2.core.errors import ProtocolError, Universe2Error
from universe2.wire.batches import slot_bytes
from universe2.wire.buffers import Buffer
from universe2.wire.codecs import Coder
from universe2.wire.frames import Frame
from universe2.wire.schema import read_space
from universe2.wire.v1 import universe_pb2 as pb

if TYPE_CHECKING:
    from universe2.client.connection import Connection

Sink = Callable[["Lane", "Frame | Universe2Error"], None]
"""Called by whoever receives, one at a time: with every Frame that answers no question, and once, at the
end, with the error that ended the session."""

_Item = TypeVar("_Item")


class Lane:
    """Member ``number`` of the session of ``connection``, as ``ask`` asked for it."""

    def __init__(self, connection: Connection, number: int, ask: pb.Open, sink: Sink) -> None:
        self.connection = connection
        self.number = number
        self.opened = pb.Opened()
        """as the server said, also what it says once for the whole session"""
        self.mask = b""
        self._ask = ask
        self._sink = sink
        self._coder: Coder | None = None
        self.left = False

    @property
    def address(self) -> str:
        return self.connection.address

    @property
    def alive(self) -> bool:
        return not self.left and self.connection.alive

    def slot_bytes(self) -> int:
        """What the rows of all slots take at most, as far as the space tells."""
        return slot_bytes(read_space(self.opened.observation_space), self._ask.num_slots)

    def send(self, header: pb.Header, buffers: Sequence[Buffer] = ()) -> int:
        """``Connection.send``."""
        if self.number:
            header.member = self.number
        return self.connection.send(header, buffers)

    def ask(self, header: pb.Header, buffers: Sequence[Buffer], timeout: float) -> Frame:
        """``Connection.ask``."""
        header.member = self.number
        return self.connection.ask(header, buffers, timeout)

    def wait(self, inbox: queue.SimpleQueue[_Item], seconds: float) -> _Item:
        """``Connection.wait``."""
        return self.connection.wait(inbox, seconds)

    def beat(self, patience: float) -> None:
        """``Connection.beat``."""
        self.connection.beat(patience)

    def poison(self, reason: Universe2Error) -> None:
        """Give the session up, for all its lanes."""
        self.connection.poison(reason)

    def tell(self, what: Frame | Universe2Error) -> None:
        """Something came for this lane."""
        if self.left:
            return
        if isinstance(what, Frame) and what.header.coded:
            self._decode(what)
        self._sink(self, what)

    def say_goodbye(self) -> None:
        """Need the session no more; the last lane to do so ends it. ``close`` waits for that."""
        self.left = True
        if self.connection.deserted:
            self.connection.say_goodbye()

    def close(self, wait: float = 0.0) -> None:
        """``Connection.close``, if no other lane needs the session."""
        self.left = True
        if self.connection.deserted:
            self.connection.close(wait)

    def leave(self) -> None:
        """``Connection.leave``, if no other lane needs the session."""
        self.left = True
        if self.connection.deserted:
            self.connection.leave()

    def _decode(self, frame: Frame) -> None:
        if self._coder is None:
            codecs, asked = list(self.opened.codecs), {"", self._ask.lossy, *self._ask.codecs}
            if not asked.issuperset(codecs):
                raise ProtocolError(f"the server codes as {codecs}, which nobody asked for")
            space = read_space(self.opened.observation_space)
            self._coder = Coder(space, self._ask.num_slots, codecs)
        self._coder.read(frame)
