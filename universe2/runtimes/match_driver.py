"""The loops around a match's functions, and their machine code: ``compiled_driver`` for several players.

Players' keys come as they press them and go to the game as the world has them; pictures go the
other way (see ``mirrored`` and ``mirror``).

Suffixes: K slots of a call, N slots of the runtime, T threads, P players, F frames, H × W pixels,
B bytes of a state.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange, types
from numba.np.numpy_support import carray, from_dtype

from universe2.core.screen import DOWN, LEFT, RIGHT, UP
from universe2.envs.arcade.match import MATCH_RETURNS, MOST, SPECTATOR, Match
from universe2.runtimes.compiled_build import Function, build, debugging, digest, helper, rebind
from universe2.runtimes.compiled_driver import (
    FAILED,
    RESET,
    Drivers,
    Loops,
    Pointer,
    call_at,
    call_plainly,
    grain_of,
    take,
    threads_for,
    unbound,
)
from universe2.runtimes.compiled_pack import STREAM, pack, pack_plainly

WATCH = 3
"""A task besides RESET, STEP and DRAW: the spectator's picture, in place of the players'."""
VIEW = 4
"""Part of all tasks: one player's picture."""

match_reset = match_step = match_draw = match_heuristic = invoke = unbound


def drive(
    match: Any,
    states_NB: Any,
    slots_K: Any,
    task_K: Any,
    keys_KP: Any,
    level_K: Any,
    seed_K: Any,
    canvas_THW: Any,
    row_K: Any,
    frame_PFHW3: Any,
    reward_KP: Any,
    outcome_K: Any,
) -> None:
    """Reset, step or just draw each slot; what player p sees goes to ``frame_PFHW3[p, row_K[k]]``.

    ``match`` is the address of the match's ``work``: this loop is the same code for all of them.
    """
    count = slots_K.shape[0]
    threads, streams = threads_for(canvas_THW.shape[0], task_K), frame_PFHW3.size >= STREAM
    if threads == 1:
        for k in range(count):
            turn(
                match, states_NB[slots_K[k]], task_K[k], keys_KP[k], level_K[k], seed_K[k],
                canvas_THW[0], row_K[k], frame_PFHW3, streams, reward_KP[k], outcome_K[k : k + 1],
            )  # fmt: skip
        return
    grain, taken_1 = grain_of(count, threads), np.zeros(1, np.int64)
    for t in prange(threads):
        first = take(taken_1, grain)
        while first < count:
            for k in range(first, min(first + grain, count)):
                turn(
                    match, states_NB[slots_K[k]], task_K[k], keys_KP[k], level_K[k], seed_K[k],
                    canvas_THW[t], row_K[k], frame_PFHW3, streams, reward_KP[k], outcome_K[k : k + 1],
                )  # fmt: skip
            first = take(taken_1, grain)


def turn(
    match: Any, state_B: Any, task: int, keys_P: Any, level: int, seed: int,
    canvas: Any, row: int, frame_PFHW3: Any, streams: bool, reward_P: Any, outcome: Any,
) -> None:  # fmt: skip
    """One slot: do the task, then draw each view."""
    invoke(match, state_B, task, keys_P, level, seed, canvas, reward_P, outcome)
    if outcome[0] == FAILED:
        return
    for p in range(frame_PFHW3.shape[0]):
        player, seat = SPECTATOR if task == WATCH else p, keys_P[p : p + 1]  # the keys are used up
        seat[0] = FAILED
        invoke(match, state_B, VIEW, keys_P, level, player, canvas, reward_P, seat)
        if seat[0] == FAILED:
            outcome[0] = FAILED
            return
        mirror(canvas, seat[0])
        pack(canvas.reshape(-1), frame_PFHW3[p, row].reshape(-1), streams)


def work(
    state: Any, task: int, keys_P: Any, level: int, which: int, canvas: Any, reward_P: Any, answer: Any
) -> None:
    """A task without its pictures, whose outcome is ``answer[0]``; ``which`` is the seed.

    Or the picture of player ``which`` (VIEW), whose seat is ``answer[0]``.
    """
    found = 0
    if task == VIEW:
        match_draw(state, canvas, which)
        found = 0 if which == SPECTATOR else state.seat[which]
    elif task == RESET:
        match_reset(state, level, which)
    elif task < 0:
        for p in range(state.players):
            keys_P[p] = mirrored(keys_P[p], state.seat[p])
            reward_P[p] = 0.0
        for _ in range(-task):
            if found == 0:
                for p in range(state.players):
                    state.gained[p] = 0
                    keys_P[p] *= state.live[p]
                found = match_step(state, keys_P)
                for p in range(state.players):
                    reward_P[p] += float(state.gained[p])
    answer[0] = found


def c_work(
    state: Any, task: int, keys: Any, level: int, which: int,
    canvas: Any, height: int, width: int, reward: Any, answer: Any,
) -> None:  # fmt: skip
    """``work`` for a caller in C: pointers in place of arrays (of which those for players may be shorter)."""
    work(
        carray(state, (1,))[0], task, carray(keys, (MOST,)), level, which,
        carray(canvas, (height, width)), carray(reward, (MOST,)), carray(answer, (1,)),
    )  # fmt: skip


def c_invoke(
    match: int, state_B: Any, task: int, keys_P: Any, level: int, which: int,
    canvas_HW: Any, reward_P: Any, answer: Any,
) -> None:  # fmt: skip
    """Call the ``c_work`` at the address ``match``."""
    call_at(
        match, state_B.ctypes.data, task, keys_P.ctypes.data, level, which, canvas_HW.ctypes.data,
        canvas_HW.shape[0], canvas_HW.shape[1], reward_P.ctypes.data, answer.ctypes.data,
    )  # fmt: skip


def mirrored(keys: int, seat: int) -> int:
    """A seat's keys as the world's, and the other way round."""
    if seat & 1 and bool(keys & LEFT) != bool(keys & RIGHT):
        keys ^= LEFT | RIGHT
    if seat & 2 and bool(keys & UP) != bool(keys & DOWN):
        keys ^= UP | DOWN
    return keys


def mirror(canvas: Any, seat: int) -> None:
    """The picture as the seat sees it, in place."""
    height, width = canvas.shape
    if seat & 1:
        for y in range(height):
            for x in range(width // 2):
                left = canvas[y, x]
                canvas[y, x] = canvas[y, width - 1 - x]
                canvas[y, width - 1 - x] = left
    if seat & 2:
        for y in range(height // 2):
            for x in range(width):
                upper = canvas[y, x]
                canvas[y, x] = canvas[height - 1 - y, x]
                canvas[height - 1 - y, x] = upper


def advise(states_N: Any, slots_K: Any, keys_KP: Any) -> None:
    """The keys that the game's heuristic would press for each player."""
    for k in range(slots_K.shape[0]):
        state = states_N[slots_K[k]]
        for p in range(keys_KP.shape[1]):
            if state.live[p]:
                keys_KP[k, p] = mirrored(match_heuristic(state, p), state.seat[p])


@functools.cache
def _drive_all() -> Function:
    """``drive``, for every match of this process."""
    if debugging():
        plain = {"invoke": call_plainly, "pack": pack_plainly}
        return build(drive, {"turn": rebind(turn, plain)}, "", parallel=False)
    key = digest({"drive": drive, "turn": turn, "invoke": c_invoke})
    return build(drive, {"turn": helper(turn, {"invoke": helper(c_invoke, {})})}, key, parallel=True)


def _c_signature(state: np.dtype) -> Any:
    record, whole = Pointer(from_dtype(state)), types.int64
    keys, canvas, reward = Pointer(types.int64), Pointer(types.int32), Pointer(types.float64)
    return types.void(record, whole, keys, whole, whole, canvas, whole, whole, reward, keys)


def _nothing() -> tuple[np.ndarray, ...]:
    slots, none = np.zeros(0, np.int32), np.zeros(0, np.int64)
    canvas, frames = np.zeros((1, 8, 8), np.int32), np.zeros((2, 1, 8, 8, 3), np.uint8)
    keys, rewards = np.zeros((0, 2), np.int64), np.zeros((0, 2))
    return slots, none, keys, none, none, canvas, slots, frames, rewards, none


_RETURNS = {f"match_{name}": words for name, words in MATCH_RETURNS.items()}
_LOOPS = Loops(work, c_work, advise, _c_signature, _drive_all, _nothing, _RETURNS)


@functools.cache
def match_drivers(match: Match) -> Drivers:
    """The match's loops, compiled once per process."""
    core: dict[str, Function] = {
        "match_reset": match.reset,
        "match_step": match.step,
        "match_draw": match.draw,
    }
    return Drivers(match.state, core, {"match_heuristic": match.heuristic}, _LOOPS).prepare()
