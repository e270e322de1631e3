"""The screen interface: the same spaces for every environment.

Observation: ``{"screen": uint8 (H, W, 3), "instruction": Text}``.
Action: ``MultiDiscrete([9, 64, 64, 64, 8])`` = arrows, key, pointer x, pointer y, button.
Pointer cell (i, j) is the point ((i + 0.5) / 64 · width, (j + 0.5) / 64 · height).

Within one step the pointer moves first, then the button acts, then the key. An environment
declares its live parts (``ScreenMap``); ``action_mask`` turns them into one boolean per
choice, so that a policy can leave the dead ones out.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from universe2.core.errors import UsageError

ARROWS = ("none", "up", "right", "left", "down", "up-right", "up-left", "down-right", "down-left")
"""In the order of ALE's movement actions."""

KEYS = (
    "none", "Space", "Enter", "Backspace", "Tab", "Escape", "Delete", "Home", "End", "PageUp", "PageDown",
    *string.ascii_lowercase,
    *string.digits,
    ".", ",", "-", "/", ":", "@", "'", "?", "!", "_", "(", ")",
    "Shift", "Control", "Control+A", "Control+C", "Control+V",
)  # fmt: skip
"""``Shift`` and ``Control`` are sticky: they hold for the next key only (and for clicks before it), so
that capitals can be typed and items added to a selection."""

BUTTONS = ("none", "click", "press", "release", "double-click", "right-click", "wheel-up", "wheel-down")

POINTER = 64
NVEC = (len(ARROWS), len(KEYS), POINTER, POINTER, len(BUTTONS))
INSTRUCTION_LENGTH = 1024
CHARSET = string.digits + string.ascii_letters + string.punctuation + " \n"
"""What an instruction is written in: printable ASCII."""
_ALLOWED = frozenset(CHARSET)

# Directions as bits, so that a game's keys fit in one integer.
UP, RIGHT, LEFT, DOWN = 1, 2, 4, 8
ARROW_BITS = (0, UP, RIGHT, LEFT, DOWN, UP | RIGHT, UP | LEFT, DOWN | RIGHT, DOWN | LEFT)


@dataclass(frozen=True)
class ScreenMap:
    """Which parts of the screen action an environment listens to."""

    arrows: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    pointer: bool = False
    buttons: tuple[str, ...] = ()

    def action_mask(self) -> np.ndarray:
        """bool (9 + 64 + 64 + 64 + 8,): which choices of each part are live.

        A dead part keeps its first choice (none, or pointer cell 0), so every part has one.
        """
        pointer = np.full(POINTER, self.pointer)
        pointer[0] = True
        parts = [_live(ARROWS, self.arrows), _live(KEYS, self.keys), pointer, pointer]
        return np.concatenate([*parts, _live(BUTTONS, self.buttons)])


def _live(names: Sequence[str], chosen: Sequence[str]) -> np.ndarray:
    return np.array([name == "none" or name in chosen for name in names])


def sample_mask(action_mask: np.ndarray | None) -> tuple[np.ndarray, ...] | None:
    """An environment's ``action_mask`` as ``action_space.sample(mask=…)`` takes it: int8, one array a part.

    None, for which everything is live, is None there, too.
    """
    if action_mask is None:
        return None
    whole = np.asarray(action_mask)
    if whole.shape != (sum(NVEC),) or whole.dtype != np.bool_:
        raise UsageError(
            f"an action mask is bool ({sum(NVEC)},), got {whole.dtype} of shape {whole.shape}; "
            "is it an environment's action_mask?"
        )
    return tuple(np.split(whole.astype(np.int8), np.cumsum(NVEC)[:-1]))


ALL_LIVE = ScreenMap(ARROWS[1:], KEYS[1:], True, BUTTONS[1:])


def screen_observation_space(size: tuple[int, int]) -> spaces.Dict:
    """The observation space for a screen of ``size`` = (height, width) pixels."""
    return spaces.Dict(
        {
            "screen": spaces.Box(0, 255, (*size, 3), np.uint8),
            "instruction": spaces.Text(INSTRUCTION_LENGTH, min_length=0, charset=CHARSET),
        }
    )


def screen_action_space() -> spaces.MultiDiscrete:
    """The one action space of the screen interface."""
    return spaces.MultiDiscrete(list(NVEC))


def plain(text: str) -> str:
    """``text`` in ``CHARSET``, '?' for what it lacks."""
    return "".join(c if c in _ALLOWED else " " if c.isspace() else "?" for c in text)


def clean_instruction(text: str) -> str:
    """``text`` as the instruction space can hold it: ``plain``, and cut to its length."""
    return plain(text)[:INSTRUCTION_LENGTH]


def keyboard_table(actions: Sequence[tuple[str, str]]) -> np.ndarray:
    """int64 (9, 64): the native discrete action for each (arrows, key).

    ``actions[a]`` names native action a as (arrow, key), e.g. ``("up-right", "Space")``. A
    combination that the environment lacks falls back to the arrow alone, then its horizontal
    part, its vertical part, the key alone, and at last ("none", "none"), which must exist.
    """
    index = {pair: a for a, pair in enumerate(actions)}
    if ("none", "none") not in index:
        raise ValueError('actions must hold ("none", "none"): a screen action may press nothing')
    table = np.zeros((len(ARROWS), len(KEYS)), np.int64)
    for i, arrow in enumerate(ARROWS):
        parts = [p for p in ("left", "right", "up", "down") if p in arrow.split("-")]
        for j, key in enumerate(KEYS):
            tries = [(arrow, key), *((p, key) for p in parts), (arrow, "none")]
            tries += [*((p, "none") for p in parts), ("none", key), ("none", "none")]
            table[i, j] = next(index[t] for t in tries if t in index)
    return table


def map_of(actions: Sequence[tuple[str, str]]) -> ScreenMap:
    """The ScreenMap of an environment whose native actions are ``(arrow, key)`` pairs."""
    return ScreenMap(
        tuple(dict.fromkeys(a for a, _ in actions if a != "none")),
        tuple(dict.fromkeys(k for _, k in actions if k != "none")),
    )
