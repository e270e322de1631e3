"""Part: a contiguous range of a remote runtime's slots, on one server at a time.

Where its sessions come from, the first and those after a loss, is its berth's business.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from universe2.client.lane import Lane
from universe2.core.errors import Universe2Error, VersionError
from universe2.wire.frames import Frame
from universe2.wire.v1 import universe_pb2 as pb

if TYPE_CHECKING:
    from universe2.client.berth import Berth

SPARE_SECONDS = 30.0
"""For how long a result is waited for beyond the time by which the server itself gives it up: one slot's
fault, which comes from there, must not cost the whole session."""

LONGEST_BEAT = 5.0
"""Seconds between two heartbeats, however long the lease."""
NO_BEAT = 0.25
"""How soon a part without a session is looked at again: the next one's lease may be as short as a second."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What all parts of a runtime, and of those that share its sessions, have in common. Times in seconds."""

    addresses: Sequence[str]
    token: str | None
    deadline: float | None
    """a request without a result for so long means that the session is lost; None: as the server says"""
    open_deadline: float
    reopen_deadline: float


class Arrival(NamedTuple):
    """What a lane delivered: a frame, or the error that ended its session."""

    part: Part
    lane: Lane
    what: Frame | Universe2Error


class Reopened(NamedTuple):
    """A part has a session again, or (lane None) gave up, and why."""

    part: Part
    lane: Lane | None
    error: Universe2Error | None


class Likeness:
    """What all sessions of a runtime must look like: as the first one that opened."""

    def __init__(self) -> None:
        self._first: pb.Opened | None = None

    def check(self, opened: pb.Opened) -> None:
        """Servers must agree on the environment: hash and spaces. Raises VersionError."""
        first = self._first = self._first or opened
        for name in ("spec_hash", "observation_space", "action_space", "has_action_mask"):
            if getattr(opened, name) != getattr(first, name):
                raise VersionError(
                    f"the servers disagree on {first.spec.id}: its {name} differs; "
                    "install the same releases on all of them"
                )


class Part:
    """Slots ``start`` … ``start + ask.num_slots - 1`` of a runtime; arrivals go to ``inbox``."""

    def __init__(
        self,
        start: int,
        ask: pb.Open,
        berth: Berth,
        likeness: Likeness,
        inbox: queue.SimpleQueue[object],
        closed: threading.Event,
    ) -> None:
        """``closed``: of the runtime."""
        self.start, self.count, self.stop = start, ask.num_slots, start + ask.num_slots
        self.ask = ask
        self.closed = closed
        self.address = berth.address
        self.lane: Lane | None = None
        """None while the part is lost; changed by the runtime alone, under its lock"""
        self.offered: Lane | None = None
        """the lane of the last reopening, which the runtime may not have heard of yet"""
        self.reopening = False
        self.gave_up: Universe2Error | None = None
        self.opened = pb.Opened()
        """what its server said at the first opening"""
        self._berth = berth
        self._likeness = likeness
        self._inbox = inbox
        berth.parts.append(self)

    @property
    def name(self) -> str:
        """For the log: which environment, which slots."""
        return f"{self.ask.env_id}: slots {self.start}…{self.stop - 1}"

    def check_like(self, opened: pb.Opened) -> None:
        """Raise VersionError unless it is as every session of the runtime."""
        self._likeness.check(opened)

    def begin(self, lane: Lane) -> None:
        """The first session is there."""
        self.lane, self.opened = lane, lane.opened

    def deadline(self, lane: Lane) -> float:
        """For how many seconds a result is waited for, on one of the part's lanes."""
        if self._berth.terms.deadline is not None:
            return self._berth.terms.deadline
        return lane.opened.result_seconds + SPARE_SECONDS

    @property
    def beat(self) -> float:
        """Seconds between two heartbeats: several in its session's lease, and in the time for a result."""
        lane = self.lane
        if lane is None:
            return NO_BEAT
        return min(lane.opened.lease_seconds / 4, self.deadline(lane) / 4, LONGEST_BEAT)

    def reopen(self) -> None:
        """Begin to look for a server, unless that is going on."""
        if not self.reopening:
            self.reopening = True
            self.gave_up = None
            self._berth.reopen(self)

    def reopened(self, lane: Lane | None, error: Universe2Error | None) -> None:
        """Tell the runtime."""
        self.offered = lane
        self._inbox.put(Reopened(self, lane, error))

    def arrived(self, lane: Lane, what: Frame | Universe2Error) -> None:
        """What the part's lanes call."""
        self._inbox.put(Arrival(self, lane, what))
