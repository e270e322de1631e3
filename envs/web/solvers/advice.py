"""What a task's solver would do next, for a player that may do something else.

While the player does what it is told, the solver goes on with its plan. As soon as it does anything
else the solver begins anew on the page as it is then. For tasks of single clicks that is always good
advice; where a plan has steps that can't be repeated (text that stands in a field already), what is
said after a slip may be no help. This file knows no task and no browser.
"""

from __future__ import annotations

import numpy as np

from universe2.envs.web.solvers.acting import Look, Play, Solver


class Adviser:
    """Follows one slot. ``begin`` with each episode's first look, then ``after`` each action."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self._play: Play | None = None
        self._advice: np.ndarray | None = None

    def begin(self, look: Look) -> np.ndarray | None:
        """int64 (5,): the first screen action of a fresh plan; None if the solver knows none here."""
        self._play = self._solver(look)
        return self._keep(_next(self._play, None))

    def after(self, action: np.ndarray, look: Look) -> np.ndarray | None:
        """The next screen action, now that ``action`` led to ``look``; None if the solver knows none."""
        followed = self._advice is not None and bool((action == self._advice).all())
        if followed and self._play is not None:
            advice = _next(self._play, look)
            if advice is not None:
                return self._keep(advice)
        return self.begin(look)

    def _keep(self, advice: np.ndarray | None) -> np.ndarray | None:
        self._advice = advice
        return advice


def _next(play: Play, look: Look | None) -> np.ndarray | None:
    """None if the plan is at its end, or lacks on the page what it needs."""
    try:
        return np.asarray(next(play) if look is None else play.send(look), np.int64)
    except (StopIteration, LookupError):
        return None
