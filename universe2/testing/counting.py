"""CountingRuntime: a runtime in memory whose environment numbers its own steps.

For tests of everything above the runtimes: what it returns is known beforehand, so a lost,
repeated or reordered step shows. Faults come on request.

Suffixes: N slots, K slots of one call.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.batch import Batch, Fault, info_columns
from universe2.core.errors import ClosedError, IdleError
from universe2.core.ledger import SlotLedger
from universe2.core.runtime import Runtime
from universe2.core.spaces import check_actions
from universe2.core.spec import EnvConfig, EnvSpec, Spaces


def counting_spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    """``spaces_from`` of COUNTING."""
    count, note = spaces.Box(-1, 2**62, (3,), np.int64), spaces.Text(32, min_length=0)
    return Spaces(spaces.Dict({"count": count, "note": note}), spaces.Discrete(5))


COUNTING = EnvSpec(
    id="testing/Counting-v0",
    runtime="universe2.testing.counting:CountingRuntime",
    entry="universe2.testing.counting:CountingRuntime",
    spaces_from="universe2.testing.counting:counting_spaces",
    description="Numbers its own steps; an episode has 3 + seed % 5 of them.",
)


class CountingRuntime(Runtime):
    """Observation ``count`` is (seed, step, last action); the reward of a step is its number.

    Episodes have 3 + seed % 5 steps; odd seeds end by truncation, even ones by termination.
    ``faults`` holds (slot, episode) pairs whose second step is a fault.
    """

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        self.spec, self.config, self.num_slots = spec, config, num_slots
        self.observation_space, self.action_space, *_ = counting_spaces(spec, config)
        self.faults: set[tuple[int, int]] = set()
        self._ledger = SlotLedger(num_slots, config.autoreset)
        self._todo: queue.SimpleQueue[tuple[np.ndarray, Any] | None] = queue.SimpleQueue()

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        slots_K, _ = self._ledger.begin_reset(slots, list(seeds))
        if len(slots_K):
            self._todo.put((slots_K, None))

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        actions_K = check_actions(self.action_space, actions, self._ledger.check_slots(slots))
        slots_K, reset_K = self._ledger.begin_step(slots)
        if len(slots_K):
            self._todo.put((slots_K, np.where(reset_K, -1, actions_K)))

    def recv(self, timeout: float | None = None) -> Batch:
        if self._ledger.closed:
            raise ClosedError("the runtime is closed")
        if self._todo.empty():
            raise IdleError("no slot is busy")
        item = self._todo.get()
        assert item is not None
        slots_K, actions_K = item
        ledger = self._ledger
        step_K, seed_K = ledger.step[slots_K], ledger.seed[slots_K]
        pairs = zip(slots_K.tolist(), ledger.episode[slots_K].tolist(), strict=True)
        broken_K = np.array([pair in self.faults for pair in pairs]) & (step_K == 2)
        over_K = (step_K >= 3 + seed_K % 5) & ~broken_K
        batch = Batch(
            slots=slots_K,
            obs=_observe(seed_K, step_K, np.full(len(slots_K), -1) if actions_K is None else actions_K),
            reward=np.where(broken_K, np.nan, step_K.astype(np.float64)),
            terminated=over_K & (seed_K % 2 == 0),
            truncated=over_K & (seed_K % 2 == 1),
            episode=ledger.episode[slots_K],
            step=step_K,
            seed=seed_K,
            fault=np.where(broken_K, Fault.ENVIRONMENT, Fault.NONE).astype(np.uint8),
            fault_text={int(row): "asked to fail" for row in np.flatnonzero(broken_K)},
            info=info_columns([{"length": int(s)} if o else {} for s, o in zip(step_K, over_K, strict=True)]),
        )
        ledger.finish(slots_K, over_K, batch.fault)
        if self.config.autoreset == "same_step" and over_K.any():
            self._roll_over(batch, over_K)
        return batch

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        slots_K = self._ledger.check_slots(slots)
        return [np.full((*(size or (8, 8)), 3), self._ledger.step[slot], np.uint8) for slot in slots_K]

    def close(self) -> None:
        self._ledger.closed = True

    def _roll_over(self, batch: Batch, over_K: np.ndarray) -> None:
        rows = np.flatnonzero(over_K).astype(np.int32)
        slots = batch.slots[rows]
        batch.final_rows, batch.final_info, batch.info = rows, batch.info, {}
        batch.final_info = {k: type(c)(c.values[rows], c.mask[rows]) for k, c in batch.final_info.items()}
        count, note = batch.obs["count"], list(batch.obs["note"])
        batch.final_obs = {"count": count[rows], "note": tuple(note[row] for row in rows)}
        self._ledger.roll_over(slots, self._ledger.next_seeds(slots))
        first = _observe(self._ledger.seed[slots], np.zeros(len(rows), np.int64), np.full(len(rows), -1))
        count[rows] = first["count"]
        for row, text in zip(rows, first["note"], strict=True):
            note[row] = text
        batch.obs["note"] = tuple(note)


def _observe(seed_K: np.ndarray, step_K: np.ndarray, action_K: np.ndarray) -> dict[str, Any]:
    notes = tuple(f"step{step}" for step in step_K)
    return {"count": np.stack([seed_K, step_K, action_K], axis=1).astype(np.int64), "note": notes}
