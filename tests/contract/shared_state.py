"""An environment whose copies share their state, as one with a variable of its module does.

Imported by worker processes under this name.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class SharedState(gym.Env):
    """A place between -10 and 10, of which there is only one in a process."""

    observation_space = spaces.Box(-10, 10, (1,), np.float32)
    action_space = spaces.Discrete(3)
    place = 0.0

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        type(self).place = float(self.np_random.uniform(-1, 1))
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        type(self).place = float(np.clip(self.place + (int(action) - 1) * 0.1, -10, 10))
        return self._obs(), 1.0, False, False, {}

    def _obs(self) -> np.ndarray:
        return np.array([self.place], np.float32)
