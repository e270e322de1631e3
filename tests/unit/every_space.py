"""An environment whose observation and action hold all kinds of spaces. Imported by worker processes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from universe2.core.spec import EnvConfig, EnvSpec, Spaces


def everything() -> spaces.Dict:
    return spaces.Dict(
        {
            "box": spaces.Box(-1, 1, (3, 2), np.float32),
            "image": spaces.Box(0, 255, (4, 5, 3), np.uint8),
            "discrete": spaces.Discrete(5, start=-2),
            "multi_discrete": spaces.MultiDiscrete([3, 4]),
            "multi_binary": spaces.MultiBinary((2, 2)),
            "text": spaces.Text(12),
            "sequence": spaces.Sequence(spaces.Box(0, 1, (2,), np.float64)),
            "graph": spaces.Graph(spaces.Box(0, 1, (2,)), spaces.Discrete(3)),
            "one_of": spaces.OneOf([spaces.Discrete(3), spaces.Box(0, 1, (2,))]),
            "nested": spaces.Tuple([spaces.Discrete(2), spaces.Dict({"deep": spaces.Text(3)})]),
        }
    )


class EverySpace(gym.Env):
    """Returns a sample as observation, and in its info the action that it was given."""

    def __init__(self) -> None:
        self.observation_space = everything()
        self.action_space = everything()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self._observe({})

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), f"{action!r} is not in the action space"
        obs, info = self._observe({"action": repr(action)})
        return obs, 1.0, False, False, info

    def _observe(self, info: dict[str, Any]) -> Any:
        obs = self.observation_space.sample()
        return obs, {**info, "obs": repr(obs)}


class OddPictures(EverySpace):
    """Its ``render`` returns what it was made with, or raises it."""

    render_mode = "rgb_array"

    def __init__(self, picture: Any) -> None:
        super().__init__()
        self._picture = picture

    def render(self) -> Any:
        if isinstance(self._picture, Exception):
            raise self._picture
        return self._picture


SEEN = np.zeros(2, np.float32)
RESETS: list[Any] = [(SEEN, {}), SEEN, (SEEN, {}, 1), None, (SEEN, [])]
STEPS: list[Any] = [
    (SEEN, 1.0, False, False, {}),
    (SEEN, 1.0, False, {}),
    SEEN,
    None,
    (SEEN, None, False, False, {}),
    (SEEN, "good", False, False, {}),
    (SEEN, np.ones(2), False, False, {}),
    (SEEN, 10**400, False, False, {}),
    (SEEN, 1.0, False, False, [1]),
    (SEEN, 1.0, False, False, None),
]


class OddReturns(gym.Env):
    """Its seed says which of RESETS it returns, its action which of STEPS; the first of each is right."""

    render_mode = "rgb_array"

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-1, 1, (2,))
        self.action_space = spaces.Discrete(len(STEPS))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return RESETS[seed or 0]

    def step(self, action: Any) -> Any:
        return STEPS[action]

    def render(self) -> Any:
        return np.zeros((8, 8, 3), np.uint8)


def odd_returns_spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    env = OddReturns()
    return Spaces(env.observation_space, env.action_space)


def every_space_spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    return Spaces(everything(), everything())


SPEC = EnvSpec(
    id="test/EverySpace-v0",
    runtime="process",
    entry="every_space:EverySpace",
    spaces_from="every_space:every_space_spaces",
)
