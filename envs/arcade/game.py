"""Game: what one file in this folder defines, and the conventions its functions follow.

A game is scalar Python that Numba compiles: its functions may use their record's fields,
integers, module constants, and functions imported by name that obey the same rules. No
floats in the state, no objects, no printing. ``UNIVERSE2_DEBUG=1`` runs it as plain Python.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
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

PARAMETERS = {
    "reset": ("state", "level", "seed"),
    "step": ("state", "keys"),
    "draw": ("state", "canvas"),
    "heuristic": ("state",),
}
"""A game's functions, and what each is called with."""

RETURNS = {
    "step": "(reward, RUNNING | CLEARED | LOST)",
    "heuristic": "the keys of one of the game's actions, such as 0 or LEFT",
}
"""What is made use of, of what they return."""

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
        check_parts(self, PARAMETERS)
        for field in ("rng", "hard"):
            if self.state.names is None or field not in self.state.names:
                raise UsageError(f"a game's state needs an int64 field {field!r}")
        self.keys()

    def keys(self) -> np.ndarray:
        """int64 (A,): the bits that ``step`` is given for each native action."""
        return key_bits(self.actions)


def check_parts(game: Any, parameters: Mapping[str, tuple[str, ...]]) -> None:
    """Raise UsageError unless the state is a dtype, and each function can be called with its parameters."""
    kind = type(game).__name__.lower()
    if not isinstance(game.state, np.dtype):
        raise UsageError(
            f"a {kind}'s state must be a structured dtype, such as "
            f'np.dtype([("rng", np.int64), ("hard", np.int64), …]), '
            f"got the {type(game.state).__name__} {game.state!r:.120}"
        )
    for name, wanted in parameters.items():
        _check_call(f"a {kind}'s {name}", getattr(game, name), name, wanted)


def _check_call(what: str, function: Any, name: str, wanted: tuple[str, ...]) -> None:
    call = f"{name}({', '.join(wanted)})"
    if not isinstance(function, FunctionType):
        raise UsageError(f"{what} must be a plain function {call}, got {function!r:.120}")
    signature, code = inspect.signature(function), function.__code__
    try:
        signature.bind(*wanted)
    except TypeError:
        takes = ", ".join(signature.parameters)
        raise UsageError(
            f"{what} is called as {call}, but {function.__name__} takes ({takes}), "
            f"at {code.co_filename}:{code.co_firstlineno}"
        ) from None


def key_bits(actions: tuple[tuple[str, str], ...]) -> np.ndarray:
    """int64 (A,): the bits of each (arrow, key). Raises UsageError for what has none."""
    for arrow, key in actions:
        if arrow not in ARROWS or key not in ("none", "Space"):
            raise UsageError(f'an action is (arrow, "none" or "Space"), got {(arrow, key)}')
    bits = [ARROW_BITS[ARROWS.index(a)] | (FIRE if k == "Space" else 0) for a, k in actions]
    return np.array(bits, np.int64)
