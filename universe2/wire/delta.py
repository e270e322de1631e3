"""The codec "delta": of a slot's observation, only the blocks that changed since the one before.

Lossless, without a library: comparing and copying are NumPy's. Both sides keep the last observation
of every slot. That they agree follows from frames that come in order and exactly once, which the
session's numbers see to.

Suffixes: N slots of the session, K rows of a batch, B bytes of a row.
"""

from __future__ import annotations

import numpy as np

from universe2.core.errors import ProtocolError

BLOCK = 64
"""bytes"""


class Delta:
    """One side of a session, one leaf of ``row_bytes`` a row."""

    def __init__(self, num_slots: int, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._blocks = -(-row_bytes // BLOCK)
        self._last_NB = np.zeros((num_slots, self._blocks * BLOCK), np.uint8)

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
        old_KB = self._last_NB[slots_K]
        words = (new_KB.view(np.uint64) != old_KB.view(np.uint64)).view(np.uint64)  # a block's 8 flags in one
        changed = words.reshape(-1) != 0
        blocks = new_KB.reshape(-1, BLOCK)[changed]
        self._last_NB[slots_K] = new_KB
        return np.concatenate([np.packbits(changed), blocks.reshape(-1)])

    def read(self, slots_K: np.ndarray, coded: memoryview) -> memoryview:
        """The rows that ``write`` was given, valid until the next of any of their slots."""
        total = len(slots_K) * self._blocks
        flags = -(-total // 8)
        bits = np.frombuffer(coded[:flags], np.uint8)
        changed = np.unpackbits(bits, count=min(total, 8 * len(bits)))
        new = np.frombuffer(coded[flags:], np.uint8)
        if len(changed) != total or len(new) != int(changed.sum(dtype=np.int64)) * BLOCK:
            raise ProtocolError(f"{len(new)} bytes of changes for {total} blocks")
        rows_KB = self._last_NB[slots_K]
        rows_KB.reshape(-1, BLOCK)[changed.view(np.bool_)] = new.reshape(-1, BLOCK)
        self._last_NB[slots_K] = rows_KB
        return np.ascontiguousarray(rows_KB[:, : self._row_bytes]).data.cast("B")
