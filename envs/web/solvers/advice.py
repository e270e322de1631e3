"""What a task's solver would do next, for a player that may do something else.

While the player does what it is told, the solver goes on with its plan. As soon as it does anything
else the solver begins anew on the page as it is then. For tasks of single clicks that is always good
advice; where a plan has steps that can't be repeated (text that stands in a field already), what is
said after a slip may be no help. This file knows no task and no browser.
"""

from __future__ import annotations

import functools
import logging
import traceback

import numpy as np

from universe2.envs.web.solvers.acting import Look, Play, Solver

log = logging.getLogger("universe2.web")


class Adviser:
    """Follows one slot. ``begin`` with each episode's first look, then ``after`` each action.

    A solver that raises is told in the log and not asked again until the next episode begins: what
    the player does counts either way.
    """

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self._play: Play | None = None
        self._advice: np.ndarray | None = None
        self._broken = False

    def begin(self, look: Look) -> np.ndarray | None:
        """int64 (5,): the first screen action of a fresh plan; None if the solver knows none here."""
        self._play, self._broken = None, False
        return self._anew(look)

    def after(self, action: np.ndarray, look: Look) -> np.ndarray | None:
        """The next screen action, now that ``action`` led to ``look``; None if the solver knows none."""
        followed = self._advice is not None and bool((action == self._advice).all())
        self._advice = self._next(look) if followed else None
        return self._anew(look) if self._advice is None else self._advice

    def _anew(self, look: Look) -> np.ndarray | None:
        self._play = None
        self._advice = None if self._broken else self._next(look)
        return self._advice

    def _next(self, look: Look) -> np.ndarray | None:
        """None if the plan is at its end, lacks on the page what it needs, or is broken."""
        try:
            if self._play is None:
                self._play = self._solver(look)
                return np.asarray(next(self._play), np.int64)
            return np.asarray(self._play.send(look), np.int64)
        except (StopIteration, LookupError):
            return None
        except Exception:  # noqa: BLE001 (a solver is anyone's code, and may raise anything)
            self._broken = True
            _tell(traceback.format_exc())
            return None


@functools.lru_cache(maxsize=64)  # the same failure of every episode is told once
def _tell(trace: str) -> None:
    log.warning("a solver raised, so it gives no advice for the rest of its episode\n%s", trace.rstrip())
