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
from collections.abc import Generator
from typing import Any

import numpy as np

from universe2.core.screen import NVEC
from universe2.envs.web.solvers.acting import Look, Play, Solver

log = logging.getLogger("universe2.web")

_A_SOLVER = (
    "A solver is a generator function: it is given a Look, yields one screen action at a time, such as "
    "click(element), and is sent the next Look."
)
_at_a_loss: set[str] = set()
"""the tasks of whose solvers it was told that they did not find something"""


class _NoSolverError(Exception):
    """What was given as a solver isn't one."""


class Adviser:
    """Follows one slot of a task. ``begin`` with each episode's first look, then ``after`` each action.

    A solver that raises, or is none, is told in the log and not asked again until the next episode
    begins: what the player does counts either way. One that is at a loss is asked again at the next
    step; that is told, once for each task, if nothing had been done on the page.
    """

    def __init__(self, solver: Solver, env_id: str) -> None:
        self._solver, self._env_id = solver, env_id
        self._play: Play | None = None
        self._advice: np.ndarray | None = None
        self._broken = False
        self._fresh = False
        """nothing was done on the page yet: what the solver lacks there, it will always lack"""

    def begin(self, look: Look) -> np.ndarray | None:
        """int64 (5,): the first screen action of a fresh plan; None if the solver knows none here."""
        self._play, self._broken, self._fresh = None, False, True
        return self._anew(look)

    def after(self, action: np.ndarray, look: Look) -> np.ndarray | None:
        """The next screen action, now that ``action`` led to ``look``; None if the solver knows none."""
        self._fresh = False
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
                self._play = _begun(self._solver, look)
                return _action(next(self._play))
            return _action(self._play.send(look))
        except StopIteration:
            return None
        except LookupError as error:
            if self._fresh:
                _tell_loss(self._env_id, error)
            return None
        except _NoSolverError as error:
            self._broken = True
            _tell(f"{self._env_id}: {error}. {_A_SOLVER}")
            return None
        except Exception:  # noqa: BLE001 (a solver is anyone's code, and may raise anything)
            self._broken = True
            why = "its solver raised, so it gives no advice for the rest of its episode"
            _tell(f"{self._env_id}: {why}\n{traceback.format_exc().rstrip()}")
            return None


def _begun(solver: Solver, look: Look) -> Play:
    play: Any = solver(look)
    if not isinstance(play, Generator):
        raise _NoSolverError(f"its solver gave {play!r}, which is no generator: does it lack a yield?")
    return play


def _action(given: Any) -> np.ndarray:
    """int64 (5,): what the solver yielded, if that is a screen action."""
    try:
        action = np.asarray(given, np.int64)
    except (TypeError, ValueError, OverflowError):
        action = np.empty(0, np.int64)
    if action.shape != (len(NVEC),) or (action < 0).any() or (action >= NVEC).any():
        raise _NoSolverError(f"its solver yielded {given!r}, which is no screen action")
    return action


def _tell_loss(env_id: str, error: LookupError) -> None:
    """Once a task: on some pages it happens in every episode."""
    if env_id not in _at_a_loss:
        _at_a_loss.add(env_id)
        why = "its solver did not find what it looked for, so it gives no advice until it does"
        log.warning("%s: %s (told once): %s: %s", env_id, why, type(error).__name__, error)


@functools.lru_cache(maxsize=64)  # the same failure of every episode is told once
def _tell(what: str) -> None:
    log.warning("%s", what)
