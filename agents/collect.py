"""The collector: plays a pool with the learner's current policy and cuts the play into segments.

Whatever members are ready are answered with one batched ``sample``. Every task fills its own
quota of segments per update; a task that has filled it waits, one that is slow contributes
what it has. A fault costs the transition it ended and nothing else. In lockstep, what is
collected is a function of the seeds alone. This file doesn't know what the segments are used for.

Suffixes: K slots of one call.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from universe2.agents.learner import Learner
from universe2.agents.sampler import ArrayState, Sampler, SlotObservations
from universe2.agents.segments import Episode, Lane, Segment
from universe2.agents.text import TextTable
from universe2.core.batch import Batch, Fault
from universe2.core.errors import DeadlineError, InterfaceError, TrainingError, UsageError
from universe2.core.screen import NVEC

log = logging.getLogger("universe2.train")
_POLL_S = 0.02
_SILENT = 0.1
"""of the time after which a run without any movement is given up: a task without is not waited for"""


class PoolLike(Protocol):
    """The part of ``universe2.faces.pool.Pool`` that is used here."""

    @property
    def members(self) -> Sequence[Any]: ...
    def reset(self, seed: int, group: int = 1) -> None: ...
    def send(self, index: int, slots: np.ndarray, actions: Any) -> None: ...
    def restore_member(self, index: int, slots: np.ndarray, states: Sequence[bytes]) -> None: ...
    def recv(self, timeout: float | None = None) -> tuple[int, Batch]: ...


@dataclass(frozen=True)
class CollectParams:
    """How much to collect per update, and how long to wait for what is slow.

    ``quota`` gives the segments per update of each task, in the order of ``task_ids(pool)``.
    """

    length: int
    """transitions per segment"""
    quota: tuple[int, ...]
    patience: float = 0.25
    """Once half of the tasks are full, or one and a quarter of all segments is there, wait this fraction of
    the time so far for the others. A task of which nothing moved for a tenth of ``stall_s`` isn't counted."""
    max_steps_off_policy: int = 512
    """Transitions acted more optimiser steps before their update than this aren't learned from."""
    minimum: int = 1
    """Segments in all that patience waits for in any case."""
    lockstep: bool = False
    """Wait for every slot before any acts again, and for every quota, however long it takes."""
    stall_s: float = 300.0
    """Give up if no environment has moved for so long."""

    def __post_init__(self) -> None:
        if self.length < 1:
            raise UsageError(f"length = {self.length}: a segment has at least one transition")
        if not self.quota or min(self.quota) < 1:
            raise UsageError(f"quota = {self.quota}: it is a number of segments for each task, at least 1")


def task_ids(pool: PoolLike) -> list[str]:
    """The distinct environments of a pool, in order."""
    return list(dict.fromkeys(member.env_id for member in pool.members))


class Collector:
    """Steps a pool's slots; holds what they have produced until the learner takes it.

    The learner's own policy acts, between the learner's other calls, or a snapshot of it
    (``Learner.snapshot``) beside them.
    """

    def __init__(
        self, pool: PoolLike, learner: Learner, params: CollectParams, sampler: Sampler | None = None
    ) -> None:
        self.pool, self.learner, self.params = pool, learner, params
        self.sampler = sampler or learner
        self.tasks = task_ids(pool)
        if learner.tasks != self.tasks:
            raise UsageError(
                f"the learner's tasks are {learner.tasks}, the pool's {self.tasks}: they must be the same, "
                "in the same order (see task_ids)"
            )
        if len(params.quota) != len(self.tasks):
            raise UsageError(f"{len(params.quota)} quotas for {len(self.tasks)} tasks")
        self.texts = TextTable()
        self.lanes = [self._lane(member) for member in pool.members]
        self.queues: list[deque[Segment]] = [deque() for _ in self.tasks]
        self.episodes: list[deque[Episode]] = [deque(maxlen=100) for _ in self.tasks]
        """the last complete episodes of each task"""
        self.steps = Counter[int]()
        """transitions by task"""
        self.episode_count = Counter[int]()
        self.faults = Counter[int]()
        """fault rows by task"""
        self.dropped = Counter[int]()
        """transitions that were too old, by task"""
        self._in_flight = 0
        """rows asked for and not received"""
        self._held: list[tuple[int, Batch]] = []
        """in lockstep: what came while others are still awaited"""
        self._played_until = time.monotonic()
        self._moved = [self._played_until] * len(self.tasks)
        """when each task's last transition came; later by the pauses since, in which nobody played"""
        self._refreshed: Future[None] | None = None

    def start(self, seed: int, group: int = 1) -> None:
        """Begin episodes in all slots, the same one in each ``group`` of neighbours.

        Segments in the making, and those that nobody has collected, are forgotten.
        """
        while self._in_flight:  # a busy slot can't be reset
            self._in_flight -= len(self.pool.recv(self.params.stall_s)[1])
        self._held.clear()
        for queue in self.queues:
            queue.clear()
        for lane, member in zip(self.lanes, self.pool.members, strict=True):
            lane.restart(self.learner.initial_state(member.num_slots))
        self.pool.reset(seed, group)
        self._in_flight = sum(member.num_slots for member in self.pool.members)
        self._played_until = time.monotonic()
        self._moved = [self._played_until] * len(self.tasks)

    def collect(self, give_up: Callable[[], bool] = lambda: False) -> list[Segment]:
        """Play until the quotas are filled, or filled in part and patience is over, or ``give_up``.

        In lockstep there is neither patience nor giving up.
        """
        if not self._in_flight and not any((lane.waiting | lane.faulted).any() for lane in self.lanes):
            raise UsageError("nothing to collect: no episode has begun; call start(seed) first")
        self._skip_pause()
        began = time.monotonic()
        ready_at: float | None = None
        while self.params.lockstep or not give_up():
            now = time.monotonic()
            full = self._awaited_full(now)
            here, asked = sum(map(len, self.queues)), sum(self.params.quota)
            enough = here >= min(self.params.minimum, asked)
            if all(full) and enough:
                break
            # slow tasks may be the majority, but a fast one isn't learned from alone in tiny updates
            most = 2 * sum(full) >= len(full) or (any(full) and 4 * here >= asked)
            if most and enough and not self.params.lockstep:
                ready_at = now if ready_at is None else ready_at
                left = ready_at + self.params.patience * (ready_at - began) - now
                if left <= 0:
                    break
                self.pump(min(left, 1.0))
            else:
                self.pump(1.0)
            self._check_stalled()
        return [segment for task in range(len(self.tasks)) for segment in self._take(task)]

    def _awaited_full(self, now: float) -> list[bool]:
        """Whether the quota is full, of each task that is waited for: of all, if none has moved of late."""
        full = [len(queue) >= quota for queue, quota in zip(self.queues, self.params.quota, strict=True)]
        if self.params.lockstep:
            return full
        since = now - _SILENT * self.params.stall_s
        going = [
            is_full for is_full, moved in zip(full, self._moved, strict=True) if is_full or moved > since
        ]
        return going or full

    def serve_until(self, future: Future[Any]) -> None:
        """Go on playing, as far as the quotas allow, until ``future`` is done."""
        while not future.done() and not self.params.lockstep:
            self.pump(_POLL_S)
            if not self._in_flight:
                break
        future.result()

    def pump(self, timeout: float) -> bool:
        """Receive what is ready within ``timeout`` seconds and answer it. Was there anything?"""
        self._skip_pause()
        moved = self._pump(timeout)
        self._played_until = time.monotonic()
        return moved

    def _skip_pause(self) -> None:
        """What was silent while nobody played, say in an update, was so for no fault of its own."""
        now = time.monotonic()
        self._moved = [moved + now - self._played_until for moved in self._moved]
        self._played_until = now

    def _pump(self, timeout: float) -> bool:
        self._answer()  # slots that waited for their task's quota
        came: list[tuple[int, Batch]] = []
        try:
            while self._in_flight:
                with self.learner.watch("environments"):
                    index, batch = self.pool.recv(timeout)
                self._in_flight -= len(batch)
                came.append((index, batch))
                if not self.params.lockstep:
                    self._receive(*came.pop())
                    timeout = 0.0
        except DeadlineError:
            pass
        self._held += came
        if self._held and self._in_flight:  # in lockstep the rest is waited for
            return False
        for index, batch in sorted(self._held, key=lambda item: (item[0], item[1].slots[0])):
            self._receive(index, batch)
        self._held.clear()
        return self._answer()

    def lag(self, segments: Sequence[Segment]) -> dict[str, float]:
        """Optimiser steps between acting and now: mean and maximum, and each task's mean, as metrics.

        Of what is learned from: of valid transitions. Nothing, without any.
        """
        by_task: dict[int, list[np.ndarray]] = {}
        for segment in segments:
            lags = self.learner.version - segment.done["version"][segment.done["valid"]]
            by_task.setdefault(segment.task, []).append(lags)
        each = {self.tasks[k]: np.concatenate(found) for k, found in sorted(by_task.items())}
        each = {task: lags for task, lags in each.items() if len(lags)}
        if not each:
            return {}
        whole = np.concatenate(list(each.values()))
        return {
            "policy_lag": float(whole.mean()),
            "policy_lag_max": float(whole.max()),
            **{f"policy_lag/{task}": float(lags.mean()) for task, lags in each.items()},
        }

    def refresh(self) -> None:
        """Act with the weights as they are after the calls made so far."""
        if isinstance(self.sampler, Sampler):
            self._refreshed = self.learner.refresh(self.sampler)

    def _lane(self, member: Any) -> Lane:
        runtime = member.runtime
        if runtime.action_mask is None:
            raise InterfaceError(f'{member.env_id}: training needs interface="screen"')
        if (mode := runtime.config.autoreset) != "same_step":
            raise UsageError(f'{member.env_id}: autoreset = "{mode}", and training needs "same_step"')
        shape = runtime.observation_space["screen"].shape
        if shape[:2] != self.learner.config.screen_size:
            raise InterfaceError(
                f"{member.env_id} has screens of {shape[:2]}, the network {self.learner.config.screen_size}"
            )
        state = {k: v.copy() for k, v in self.learner.initial_state(member.num_slots).items()}
        return Lane(
            self.tasks.index(member.env_id),
            member.num_slots,
            self.params.length,
            shape,
            np.asarray(runtime.action_mask, bool),
            state,
            self.texts,
        )

    def _receive(self, index: int, batch: Batch) -> None:
        lane = self.lanes[index]
        if (batch.fault != Fault.NONE).any():
            self._log_faults(index, batch)
        with self.learner.watch("collecting"):
            segments, episodes = lane.receive(batch, self._value_of)
        self.queues[lane.task].extend(segments)
        self.episodes[lane.task].extend(episodes)
        self.episode_count[lane.task] += len(episodes)
        moved = int(((batch.step > 0) & (batch.fault == 0)).sum())
        self.steps[lane.task] += moved
        if moved:
            self._moved[lane.task] = time.monotonic()

    def _value_of(self, obs: SlotObservations, state: ArrayState) -> np.ndarray:
        return self.sampler.values(obs, state).result()

    def _answer(self) -> bool:
        """Act for every slot that waits and whose task has room, in one call; restart faulted ones."""
        turns: list[tuple[int, Lane, np.ndarray]] = []
        for index, lane in enumerate(self.lanes):
            has_room = len(self.queues[lane.task]) < self.params.quota[lane.task]
            ready = lane.waiting | lane.faulted if has_room else np.zeros_like(lane.waiting)
            if ready.any():
                turns.append((index, lane, np.flatnonzero(ready)))
        if not turns:
            return False
        acting = [(lane, slots[lane.waiting[slots]]) for _, lane, slots in turns]
        acting = [(lane, slots) for lane, slots in acting if len(slots)]
        if acting:
            obs = _joined([lane.observations(slots) for lane, slots in acting])
            names = acting[0][0].state
            state = {n: np.concatenate([lane.state[n][slots] for lane, slots in acting]) for n in names}
            sample = self.sampler.sample(obs, state).result()
            at = 0
            for lane, slots in acting:
                rows = slice(at, at + len(slots))
                at += len(slots)
                mine = {name: value[rows] for name, value in sample.state.items()}
                lane.act(
                    slots,
                    sample._replace(action=sample.action[rows], log_prob=sample.log_prob[rows], state=mine),
                )
        for index, lane, slots in turns:
            self._send(index, lane, slots)
        return True

    def _send(self, index: int, lane: Lane, slots: np.ndarray) -> None:
        """The actions just written; a faulted slot ignores its action and restarts."""
        actions = np.zeros((len(slots), len(NVEC)), np.int64)
        acted = lane.acted[slots]
        actions[acted] = lane.done["action"][slots[acted], lane.cursor[slots[acted]] - 1]
        lane.faulted[slots] = False
        self.pool.send(index, slots.astype(np.int32), actions)
        self._in_flight += len(slots)

    def _take(self, task: int) -> list[Segment]:
        queue = self.queues[task]
        taken: list[Segment] = []
        if self.params.lockstep:  # whatever batches they came in
            queue = self.queues[task] = deque(sorted(queue, key=lambda s: (s.version, s.slot)))
        while queue and len(taken) < self.params.quota[task]:
            segment = queue.popleft()
            self._leave_out_stale(task, segment)
            if segment.done["valid"].any():
                taken.append(segment)
        return taken

    def _leave_out_stale(self, task: int, segment: Segment) -> None:
        """Of a slow task a segment may be long in the making: what is young enough of it counts."""
        oldest = self.learner.version - self.params.max_steps_off_policy
        stale = segment.done["valid"] & (segment.done["version"] < oldest)
        if not stale.any():
            return
        self._check_policy(oldest)
        if not self.dropped[task]:
            log.warning(
                "%s is slow beside the learner: what it played more than max_steps_off_policy = %d optimiser "
                "steps before its update isn't learned from; a shorter rollout or a higher bound helps",
                self.tasks[task],
                self.params.max_steps_off_policy,
            )
        self.dropped[task] += int(stale.sum())
        segment.done["valid"] = segment.done["valid"] & ~stale

    def _check_policy(self, oldest: int) -> None:
        """Is it the policy that is too old? Then all that it will ever play is. Raises UsageError."""
        if self._refreshed is not None:
            self._refreshed.result()  # weights that are on their way count
        if isinstance(self.sampler, Sampler) and self.sampler.version < oldest:
            raise UsageError(
                f"the policy that acts is of optimiser step {self.sampler.version}, the learner at "
                f"{self.learner.version}, max_steps_off_policy = {self.params.max_steps_off_policy}: call "
                "collector.refresh() after optim_step, that it acts with the weights of then"
            )

    def _log_faults(self, index: int, batch: Batch) -> None:
        task = self.lanes[index].task
        by_text: dict[tuple[int, str], list[int]] = {}
        for row in np.flatnonzero(batch.fault):
            key = (int(batch.fault[row]), batch.fault_text.get(int(row), ""))
            by_text.setdefault(key, []).append(int(batch.slots[row]))
        for (kind, text), slots in by_text.items():
            self.faults[task] += len(slots)
            log.warning("fault (%s) in %s, slots %s: %s", Fault(kind).name, self.tasks[task], slots, text)

    def _check_stalled(self) -> None:
        silent = time.monotonic() - max(self._moved)
        if silent > self.params.stall_s:
            raise TrainingError(
                f"no environment has moved for {silent:.0f} s ({sum(self.faults.values())} faults so far)"
            )


def _joined(parts: list[SlotObservations]) -> SlotObservations:
    if len(parts) == 1:
        return parts[0]
    ends = np.cumsum([len(part.texts) for part in parts])
    shifted = [
        part._replace(text_index=part.text_index + end - len(part.texts))
        for part, end in zip(parts, ends, strict=True)
    ]
    return SlotObservations(*(np.concatenate(columns) for columns in zip(*shifted, strict=True)))
