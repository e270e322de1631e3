"""The loops around a game's functions, and their machine code: one call works a batch of slots.

``game_reset``, ``game_step``, ``game_draw`` and ``game_heuristic`` are names that ``drivers``
binds to a game's functions before compiling. Threads share the slots of a call evenly; each
draws on a canvas of its own, which stays in its core's cache.

Suffixes: K slots of a call, N slots of the runtime, T threads, F frames, H × W pixels.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from llvmlite import ir
from numba import get_num_threads, prange, types
from numba.extending import intrinsic
from numba.np.numpy_support import carray, from_dtype

import universe2.core.openmp  # noqa: F401  # how the loop's threads wait
from universe2.envs.arcade.game import Game
from universe2.runtimes.compiled_build import (
    Entry,
    Function,
    build,
    debugging,
    digest,
    entry,
    helper,
    one_at_a_time,
)
from universe2.runtimes.compiled_parts import allocates
from universe2.runtimes.compiled_raised import FromMachineCode, causes, plain

# Numba's types for these are wrong or missing.
_intrinsic: Any = intrinsic
Pointer: Any = types.CPointer

FEW = 16
"""Fewer slots than this are worked by the calling thread alone."""

RESET, STEP, DRAW = 0, 1, 2
"""What to do with a slot; DRAW draws it as it is."""

FAILED = -1
"""The outcome of a slot whose game raised an exception: what a loop finds there if nobody writes another."""


def unbound(*arguments: Any) -> Any:
    raise NotImplementedError("a placeholder: drivers() binds the game's function to this name")


game_reset = game_step = game_draw = game_heuristic = invoke = unbound

LOCK = threading.Lock()
# Numba's threading layer may be one that two threads must not enter at once.


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
    # Waking the threads costs more than a few slots do.
    threads = canvas_THW.shape[0] if count >= FEW else 1
    if threads == 1:
        for k in range(count):
            invoke(
                game, states_NB[slots_K[k]], task_K[k], keys_K[k], level_K[k], seed_K[k],
                canvas_THW[0], reward_K[k : k + 1], outcome_K[k : k + 1],
            )  # fmt: skip
            pack(canvas_THW[0].reshape(-1), frame_FHW3[row_K[k]].reshape(-1))
        return
    for t in prange(threads):
        for k in range(t * count // threads, (t + 1) * count // threads):
            invoke(
                game, states_NB[slots_K[k]], task_K[k], keys_K[k], level_K[k], seed_K[k],
                canvas_THW[t], reward_K[k : k + 1], outcome_K[k : k + 1],
            )  # fmt: skip
            pack(canvas_THW[t].reshape(-1), frame_FHW3[row_K[k]].reshape(-1))


def work(
    state: Any, task: int, keys: int, level: int, seed: int, canvas: Any, reward: Any, outcome: Any
) -> None:
    """One slot: do the task, draw; its reward and outcome go to one-element arrays."""
    gained, ending = 0, 0
    if task == RESET:
        game_reset(state, level, seed)
    elif task == STEP:
        gained, ending = game_step(state, keys)
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


def pack(colours: Any, octets: Any) -> None:
    """0xRRGGBB → three bytes."""
    count = colours.shape[0]
    for i in range(0, count - 5, 4):
        pack_four(colours, i, octets)
    for i in range(max(0, (count - 2) // 4 * 4), count):
        colour = colours[i]
        octets[3 * i] = (colour >> 16) & 255
        octets[3 * i + 1] = (colour >> 8) & 255
        octets[3 * i + 2] = colour & 255


@_intrinsic  # type: ignore[untyped-decorator]
def pack_four(_context: Any, colours: Any, i: Any, octets: Any) -> Any:
    """Machine code that packs pixels i to i + 3 by one shuffle, and writes four more bytes of nothing."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), 16)

        def at(which: int, index: Any) -> Any:
            array = target.make_array(signature.args[which])(target, builder, arguments[which])
            return builder.bitcast(builder.gep(array.data, [index]), vector.as_pointer())

        first = builder.sext(arguments[1], ir.IntType(64)) if arguments[1].type.width < 64 else arguments[1]
        four = builder.load(at(0, first), align=4)
        order = [2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, 3, 7, 11, 15]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), 16), order)
        octet = builder.mul(first, ir.Constant(first.type, 3))
        builder.store(builder.shuffle_vector(four, four, mask), at(2, octet), align=1)
        return target.get_dummy_value()

    return types.void(colours, i, octets), generate


def pack_plainly(colours: np.ndarray, octets: np.ndarray) -> None:
    """``pack`` in plain Python."""
    for part in range(3):
        octets[part::3] = colours >> (16 - 8 * part) & 255


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


class Drivers:
    """The compiled loops of one game. ``digest`` names its rules: everything but comments.

    ``core`` and ``expert`` bind the names that ``work`` and ``advise`` leave open.
    """

    def __init__(
        self, state: np.dtype, core: Mapping[str, Function], expert: Mapping[str, Function], loops: Loops
    ) -> None:
        self.digest = digest({**core, "work": loops.work, "c_work": loops.c_work}, state)
        advice = digest({**expert, "advise": loops.advise}, state)
        self._state, self._loops = state, loops
        self._work = helper(loops.work, core)
        self._advise = build(loops.advise, expert, advice, parallel=False)
        self._address: Any = self._work if debugging() else 0
        self._code: Entry | None = None

    def prepare(self) -> Self:
        """Compile, or load from disk, now: nothing that has a deadline should wait for it."""
        loops = self._loops
        if not debugging():
            with one_at_a_time(self.digest):
                signature = loops.signature(self._state)
                self._code = entry(loops.c_work, {"work": self._work}, self.digest, signature)
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
        with LOCK:
            self._advise(records(states_N), slots_K, keys)
        return keys


def run(loop: Function, game: Any, states_N: np.ndarray, *arrays: np.ndarray) -> dict[int, str]:
    """Call a loop such as ``drive``, whose last argument is the outcomes.

    Row → traceback, for the rows whose game raised: their outcome is FAILED and nothing else of them counts.
    """
    outcome_K = arrays[-1]
    outcome_K.fill(FAILED)
    states: Any = records(states_N)
    if not debugging():
        states = states_N.view(np.uint8).reshape(len(states_N), states_N.itemsize)
    with LOCK, FromMachineCode() as raised:
        loop(plain(game, raised) if debugging() else game, states, *arrays)
    failed_K = outcome_K == FAILED
    # Of a few booleans ``any`` takes four times as long.
    return causes(failed_K, raised) if np.count_nonzero(failed_K) else {}


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


_LOOPS = Loops(work, c_work, advise, _c_signature, _drive_all, _nothing)


@functools.cache
def drivers(game: Game) -> Drivers:
    """The game's loops, compiled once per process."""
    core: dict[str, Function] = {"game_reset": game.reset, "game_step": game.step, "game_draw": game.draw}
    return Drivers(game.state, core, {"game_heuristic": game.heuristic}, _LOOPS).prepare()


def canvases(height: int, width: int) -> np.ndarray:
    """int32 (T, H, W): one canvas per thread."""
    threads = 1 if debugging() else int(get_num_threads())
    return np.zeros((threads, height, width), np.int32)
