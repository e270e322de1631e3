"""The screen interface for a Gymnasium environment: its rendered frame, its actions as keys.

A Discrete action is pressed with arrows where the environment's directions are known, else
with one key per action; a Box action of one or two dimensions follows the pointer. A text that it
observes, such as a mission, begins the instruction. It doesn't know runtimes or batches.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from universe2.core.errors import FaultError, InterfaceError
from universe2.core.pictures import resized
from universe2.core.screen import (
    POINTER,
    ScreenMap,
    clean_instruction,
    keyboard_table,
    map_of,
    screen_action_space,
    screen_observation_space,
)
from universe2.core.spec import EnvSpec
from universe2.envs.gymnasium.returned import RESET, STEP, checked
from universe2.envs.gymnasium.texts import instructed

_GRID = ("left", "down", "right", "up")
DIRECTIONS: dict[str, tuple[str, ...]] = {
    "CartPole": ("left", "right"),
    "MountainCar": ("left", "none", "right"),
    "Acrobot": ("left", "none", "right"),
    "LunarLander": ("none", "left", "up", "right"),
    "CarRacing": ("none", "right", "left", "up", "down"),
    "FrozenLake": _GRID,
    "FrozenLake8x8": _GRID,
    "CliffWalking": ("up", "right", "down", "left"),
    "CliffWalkingSlippery": ("up", "right", "down", "left"),
    "Taxi": ("down", "up", "right", "left"),
}
"""Environment name → the arrow of each native action; actions beyond these get letters."""
_ARROW_OF = {
    "left": "left",
    "turn_left": "left",
    "right": "right",
    "turn_right": "right",
    "up": "up",
    "forward": "up",
    "move_forward": "up",
    "down": "down",
    "back": "down",
    "move_back": "down",
}
"""What an environment calls an action → its arrow."""

_MORE_KEYS = ("Space", "Enter", *string.ascii_lowercase, *string.digits)
_PLAIN_KEYS = (*string.digits, *string.ascii_lowercase)


class ScreenEnv(gym.Wrapper):
    """Speaks the screen interface in place of the environment's own."""

    def __init__(self, env: gym.Env, spec: EnvSpec, size: tuple[int, int]) -> None:
        super().__init__(env)
        if env.render_mode != "rgb_array":
            raise InterfaceError(
                f'{spec.id} has no screen interface: it can\'t render to "rgb_array" '
                f"(its modes: {env.metadata.get('render_modes', [])})"
            )
        self._spec, self._size = spec, size
        self._to_native, self.map, self._keys = native_actions(env, spec)
        self._instruction = lru_cache(1)(self._instruct)  # a mission seldom changes between steps
        self.observation_space = screen_observation_space(size)
        self.action_space = screen_action_space()

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        native, info = checked(self.env.reset(**kwargs), "reset", RESET, self._spec)
        return self._observation(native), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        found = self.env.step(self._to_native(action))
        native, reward, terminated, truncated, info = checked(found, "step", STEP, self._spec)
        return self._observation(native), reward, terminated, truncated, info

    def _observation(self, native: Any) -> dict[str, Any]:
        frame = drawn(self.env, self._spec)
        told = instructed(self.env.observation_space, native)
        return {"screen": resized(frame, self._size), "instruction": self._instruction(told)}

    def _instruct(self, told: str) -> str:
        told = told or f"Play {self._spec.name} and get as much reward as you can."
        return clean_instruction(f"{told} {self._keys}")


def drawn(env: gym.Env, spec: EnvSpec) -> np.ndarray:
    """uint8 (H, W, 3): what ``env`` renders. Raises FaultError if that is no such picture."""
    picture: Any = env.render()
    is_array = isinstance(picture, np.ndarray)
    if is_array and picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3:
        return picture
    found = f"an array of {picture.dtype}, {picture.shape}" if is_array else repr(picture)[:100]
    raise FaultError(f"{spec.id}: render() gave {found}; a picture is an array of uint8, (H, W, 3)")


Mapping = Callable[[np.ndarray], Any]


def native_actions(env: gym.Env, spec: EnvSpec) -> tuple[Mapping, ScreenMap, str]:
    """(screen action → native action, the live parts, the keys in words), or InterfaceError."""
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return _discrete(space, spec, action_names(env))
    if isinstance(space, spaces.Box) and space.is_bounded() and space.shape in ((1,), (2,)):
        return _box(space)
    raise InterfaceError(
        f"{spec.id} has no screen interface: keys and a pointer can't express its actions {space} "
        "(they can for Discrete, and for a bounded Box of one or two dimensions); use interface='native'"
    )


def action_names(env: gym.Env) -> list[str]:
    """What ``env.unwrapped.actions`` calls them, if it is an IntEnum, as MiniGrid's is; mostly nothing."""
    named = getattr(env.unwrapped, "actions", None)
    if isinstance(named, type) and issubclass(named, IntEnum):
        return [action.name for action in sorted(named)]
    return []


def _discrete(space: spaces.Discrete, spec: EnvSpec, names: list[str]) -> tuple[Mapping, ScreenMap, str]:
    count, start = int(space.n), int(space.start)
    names = names if len(names) == count else []
    pairs = _pairs(count, DIRECTIONS.get(spec.name) or [_ARROW_OF.get(name, "") for name in names], spec)
    pressed = [arrow if key == "none" else key for arrow, key in pairs]
    # Pressing nothing must mean something: the environment's own "none", or its first action.
    idle = "" if ("none", "none") in pairs else f" Pressing nothing counts as {pressed[0]}."
    table = keyboard_table([*pairs, ("none", "none")] if idle else pairs)
    table[table == count] = 0

    def to_native(action: np.ndarray) -> int:
        return start + int(table[action[0], action[1]])

    said = [f"{key} ({name})" for key, name in zip(pressed, names, strict=True)] if names else pressed
    return to_native, map_of(pairs), f"Actions in order: {', '.join(said)}.{idle}"


def _pairs(count: int, arrows: Sequence[str], spec: EnvSpec) -> list[tuple[str, str]]:
    """(arrow, key) of each native action: its arrow, if that isn't taken, or the next key."""
    spare = iter(_MORE_KEYS if any(arrows) else _PLAIN_KEYS)
    pairs: list[tuple[str, str]] = []
    for arrow in [*arrows, *[""] * count][:count]:
        taken = not arrow or (arrow, "none") in pairs
        key = next(spare, "") if taken else "none"
        if not key:
            raise InterfaceError(f"{spec.id} has no screen interface: {count} actions are more than the keys")
        pairs.append(("none", key) if taken else (arrow, "none"))
    return pairs


def _box(space: spaces.Box) -> tuple[Mapping, ScreenMap, str]:
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    count = low.size

    def to_native(action: np.ndarray) -> np.ndarray:
        where = (np.asarray(action[2 : 2 + count]) + 0.5) / POINTER
        return (low + where * (high - low)).astype(space.dtype)

    axes = "left to right" if count == 1 else "left to right and top to bottom"
    words = f"The pointer's place is the action, {axes} from {low.tolist()} to {high.tolist()}."
    return to_native, ScreenMap(pointer=True), words
