"""The codec "delta": of a slot's observation, only the blocks that changed since the one before.

Lossless, without a library: comparing and copying are NumPy's, a few rows at a time, so that what is
compared is still in the core's cache when it is copied. Both sides keep the last observation of every
slot. That they agree follows from frames that come in order and exactly once, which the session's
numbers see to.

Suffixes: N slots of the session, K rows of a batch, B bytes of a row.
"""

from __future__ import annotations

import numpy as np

from universe2.core.errors import ProtocolError
from universe2.core.spaces import as_rows

BLOCK = 64
"""bytes"""
_BLOCKS = np.dtype((np.void, BLOCK))
"""Blocks as single elements, which NumPy copies several times faster by their places than rows of bytes."""
_AT_A_TIME = 2**21
"""Bytes of rows that are compared at a time: enough for the calls to cost little, few enough for a cache."""


class Delta:
    """One side of a session, one leaf of ``row_bytes`` a row."""

    def __init__(self, num_slots: int, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._blocks = -(-row_bytes // BLOCK)
        self._last_NB = np.zeros((num_slots, self._blocks * BLOCK), np.uint8)
        self._rows_at_a_time = max(1, _AT_A_TIME // (self._blocks * BLOCK))

    def most(self, count: int) -> int:
        """The largest coded size of ``count`` rows, in bytes."""
        return -(-count * self._blocks // 8) + count * self._blocks * BLOCK

    def write(self, slots_K: np.ndarray, rows_KB: np.ndarray) -> np.ndarray:
        """uint8: a bit per block of every row, whether it changed; then those blocks."""
        if self._row_bytes % BLOCK:
            new_KB = np.zeros((len(slots_K), self._blocks * BLOCK), np.uint8)
            new_KB[:, : self._row_bytes] = rows_KB
        else:
            new_KB = np.ascontiguousarray(rows_KB)
        changed, parts = np.empty(len(slots_K) * self._blocks, np.bool_), []
        for first in range(0, len(slots_K), self._rows_at_a_time):
            rows = slice(first, first + self._rows_at_a_time)
            place = as_rows(slots_K[rows])
            new, old = new_KB[rows], self._last_NB[place]  # of a span it is the memory itself
            differ = new.view(np.uint64) != old.view(np.uint64)
            flags = changed[first * self._blocks : (first + len(new)) * self._blocks]
            np.not_equal(differ.view(np.uint64).reshape(-1), 0, out=flags)  # a block's 8 in one
            chosen = np.flatnonzero(flags)
            blocks = new.view(_BLOCKS).reshape(-1).take(chosen)
            old.view(_BLOCKS).reshape(-1)[chosen] = blocks
            if not isinstance(place, slice):
                self._last_NB[place] = old
            parts.append(blocks.view(np.uint8))
        return np.concatenate([np.packbits(changed), *parts])

    def read(self, slots_K: np.ndarray, coded: memoryview) -> memoryview:
        """The rows that ``write`` was given, read-only and valid until the next of any of their slots."""
        total = len(slots_K) * self._blocks
        flags = -(-total // 8)
        bits = np.frombuffer(coded[:flags], np.uint8)
        changed = np.unpackbits(bits, count=min(total, 8 * len(bits)))
        new = np.frombuffer(coded[flags:], np.uint8)
        if len(changed) != total or len(new) != int(changed.sum(dtype=np.int64)) * BLOCK:
            raise ProtocolError(f"{len(new)} bytes of changes for {total} blocks")
        place = as_rows(slots_K)
        rows_KB = self._last_NB[place]
        rows_KB.view(_BLOCKS).reshape(-1)[np.flatnonzero(changed)] = new.view(_BLOCKS)
        if not isinstance(place, slice):
            self._last_NB[place] = rows_KB
        return np.ascontiguousarray(rows_KB[:, : self._row_bytes]).data.cast("B").toreadonly()
