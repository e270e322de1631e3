"""Berth: the parts that share a session on one server: one of each runtime that was opened together.

It opens their session, and when that is lost opens another, on the same server if it is back or
else on any that has room, in a thread of its own, so that others never wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from universe2.client.connection import Connection, as_ours
from universe2.client.lane import Lane
from universe2.client.part import Part, Terms
from universe2.client.waiting import Patience
from universe2.core.errors import CapacityError, ServerLostError, Universe2Error, VersionError
from universe2.wire.v1 import universe_pb2 as pb

log = logging.getLogger("universe2.client")


class Berth:
    """At ``address`` first. Parts enter themselves in ``parts``."""

    def __init__(self, address: str, terms: Terms) -> None:
        self.address = address
        self.terms = terms
        self.parts: list[Part] = []
        self._lock = threading.Lock()
        self._reopening = False

    def open(self, patience: Patience) -> None:
        """The first session of all parts. Raises what the server answers, and VersionError."""
        lanes = self._open(self.parts, self.address, self.terms.open_deadline, patience)
        for part, lane in zip(self.parts, lanes, strict=True):
            part.begin(lane)

    def _open(
        self, parts: Sequence[Part], address: str, deadline: float, patience: Patience
    ) -> Sequence[Lane]:
        """A session for these parts on ``address``, equal to those that they had before."""
        asks, sinks = [pb.Open() for _ in parts], [part.arrived for part in parts]
        for ask, part in zip(asks, parts, strict=True):
            ask.CopyFrom(part.ask)
        while True:
            asks[0].queue_seconds = patience.left
            try:
                connection = Connection(address, asks, sinks, self.terms.token, deadline, patience)
            except CapacityError as error:
                if not patience.outlasts(address, error):
                    raise
            else:
                break
        try:
            for part, lane in zip(parts, connection.lanes, strict=True):
                part.check_like(lane.opened)
        except VersionError:
            connection.leave()
            raise
        return connection.lanes

    def reopen(self, part: Part) -> None:
        """Begin to look for a server for all parts, unless that is going on, or was done and ``part`` hasn't
        dealt with what it was told of it. All parts hear what comes of it."""
        with self._lock:
            if self._reopening or (part.offered is not None and part.offered.alive):
                return
            self._reopening = True
        name = f"reopen {self.address}"
        thread = threading.Thread(target=self._reopen, daemon=True, name=name)
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads now
            self._give_up(self.parts, as_ours(error, name))

    def _reopen(self) -> None:
        last: Universe2Error = ServerLostError(f"{self.address}: not tried")
        give_up = time.monotonic() + self.terms.reopen_deadline
        pause = 0.05
        while parts := [part for part in self.parts if not part.closed.is_set()]:
            others = [address for address in self.terms.addresses if address != self.address]
            for address in [self.address, *others]:
                left = give_up - time.monotonic()
                if left <= 0:
                    break
                deadline = min(left, self.terms.open_deadline)
                try:
                    lanes = self._open(parts, address, deadline, Patience(0.0))
                except Exception as error:  # noqa: BLE001  the parts hear it, if nothing else comes of it
                    last = as_ours(error, f"{address}: opening")
                    continue
                self._found(parts, address, lanes)
                return
            parts[0].closed.wait(min(pause, max(give_up - time.monotonic(), 0.0)))
            if time.monotonic() >= give_up:
                break
            pause = min(2 * pause, 2.0)
        self._give_up(parts, last)

    def _give_up(self, parts: Sequence[Part], reason: Universe2Error) -> None:
        with self._lock:
            self._reopening = False
            for part in parts:
                log.error("%s could not be opened again: %s", part.name, reason)
                part.reopened(None, reason)

    def _found(self, parts: Sequence[Part], address: str, lanes: Sequence[Lane]) -> None:
        self.address = address
        # Together, so that whoever asks meanwhile is either waited for or has been told.
        with self._lock:
            self._reopening = False
            for part, lane in zip(parts, lanes, strict=True):
                log.warning("%s are open again, on %s", part.name, address)
                part.reopened(lane, None)
        for part, lane in zip(parts, lanes, strict=True):
            if part.closed.is_set():
                lane.leave()
