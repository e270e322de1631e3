"""SlotBook: what a client knows of its slots, whatever becomes of the servers.

The ledger's numbers are the ones that callers see. A server counts its own episodes from 0, so
each slot has an offset; what a server reports is checked against the ledger, so that a lost, a
repeated or a shifted result can't pass for another.

Suffixes: N slots of the runtime, K slots of one call.
"""

from __future__ import annotations

import time

import numpy as np

from universe2.core.batch import Batch, Fault
from universe2.core.errors import ProtocolError
from universe2.core.ledger import Phase, SlotLedger
from universe2.core.spec import Autoreset


class Place:
    """Where the state of a slot is. Plain integers: NumPy compares with an IntEnum 5× slower."""

    KNOWN = 0
    """on its server"""
    LOST = 1
    """gone with its server, in mid-episode; the fault was not reported yet"""
    NOWHERE = 2
    """no server has it: the slot must be reset before it can step"""
    OWED = 3
    """as LOST, and asked since: its fault is on its way to the caller; nothing else may be done with it"""


def every(codes: np.ndarray, code: int) -> bool:
    """Are all of these bytes ``code``? Ten times faster than ``(codes == code).all()`` for a few."""
    return codes.tobytes().count(code) == codes.size


class SlotBook:
    """Ledger, place, offset and outstanding request of every slot."""

    def __init__(self, count: int, autoreset: Autoreset) -> None:
        self.ledger = SlotLedger(count, autoreset)
        self.place_N = np.full(count, Place.NOWHERE, np.uint8)
        self.asked_N = np.zeros(count)
        """monotonic time of the outstanding request"""
        self.request_N = np.zeros(count, np.int64)
        """its sequence number on the slot's connection"""
        self._offset_N = np.zeros(count, np.int64)
        self._restored_N = np.zeros(count, bool)
        self._columns: tuple[np.ndarray, ...] = (
            self.ledger.episode,
            self.ledger.step,
            self.ledger.seed,
            self.ledger.phase,
            self.place_N,
            self._offset_N,
        )
        self._before = tuple(column.copy() for column in self._columns)

    def save(self, slots_K: np.ndarray) -> None:
        """Remember the slots as they are, in case that what is asked next is refused."""
        rows = self.ledger.rows(slots_K)
        for saved, column in zip(self._before, self._columns, strict=True):
            saved[rows] = column[rows]

    def undo(self, slots_K: np.ndarray) -> None:
        """The server refused: the slots are as they were."""
        for saved, column in zip(self._before, self._columns, strict=True):
            column[slots_K] = saved[slots_K]
        self._restored_N[slots_K] = False

    def asked(self, slots_K: np.ndarray, request: int) -> None:
        """A request for the slots went out."""
        rows = self.ledger.rows(slots_K)
        self.asked_N[rows] = time.monotonic()
        self.request_N[rows] = request

    def all_known(self, slots_K: np.ndarray) -> bool:
        """Are all of the slots on their servers?"""
        return every(self.place_N[self.ledger.rows(slots_K)], Place.KNOWN)

    def placed(self, slots_K: np.ndarray) -> None:
        """A reset of the slots goes out. Where the server never had them, it counts from 0."""
        new_K = slots_K[self.place_N[slots_K] != Place.KNOWN]
        self._offset_N[new_K] = self.ledger.episode[new_K]
        self.place_N[slots_K] = Place.KNOWN
        self._restored_N[slots_K] = False

    def restoring(self, slots_K: np.ndarray) -> None:
        """A restore goes out. It begins an episode; step and seed are in the state, unseen here."""
        self.ledger.begin_restore(slots_K, np.zeros(len(slots_K), np.int64), self.ledger.seed[slots_K])
        self.placed(slots_K)
        self._restored_N[slots_K] = True

    def busy_on(self, start: int, stop: int) -> np.ndarray:
        """int32: slots of a range that a server owes a result."""
        owed = self.ledger.phase[start:stop] == Phase.BUSY
        return (np.flatnonzero(owed & (self.place_N[start:stop] == Place.KNOWN)) + start).astype(np.int32)

    def queued_on(self, start: int, stop: int) -> np.ndarray:
        """int32: slots of a range that wait for a server to be reset on."""
        waiting = self.ledger.phase[start:stop] == Phase.BUSY
        return (np.flatnonzero(waiting & (self.place_N[start:stop] == Place.NOWHERE)) + start).astype(
            np.int32
        )

    def lose(self, start: int, stop: int) -> np.ndarray:
        """The server of a range is gone. int32: the slots whose results will never come."""
        busy_K = self.busy_on(start, stop)
        place, phase = self.place_N[start:stop], self.ledger.phase[start:stop]
        known = place == Place.KNOWN
        place[known & (phase == Phase.READY)] = Place.LOST
        place[known & (phase != Phase.READY)] = Place.NOWHERE
        return busy_K

    def accept(self, batch: Batch, start: int) -> None:
        """Take a server's batch over: global slots and episodes; ProtocolError if it can't be right."""
        ledger = self.ledger
        slots_K = batch.slots + np.int32(start) if start else batch.slots
        rows = ledger.rows(slots_K)
        if not every(ledger.phase[rows], Phase.BUSY) or not every(self.place_N[rows], Place.KNOWN):
            raise ProtocolError(f"a result came for a slot that was not asked: {slots_K[:16].tolist()}")
        batch.slots = slots_K
        batch.episode = batch.episode + self._offset_N[rows]
        restored_K = self._restored_N[rows]
        if True in restored_K.tobytes():
            self._take_over(batch, restored_K)
        if every(batch.fault, Fault.NONE):
            well: slice | np.ndarray = slice(None)
        else:
            well = batch.fault == Fault.NONE.value
            rows = slots_K[well]
        self._check_due(batch, well, rows)
        ledger.seed[rows] = batch.seed[well]
        ledger.finish(slots_K, batch.ended, batch.fault)
        if len(batch.final_rows) and ledger.autoreset == "same_step":
            begun_K = slots_K[batch.final_rows]
            ledger.roll_over(begun_K, ledger.next_seeds(begun_K))

    def _check_due(self, batch: Batch, well: slice | np.ndarray, rows: slice | np.ndarray) -> None:
        """ProtocolError unless the rows that are well are of the episodes and steps that were asked."""
        came = batch.episode[well], batch.step[well]
        due = self.ledger.episode[rows], self.ledger.step[rows]
        if all(a.tobytes() == b.tobytes() for a, b in zip(came, due, strict=True)):
            return
        row = int(np.argmax((came[0] != due[0]) | (came[1] != due[1])))
        raise ProtocolError(
            f"slot {batch.slots[well][row]}: the result of episode {came[0][row]}, step {came[1][row]} came; "
            f"episode {due[0][row]}, step {due[1][row]} was due"
        )

    def _take_over(self, batch: Batch, restored_K: np.ndarray) -> None:
        slots_K = batch.slots[restored_K]
        self.ledger.step[slots_K] = batch.step[restored_K]
        self._restored_N[slots_K] = False
