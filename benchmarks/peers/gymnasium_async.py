"""Gymnasium's AsyncVectorEnv over a trivial environment, as a peer of wire.py; local, in shared memory.

python gymnasium_async.py ENVIRONMENTS SECONDS   prints environment steps per second
"""

from __future__ import annotations

import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np


class Trivial(gym.Env[np.ndarray, int]):
    """Frames of 84×84×1 that cost next to nothing."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (84, 84, 1), np.uint8)
        self.action_space = gym.spaces.Discrete(4)
        self._frame = np.zeros((84, 84, 1), np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        return self._frame, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._frame[0, 0, 0] += 1
        return self._frame, 1.0, False, False, {}


def main(count: int, seconds: float) -> None:
    envs = gym.vector.AsyncVectorEnv([Trivial] * count, shared_memory=True)
    envs.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 4, count)
    for _ in range(5):
        envs.step(actions)
    steps, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        envs.step(actions)
        steps += 1
    print(steps * count / elapsed)
    envs.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
