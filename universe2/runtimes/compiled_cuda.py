"""A game's functions as CUDA kernels: one thread plays and draws one slot.

Two kernels: ``play`` works the slots, ``pack`` turns their canvases into frames. A canvas is
strided: pixel (y, x) of all slots lies together, so that neighbouring threads write neighbouring
words. The functions are the very ones that ``compiled_driver`` compiles for the CPU, integers
only, hence the same frames. Needs numba-cuda. This file doesn't know runtimes.

Suffixes: K slots of a call, N slots of the runtime, H × W pixels, P = H · W; W also 64-bit words of a state.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
from collections.abc import Iterator
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype

from universe2.core.errors import MissingDependencyError
from universe2.envs.arcade.game import Game
from universe2.runtimes.compiled_build import Function, bound, rebind
from universe2.runtimes.compiled_driver import RESET
from universe2.runtimes.compiled_driver import work as work_of_a_slot
from universe2.runtimes.compiled_parts import compile_once_per_kind
from universe2.runtimes.compiled_raised import plain

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "") not in ("", "0")
"""Numba's simulator (NUMBA_ENABLE_CUDASIM=1) runs the kernels as Python threads, without a device."""

# Numba's types for these are wrong or missing.
cuda: Any = importlib.import_module("numba.cuda")
_dispatcher: Any = importlib.import_module("numba.cuda.dispatcher") if not SIMULATED else None

TILE, ROWS = 32, 8
PLAYERS = 64
"""Threads of a block of ``play``: small blocks spread a few thousand slots over all processors."""

work: Any = work_of_a_slot  # Kernels binds the game's functions to it


def play(
    states_N: Any,
    words_NW: Any,
    blank_W: Any,
    slots_K: Any,
    task_K: Any,
    keys_K: Any,
    level_K: Any,
    seed_K: Any,
    canvas_HWN: Any,
    reward_K: Any,
    outcome_K: Any,
) -> None:
    """Kernel: reset, step or just draw each slot, on its own canvas.

    ``words_NW`` is the memory of ``states_N``; ``blank_W`` is what a state is before its reset.
    """
    k = cuda.grid(1)
    if k < slots_K.shape[0]:
        n = slots_K[k]
        if task_K[k] == RESET:
            for w in range(blank_W.shape[0]):
                words_NW[n, w] = blank_W[w]
        canvas_HW = canvas_HWN[:, :, n]
        reward, outcome = reward_K[k : k + 1], outcome_K[k : k + 1]
        work(states_N[n], task_K[k], keys_K[k], level_K[k], seed_K[k], canvas_HW, reward, outcome)


def pack(slots_K: Any, canvas_PN: Any, frame_NP3: Any) -> None:
    """Kernel: 0xRRGGBB → three bytes, from pixel by pixel to slot by slot, in tiles."""
    tile = cuda.shared.array((TILE, TILE + 1), types.int32)
    column, row = cuda.threadIdx.x, cuda.threadIdx.y
    first_k, first_pixel = cuda.blockIdx.x * TILE, cuda.blockIdx.y * TILE
    for i in range(row, TILE, ROWS):
        if first_pixel + i < canvas_PN.shape[0] and first_k + column < slots_K.shape[0]:
            tile[i, column] = canvas_PN[first_pixel + i, slots_K[first_k + column]]
    cuda.syncthreads()
    for i in range(row, TILE, ROWS):
        pixel = first_pixel + column
        if pixel < canvas_PN.shape[0] and first_k + i < slots_K.shape[0]:
            slot, colour = slots_K[first_k + i], tile[column, i]
            frame_NP3[slot, pixel, 0] = (colour >> 16) & 255
            frame_NP3[slot, pixel, 1] = (colour >> 8) & 255
            frame_NP3[slot, pixel, 2] = colour & 255


def gather(slots_K: Any, frame_NP3: Any, chosen_KP3: Any) -> None:
    """Kernel: copies of some slots' frames; one block a slot."""
    k = cuda.blockIdx.x
    for pixel in range(cuda.threadIdx.x, frame_NP3.shape[1], cuda.blockDim.x):
        for part in range(3):
            chosen_KP3[k, pixel, part] = frame_NP3[slots_K[k], pixel, part]


class Kernels:
    """The kernels of one game, compiled at their first call."""

    def __init__(self, game: Game) -> None:
        self._play = cuda.jit(_play_of(game))
        self._pack = cuda.jit(pack)
        self._gather = cuda.jit(gather)

    def play(self, states_N: Any, words_NW: Any, blank_W: Any, slots_K: Any, *arrays: Any) -> None:
        """The arguments of the kernel ``play``, device arrays."""
        blocks = -(-len(slots_K) // PLAYERS)
        self._play[blocks, PLAYERS](states_N, words_NW, blank_W, slots_K, *arrays)

    def pack(self, slots_K: Any, canvas_HWN: Any, frame_NHW3: Any) -> None:
        """Some slots' canvases, of int32 (H, W, N), into their frames, uint8 (N, H, W, 3)."""
        height, width, count = canvas_HWN.shape
        pixels = height * width
        blocks = (-(-len(slots_K) // TILE), -(-pixels // TILE))
        self._pack[blocks, (TILE, ROWS)](
            slots_K, canvas_HWN.reshape(pixels, count), frame_NHW3.reshape(count, pixels, 3)
        )

    def gather(self, slots_K: Any, frame_NHW3: Any, chosen_KHW3: Any) -> None:
        """``chosen_KHW3[k] = frame_NHW3[slots_K[k]]``."""
        count, height, width, _ = frame_NHW3.shape
        flat = frame_NHW3.reshape(count, height * width, 3)
        chosen = chosen_KHW3.reshape(len(slots_K), height * width, 3)
        self._gather[len(slots_K), 4 * TILE](slots_K, flat, chosen)


def check_device() -> None:
    """Raise MissingDependencyError unless kernels can run here."""
    if not SIMULATED and not cuda.is_available():
        raise MissingDependencyError(
            'device="cuda" needs an NVIDIA GPU with its driver, and numba-cuda '
            '(get it with: pip install "universe2[cuda]"); Numba finds no device here'
        )


@functools.cache
def kernels(game: Game) -> Kernels:
    """The game's kernels, compiled once per process."""
    return Kernels(game)


def ptx(game: Game, capability: tuple[int, int]) -> str:
    """The assembly of ``play`` for a compute capability such as (9, 0). Needs no device."""
    record, whole = from_dtype(game.state)[::1], types.int64[::1]
    canvas, reward = types.int32[:, :, ::1], types.float64[::1]
    slots, words = types.int32[::1], types.int64[:, ::1]
    signature = types.void(record, words, whole, slots, whole, whole, whole, whole, canvas, reward, whole)
    with _pretended_device(capability):
        text, _ = cuda.compile(
            _play_of(game), signature, device=False, abi="numba", cc=capability, output="ptx"
        )
    return str(text)


def _play_of(game: Game) -> FunctionType:
    bindings = {"game_reset": game.reset, "game_step": game.step, "game_draw": game.draw}
    if SIMULATED:
        compiled = plain(rebind(work_of_a_slot, bindings), [])  # a device says nothing either
    else:
        compiled = _device(bound(work_of_a_slot, bindings, _callee))
    copy = rebind(play, {"work": compiled})
    assert isinstance(copy, FunctionType)
    return copy


@functools.cache
def _callee(function: Function) -> Function:
    return _device(bound(function, {}, _callee))


def _device(function: FunctionType) -> Function:
    compiled: Any = cuda.jit(device=True)(function)
    compile_once_per_kind(compiled)
    return compiled


@contextlib.contextmanager
def _pretended_device(capability: tuple[int, int]) -> Iterator[None]:
    """Device functions ask the current device for nothing but its compute capability."""
    real = _dispatcher.get_current_device
    _dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
    try:
        yield
    finally:
        _dispatcher.get_current_device = real


def to_device(array: np.ndarray) -> Any:
    """A copy of ``array`` on the device; plain Python reads records' fields only through recarray."""
    if SIMULATED and array.dtype.names is not None:
        return cuda.to_device(array.view(np.recarray))
    return cuda.to_device(array)
