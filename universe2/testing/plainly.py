"""An arcade game played as plain Python, where every index is looked at and an endless loop can be ended.

Machine code writes past the end of an array without a word, into memory that is somebody else's, so
this comes before any machine code is run. The game plays in a thread, for a thread's loop can be
interrupted. This file knows no game.
"""

from __future__ import annotations

import ctypes
import linecache
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import numpy as np

from universe2.envs.arcade import DIFFICULTIES
from universe2.envs.arcade.game import CLEARED, LOST, RETURNS, RUNNING, Game

CALL_SECONDS = 30.0
"""What one call of a game's function may take. Most take less than a thousandth."""
LEVELS = 2
"""Levels of each difficulty that are played to their end, if there is time."""
PLAY_SECONDS = 6.0
"""Processor time after which no further step is begun."""
DRAWN = 20
"""After so many steps a picture is drawn again: that takes as long as all of them."""


class _TooLong(BaseException):
    """Raised in the game's thread; no ``except Exception`` of the game stops it."""


class _Returned(Exception):
    """A game's function returned something that it must not; the text says all."""


class PlainPlay(threading.Thread):
    """Plays some levels by the heuristic and at random. ``error`` is what the game raised, if it did."""

    def __init__(self, game: Game, max_steps: int) -> None:
        super().__init__(daemon=True, name="plain-play")
        self.game, self.max_steps = game, max_steps
        self.error: BaseException | None = None
        self.doing = self.where = ""
        self.began = time.monotonic()

    def run(self) -> None:
        try:
            with np.errstate(divide="raise", over="ignore"):
                for level in range(LEVELS):
                    for how in ("heuristic", "random"):
                        for hard, difficulty in enumerate(DIFFICULTIES):
                            self._play(hard, level, how, f"{how} steps on level {level} ({difficulty})")
        except BaseException as error:  # noqa: BLE001 (told by ``complain``, in the caller's thread)
            self.error = error

    def _play(self, hard: int, level: int, how: str, steps: str) -> None:
        game, rng = self.game, np.random.default_rng(level)
        state: Any = np.zeros(1, game.state).view(np.recarray)[0]
        state.hard = hard
        canvas, keys = np.zeros((8, 8), np.int32), game.keys().tolist()
        self.where = f"before the {steps}"
        self._call("reset", game.reset, state, level, level + 1)
        for step in range(self.max_steps):
            if time.thread_time() > PLAY_SECONDS:
                return
            self.where = f"after {step} {steps}"
            if step % DRAWN == 0:
                self._call("draw", game.draw, state, canvas)
            if how == "heuristic":
                pressed = int(self._ask("heuristic", lambda found: _is_key(found, keys), state))
            else:
                pressed = keys[rng.integers(len(keys))]
            _, ending = self._ask("step", _is_transition, state, pressed)
            if ending != RUNNING:
                break
        self._call("draw", game.draw, state, canvas)

    def _ask(self, name: str, fits: Callable[[Any], bool], state: Any, *arguments: Any) -> Any:
        """What the game's function of that name returns. Raises _Returned unless it ``fits``."""
        function, before = getattr(self.game, name), state.copy()
        found = self._call(name, function, state, *arguments)
        if fits(found):
            return found
        line = _last_line(function, lambda: self._call(name, function, before, *arguments))
        raise _Returned(
            f"{name} returned {found!r:.100}, {self.where}, at {line}; it must return {RETURNS[name]}"
        )

    def _call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        self.doing, self.began = name, time.monotonic()
        return function(*arguments)

    def wait(self) -> None:
        """Until it is done, or a call of the game has taken too long; that one is interrupted."""
        while self.is_alive() and (left := self.began + CALL_SECONDS - time.monotonic()) > 0:
            self.join(left)
        if self.is_alive():
            assert self.ident is not None
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(_TooLong))
            self.join(CALL_SECONDS)


def _is_key(found: Any, keys: Collection[int]) -> bool:
    return isinstance(found, (int, np.integer)) and int(found) in keys


def _is_transition(found: Any) -> bool:
    """Is it a reward and how the game goes on?"""
    if not isinstance(found, tuple) or len(found) != 2:
        return False
    reward, ending = found
    whole = isinstance(ending, (int, np.integer)) and ending in (RUNNING, CLEARED, LOST)
    return whole and isinstance(reward, (int, float, np.integer, np.floating, np.bool_))


def _last_line(function: FunctionType, call: Callable[[], object]) -> str:
    """The line at which ``function`` returns in ``call``, which is the same call as before."""
    last, before = function.__code__.co_firstlineno, sys.getprofile()

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal last
        if event == "return" and frame.f_code is function.__code__:
            last = frame.f_lineno

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    file = function.__code__.co_filename
    return f"{linecache.getline(file, last).strip()} ({file}:{last})"


def play_plainly(game: Game, max_steps: int) -> None:
    """Raise AssertionError for what the game raises, or for a call that doesn't return."""
    play = PlainPlay(game, max_steps)
    play.start()
    play.wait()
    if play.is_alive():
        raise AssertionError(f"{play.doing} did not return within {CALL_SECONDS:g} s, {play.where}")
    if play.error is not None:
        raise AssertionError(_complaint(play, play.error)) from play.error


def _complaint(play: PlainPlay, error: BaseException) -> str:
    if isinstance(error, _Returned):
        return str(error)
    line = next(_lines(error), "")
    if isinstance(error, _TooLong):
        return (
            f"{play.doing} did not return within {CALL_SECONDS:g} s, {play.where}; it was at {line}. "
            "Does a while loop there never end?"
        )
    if isinstance(error, (ZeroDivisionError, FloatingPointError)):
        return division_complaint(play.doing, play.where, error)
    hint = ""
    if isinstance(error, IndexError):
        hint = ". Machine code looks at no index: it writes into, or reads, whatever lies there"
    return f"{play.doing} raised {type(error).__name__}, {play.where}: {error}, at {line}{hint}"


def division_complaint(name: str, where: str, error: BaseException) -> str:
    """What is said of a game's function that divides by zero."""
    return (
        f"{name} divides by zero, {where}: {next(_lines(error), '')}. Machine code "
        "makes 0 of that and goes on: look at the divisor first"
    )


def _lines(error: BaseException) -> Iterator[str]:
    """The lines that the error went through, innermost first, but for those of NumPy."""
    numpy = str(Path(np.__file__).parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(numpy):
            yield f"{frame.line} ({frame.filename}:{frame.lineno})"
