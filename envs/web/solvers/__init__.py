"""Scripted solvers: reference players for the web tasks, through the public actions alone.

They see what a person sees: the instruction, the elements on the page (option ``elements=True``,
native interface) and the picture. They prove that a task can be won, give demonstrations and
set the reference score. ``SOLVERS`` has them all; ``UNSOLVED`` says which of them can't win, and why.
"""

from __future__ import annotations

from universe2.envs.web.solvers import (
    choosing,
    clicking,
    dates,
    dragging,
    drawing,
    flights,
    games,
    inbox,
    menus,
    pages,
    shapes,
    sliders,
    writing,
)
from universe2.envs.web.solvers.acting import Look, Play, Solver, click, play
from universe2.envs.web.solvers.advice import Adviser

_BY_TASK: dict[str, Solver] = {
    **clicking.SOLVERS,
    **choosing.SOLVERS,
    **writing.SOLVERS,
    **menus.SOLVERS,
    **pages.SOLVERS,
    **inbox.SOLVERS,
    **dates.SOLVERS,
    **sliders.SOLVERS,
    **dragging.SOLVERS,
    **shapes.SOLVERS,
    **drawing.SOLVERS,
    **games.SOLVERS,
    **flights.SOLVERS,
}
SOLVERS: dict[str, Solver] = {f"web/{task}-v0": solver for task, solver in sorted(_BY_TASK.items())}
"""Environment id → its solver."""

UNSOLVED: dict[str, str] = {
    "web/bisect-angle-v0": "the reward is 1 for the exact bisector only, which no whole pixel lies on",
    "web/circle-center-v0": "the page measures from a point half a pixel beside the centre: no click gets 1",
    "web/click-pie-nodelay-v0": "the slice selected at first moves to the front under the pointer, so that "
    "no press hits it: lost where it is the wanted one",
    "web/find-midpoint-v0": "the reward is 1 on the exact pixel only, finer than a cell of the pointer",
    "web/flight-AA-v0": "6 of its 74 recorded problems are judged by other cities or dates than they ask for",
    "web/flight-Alaska-v0": "10 of its 75 recorded problems are judged by another date, city or airport "
    "than they ask for",
    "web/hover-shape-v0": "the page never ends its episode but by the time limit, with -1",
    "web/right-angle-v0": "the reward is 1 for exactly 90 degrees only, which few whole pixels give",
    "web/tic-tac-toe-v0": "the opponent plays by chance: perfect play wins 85 % (97 % when it begins)",
}
"""Environment id → why its solver wins less than 95 % of the episodes. Their solvers do what can be done."""

__all__ = ["SOLVERS", "UNSOLVED", "Adviser", "Look", "Play", "Solver", "click", "play"]
