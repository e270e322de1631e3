"""The codec "delta": of a slot's observation, only the blocks that changed since the one before.

Lossless, without a library, and faster than any network: comparing and copying are NumPy's. Both
sides keep the last observation of every slot. That they agree follows from frames that
come in order and exactly once, which the session's numbers see to.

Suffixes: N slots of the session, K rows of a batch, B bytes of a row, padded to whole blocks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.errors import ProtocolError
from universe2.core.spaces import FIXED, leaves
from universe2.wire.buffers import Buffer
from universe2.wire.frames import Frame
from universe2.wire.v1 import universe_pb2 as pb

NAME = "delta"
BLOCK = 64
"""bytes"""
LEAST_BYTES = 1024
"""Smaller leaves travel as they are."""
_FIRST_LEAF = 8
"""The buffers of a batch before the observation's."""


def coded_leaves(space: spaces.Space[Any]) -> dict[int, int]:
    """Index of a batch's buffer → bytes of a row, for each leaf of the observation that is coded."""
    found, index = {}, _FIRST_LEAF
    for _, leaf in leaves(space):
        if isinstance(leaf, FIXED):
            size = int(np.prod(leaf.shape or ())) * np.dtype(leaf.dtype).itemsize
            if size >= LEAST_BYTES:
                found[index] = size
            index += 1
        elif isinstance(leaf, spaces.Text):
            index += 2
        else:
            break  # what follows has no fixed place
    return found


class _Reference:
    """The last observation of every slot, one leaf."""

    def __init__(self, num_slots: int, row_bytes: int) -> None:
        self.row_bytes = row_bytes
        blocks = -(-row_bytes // BLOCK)
        self.rows_NB = np.zeros((num_slots, blocks * BLOCK), np.uint8)

    @property
    def blocks(self) -> int:
        return self.rows_NB.shape[1] // BLOCK


class DeltaWriter:
    """The server's side of a session."""

    def __init__(self, space: spaces.Space[Any], num_slots: int) -> None:
        self._leaves = {i: _Reference(num_slots, size) for i, size in coded_leaves(space).items()}

    def code(self, header: pb.Header, buffers: list[Buffer]) -> None:
        """Replace the large observations of a batch in ``buffers``, and say so in ``header``."""
        slots_K = np.asarray(buffers[0])
        for index, reference in self._leaves.items():
            raw = np.asarray(buffers[index])
            if not raw.size:
                continue
            buffers[index] = _changes(reference, slots_K, raw.view(np.uint8).reshape(len(slots_K), -1))
            header.coded.append(index)


class DeltaReader:
    """The client's side. What it returns is valid until the next batch of any of its slots."""

    def __init__(self, space: spaces.Space[Any], num_slots: int) -> None:
        self._num_slots = num_slots
        self._leaves = {i: _Reference(num_slots, size) for i, size in coded_leaves(space).items()}

    def resolve(self, frame: Frame) -> None:
        """Put the observations in the place of their changes. Raises ProtocolError."""
        for index in frame.header.coded:
            reference = self._leaves.get(index)
            if reference is None or index >= len(frame.buffers):
                raise ProtocolError(f"buffer {index} is said to be coded, which it can't be")
            raw = frame.buffers[0]
            if not len(raw) or len(raw) % 4 or len(raw) > 4 * self._num_slots:
                raise ProtocolError(f"{len(raw)} bytes of slot numbers for {self._num_slots} slots")
            slots_K = np.frombuffer(raw, "<i4")
            if not 0 <= slots_K.min() <= slots_K.max() < self._num_slots:
                raise ProtocolError(f"slots out of range 0..{self._num_slots - 1}: {slots_K[:16].tolist()}")
            frame.buffers[index] = _applied(reference, slots_K, frame.buffers[index])


def _changes(reference: _Reference, slots_K: np.ndarray, raw_KB: np.ndarray) -> np.ndarray:
    """uint8: a bit per block of every row, whether it changed; then those blocks."""
    count, size = len(slots_K), reference.row_bytes
    if size % BLOCK:
        new_KB = np.zeros((count, reference.blocks * BLOCK), np.uint8)
        new_KB[:, :size] = raw_KB
    else:
        new_KB = np.ascontiguousarray(raw_KB)
    old_KB = reference.rows_NB[slots_K]
    words = (new_KB.view(np.uint64) != old_KB.view(np.uint64)).view(np.uint64)  # 8 flags, of a block, in one
    changed = words.reshape(-1) != 0
    blocks = new_KB.reshape(-1, BLOCK)[changed]
    reference.rows_NB[slots_K] = new_KB
    return np.concatenate([np.packbits(changed), blocks.reshape(-1)])


def _applied(reference: _Reference, slots_K: np.ndarray, coded: memoryview) -> memoryview:
    """The rows that ``_changes`` was given."""
    total = len(slots_K) * reference.blocks
    flags = -(-total // 8)
    changed = np.unpackbits(np.frombuffer(coded[:flags], np.uint8), count=min(total, 8 * len(coded[:flags])))
    new = np.frombuffer(coded[flags:], np.uint8)
    if len(changed) != total or len(new) != int(changed.sum(dtype=np.int64)) * BLOCK:
        raise ProtocolError(f"{len(new)} bytes of changes for {total} blocks")
    rows_KB = reference.rows_NB[slots_K]
    rows_KB.reshape(-1, BLOCK)[changed.view(np.bool_)] = new.reshape(-1, BLOCK)
    reference.rows_NB[slots_K] = rows_KB
    return np.ascontiguousarray(rows_KB[:, : reference.row_bytes]).data.cast("B")
