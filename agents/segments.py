"""Segments: stretches of T transitions of one slot, as the learner takes them.

A ``Lane`` writes what the slots of one pool member see and do, and cuts it into segments. A
transition that ended in a fault is marked invalid and what follows it begins a new episode; no
reward is made up for it. This file doesn't know when to act, or what a segment is used for.

Suffixes: S slots of a member, K rows of one call, T transitions, A = 209 choices, P = 5 parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from universe2.agents.learner import Learner
from universe2.agents.losses import SegmentBatch
from universe2.agents.model import Observation
from universe2.agents.pointing import points
from universe2.agents.returns import Transitions
from universe2.agents.sampler import ArrayState, Sample, SlotObservations
from universe2.agents.text import TextTable
from universe2.core.batch import Batch
from universe2.core.errors import UsageError
from universe2.core.screen import NVEC

ValueOf = Callable[[SlotObservations, ArrayState], np.ndarray]
_PARTS = len(NVEC)


@dataclass(frozen=True)
class Segment:
    """T transitions of one slot between T + 1 observations."""

    task: int
    mask: np.ndarray
    """bool (A,)"""
    seen: dict[str, np.ndarray]
    """T + 1 rows each: screen, text, first, prev_action, prev_reward, expert"""
    done: dict[str, np.ndarray]
    """T rows each: action, log_prob, reward, terminated, truncated, final_value, valid, version"""
    state: ArrayState
    """before the first observation"""
    slot: int = 0

    @property
    def version(self) -> int:
        """Of the oldest policy that acted in it."""
        return int(self.done["version"][0])


class Episode(NamedTuple):
    """A complete episode of a task."""

    task: int
    score: float
    """sum of rewards"""
    length: int
    """transitions"""


class Lane:
    """The slots of one member: their segments in the making, memory and running scores."""

    def __init__(
        self,
        task: int,
        num_slots: int,
        length: int,
        screen_shape: tuple[int, ...],
        mask: np.ndarray,
        state: ArrayState,
        texts: TextTable,
    ) -> None:
        S, T = num_slots, length
        self.task, self.length, self.mask, self.texts = task, length, mask, texts
        self.seen: dict[str, np.ndarray] = {
            "screen": np.zeros((S, T + 1, *screen_shape), np.uint8),
            "text": np.zeros((S, T + 1), np.int32),
            "first": np.zeros((S, T + 1), bool),
            "prev_action": np.zeros((S, T + 1, _PARTS), np.int64),
            "prev_reward": np.zeros((S, T + 1), np.float32),
            "expert": np.full((S, T + 1, _PARTS), -1, np.int64),
        }
        self.done: dict[str, np.ndarray] = {
            "action": np.zeros((S, T, _PARTS), np.int64),
            "log_prob": np.zeros((S, T), np.float32),
            "reward": np.zeros((S, T), np.float32),
            "terminated": np.zeros((S, T), bool),
            "truncated": np.zeros((S, T), bool),
            "final_value": np.zeros((S, T), np.float32),
            "valid": np.zeros((S, T), bool),
            "version": np.zeros((S, T), np.int64),
        }
        self.state = state
        """before the observation at the cursor"""
        self.start = {name: value.copy() for name, value in state.items()}
        self.cursor = np.zeros(S, np.int64)
        """where the next observation of the slot goes"""
        self.acted = np.zeros(S, bool)
        """the transition before the cursor awaits its outcome"""
        self.waiting = np.zeros(S, bool)
        """the observation at the cursor awaits an action"""
        self.faulted = np.zeros(S, bool)
        """the slot had a fault and awaits any send, which restarts it"""
        self.score = np.zeros(S)
        """of the episode so far"""
        self.steps = np.zeros(S, np.int64)

    def restart(self, state: ArrayState) -> None:
        """All slots begin anew, from ``state``; what was in the making is forgotten."""
        for values_S in (self.cursor, self.acted, self.waiting, self.faulted, self.score, self.steps):
            values_S[:] = 0
        for name, value in state.items():
            self.state[name][:] = value
            self.start[name][:] = value

    def receive(self, batch: Batch, value_of: ValueOf) -> tuple[list[Segment], list[Episode]]:
        """Write a batch's rows. What they completed: segments, and episodes that no fault cut."""
        good_K = batch.fault == 0
        moved_K = good_K & self.acted[batch.slots] & (batch.step > 0)
        lost = batch.slots[self.acted[batch.slots] & ~moved_K]
        for name in ("reward", "terminated", "truncated", "valid"):
            self.done[name][lost, self.cursor[lost] - 1] = 0
        self._write_transitions(batch, moved_K)
        self._write_final_values(batch, moved_K, value_of)
        episodes = self._score_episodes(batch, moved_K)
        self.acted[batch.slots] = False
        self.faulted[batch.slots] = ~good_K
        self._write_observations(batch, good_K, moved_K)
        full = batch.slots[good_K & (self.cursor[batch.slots] == self.length)]
        return self._cut(full), episodes

    def observations(self, slots_K: np.ndarray) -> SlotObservations:
        """What these slots see now."""
        at = self.cursor[slots_K]
        text_K = self.seen["text"][slots_K, at]
        rows_U, index_K = np.unique(text_K, return_inverse=True)
        return SlotObservations(
            self.seen["screen"][slots_K, at],
            self.texts.ids(rows_U),
            index_K,
            np.repeat(self.mask[None], len(slots_K), 0),
            self.seen["prev_action"][slots_K, at],
            self.seen["prev_reward"][slots_K, at],
            self.seen["first"][slots_K, at],
        )

    def act(self, slots_K: np.ndarray, sample: Sample) -> None:
        """The slots were given these actions."""
        at = self.cursor[slots_K]
        self.done["action"][slots_K, at] = sample.action
        self.done["log_prob"][slots_K, at] = sample.log_prob
        self.done["version"][slots_K, at] = sample.version
        for name, value in sample.state.items():
            self.state[name][slots_K] = value
        self.cursor[slots_K] = at + 1
        self.acted[slots_K] = True
        self.waiting[slots_K] = False

    def _write_transitions(self, batch: Batch, moved_K: np.ndarray) -> None:
        slots = batch.slots[moved_K]
        at = self.cursor[slots] - 1
        self.done["reward"][slots, at] = batch.reward[moved_K]
        self.done["terminated"][slots, at] = batch.terminated[moved_K]
        # both flags at once: the episode's own end counts, there is nothing to bootstrap from
        self.done["truncated"][slots, at] = (batch.truncated & ~batch.terminated)[moved_K]
        self.done["final_value"][slots, at] = 0.0
        self.done["valid"][slots, at] = True

    def _write_final_values(self, batch: Batch, moved_K: np.ndarray, value_of: ValueOf) -> None:
        rows = batch.final_rows
        chosen = (batch.truncated & ~batch.terminated & moved_K)[rows]
        if not chosen.any():
            return
        slots = batch.slots[rows[chosen]]
        at = self.cursor[slots] - 1
        screens = batch.final_obs["screen"][chosen]
        instructions = [t for t, c in zip(batch.final_obs["instruction"], chosen, strict=True) if c]
        obs = SlotObservations(
            screens,
            self.texts.ids(self.texts.rows(instructions)),
            np.arange(len(slots)),
            np.repeat(self.mask[None], len(slots), 0),
            self.done["action"][slots, at],
            self.done["reward"][slots, at],
            np.zeros(len(slots), bool),
        )
        state = {name: value[slots] for name, value in self.state.items()}
        self.done["final_value"][slots, at] = value_of(obs, state)

    def _write_observations(self, batch: Batch, good_K: np.ndarray, moved_K: np.ndarray) -> None:
        slots = batch.slots[good_K]
        if not len(slots):
            return
        at = self.cursor[slots]
        every = len(slots) == len(good_K)
        texts = batch.obs["instruction"]
        kept = texts if every else [t for t, good in zip(texts, good_K, strict=True) if good]
        first = (~moved_K | batch.ended)[good_K]
        before = np.maximum(at - 1, 0)
        self.seen["screen"][slots, at] = batch.obs["screen"] if every else batch.obs["screen"][good_K]
        self.seen["text"][slots, at] = self.texts.rows(kept)
        self.seen["first"][slots, at] = first
        self.seen["prev_action"][slots, at] = np.where(first[:, None], 0, self.done["action"][slots, before])
        self.seen["prev_reward"][slots, at] = np.where(first, 0, self.done["reward"][slots, before])
        self.seen["expert"][slots, at] = self._advice(batch)[good_K]
        self.waiting[slots] = True

    def _advice(self, batch: Batch) -> np.ndarray:
        """int64 (K, P): what an expert would do now, where info["expert"] says it; else -1."""
        if "expert" not in batch.info:
            return np.full((len(batch), _PARTS), -1, np.int64)
        advice, there = batch.info["expert"]
        return np.where(there[:, None], advice, -1)

    def _score_episodes(self, batch: Batch, moved_K: np.ndarray) -> list[Episode]:
        slots = batch.slots
        fresh = slots[~moved_K]
        self.score[fresh] = 0
        self.steps[fresh] = 0
        self.score[slots[moved_K]] += batch.reward[moved_K]
        self.steps[slots[moved_K]] += 1
        over = slots[moved_K & batch.ended]
        episodes = [Episode(self.task, float(self.score[s]), int(self.steps[s])) for s in over]
        self.score[over] = 0
        self.steps[over] = 0
        return episodes

    def _cut(self, slots: np.ndarray) -> list[Segment]:
        """Segments of these slots, whose last observation becomes the first of their next.

        One that consists of faults alone is left out.
        """
        if not len(slots):
            return []
        seen = {name: value[slots] for name, value in self.seen.items()}
        done = {name: value[slots] for name, value in self.done.items()}
        state = {name: value[slots] for name, value in self.start.items()}
        for value in self.seen.values():
            value[slots, 0] = value[slots, self.length]
        for name, value in self.state.items():
            self.start[name][slots] = value[slots]
        self.cursor[slots] = 0

        def row(arrays: dict[str, np.ndarray], k: int) -> dict[str, np.ndarray]:
            return {name: value[k] for name, value in arrays.items()}

        return [
            Segment(self.task, self.mask, row(seen, k), row(done, k), row(state, k), int(slots[k]))
            for k in range(len(slots))
            if done["valid"][k].any()
        ]


def segment_batch(
    segments: Sequence[Segment], weights: Sequence[float], texts: TextTable, learner: Learner
) -> SegmentBatch:
    """N segments as one batch on the learner's device; ``weights`` has one number per task."""
    if not segments:
        raise UsageError("no segments to make a batch of: was collect() given up?")
    seen = {name: np.stack([s.seen[name] for s in segments]) for name in segments[0].seen}
    done = {name: np.stack([s.done[name] for s in segments]) for name in segments[0].done}
    state = {name: np.stack([s.state[name] for s in segments]) for name in segments[0].state}
    mask_NA = np.stack([s.mask for s in segments])
    task_N = np.array([s.task for s in segments])
    rows_U, index = np.unique(seen["text"], return_inverse=True)
    to = learner.to_device
    return SegmentBatch(
        obs=Observation(
            screen=to(seen["screen"]),
            texts=to(texts.ids(rows_U)),
            text_index=to(index.reshape(seen["text"].shape)),
            mask=to(mask_NA),
            prev_action=to(seen["prev_action"]),
            prev_reward=to(seen["prev_reward"]),
            first=to(seen["first"]),
            points=to(points(mask_NA)),
        ),
        state={name: to(value) for name, value in state.items()},
        action=to(done["action"]),
        expert=to(np.ascontiguousarray(seen["expert"][:, :-1])),
        log_prob=to(done["log_prob"]),
        transitions=Transitions(
            to(done["reward"]),
            to(done["terminated"]),
            to(done["truncated"]),
            to(done["final_value"]),
            to(done["valid"]),
        ),
        task=to(task_N),
        weight=to(np.asarray(weights, np.float32)[task_N]),
    )
