"""Members: all environments of a session, mostly one. What is ready, of whichever is.

A single one is asked directly. Several are received from by a thread each (``core.traffic``), so that a
slow one never holds up the others. It doesn't know streams.
"""

from __future__ import annotations

from collections.abc import Sequence

from universe2.core.batch import Batch
from universe2.core.errors import DeadlineError, ProtocolError, Universe2Error
from universe2.core.runtime import close_all
from universe2.core.traffic import Traffic
from universe2.server.backlog import Backlog
from universe2.server.member import Member
from universe2.server.opening import describe
from universe2.server.parking import ParkingRuntime
from universe2.wire.batches import slot_bytes
from universe2.wire.buffers import Buffer
from universe2.wire.codecs import Coder
from universe2.wire.v1 import universe_pb2 as pb


class Members:
    """The runtimes that ``asks`` asked for, in their order. It owns them.

    ``aside`` counts what waits to be done aside.
    """

    def __init__(self, runtimes: Sequence[ParkingRuntime], asks: Sequence[pb.Open], aside: Backlog) -> None:
        self._asks = asks
        self._all = [Member(number, runtime, aside) for number, runtime in enumerate(runtimes)]
        self._traffic: Traffic | None = None

    def begin(self) -> tuple[pb.Opened, list[Buffer]]:
        """What the client must know of them; the session fills in what is its own. Raises UsageError."""
        opened, masks = pb.Opened(), list[Buffer]()
        for member, ask in zip(self._all, self._asks, strict=True):
            told, mask = describe(member.runtime, ask)
            masks += mask
            if told.codecs:
                space, count = member.runtime.observation_space, member.runtime.num_slots
                member.coder = Coder(space, count, told.codecs)
            member.exact = not ask.lossy
            (opened if member.number == 0 else opened.more.add()).MergeFrom(told)
        if len(self._all) > 1:
            self._traffic = Traffic([member.runtime for member in self._all])
        return opened, masks

    def slot_bytes(self) -> int:
        """What the rows of all slots take at most, as far as the spaces tell."""
        runtimes = [member.runtime for member in self._all]
        return sum(slot_bytes(runtime.observation_space, runtime.num_slots) for runtime in runtimes)

    def numbered(self, number: int) -> Member:
        """Raises ProtocolError if there is none."""
        if number >= len(self._all):
            raise ProtocolError(f"member {number} of a session that has {len(self._all)}")
        return self._all[number]

    @property
    def result_seconds(self) -> float:
        """How long the slowest may take to answer."""
        return max((member.runtime.result_seconds for member in self._all), default=0.0)

    @property
    def names(self) -> str:
        """What they are, for the log."""
        return ", ".join(member.runtime.spec.id for member in self._all)

    @property
    def several(self) -> bool:
        return self._traffic is not None

    def sent(self, member: Member, rows: int) -> None:
        """One of several owes ``rows`` more."""
        assert self._traffic is not None
        self._traffic.sent(member.number, rows)

    def next(self, timeout: float) -> tuple[Member, Batch | Universe2Error] | None:
        """What some member has or raises; None if nothing is ready in time."""
        found: Batch | Universe2Error
        index = 0
        try:
            if self._traffic is None:
                found = self._all[0].runtime.recv(timeout)
            else:
                index, found = self._traffic.recv(timeout)
        except Universe2Error as error:
            found = error
        if isinstance(found, DeadlineError) and not found.slots:
            return None
        return self._all[index], found

    def close(self) -> None:
        """End all. May be called twice."""
        for member in self._all:
            member.over()
        if self._traffic is not None:
            self._traffic.close()
            return
        close_all(member.runtime for member in self._all)
