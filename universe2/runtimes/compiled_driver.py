"""The loops around a game's functions, and their machine code: one call works a batch of slots.

``game_reset``, ``game_step``, ``game_draw`` and ``game_heuristic`` are names that ``drivers``
binds to a game's functions before compiling. Threads take a few slots at a time until none of the
call are left; each draws on a canvas of its own, which stays in its core's cache.

Suffixes: K slots of a call, N slots of the runtime, T threads, F frames, H × W pixels.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from llvmlite import ir
from numba import get_num_threads, prange, typeof, types
from numba.extending import intrinsic
from numba.np.numpy_support import carray, from_dtype

import universe2.core.openmp  # noqa: F401  # how the loop's threads wait
from universe2.envs.arcade.game import RETURNS, Game
from universe2.runtimes.compiled_build import (
    Entry,
    Function,
    build,
    debugging,
    digest,
    entry,
    helper,
    homes,
    one_at_a_time,
)
from universe2.runtimes.compiled_explained import explained
from universe2.runtimes.compiled_pack import LINE, STREAM, pack, pack_plainly
from universe2.runtimes.compiled_parts import allocates
from universe2.runtimes.compiled_raised import FromMachineCode, causes, plain

# Numba's types for these are wrong or missing.
_intrinsic: Any = intrinsic
Pointer: Any = types.CPointer

FEW = 16
"""Fewer steps than this are worked by the calling thread alone."""

RESET, DRAW, STEP = 0, 1, -1
"""What to do with a slot; DRAW draws it as it is, and -n steps n times, unless the episode ends before."""

FAILED = -1
"""The outcome of a slot whose game raised an exception: what a loop finds there if nobody writes another."""


def unbound(*arguments: Any) -> Any:
    raise NotImplementedError("a placeholder: drivers() binds the game's function to this name")


game_reset = game_step = game_draw = game_heuristic = invoke = unbound

LOCK = threading.Lock()
# Numba's threading layer may be one that two threads must not enter at once.
_CANVASES = 5
"""where the canvases, one per thread, stand among the arrays of a loop such as ``drive``"""


def drive(
    game: Any,
    states_NB: Any,
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
    """Reset, step or just draw each slot; its picture goes to ``frame_FHW3[row_K[k]]``.

    ``game`` is the address of the game's ``work``: this loop is the same code for all games.
    """
    count = slots_K.shape[0]
    threads, streams = threads_for(canvas_THW.shape[0], task_K), frame_FHW3.size >= STREAM
    if threads == 1:
        for k in range(count):
            invoke(
                game, states_NB[slots_K[k]], task_K[k], keys_K[k], level_K[k], seed_K[k],
                canvas_THW[0], reward_K[k : k + 1], outcome_K[k : k + 1],
            )  # fmt: skip
            pack(canvas_THW[0].reshape(-1), frame_FHW3[row_K[k]].reshape(-1), streams)
        return
    grain, taken_1 = grain_of(count, threads), np.zeros(1, np.int64)
    for t in prange(threads):
        first = take(taken_1, grain)
        while first < count:
            for k in range(first, min(first + grain, count)):
                invoke(
                    game, states_NB[slots_K[k]], task_K[k], keys_K[k], level_K[k], seed_K[k],
                    canvas_THW[t], reward_K[k : k + 1], outcome_K[k : k + 1],
                )  # fmt: skip
                pack(canvas_THW[t].reshape(-1), frame_FHW3[row_K[k]].reshape(-1), streams)
            first = take(taken_1, grain)


def threads_for(most: int, task_K: Any) -> int:
    """How many threads a call is worth. Waking them costs more than a few slots do."""
    count = task_K.shape[0]
    work = 4 * count if count > 0 and task_K[0] == RESET else count  # the layout of a level takes a while
    return most if work >= FEW else 1


def grain_of(count: int, threads: int) -> int:
    """How many slots a thread takes at once.

    Enough for the rewards of two threads to lie in different lines of the cache; of a short call fewer,
    so that no thread waits long for another that has the slow slots or was woken late.
    """
    return max(1, min(LINE // 8, count // (8 * threads)))


@_intrinsic  # type: ignore[untyped-decorator]
def take(_context: Any, taken_1: Any, grain: Any) -> Any:
    """Machine code that adds ``grain`` to what all threads took, and gives what it was before."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = target.make_array(signature.args[0])(target, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, arguments[1], "monotonic")

    return types.int64(taken_1, types.int64), generate


def work(
    state: Any, task: int, keys: int, level: int, seed: int, canvas: Any, reward: Any, outcome: Any
) -> None:
    """One slot: do the task, draw; its reward and outcome go to one-element arrays."""
    gained, ending = 0, 0
    if task == RESET:
        game_reset(state, level, seed)
    for _ in range(-task):
        if ending == 0:
            more, ending = game_step(state, keys)
            gained += more
    game_draw(state, canvas)
    reward[0] = gained
    outcome[0] = ending


def c_work(
    state: Any, task: int, keys: int, level: int, seed: int,
    canvas: Any, height: int, width: int, reward: Any, outcome: Any,
) -> None:  # fmt: skip
    """``work`` for a caller in C: pointers in place of arrays."""
    work(
        carray(state, (1,))[0], task, keys, level, seed,
        carray(canvas, (height, width)), carray(reward, (1,)), carray(outcome, (1,)),
    )  # fmt: skip


def c_invoke(
    game: int, state_B: Any, task: int, keys: int, level: int, seed: int,
    canvas_HW: Any, reward: Any, outcome: Any,
) -> None:  # fmt: skip
    """Call the ``c_work`` at the address ``game``."""
    call_at(
        game, state_B.ctypes.data, task, keys, level, seed, canvas_HW.ctypes.data,
        canvas_HW.shape[0], canvas_HW.shape[1], reward.ctypes.data, outcome.ctypes.data,
    )  # fmt: skip


@_intrinsic  # type: ignore[untyped-decorator]
def call_at(
    _context: Any, address: Any, state: Any, task: Any, keys: Any, level: Any, seed: Any,
    canvas: Any, height: Any, width: Any, reward: Any, outcome: Any,
) -> Any:  # fmt: skip
    """Machine code that calls the function of ten 64-bit arguments at an address."""

    def generate(target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        function = ir.FunctionType(ir.VoidType(), [word] * 10).as_pointer()
        builder.call(builder.inttoptr(arguments[0], function), arguments[1:])
        return target.get_dummy_value()

    return types.void(*[types.int64] * 11), generate


def advise(states_N: Any, slots_K: Any, keys_K: Any) -> None:
    """The keys that the game's heuristic would press."""
    for k in range(slots_K.shape[0]):
        keys_K[k] = game_heuristic(states_N[slots_K[k]])


@dataclass(frozen=True)
class Loops:
    """What goes around the functions of every game of one kind: for one player, or for several."""

    work: Function
    c_work: Function
    advise: Function
    signature: Callable[[np.dtype], Any]
    """Numba's signature of ``c_work``, for a state's dtype."""
    drive: Callable[[], Function]
    """The loop over slots, compiled at the first call."""
    nothing: Callable[[], tuple[np.ndarray, ...]]
    """Arguments of the loop for a call without slots."""
    returns: Mapping[str, str]
    """What must come back of the names that ``work`` and ``advise`` leave open, in words."""


class Drivers:
    """The compiled loops of one game. ``digest`` names its rules: everything but comments; ``key`` their
    machine code, which depends on the names of the game's modules too.

    ``core`` and ``expert`` bind the names that ``work`` and ``advise`` leave open.
    """

    def __init__(
        self, state: np.dtype, core: Mapping[str, Function], expert: Mapping[str, Function], loops: Loops
    ) -> None:
        rules = {**core, "work": loops.work, "c_work": loops.c_work}
        self.digest = digest(rules, state)
        self.key = digest(rules, state, homes(rules.values()))
        advising = {**expert, "advise": loops.advise}
        advice = digest(advising, state, homes(advising.values()))
        self._state, self._loops = state, loops
        self._authored = core, expert
        self._work = helper(loops.work, core)
        self._advise: Any = build(loops.advise, expert, advice, parallel=False)
        self._address: Any = self._work if debugging() else 0
        self._code: Entry | None = None

    def prepare(self) -> Self:
        """Compile, or load from disk, now: nothing that has a deadline should wait for it."""
        loops = self._loops
        if not debugging():
            with one_at_a_time(self.key), explained(self._authored[0], loops.returns):
                signature = loops.signature(self._state)
                self._code = entry(loops.c_work, {"work": self._work}, self.key, signature)
                self._address = self._code.address
        with one_at_a_time(f"drive {loops.drive.__module__}"):
            self.drive(np.zeros(0, self._state), *loops.nothing())
        return self

    def allocates(self) -> bool:
        """Whether the machine code of the core asks for memory; plain Python is not looked at."""
        return self._code is not None and allocates(self._code.library)

    def drive(self, states_N: np.ndarray, *arrays: np.ndarray) -> dict[int, str]:
        """The arguments of the function ``drive``, without the game. Returns what ``run`` does."""
        return run(self._loops.drive(), self._address, states_N, *arrays)

    def advise(self, states_N: np.ndarray, slots_K: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """``keys``, int64, filled with what the game's heuristic would press."""
        arguments = records(states_N), slots_K, keys
        with LOCK:
            if not debugging() and not self._advise.signatures:
                self._compile_advice(*arguments)
            self._advise(*arguments)
        return keys

    def _compile_advice(self, *arguments: Any) -> None:
        """At the first call, for few ask for it. On its own, for what the heuristic raises is a fault."""
        with explained(self._authored[1], self._loops.returns):
            self._advise.compile(tuple(map(typeof, arguments)))


def run(loop: Function, game: Any, states_N: np.ndarray, *arrays: np.ndarray) -> dict[int, str]:
    """Call a loop such as ``drive``, whose last argument is the outcomes.

    Row → traceback, for the rows whose game raised: their outcome is FAILED and nothing else of them counts.
    """
    outcome_K = arrays[-1]
    outcome_K.fill(FAILED)
    if threads_home() != os.getpid():
        arrays = (*arrays[:_CANVASES], arrays[_CANVASES][:1], *arrays[_CANVASES + 1 :])
    states: Any = records(states_N)
    if not debugging():
        states = states_N.view(np.uint8).reshape(len(states_N), states_N.itemsize)
    with LOCK, FromMachineCode() as raised:
        loop(plain(game, raised) if debugging() else game, states, *arrays)
    failed_K = outcome_K == FAILED
    # Of a few booleans ``any`` takes four times as long.
    return causes(failed_K, raised) if np.count_nonzero(failed_K) else {}


def _after_fork() -> None:
    """Whoever held the lock isn't in the forked process."""
    global LOCK
    LOCK = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def threads_home() -> int:
    """The process whose loops run on several threads: the first of those that were forked from each other.

    GNU's OpenMP ends a forked process that enters a parallel loop: its loops run on one thread.
    """
    return os.getpid()


def records(states_N: np.ndarray) -> Any:
    """The states as a game's functions take them: plain Python reads fields through this view only."""
    return states_N.view(np.recarray) if debugging() else states_N


@functools.cache
def _drive_all() -> Function:
    """``drive``, for every game of this process."""
    if debugging():
        return build(drive, {"invoke": call_plainly, "pack": pack_plainly}, "", parallel=False)
    key = digest({"drive": drive, "invoke": c_invoke})
    return build(drive, {"invoke": helper(c_invoke, {})}, key, parallel=True)


def call_plainly(game: Function, *arguments: Any) -> None:
    game(*arguments)


def _c_signature(state: np.dtype) -> Any:
    record, whole = Pointer(from_dtype(state)), types.int64
    pointers = Pointer(types.int32), Pointer(types.float64), Pointer(types.int64)
    canvas, reward, outcome = pointers
    return types.void(record, whole, whole, whole, whole, canvas, whole, whole, reward, outcome)


def _nothing() -> tuple[np.ndarray, ...]:
    slots, none = np.zeros(0, np.int32), np.zeros(0, np.int64)
    canvas, frames = np.zeros((1, 8, 8), np.int32), np.zeros((1, 8, 8, 3), np.uint8)
    return slots, none, none, none, none, canvas, slots, frames, np.zeros(0), none


_RETURNS = {f"game_{name}": words for name, words in RETURNS.items()}
_LOOPS = Loops(work, c_work, advise, _c_signature, _drive_all, _nothing, _RETURNS)


@functools.cache
def drivers(game: Game) -> Drivers:
    """The game's loops, compiled once per process."""
    core: dict[str, Function] = {"game_reset": game.reset, "game_step": game.step, "game_draw": game.draw}
    return Drivers(game.state, core, {"game_heuristic": game.heuristic}, _LOOPS).prepare()


def canvases(height: int, width: int) -> np.ndarray:
    """int32 (T, H, W): one canvas per thread. They begin where lines of the cache do."""
    threads = 1 if debugging() else int(get_num_threads())
    nbytes = threads * height * width * 4
    memory = np.zeros(nbytes + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + nbytes].view(np.int32).reshape(threads, height, width)
