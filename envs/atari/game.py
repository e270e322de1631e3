"""AtariGame: a Console as a Gymnasium environment, native (stacked frames) or on the screen."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from PIL import Image

from universe2.core.screen import (
    clean_instruction,
    keyboard_table,
    screen_action_space,
    screen_observation_space,
)
from universe2.envs.atari import KEYBOARD, title
from universe2.envs.atari.console import Console


class AtariGame(gym.Env):
    """Observes the last ``stack`` frames, uint8 (stack, size, size), or (…, 3) unless ``grayscale``."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012 (Gymnasium's own)
    render_mode = "rgb_array"

    def __init__(self, rom: str, *, grayscale: bool, stack: int, size: int, **rules: Any) -> None:
        self._console = Console(rom, rgb=not grayscale, **rules)
        shape = (stack, size, size) if grayscale else (stack, size, size, 3)
        self._size, self._frames = (size, size), np.zeros(shape, np.uint8)
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.action_names = [action.name for action in self._console.actions]
        self.action_space = spaces.Discrete(len(self.action_names))

    @staticmethod
    def screen(screen_size: tuple[int, int], rom: str, **options: Any) -> AtariScreen:
        """The same game on the screen interface."""
        return AtariScreen(screen_size, rom, **options)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        frame = self._console.reset(_seed(seed, self))
        self._frames = np.zeros_like(self._frames)
        self._frames[-1] = shrunk(frame, self._size)
        return self._frames, self._console.info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        frame, outcome = self._console.step(int(action))
        newest = shrunk(frame, self._size)
        self._frames = np.concatenate([self._frames[1:], newest[None]])
        return self._frames, *outcome, self._console.info()

    def render(self) -> Any:
        return self._console.render()


class AtariScreen(gym.Env):
    """Observes one RGB frame; arrows and Space are the joystick. Frame options don't apply."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012 (Gymnasium's own)
    render_mode = "rgb_array"

    def __init__(
        self, screen_size: tuple[int, int], rom: str, *, grayscale: bool, stack: int, size: int, **rules: Any
    ) -> None:
        self._console = Console(rom, rgb=True, **rules)
        self._size = screen_size
        pairs = [KEYBOARD[action.name] for action in self._console.actions]
        self._table = keyboard_table(pairs)
        self._instruction = clean_instruction(instruction(rom))
        self.observation_space = screen_observation_space(screen_size)
        self.action_space = screen_action_space()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observation(self._console.reset(_seed(seed, self))), self._console.info()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        frame, outcome = self._console.step(int(self._table[action[0], action[1]]))
        return self._observation(frame), *outcome, self._console.info()

    def render(self) -> Any:
        return self._console.render()

    def _observation(self, frame: np.ndarray) -> dict[str, Any]:
        return {"screen": shrunk(frame, self._size), "instruction": self._instruction}


def instruction(rom: str) -> str:
    """What the player is told."""
    return f"Play {title(rom)} and score as much as you can. Arrows move, Space is the fire button."


def shrunk(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame at ``size`` = (height, width), averaged over boxes."""
    return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BOX))


def _seed(seed: int | None, env: gym.Env) -> int:
    return int(env.np_random.integers(2**31)) if seed is None else seed
