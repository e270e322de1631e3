"""Solvers for what moves, hides or plays back: chases, searches, memory, tic-tac-toe."""

from __future__ import annotations

import functools

import numpy as np

from universe2.envs.web.solvers.acting import (
    Look,
    Play,
    Point,
    Solver,
    act,
    click,
    contains,
    hover,
    landing,
    middle,
)


def chase_circle(look: Look) -> Play:
    """Aim where the circle will be after the step."""
    here = before = middle(look.find(id="circ"))
    while True:
        look = yield act((2 * here[0] - before[0], 2 * here[1] - before[1]))
        before, here = here, middle(look.find(id="circ"))


def hover_shape(look: Look) -> Play:
    while True:
        look = yield hover(look.find(id="highlight"))


def moving_items(look: Look) -> Play:
    """Click each circle once it has come in."""
    area = look.find(id="area_svg")
    while True:
        inside = [e for e in look.all("item") if contains(area, middle(e), 4)]
        look = yield click(inside[0]) if inside else act()


def simon_says(look: Look) -> Play:
    """Watch until nothing has lit up for a while, then repeat."""
    seen: list[str] = []
    lit, quiet = "", 0
    while quiet < 9:
        look = yield act()
        now = "".join(e["id"] for e in look.all("push"))
        quiet = 0 if now or not seen else quiet + 1
        if now and now != lit:
            seen.append(now)
        lit = now
    for button in seen:
        look = yield click(look.find(id=button))


# What the page says, and between which distances (pixels) from the spot that is.
_HEAT = {"HOT": (0, 5), "WARM": (5, 10), "COLD": (10, 40), "ICE COLD": (40, 1e9)}


def hot_cold(look: Look) -> Play:
    """Keep the places that all answers so far allow; look next where the answers would tell most."""
    spots = np.stack(np.meshgrid(np.arange(5, 155.0), np.arange(55, 170.0)), -1).reshape(-1, 2)
    coarse = {landing((float(x), float(y))) for x in range(5, 152, 5) for y in range(55, 172, 6)}
    said = ""
    while said != "HOT":
        probes = coarse if len(spots) > 300 else {landing((float(x), float(y))) for x, y in spots}
        probe = max(sorted(probes), key=lambda p: _worth(spots, p))
        look = yield act(probe)
        said = look.find(id="signal")["text"]
        near, far = _HEAT[said]
        away = _distances(spots, probe)
        spots = spots[(away >= near) & (away < far)]
    yield click(probe)


def _distances(spots: np.ndarray, probe: Point) -> np.ndarray:
    """From the pointer, whose place the page cuts to whole pixels."""
    return np.hypot(*(spots - np.floor(probe)).T)


def _worth(spots: np.ndarray, probe: Point) -> float:
    """How evenly the answers at ``probe`` would split the spots (entropy), and the chance of HOT."""
    counts, _ = np.histogram(_distances(spots, probe), [0, 5, 10, 40, 1e9])
    shares = counts[counts > 0] / len(spots)
    return float(counts[0] / len(spots) - (shares * np.log(shares)).sum())


_LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


def tic_tac_toe(look: Look) -> Play:
    """The move with the best chance against an opponent who is clever in 45 % of the moves."""
    while True:
        squares = [look.find(id=f"ttt-{i}") for i in range(9)]
        board = tuple({"mark-x": 1, "mark-o": -1}.get(e["classes"], 0) for e in squares)
        free = [i for i in range(9) if board[i] == 0]
        best = max(free, key=lambda i: _chance((*board[:i], 1, *board[i + 1 :])))
        look = yield click(squares[best])


@functools.cache
def _chance(board: tuple[int, ...]) -> float:
    """The chance that X wins when O is to move."""
    if _won(board, 1):
        return 1.0
    free = [i for i in range(9) if board[i] == 0]
    if not free:
        return 0.0
    good = [i for i in free if _won(_put(board, i, -1), -1)] or [
        i for i in free if _won(_put(board, i, 1), 1)
    ]
    total = 0.0
    for i in free:
        share = 0.55 / len(free) + 0.45 * ((i in good) / len(good) if good else 1 / len(free))
        after = _put(board, i, -1)
        left = [j for j in free if j != i]
        if left and not _won(after, -1):
            total += share * max(_chance(_put(after, j, 1)) for j in left)
    return total


def _put(board: tuple[int, ...], place: int, mark: int) -> tuple[int, ...]:
    return (*board[:place], mark, *board[place + 1 :])


def _won(board: tuple[int, ...], mark: int) -> bool:
    return any(all(board[i] == mark for i in line) for line in _LINES)


SOLVERS: dict[str, Solver] = {
    "chase-circle": chase_circle,
    "hot-cold": hot_cold,
    "hover-shape": hover_shape,
    "moving-items": moving_items,
    "simon-says": simon_says,
    "tic-tac-toe": tic_tac_toe,
}
