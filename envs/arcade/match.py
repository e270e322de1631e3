"""Match: what one file in this folder defines for a game of two to four players.

The rules of ``game`` hold: scalar Python, integers, nothing allocated in ``step`` and ``draw``. All
players move at once, so a step must not favour whom it handles first. Players have seats: the
runtime mirrors the picture and the arrow keys of seat 1 left to right, of seat 2 top to bottom and of
seat 3 both ways. Start positions mirrored likewise make every player begin at the upper left of
what it sees, and a game's functions know the one world only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from universe2.core.errors import UsageError
from universe2.envs.arcade.game import DRAWN, PARAMETERS, RUNNING, WON, check_parts, key_bits
from universe2.envs.arcade.kit import SIZE
from universe2.envs.arcade.rng import below

MOST = 4
"""Players, at most."""

SPECTATOR = -1
"""As ``player`` of ``draw``: a picture for someone who watches."""

FIELDS = [
    ("rng", np.int64),
    ("hard", np.int64),
    ("players", np.int64),
    ("seat", np.int64, (MOST,)),
    ("live", np.int64, (MOST,)),
    ("gained", np.int64, (MOST,)),
]
"""What every match's state begins with.

``players`` and ``hard`` are set before ``reset`` and stay. ``seat[p]`` is p unless ``reset`` shuffles the
seats. ``live[p]`` is 1 for those who play; a game sets it to 0 for one who is out. ``gained[p]`` is 0 when
a step begins and holds player p's reward when it ends.
"""

MATCH_PARAMETERS = {**PARAMETERS, "draw": ("state", "canvas", "player"), "heuristic": ("state", "player")}
"""A match's functions, and what each is called with."""

MATCH_RETURNS = {
    "step": "RUNNING, WON, DRAWN, CLEARED or LOST",
    "heuristic": "the keys of one of the match's actions, such as 0 or LEFT",
}
"""What is made use of, of what they return."""

__all__ = [
    "DRAWN",
    "FIELDS",
    "MOST",
    "SPECTATOR",
    "WON",
    "Match",
    "across",
    "down",
    "leave",
    "rival",
    "shuffle_seats",
]


@dataclass(frozen=True, kw_only=True)
class Match:
    """One game for several.

    ``state``: structured dtype that begins with FIELDS. ``players``: the numbers of players that can play it.
    ``reset(state, level, seed)``: as a Game's.
    ``step(state, keys)`` → RUNNING, WON, DRAWN, CLEARED or LOST; ``keys[p]`` is player p's set of bits.
    ``draw(state, canvas, player)``: what ``player`` (or the SPECTATOR) sees, before the runtime mirrors it;
    players see themselves in colour 0 of four, others as ``rival`` says.
    ``heuristic(state, player)`` → keys: a scripted player, which changes nothing.
    ``actions`` and ``instruction``: as a Game's.
    """

    state: np.dtype
    players: tuple[int, ...]
    reset: Callable[[Any, int, int], None]
    step: Callable[[Any, Any], int]
    draw: Callable[[Any, Any, int], None]
    heuristic: Callable[[Any, int], int]
    actions: tuple[tuple[str, str], ...]
    instruction: str

    def __post_init__(self) -> None:
        check_parts(self, MATCH_PARAMETERS)
        first = np.dtype(FIELDS)
        for name in first.names or ():
            if name not in (self.state.names or ()) or self.state[name] != first[name]:
                raise UsageError(f"a match's state needs the field {name!r} of FIELDS")
        if not self.players or not all(2 <= count <= MOST for count in self.players):
            raise UsageError(f"a match is for 2 to {MOST} players, got {self.players}")
        self.keys()

    def keys(self) -> np.ndarray:
        """int64 (actions,): the bits that ``step`` is given for each native action."""
        return key_bits(self.actions)


def rival(state: Any, player: int, other: int) -> int:
    """Which of four colours ``other`` has for ``player``: 0 for itself; the SPECTATOR sees seats."""
    if player < 0:
        return int(state.seat[other])
    return int(state.seat[other] ^ state.seat[player])


def across(seat: int, x: int) -> int:
    """The x of seat 0, as that seat has it."""
    return SIZE - x if seat & 1 else x


def down(seat: int, y: int) -> int:
    """The y of seat 0, as that seat has it."""
    return SIZE - y if seat & 2 else y


def leave(state: Any, out: int) -> int:
    """The players of the bits ``out`` are out; each pays one point to each who stays.

    RUNNING while two or more stay, WON for a last one, DRAWN if nobody is left.
    """
    stay, gone = 0, 0
    for p in range(state.players):
        if state.live[p]:
            gone += out >> p & 1
            stay += 1 - (out >> p & 1)
    for p in range(state.players):
        if state.live[p]:
            state.gained[p] += -stay if out >> p & 1 else gone
            state.live[p] = 1 - (out >> p & 1)
    return RUNNING if stay > 1 else WON if stay == 1 else DRAWN


def shuffle_seats(state: Any) -> None:
    """Anyone may sit anywhere: for three at four seats, which would not be alike otherwise."""
    for p in range(MOST - 1):
        q = p + below(state, MOST - p)
        state.seat[p], state.seat[q] = state.seat[q], state.seat[p]
