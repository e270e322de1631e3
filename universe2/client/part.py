"""Part: a contiguous range of a remote runtime's slots, on one server at a time.

It opens its session, and when that is lost opens another, on the same server if it is back or
else on any that has room, in a thread of its own, so that other parts never wait.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from universe2.client.connection import Connection
from universe2.client.waiting import Patience
from universe2.core.errors import CapacityError, ServerLostError, Universe2Error, VersionError
from universe2.wire.frames import Frame
from universe2.wire.v1 import universe_pb2 as pb

log = logging.getLogger("universe2.client")

SPARE_SECONDS = 30.0
"""For how long a result is waited for beyond the time by which the server itself gives it up: one slot's
fault, which comes from there, must not cost the whole session."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What all parts of a runtime share. Times in seconds."""

    ask: pb.Open
    """num_slots and queue_seconds are filled in by each part"""
    addresses: Sequence[str]
    token: str | None
    deadline: float | None
    """a request without a result for so long means that the session is lost; None: as the server says"""
    open_deadline: float
    reopen_deadline: float
    wait: float
    """for how long a full server is waited for, when the runtime opens"""


class Arrival(NamedTuple):
    """What a connection delivered: a frame, or the error that ended it."""

    part: Part
    connection: Connection
    what: Frame | Universe2Error


class Reopened(NamedTuple):
    """A part has a session again, or (connection None) gave up, and why."""

    part: Part
    connection: Connection | None
    error: Universe2Error | None


class Part:
    """Slots ``start`` … ``start + count - 1``; arrivals go to ``inbox``."""

    def __init__(
        self, start: int, count: int, address: str, terms: Terms, inbox: queue.SimpleQueue[object]
    ) -> None:
        self.start, self.count, self.stop = start, count, start + count
        self.address = address
        self.connection: Connection | None = None
        """None while the part is lost; changed by the runtime alone, under its lock"""
        self.reopening = False
        self.gave_up: Universe2Error | None = None
        self._terms = terms
        self._inbox = inbox
        self._like: pb.Opened | None = None

    @property
    def name(self) -> str:
        """For the log: which environment, which slots."""
        return f"{self._terms.ask.env_id}: slots {self.start}…{self.stop - 1}"

    def open(self, address: str, deadline: float, patience: Patience) -> Connection:
        """A session for the part's slots on ``address``, equal to those it had before."""
        connection = self._open(address, deadline, patience)
        try:
            self.check_like(connection.opened)
        except VersionError:
            connection.leave()
            raise
        return connection

    def _open(self, address: str, deadline: float, patience: Patience) -> Connection:
        ask = pb.Open()
        ask.CopyFrom(self._terms.ask)
        ask.num_slots = self.count
        while True:
            ask.queue_seconds = patience.left
            try:
                return Connection(address, ask, self._arrived, self._terms.token, deadline, patience)
            except CapacityError as error:
                if not patience.outlasts(address, error):
                    raise

    def check_like(self, opened: pb.Opened) -> None:
        """Servers must agree on the environment: hash, spaces and grouping."""
        first = self._like = self._like or opened
        for name in ("spec_hash", "observation_space", "action_space", "has_action_mask"):
            if getattr(opened, name) != getattr(first, name):
                raise VersionError(
                    f"the servers disagree on {first.spec.id}: its {name} differs; "
                    "install the same releases on all of them"
                )

    def deadline(self, connection: Connection) -> float:
        """For how many seconds a result is waited for, on one of the part's connections."""
        if self._terms.deadline is not None:
            return self._terms.deadline
        return connection.opened.result_seconds + SPARE_SECONDS

    @property
    def opened(self) -> pb.Opened:
        """What the server said at the first opening."""
        assert self._like is not None
        return self._like

    def same_as(self, opened: pb.Opened) -> None:
        """What every session of this part must look like."""
        self._like = opened

    def reopen(self, closed: threading.Event) -> None:
        """Begin to look for a server, unless that is going on."""
        if not self.reopening:
            self.reopening = True
            self.gave_up = None
            threading.Thread(
                target=self._reopen, args=(closed,), daemon=True, name=f"reopen {self.name}"
            ).start()

    def _reopen(self, closed: threading.Event) -> None:
        last: Universe2Error = ServerLostError(f"{self.address}: not tried")
        give_up = time.monotonic() + self._terms.reopen_deadline
        others = [address for address in self._terms.addresses if address != self.address]
        pause = 0.05
        while True:
            for address in [self.address, *others]:
                left = give_up - time.monotonic()
                if closed.is_set() or left <= 0:
                    break
                try:
                    connection = self.open(address, min(left, self._terms.open_deadline), Patience(0.0))
                except Universe2Error as error:
                    last = error
                    continue
                log.warning("%s are open again, on %s", self.name, address)
                self._inbox.put(Reopened(self, connection, None))
                if closed.is_set():
                    connection.leave()
                return
            if closed.wait(min(pause, max(give_up - time.monotonic(), 0.0))):
                return
            if time.monotonic() >= give_up:
                break
            pause = min(2 * pause, 2.0)
        log.error("%s could not be opened again: %s", self.name, last)
        self._inbox.put(Reopened(self, None, last))

    def _arrived(self, connection: Connection, what: Frame | Universe2Error) -> None:
        self._inbox.put(Arrival(self, connection, what))
