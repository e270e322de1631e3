"""An environment that tells its errand in a space of its own, as MiniGrid does."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class ErrandSpace(spaces.Space[str]):
    """What a room is fetched from; nothing that Gymnasium knows."""

    def __init__(self) -> None:
        super().__init__(dtype=str)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        return f"get the {self.np_random.choice(['ball', 'key'])}"

    def contains(self, x: Any) -> bool:
        return x in ("get the ball", "get the key")


class Errands(gym.Env):
    """Ends after five steps; the errand changes with every step."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 1}
    action_space = spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        errand = ErrandSpace()
        self.observation_space = spaces.Dict(
            {"place": spaces.Tuple([errand, spaces.Discrete(9)]), "told": errand}
        )

    def _look(self) -> dict[str, Any]:
        told = f"get the {self.np_random.choice(['ball', 'key'])}"
        return {"place": (told, self.time), "told": told}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time = 0
        return self._look(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        return self._look(), float(action), self.time == 5, False, {}

    def render(self) -> Any:
        return np.full((8, 8, 3), self.time, np.uint8)
