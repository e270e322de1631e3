"""Environments that misbehave on purpose, chosen by their action. Imported by worker processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from universe2.core.errors import InvalidActionError, InvalidSeedError
from universe2.core.spec import EnvConfig, EnvSpec, Spaces

FINE, RAISE, KILL, EXIT, HANG, PRINT, END, TRUNCATE, BAD_SHAPE, UNPICKLABLE, LEAK, REFUSED = range(12)
UNREADABLE, NO_NUMBER, NO_FLAG = 12, 13, 14


class NeedsTwo(Exception):
    """Pickles, and can't be unpickled: its one ``args`` isn't what it is made of."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


class Misbehaving(gym.Env):
    """Observes its step count and seed; ``doom`` names a seed whose reset raises, ``refuse`` one that it
    refuses."""

    def __init__(self, doom: int = -1, length: int = 0, refuse: int = -1) -> None:
        self.observation_space = spaces.Box(0, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(15)
        self._doom, self._length, self._refuse = doom, length, refuse
        self._leaked: list[bytearray] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed == self._doom:
            raise ValueError(f"doomed seed {seed}")
        if seed == self._refuse:
            raise InvalidSeedError(f"no level has the seed {seed}")
        self._steps, self._seed = 0, seed
        return self._obs(), {"began": True}

    def step(self, action: Any) -> Any:
        self._steps += 1
        if action == RAISE:
            raise RuntimeError("the environment is unhappy")
        if action == REFUSED:
            raise InvalidActionError("that move isn't legal here")
        if action == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if action == EXIT:
            sys.exit(3)
        if action == HANG:
            time.sleep(3600)
        if action == LEAK:
            self._leaked.append(bytearray(b"x" * 64 * 2**20))
        if action == PRINT:
            os.write(1, b"\x00garbage\n" * 100)
            print("more garbage")
        obs = np.zeros(3) if action == BAD_SHAPE else self._obs()
        info: dict[str, Any] = {"steps": self._steps}
        if action == UNPICKLABLE:
            info["function"] = lambda: None
        if action == UNREADABLE:
            info["error"] = NeedsTwo("move", "not legal")
        over = action == END or self._steps == self._length
        reward = float("nan") if action == NO_NUMBER else float(self._steps)
        flag: Any = "no" if action == NO_FLAG else bool(over)
        return obs, reward, flag, bool(action == TRUNCATE), info

    def _obs(self) -> np.ndarray:
        return np.array([self._steps, self._seed], np.float64)


class Overflowing(gym.Env):
    """Observes in a uint8 Box what its action is the index of."""

    SEEN = ([0, 44, 255], [-1, 256, 300], [0.0, float("nan"), 1.0])

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, (3,), np.uint8)
        self.action_space = spaces.Discrete(len(self.SEEN))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(3, np.uint8), {}

    def step(self, action: Any) -> Any:
        return np.array(self.SEEN[action]), 1.0, False, False, {}


def misbehaving_spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    env = Misbehaving()
    return Spaces(env.observation_space, env.action_space)


SPEC = EnvSpec(
    id="test/Misbehaving-v0",
    runtime="process",
    entry="misbehaving:Misbehaving",
    spaces_from="misbehaving:misbehaving_spaces",
    options={"doom": -1, "length": 0, "refuse": -1},
)
