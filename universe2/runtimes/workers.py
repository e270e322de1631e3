"""WorkerRuntime: a Runtime in front of worker processes, each holding a few slots.

Observations come through shared memory, everything else through one pipe per worker. This
file knows episodes and batches; processes and deadlines are ``worker_pool``'s, and what an
environment is, a SlotHost's (``universe2.core.host``).

Suffixes: N rows of a batch, K slots of one call, M rows with a final observation.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from universe2.core.batch import Batch, info_columns
from universe2.core.errors import DeadlineError, FaultError, IdleError, UsageError, error_named
from universe2.core.ledger import SlotLedger
from universe2.core.pictures import check_size
from universe2.core.runtime import Runtime
from universe2.core.spaces import as_rows, check_actions, empty, from_leaves, leaf_values, take
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.runtimes.shared import SlotMemory
from universe2.runtimes.worker_main import Command, Result, Setup
from universe2.runtimes.worker_pool import Limits, WorkerPool

_EPISODIC = ("reset", "step")


class WorkerRuntime(Runtime):
    """``num_slots`` slots over processes of ``slots_per_worker`` each.

    ``host`` is the SlotHost class as ``module:Class``; it is imported in the workers only.
    Deadlines are in seconds and hold for one slot: a worker that misses one is killed and
    started again, as is one that dies; its slots get an INFRASTRUCTURE fault (those it was
    idle for, when they are stepped next). A worker that fails ``max_failures`` times in a row
    without one successful step is given up: its slots answer with faults from then on. A worker
    that takes more than ``memory_limit`` bytes (0: half of the machine's) is killed too.
    """

    def __init__(
        self,
        spec: EnvSpec,
        num_slots: int,
        config: EnvConfig | None = None,
        *,
        host: str,
        slots_per_worker: int | None = None,
        step_deadline: float = 60.0,
        reset_deadline: float = 120.0,
        start_deadline: float = 120.0,
        max_failures: int = 3,
        memory_limit: int = 0,
    ) -> None:
        config = config or EnvConfig()
        _check_importable(spec)
        if slots_per_worker is not None and slots_per_worker < 1:
            raise UsageError(f"slots_per_worker must be at least 1, got {slots_per_worker}")
        if min(step_deadline, reset_deadline, start_deadline) <= 0 or max_failures < 1:
            raise UsageError("deadlines must be above 0 s and max_failures at least 1")
        per_worker = slots_per_worker or -(-num_slots // (os.cpu_count() or 1))
        # A worker may have to start first, and may do its slots one after the other.
        self.result_seconds = start_deadline + per_worker * (step_deadline + reset_deadline)
        slots = list(range(num_slots))
        assignment = [slots[i : i + per_worker] for i in range(0, num_slots, per_worker)]
        self.spec, self.config, self.num_slots = spec, config, num_slots
        self.observation_space, self.action_space, self.action_mask, self.render_fps = spec.spaces(config)
        self._rendering = threading.Lock()
        """pictures are collected by whoever asked for them, so one asks at a time"""
        self._worker_of = np.arange(num_slots) // per_worker
        self._ledger = SlotLedger(num_slots, config.autoreset)
        self._memory = SlotMemory(
            self.observation_space, num_slots, len(assignment), config.autoreset == "same_step"
        )
        setup = Setup(
            host, spec, config, 0, [], num_slots, len(assignment), self.observation_space, self.action_space
        )
        limits = Limits(step_deadline, reset_deadline, start_deadline, max_failures, memory_limit)
        self._pool = WorkerPool(setup, assignment, self._memory, limits)
        self._finalizer = weakref.finalize(self, self._pool.close)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run, for diagnosis."""
        return self._pool.pids

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        slots_K, seeds_K = self._ledger.begin_reset(slots, seeds)
        everything = np.ones(len(slots_K), bool)
        self._submit(slots_K, everything, seeds_K, None)

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        slots_K = self._ledger.check_slots(slots)
        actions = check_actions(self.action_space, actions, slots_K)
        slots_K, again_K = self._ledger.begin_step(slots_K)
        self._submit(slots_K, again_K, self._ledger.seed[slots_K], actions)

    def _submit(self, slots_K: np.ndarray, reset_K: np.ndarray, seeds_K: np.ndarray, actions: Any) -> None:
        """One message to each worker concerned: what it resets and what it steps."""
        worker_K = self._worker_of[slots_K]
        for worker in dict.fromkeys(worker_K.tolist()):
            mine_K = worker_K == worker
            commands = []
            if rows := np.flatnonzero(mine_K & reset_K).tolist():
                commands.append(Command("reset", slots_K[rows].tolist(), seeds_K[rows].tolist()))
            if rows := np.flatnonzero(mine_K & ~reset_K).tolist():
                some = take(self.action_space, actions, rows)
                commands.append(Command("step", slots_K[rows].tolist(), actions=some))
            self._pool.submit(worker, commands)

    def recv(self, timeout: float | None = None) -> Batch:
        if not self._ledger.closed and not self._ledger.busy().size:
            raise IdleError("no slot is busy: there is nothing to receive; send or reset first")
        results = self._pool.collect(timeout, _EPISODIC)
        if not results:
            raise DeadlineError(f"{self.spec.id}: no slot was ready within {timeout} s")
        try:
            batch = self._batch(sorted(results, key=lambda result: result.slot))
        except BaseException:  # also Ctrl-C: what is done isn't lost
            self._pool.put_back(results)
            raise
        self._ledger.settle(batch)
        return batch

    def _batch(self, results: list[Result]) -> Batch:
        slots_N = np.array([r.slot for r in results], np.int32)
        fault_N = np.array([r.fault for r in results], np.uint8)
        terminated_N = np.array([r.terminated for r in results])
        truncated_N = np.array([r.truncated for r in results])
        reward_N = np.array([np.nan if r.fault else r.reward for r in results], np.float64)
        for result in results:
            if result.fault:
                self._memory.clear(result.slot)
                result.loose = self._nothing()
            elif result.late_fault:
                # The reset after the end failed: the last thing seen stays, the next step is the fault.
                result.loose = result.final_loose
                for now, last in zip(self._memory.current, self._memory.final, strict=True):
                    if now is not None and last is not None:
                        now[result.slot] = last[result.slot]
        ledger = self._ledger
        batch = Batch(
            slots_N,
            self._observations(self._memory.current, slots_N, [r.loose for r in results]),
            reward_N,
            terminated_N,
            truncated_N,
            ledger.episode[slots_N],
            ledger.step[slots_N],
            ledger.seed[slots_N],
            fault_N,
            {row: r.text for row, r in enumerate(results) if r.fault},
            info_columns([r.info for r in results]),
        )
        self._add_finals(batch, results)
        return batch

    def _add_finals(self, batch: Batch, results: list[Result]) -> None:
        ended = [(row, result) for row, result in enumerate(results) if result.ended]
        if not ended:
            return
        batch.final_rows = np.array([row for row, _ in ended], np.int32)
        loose = [result.final_loose for _, result in ended]
        batch.final_obs = self._observations(self._memory.final, batch.slots[batch.final_rows], loose)
        batch.final_info = info_columns([result.final_info for _, result in ended])

    def _observations(
        self, arrays: list[np.ndarray | None], slots_N: np.ndarray, loose_N: list[list[Any]]
    ) -> Any:
        """The batched observation: views where the slots are neighbours, copies elsewhere."""
        rows = as_rows(slots_N)
        columns = iter(zip(*loose_N, strict=True))
        parts = [tuple(next(columns)) if array is None else array[rows] for array in arrays]
        return from_leaves(self.observation_space, parts)

    def _nothing(self) -> list[Any]:
        """The smallest values of the variable-size leaves."""
        values = leaf_values(self.observation_space, empty(self.observation_space, 1))
        parts = zip(values, self._memory.current, strict=True)
        return [value[0] for value, array in parts if array is None]

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        slots_K = self._ledger.check_slots(slots)
        self._ledger.check_idle(slots_K)
        wanted = None if size is None else check_size(size)
        with self._rendering:
            pictures = self._rendered(slots_K, wanted)
        for result in pictures.values():
            if result.fault:
                raise error_named(result.error, result.text) if result.error else FaultError(result.text)
        return [np.require(pictures[slot].value, requirements="W") for slot in slots_K.tolist()]

    def _rendered(self, slots_K: np.ndarray, size: tuple[int, int] | None) -> dict[int, Result]:
        """Slot → the result that holds its picture."""
        for worker in dict.fromkeys(self._worker_of[slots_K].tolist()):
            mine = slots_K[self._worker_of[slots_K] == worker].tolist()
            self._pool.submit(worker, [Command("render", mine, size=size)])
        pictures: dict[int, Result] = {}
        wanted = set(slots_K.tolist())
        while not wanted <= pictures.keys():
            pictures.update({r.slot: r for r in self._pool.collect(None, ("render",)) if r.slot in wanted})
        return pictures

    def close(self) -> None:
        self._ledger.closed = True
        self._finalizer()
        self._pool.close()


def _check_importable(spec: EnvSpec) -> None:
    """Raise UsageError for an entry that worker processes wouldn't find."""
    if spec.entry.startswith("__main__:"):
        raise UsageError(
            f"{spec.id}: its entry {spec.entry} is in the program that was started, which worker "
            "processes don't import; put it into a module of its own"
        )
