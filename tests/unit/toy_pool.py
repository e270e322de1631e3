"""A pool of toy tasks on 32 × 32 screens, without threads: what the agents' tests train on.

A toy is an object with ``reset() -> colour`` and ``step(action) -> (colour, reward, terminated,
truncated)``; its screen is that colour all over. ``ToyFault`` raised from a step becomes a fault.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from universe2.core.batch import Batch, Fault
from universe2.core.errors import DeadlineError
from universe2.core.screen import ScreenMap, screen_observation_space
from universe2.core.spec import EnvConfig

SIZE = (32, 32)
BLACK, RED, BLUE, GREEN = (0, 0, 0), (255, 0, 0), (0, 0, 255), (0, 255, 0)


class ToyFault(Exception):
    """The toy broke."""


class Toy:
    """Base of the toys: one step, no reward."""

    live = ScreenMap(arrows=("up", "down"))
    instruction = "toy"

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def reset(self) -> tuple[int, int, int]:
        return BLACK

    def step(self, action: np.ndarray) -> tuple[tuple[int, int, int], float, bool, bool]:
        return BLACK, 0.0, True, False


@dataclass
class ToyRuntime:
    action_mask: np.ndarray
    config: EnvConfig = field(default_factory=lambda: EnvConfig(interface="screen", autoreset="same_step"))
    observation_space: Any = field(default_factory=lambda: screen_observation_space(SIZE))
    toys: list[Toy] = field(default_factory=list)
    steps: Any = None
    faulted: Any = None

    def snapshot(self, slots: np.ndarray) -> list[bytes]:
        return [pickle.dumps((self.toys[s], self.steps[s], self.faulted[s])) for s in slots]


@dataclass
class ToyMember:
    env_id: str
    num_slots: int
    runtime: ToyRuntime


class ToyPool:
    """``tasks`` maps names to (toy class or factory, slots)."""

    def __init__(self, tasks: dict[str, tuple[Callable[[np.random.Generator], Toy], int]], seed: int = 0):
        self.toys = [
            [factory(np.random.default_rng([seed, m, s])) for s in range(slots)]
            for m, (factory, slots) in enumerate(tasks.values())
        ]
        self.members = [
            ToyMember(name, slots, ToyRuntime(toys[0].live.action_mask()))
            for (name, (_, slots)), toys in zip(tasks.items(), self.toys, strict=True)
        ]
        self.ready: deque[tuple[int, Batch]] = deque()
        self.sent: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.steps = [np.zeros(m.num_slots, np.int64) for m in self.members]
        self.faulted = [np.ones(m.num_slots, bool) for m in self.members]
        for m, member in enumerate(self.members):
            runtime = member.runtime
            runtime.toys, runtime.steps, runtime.faulted = self.toys[m], self.steps[m], self.faulted[m]

    def reset(self, seed: int, group: int = 1) -> None:
        for index, member in enumerate(self.members):
            self.faulted[index][:] = True  # so that any action begins an episode
            self.send(index, np.arange(member.num_slots), np.zeros((member.num_slots, 5), np.int64))
        self.sent.clear()

    def restore_member(self, index: int, slots: np.ndarray, states: list[bytes]) -> None:
        for slot, state in zip(slots, states, strict=True):
            self.toys[index][slot], self.steps[index][slot], self.faulted[index][slot] = pickle.loads(state)
        rows = [self._blank() | {"colour": BLACK, "step": int(self.steps[index][s])} for s in slots]
        self.ready.append((index, self._batch(index, slots, rows)))

    def send(self, index: int, slots: np.ndarray, actions: np.ndarray) -> None:
        self.sent.append((index, slots.copy(), actions.copy()))
        rows = [self._row(index, int(s), a) for s, a in zip(slots, actions, strict=True)]
        self.ready.append((index, self._batch(index, slots, rows)))

    def recv(self, timeout: float | None = None) -> tuple[int, Batch]:
        if not self.ready:
            raise DeadlineError("nothing")
        return self.ready.popleft()

    def __enter__(self) -> ToyPool:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def _blank(self) -> dict[str, Any]:
        return {"reward": 0.0, "terminated": False, "truncated": False, "fault": 0, "final": None}

    def _row(self, index: int, slot: int, action: np.ndarray) -> dict[str, Any]:
        toy = self.toys[index][slot]
        row = self._blank()
        if self.faulted[index][slot]:
            self.faulted[index][slot] = False
            self.steps[index][slot] = 0
            return {**row, "colour": toy.reset(), "step": 0}
        self.steps[index][slot] += 1
        step = int(self.steps[index][slot])
        try:
            colour, reward, terminated, truncated = toy.step(action)
        except ToyFault:
            self.faulted[index][slot] = True
            return {**row, "reward": np.nan, "fault": Fault.ENVIRONMENT, "colour": BLACK, "step": step}
        row |= {"reward": reward, "terminated": terminated, "truncated": truncated, "step": step}
        if terminated or truncated:
            self.steps[index][slot] = 0
            return {**row, "final": colour, "colour": toy.reset()}
        return {**row, "colour": colour}

    def _batch(self, index: int, slots: np.ndarray, rows: list[dict[str, Any]]) -> Batch:
        finals = [i for i, row in enumerate(rows) if row["final"] is not None]
        toys = self.toys[index]
        return Batch(
            slots=np.asarray(slots, np.int32),
            obs=_observations([r["colour"] for r in rows], [toys[s].instruction for s in slots]),
            reward=np.array([r["reward"] for r in rows], np.float64),
            terminated=np.array([r["terminated"] for r in rows]),
            truncated=np.array([r["truncated"] for r in rows]),
            episode=np.zeros(len(rows), np.int64),
            step=np.array([r["step"] for r in rows]),
            seed=np.zeros(len(rows), np.int64),
            fault=np.array([r["fault"] for r in rows], np.uint8),
            fault_text={i: "toy broke" for i, r in enumerate(rows) if r["fault"]},
            final_rows=np.array(finals, np.int32),
            final_obs=_observations([rows[i]["final"] for i in finals], ["toy"] * len(finals))
            if finals
            else None,
        )


def _observations(colours: list[tuple[int, int, int]], instructions: list[str]) -> dict[str, Any]:
    screens = np.zeros((len(colours), *SIZE, 3), np.uint8)
    screens[:] = np.array(colours, np.uint8)[:, None, None]
    return {"screen": screens, "instruction": tuple(instructions)}
