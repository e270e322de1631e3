"""Game: what one file in this folder defines, and the conventions its functions follow.

A game is scalar Python that Numba compiles: its functions may use their record's fields,
integers, module constants, and functions imported by name that obey the same rules. No
floats in the state, no objects, no printing. ``UNIVERSE2_DEBUG=1`` runs it as plain Python.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from universe2.core.errors import UsageError
from universe2.core.screen import ARROW_BITS, ARROWS, DOWN, LEFT, RIGHT, UP

FIRE = 16
"""The bit of the space bar, besides UP, RIGHT, LEFT and DOWN."""

RUNNING, CLEARED, LOST, WON, DRAWN = 0, 1, 2, 4, 5
"""What ``step`` returns as its second value; the last two are for several players."""

OUTCOMES = ("", "cleared", "lost", "time", "won", "drawn")
"""Names for the info column; "time" is the step limit, which no game decides itself."""

__all__ = ["CLEARED", "DOWN", "FIRE", "LEFT", "LOST", "OUTCOMES", "RIGHT", "RUNNING", "UP", "Game"]


@dataclass(frozen=True, kw_only=True)
class Game:
    """One game.

    ``state``: structured dtype of one slot; it must hold the int64 fields ``rng`` and ``hard``.
    ``reset(state, level, seed)``: the state arrives zeroed but for ``hard``, which is 1 when the
    difficulty is "hard" and must stay as it is; lay out level ``level`` (≥ 0) from
    its number and ``hard`` alone, then leave ``state.rng`` as a function of ``seed`` (0 ≤ seed < 2**31).
    ``step(state, keys)`` → (reward, RUNNING | CLEARED | LOST); ``keys`` is a set of bits.
    ``draw(state, canvas)``: the whole picture, with the kit, at any size; changes nothing.
    ``heuristic(state)`` → keys: a scripted expert that may read everything and change nothing.
    ``actions``: the native actions as (arrow, key) pairs, ("none", "none") among them.
    ``instruction``: one sentence for the screen interface.
    """

    state: np.dtype
    reset: Callable[[Any, int, int], None]
    step: Callable[[Any, int], tuple[int, int]]
    draw: Callable[[Any, Any], None]
    heuristic: Callable[[Any], int]
    actions: tuple[tuple[str, str], ...]
    instruction: str

    def __post_init__(self) -> None:
        for field in ("rng", "hard"):
            if self.state.names is None or field not in self.state.names:
                raise UsageError(f"a game's state needs an int64 field {field!r}")
        self.keys()

    def keys(self) -> np.ndarray:
        """int64 (A,): the bits that ``step`` is given for each native action."""
        return key_bits(self.actions)


def key_bits(actions: tuple[tuple[str, str], ...]) -> np.ndarray:
    """int64 (A,): the bits of each (arrow, key). Raises UsageError for what has none."""
    for arrow, key in actions:
        if arrow not in ARROWS or key not in ("none", "Space"):
            raise UsageError(f'an action is (arrow, "none" or "Space"), got {(arrow, key)}')
    bits = [ARROW_BITS[ARROWS.index(a)] | (FIRE if k == "Space" else 0) for a, k in actions]
    return np.array(bits, np.int64)
