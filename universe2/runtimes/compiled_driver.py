"""The loops around a game's functions, and their machine code: one call works a batch of slots.

``game_reset``, ``game_step``, ``game_draw`` and ``game_heuristic`` are names that ``Drivers``
binds to a game's functions before compiling. Threads share the slots of a call evenly; each
draws on a canvas of its own, which stays in its core's cache.

Suffixes: K slots of a call, N slots of the runtime, T threads, F frames, H × W pixels.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
from numba import get_num_threads, prange

from universe2.envs.arcade.game import Game
from universe2.runtimes.compiled_build import Function, build, debugging, digest, helper, one_at_a_time

FEW = 16
"""Fewer slots than this are worked by the calling thread alone."""

RESET, STEP, DRAW = 0, 1, 2
"""What to do with a slot; DRAW draws it as it is."""


def _unbound(*arguments: Any) -> Any:
    raise NotImplementedError("a placeholder: Drivers binds the game's function to this name")


game_reset = game_step = game_draw = game_heuristic = _unbound

_LOCK = threading.Lock()
# Numba's threading layer may be one that two threads must not enter at once.


def drive(
    states_N: Any,
    slots_K: Any,
    task_K: Any,
    keys_K: Any,
    level_K: Any,
    seed_K: Any,
    canvas_THW: Any,
    row_K: Any,
    frame_FHW3: Any,
    reward_K: Any,
    outcome_K: Any,
) -> None:
    """Reset, step or just draw each slot; its picture goes to ``frame_FHW3[row_K[k]]``."""
    count = slots_K.shape[0]
    # Waking the threads costs more than a few slots do.
    threads = canvas_THW.shape[0] if count >= FEW else 1
    if threads == 1:
        for k in range(count):
            reward_K[k], outcome_K[k] = work(
                states_N[slots_K[k]], task_K[k], keys_K[k], level_K[k], seed_K[k], canvas_THW[0]
            )
            pack(canvas_THW[0].reshape(-1), frame_FHW3[row_K[k]].reshape(-1))
        return
    for t in prange(threads):
        for k in range(t * count // threads, (t + 1) * count // threads):
            reward_K[k], outcome_K[k] = work(
                states_N[slots_K[k]], task_K[k], keys_K[k], level_K[k], seed_K[k], canvas_THW[t]
            )
            pack(canvas_THW[t].reshape(-1), frame_FHW3[row_K[k]].reshape(-1))


def work(state: Any, task: int, keys: int, level: int, seed: int, canvas: Any) -> tuple[float, int]:
    """One slot: do the task, draw; its reward and outcome."""
    reward, outcome = 0.0, 0
    if task == RESET:
        game_reset(state, level, seed)
    elif task == STEP:
        gained, outcome = game_step(state, keys)
        reward = float(gained)
    game_draw(state, canvas)
    return reward, outcome


def pack(colours: Any, octets: Any) -> None:
    """0xRRGGBB → three bytes."""
    for i in range(colours.shape[0]):
        colour = colours[i]
        octets[3 * i] = (colour >> 16) & 255
        octets[3 * i + 1] = (colour >> 8) & 255
        octets[3 * i + 2] = colour & 255


def advise(states_N: Any, slots_K: Any, keys_K: Any) -> None:
    """The keys that the game's heuristic would press."""
    for k in range(slots_K.shape[0]):
        keys_K[k] = game_heuristic(states_N[slots_K[k]])


class Drivers:
    """The compiled loops of one game. ``digest`` names its rules: everything but comments."""

    def __init__(self, game: Game) -> None:
        core: dict[str, Function] = {"game_reset": game.reset, "game_step": game.step, "game_draw": game.draw}
        expert: dict[str, Function] = {"game_heuristic": game.heuristic}
        self.digest = digest({**core, "work": work, "drive": drive}, game.state)
        advice = digest({**expert, "advise": advise}, game.state)
        self._drive = build(drive, {"work": helper(work, core)}, self.digest, parallel=True)
        self._state = game.state
        self._advise = build(advise, expert, advice, parallel=False)

    def prepare(self) -> None:
        """Compile, or load from disk, now: nothing that has a deadline should wait for it."""
        slots, none = np.zeros(0, np.int32), np.zeros(0, np.int64)
        canvas, frames = np.zeros((1, 8, 8), np.int32), np.zeros((1, 8, 8, 3), np.uint8)
        with one_at_a_time(self.digest):
            self.drive(np.zeros(0, self._state), slots, *[none] * 4, canvas, slots, frames, np.zeros(0), none)

    def drive(self, states_N: np.ndarray, *arrays: np.ndarray) -> None:
        """The arguments of the function ``drive``."""
        with _LOCK:
            self._drive(_records(states_N), *arrays)

    def advise(self, states_N: np.ndarray, slots_K: np.ndarray) -> np.ndarray:
        keys_K = np.zeros(len(slots_K), np.int64)
        with _LOCK:
            self._advise(_records(states_N), slots_K, keys_K)
        return keys_K


@functools.cache
def drivers(game: Game) -> Drivers:
    """The game's loops, compiled once per process."""
    built = Drivers(game)
    built.prepare()
    return built


def canvases(height: int, width: int) -> np.ndarray:
    """int32 (T, H, W): one canvas per thread."""
    threads = 1 if debugging() else int(get_num_threads())
    return np.zeros((threads, height, width), np.int32)


def _records(states_N: np.ndarray) -> Any:
    # Plain Python reads a record's fields as attributes only through this view.
    return states_N.view(np.recarray) if debugging() else states_N
