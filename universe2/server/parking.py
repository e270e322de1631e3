"""ParkingRuntime: a runtime whose slots, when they fail too often in a row, are asked no more.

Every runtime restarts a slot after a fault. One that fails again and again would be restarted for
ever; here it is parked: its steps are answered by a fault that says so, at no cost, and the other
slots go on. It doesn't know why a slot fails.

Rows that can't be written (``reject``) are faults of which the runtime doesn't know. To the caller they
are like any other: the slot's next step begins the next episode or, where autoreset is disabled, is refused.

Suffixes: N slots of the runtime, K slots of one call.
"""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from universe2.core.batch import Batch, Fault, fault_batch
from universe2.core.errors import UsageError
from universe2.core.ledger import SlotLedger
from universe2.core.runtime import Runtime
from universe2.core.seeding import check_seeds, next_seed
from universe2.core.spaces import check_actions, empty, take
from universe2.wire.unwritable import unwritable_rows, with_faults


class ParkingRuntime(Runtime):
    """``inner`` with a cap of ``max_faults`` in a row per slot."""

    def __init__(
        self,
        inner: Runtime,
        max_faults: int,
        on_park: Callable[[int, str], None] = lambda slot, text: None,
        on_restart: Callable[[int], None] = lambda slots: None,
    ) -> None:
        """``on_park(slot, last fault)`` and ``on_restart(how many slots)`` are told what happens."""
        self.spec, self.config, self.num_slots = inner.spec, inner.config, inner.num_slots
        self.observation_space, self.action_space = inner.observation_space, inner.action_space
        self.action_mask, self.result_seconds = inner.action_mask, inner.result_seconds
        self._inner = inner
        self._max_faults = max_faults
        self._on_park, self._on_restart = on_park, on_restart
        self._faults_N = np.zeros(self.num_slots, np.int64)
        """in a row, of each slot"""
        self._parked: dict[int, tuple[str, int, int, int]] = {}
        """slot → why, and the episode, step and seed at which it failed last"""
        self._rejected: dict[int, int] = {}
        """slot → the seed of its next episode, which the runtime must be told"""
        self._unseen = Counter[int]()
        """slot → episodes that the runtime began ("same_step") and of which nobody heard"""
        self._refused: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self._owing: set[int] = set()
        """parked slots that were asked, and whose fault was not received yet"""
        self._known = SlotLedger(self.num_slots, self.config.autoreset)
        """only for what slots there are: the runtime has its own"""

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        if not self._parked:
            self._inner.reset(slots, seeds)
            self._forget(slots)
            return
        slots_K = self._known.check_slots(slots)
        seeds_K = check_seeds(seeds, len(slots_K))
        going, refused = self._split(slots_K)
        if going:
            self._inner.reset(slots_K[going], seeds_K[going])
            self._forget(slots_K)
        self._refuse(refused)

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        if not self._parked and not self._rejected:
            self._inner.send(slots, actions)
            return
        slots_K = self._known.check_slots(slots)
        actions = check_actions(self.action_space, actions, slots_K)
        going, refused = self._split(slots_K)
        anew = [slot for slot in slots_K[going].tolist() if slot in self._rejected]
        if anew and self.config.autoreset == "disabled":
            raise UsageError(f'slot {anew[0]}: its episode ended and autoreset is "disabled"; reset it')
        going = [row for row in going if int(slots_K[row]) not in self._rejected]
        if going:
            self._inner.send(slots_K[going], take(self.action_space, actions, np.array(going)))
        if anew:
            self._inner.reset(np.array(anew, np.int32), [self._rejected[slot] for slot in anew])
            self._forget(anew)
        self._refuse(refused)

    def recv(self, timeout: float | None = None) -> Batch:
        try:
            refused = self._refused.get_nowait()
        except queue.Empty:
            batch = self._inner.recv(timeout)
        else:
            self._owing.difference_update(refused)
            return self._refusal(refused)
        if self._unseen:
            batch.episode = batch.episode - [self._unseen[slot] for slot in batch.slots.tolist()]
        if np.count_nonzero(batch.fault) or np.count_nonzero(self._faults_N):
            self._count(batch)
        return batch

    def reject(self, batch: Batch) -> Batch:
        """A batch of ``recv`` that can't be written, with faults in the place of the rows to blame."""
        texts = unwritable_rows(batch, self.observation_space)
        for row in texts:
            slot, seed = int(batch.slots[row]), int(batch.seed[row])
            if not batch.fault[row]:
                self._rejected[slot] = next_seed(seed)
                self._unseen[slot] += int(row in batch.final_rows)
        return with_faults(batch, self.observation_space, texts)

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        return self._inner.snapshot(slots)

    def restore(self, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        self._inner.restore(slots, states)
        self._forget(slots)

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        return self._inner.render(slots, size)

    def close(self) -> None:
        self._inner.close()

    def _forget(self, slots: Sequence[int] | np.ndarray) -> None:
        """Rejected or not, these slots begin anew."""
        if self._rejected:
            for slot in slots:
                self._rejected.pop(int(slot), None)

    def _split(self, slots_K: np.ndarray) -> tuple[list[int], list[int]]:
        """Rows of slots that go on, and slots that are parked. Raises UsageError if one of these is busy."""
        numbers = slots_K.tolist()
        if busy := self._owing.intersection(numbers):
            raise UsageError(f"slot {min(busy)} is still busy; receive its result before sending again")
        going = [row for row, slot in enumerate(numbers) if slot not in self._parked]
        return going, [slot for slot in numbers if slot in self._parked]

    def _refuse(self, slots: list[int]) -> None:
        if slots:
            self._owing.update(slots)
            self._refused.put(slots)

    def _count(self, batch: Batch) -> None:
        failed = batch.fault != Fault.NONE.value
        well_K = batch.slots[~failed]
        if again := int((self._faults_N[well_K] > 0).sum()):
            self._on_restart(again)
        self._faults_N[well_K[batch.step[~failed] > 0]] = 0  # a reset alone proves nothing
        for row in np.flatnonzero(failed & (batch.fault != Fault.USER.value)).tolist():
            slot = int(batch.slots[row])
            self._faults_N[slot] += 1
            if self._faults_N[slot] >= self._max_faults and slot not in self._parked:
                last = batch.fault_text.get(row, "no details")
                text = f"slot {slot} is parked after {self._faults_N[slot]} faults in a row; the last: {last}"
                place = int(batch.episode[row]), int(batch.step[row]), int(batch.seed[row])
                self._parked[slot] = (text, *place)
                batch.fault_text[row] = text
                self._on_park(slot, last)

    def _refusal(self, slots: list[int]) -> Batch:
        texts, episodes, steps, seeds = zip(*(self._parked[slot] for slot in slots), strict=True)
        return fault_batch(
            np.array(slots, np.int32),
            empty(self.observation_space, len(slots)),
            np.array(episodes, np.int64),
            np.array(steps, np.int64),
            np.array(seeds, np.int64),
            texts,
        )
