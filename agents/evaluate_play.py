"""Plays a fixed list of seeds on the slots of one runtime, each to its end.

Slots are refilled as they become free, so a slow episode holds up nobody but its slot. The policy
acts when half of the slots wait for it: in batches worth a call, never for the slowest. An
episode that a fault cuts is handed on (it counts in no score) and its seed is tried again, up
to a cap. This file doesn't know policies, suites or stores.

Suffixes: K slots of one call.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from universe2.core.batch import Batch
from universe2.core.errors import DeadlineError, UsageError
from universe2.core.runtime import Runtime
from universe2.core.spaces import empty, put, take
from universe2.trace import Episode, Recorder

Act = Callable[[np.ndarray, Any, np.ndarray, np.ndarray], Any]
"""(slots_K, obs_K, reward_K, first_K) → batched actions, as Policy.act"""

RETRIES = 2
"""how often a seed is tried again after faults"""


class OutOfTime(Exception):
    """The wall-clock limit was reached; what had ended before was handed on."""


class Play:
    """One pass over ``seeds``. ``runtime`` must have been opened with ``autoreset="disabled"``."""

    def __init__(
        self,
        runtime: Runtime,
        seeds: Sequence[int],
        begins: Callable[[int, int], None] | None = None,
    ) -> None:
        """``begins(slot, seed)`` is told of every episode before its first action."""
        if runtime.config.autoreset != "disabled":
            raise UsageError(f'evaluation needs autoreset="disabled", got {runtime.config.autoreset!r}')
        self._runtime, self._begins = runtime, begins
        self._recorder = Recorder(runtime)
        self._waiting = deque(seeds)
        self._tries_left = dict.fromkeys(seeds, RETRIES)
        self._begun: dict[int, tuple[int, float]] = {}

    def seed_of(self, slot: int) -> int:
        """The seed of the episode that ``slot`` plays now."""
        return self._begun[int(slot)][0]

    def run(
        self,
        act: Act,
        finished: Callable[[Episode, float], None],
        deadline: float | None = None,
        abandon: Callable[[int, int], bool] | None = None,
    ) -> None:
        """Play on until every seed was played or given up.

        ``finished`` gets each episode that ended or was cut, with its wall-clock seconds.
        ``deadline`` is a ``time.monotonic()``; past it, OutOfTime is raised. ``abandon(slot,
        step)`` may drop an episode: its seed is not played on, nor handed on.
        """
        self._refill(np.arange(self._runtime.num_slots, dtype=np.int32))
        while self._begun:
            batches = self._gather(finished, deadline)
            if abandon is not None:
                self._abandon(batches, abandon)
            self._act(batches, act)
            free = [int(slot) for batch in batches for slot in batch.slots if int(slot) not in self._begun]
            self._refill(np.array(free, np.int32))

    def _gather(self, finished: Callable[[Episode, float], None], deadline: float | None) -> list[Batch]:
        """Results of at least half of the slots that are busy."""
        busy, ready, batches = len(self._begun), 0, []
        while 2 * ready < busy:
            batches.append(self._receive(deadline))
            ready += len(batches[-1])
            for episode in self._recorder.received(batches[-1]):
                seed, started = self._begun.pop(episode.slot)
                assert seed == episode.seed, "a runtime played another seed than the one asked for"
                finished(episode, time.monotonic() - started)
                if not episode.whole and self._tries_left[seed] > 0:
                    self._tries_left[seed] -= 1
                    self._waiting.append(seed)
        return batches

    def _receive(self, deadline: float | None) -> Batch:
        if deadline is None:
            return self._runtime.recv(None)
        left = deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime
        try:
            return self._runtime.recv(left)
        except DeadlineError:
            if time.monotonic() >= deadline:
                raise OutOfTime from None
            raise

    def _act(self, batches: Sequence[Batch], act: Act) -> None:
        rows = [np.flatnonzero([int(slot) in self._begun for slot in batch.slots]) for batch in batches]
        parts = [(batch, rows_K) for batch, rows_K in zip(batches, rows, strict=True) if len(rows_K)]
        if not parts:
            return
        slots_K = np.concatenate([batch.slots[rows_K] for batch, rows_K in parts])
        reward_K = np.concatenate([batch.reward[rows_K] for batch, rows_K in parts])
        first_K = np.concatenate([batch.step[rows_K] == 0 for batch, rows_K in parts])
        actions = act(slots_K, self._observations(parts), reward_K, first_K)
        self._recorder.sent(slots_K, actions)
        self._runtime.send(slots_K, actions)

    def _observations(self, parts: Sequence[tuple[Batch, np.ndarray]]) -> Any:
        space = self._runtime.observation_space
        if len(parts) == 1:
            batch, rows_K = parts[0]
            return take(space, batch.obs, rows_K)
        obs_K = empty(space, sum(len(rows_K) for _, rows_K in parts))
        at = 0
        for batch, rows_K in parts:
            obs_K = put(space, obs_K, slice(at, at + len(rows_K)), take(space, batch.obs, rows_K))
            at += len(rows_K)
        return obs_K

    def _abandon(self, batches: Sequence[Batch], abandon: Callable[[int, int], bool]) -> None:
        for batch in batches:
            for slot, step in zip(batch.slots.tolist(), batch.step.tolist(), strict=True):
                if slot in self._begun and abandon(slot, step):
                    del self._begun[slot]

    def _refill(self, slots_K: np.ndarray) -> None:
        slots_K = slots_K[: len(self._waiting)]
        if len(slots_K) == 0:
            return
        seeds = [self._waiting.popleft() for _ in slots_K]
        for slot, seed in zip(slots_K, seeds, strict=True):
            self._begun[int(slot)] = (seed, time.monotonic())
            if self._begins is not None:
                self._begins(int(slot), seed)
        self._runtime.reset(slots_K, seeds)
