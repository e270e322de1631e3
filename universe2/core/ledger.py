"""SlotLedger: which episode and step each slot is at, and what it may be asked next.

Every runtime keeps one, so that sequence numbers, seeds and usage errors are the same
everywhere. It is safe for one sending and one receiving thread.

Suffixes: N slots of a runtime, K slots of one call.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from universe2.core.batch import Batch
from universe2.core.errors import ClosedError, UsageError
from universe2.core.seeding import check_seeds, next_seeds
from universe2.core.spec import Autoreset


class Phase:
    """Where a slot stands between calls. Plain integers: NumPy compares with an IntEnum 5× slower."""

    FRESH = 0
    """never reset"""
    READY = 1
    """in an episode, awaiting an action"""
    ENDED = 2
    """its episode ended, or it had a fault: a reset must come next"""
    BUSY = 3
    """asked to do something whose result was not received yet"""


class SlotLedger:
    """Sequence numbers, seeds and phases of ``count`` slots."""

    def __init__(self, count: int, autoreset: Autoreset) -> None:
        self.count = count
        self.autoreset = autoreset
        self.episode = np.full(count, -1, np.int64)
        self.step = np.zeros(count, np.int64)
        self.seed = np.zeros(count, np.int64)
        self.phase = np.zeros(count, np.uint8)
        self.closed = False
        self._everyone = np.arange(count, dtype=np.int32).tobytes()
        self._lock = threading.Lock()

    def check_slots(self, slots: Any) -> np.ndarray:
        """``slots`` as int32 (K,), each in range and none twice."""
        array = np.asarray(slots)
        if self.are_all(array):
            return array
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise UsageError(f"slots must be a list of integers, got {slots!r}")
        if array.size and (array.min() < 0 or array.max() >= self.count):
            raise UsageError(f"slots must lie in 0..{self.count - 1}, got {array.tolist()}")
        if array.size > 1 and not (np.diff(array) > 0).all() and len(np.unique(array)) != len(array):
            raise UsageError(f"a slot occurs twice in {array.tolist()}")
        return array.astype(np.int32, copy=False)

    def are_all(self, slots: np.ndarray) -> bool:
        """Are these all slots, in order, as int32? The common case, found without arithmetic."""
        return slots.dtype == np.int32 and slots.ndim == 1 and slots.tobytes() == self._everyone

    def rows(self, slots: np.ndarray) -> slice | np.ndarray:
        """What indexes the slots' entries: all in order are a slice, many times faster than an index."""
        return slice(None) if self.are_all(slots) else slots

    def begin_reset(self, slots: Any, seeds: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A reset was asked for: checked slots int32 (K,) and seeds int64 (K,); slots become BUSY."""
        slots_K = self.check_slots(slots)
        seeds_K = check_seeds(seeds, len(slots_K))
        with self._lock:
            self.check_free(slots_K)
            self.phase[slots_K] = Phase.BUSY
            self._new_episode(slots_K, seeds_K)
        return slots_K, seeds_K

    def check_step(self, slots_K: np.ndarray) -> None:
        """Raise unless all of these checked slots may be stepped now."""
        phases = self.phase[self.rows(slots_K)].tobytes()
        if not self.closed and phases.count(Phase.READY) == len(phases):  # mostly all are
            return
        self.check_free(slots_K)
        if (row := phases.find(Phase.FRESH)) >= 0:
            raise UsageError(f"slot {slots_K[row]} was never reset; call reset before send")
        if self.autoreset == "disabled" and (row := phases.find(Phase.ENDED)) >= 0:
            slot = slots_K[row]
            raise UsageError(f'slot {slot}: its episode ended and autoreset is "disabled"; reset it')

    def begin_step(self, slots: Any) -> tuple[np.ndarray, np.ndarray]:
        """A step was asked for: slots int32 (K,) and bool (K,), which of them reset instead.

        A slot whose episode ended resets instead of stepping (its action is ignored) unless
        autoreset is disabled. Under "same_step" that happens after a fault only. Its episode
        number and seed advance here. All slots become BUSY.
        """
        slots_K = self.check_slots(slots)
        with self._lock:
            self.check_step(slots_K)
            rows = self.rows(slots_K)
            ended_K = self.phase[rows] == Phase.ENDED
            self.phase[rows] = Phase.BUSY
            self.step[rows] += 1
            if np.count_nonzero(ended_K):
                again = slots_K[ended_K]
                self._new_episode(again, self.next_seeds(again))
        return slots_K, ended_K

    def next_seeds(self, slots_K: np.ndarray) -> np.ndarray:
        """int64 (K,): the seeds of the slots' next episodes, if nobody gives another."""
        return next_seeds(self.seed[slots_K])

    def finish(self, slots_K: np.ndarray, ended_K: np.ndarray, fault_K: np.ndarray | None = None) -> None:
        """Results are about to be returned. Ended and faulted slots become ENDED, others READY."""
        over_K = ended_K
        if fault_K is not None and np.count_nonzero(fault_K):
            over_K = ended_K | (fault_K != 0)
        with self._lock:
            rows = self.rows(slots_K)
            self.phase[rows] = Phase.READY
            if np.count_nonzero(over_K):
                self.phase[slots_K[over_K]] = Phase.ENDED

    def settle(self, batch: Batch) -> None:
        """``batch`` is about to be returned; slots with a final row are in their next episode already."""
        self.finish(batch.slots, batch.ended, batch.fault)
        if len(batch.final_rows):
            again_M = batch.slots[batch.final_rows]
            self.roll_over(again_M, self.next_seeds(again_M))

    def take_back(self, slots_K: np.ndarray) -> None:
        """Their results did not reach the caller: the slots are BUSY until others do."""
        with self._lock:
            self.phase[slots_K] = Phase.BUSY

    def roll_over(self, slots_K: np.ndarray, seeds_K: np.ndarray) -> None:
        """The episodes of ``slots_K`` ended and new ones have begun already ("same_step")."""
        with self._lock:
            self._new_episode(slots_K, seeds_K)
            self.phase[slots_K] = Phase.READY

    def begin_restore(self, slots_K: np.ndarray, steps_K: np.ndarray, seeds_K: np.ndarray) -> None:
        """A restore was asked for: the slots become BUSY, at those steps of episodes of those seeds."""
        with self._lock:
            self.check_free(slots_K)
            self.phase[slots_K] = Phase.BUSY
            self._new_episode(slots_K, seeds_K)
            self.step[slots_K] = steps_K

    def check_free(self, slots_K: np.ndarray) -> None:
        """Raise if one of these checked slots is busy, or the runtime is closed."""
        if self.closed:
            raise ClosedError("the runtime is closed")
        place = self.phase[self.rows(slots_K)].tobytes().find(Phase.BUSY)
        if place >= 0:
            raise UsageError(f"slot {slots_K[place]} is still busy; receive its result before sending again")

    def check_idle(self, slots_K: np.ndarray) -> None:
        """Raise unless the slots are idle and were reset before (for render and snapshot)."""
        with self._lock:
            self.check_free(slots_K)
            fresh_K = self.phase[slots_K] == Phase.FRESH
            if fresh_K.any():
                raise UsageError(f"slot {slots_K[np.argmax(fresh_K)]} was never reset")

    def busy(self) -> np.ndarray:
        """int32: the slots whose results are outstanding."""
        return np.flatnonzero(self.phase == Phase.BUSY).astype(np.int32)

    def _new_episode(self, slots_K: np.ndarray, seeds_K: np.ndarray) -> None:
        self.episode[slots_K] += 1
        self.step[slots_K] = 0
        self.seed[slots_K] = seeds_K
