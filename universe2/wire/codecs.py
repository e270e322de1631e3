"""Codecs: how each leaf of the observation travels, as both sides agree when a session opens.

The client names codecs in the order of its liking; the server takes, for each leaf of fixed size,
the first that it has and that fits the leaf, or none: then the leaf travels as it is. A codec with
losses changes what an agent sees, so it is part of the configuration and its hash, and never
replaced by another.

Suffixes: K rows of a batch, B bytes of a row.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces

from universe2.core.errors import MissingDependencyError, ProtocolError, UsageError
from universe2.core.spaces import FIXED, leaves
from universe2.core.spec import is_lossy
from universe2.wire.buffers import Buffer
from universe2.wire.delta import Delta
from universe2.wire.frames import Frame
from universe2.wire.packed import Packed
from universe2.wire.pictures import PictureFiles, is_picture
from universe2.wire.v1 import universe_pb2 as pb

EXACT = ("delta", "lz4", "png")
"""The codecs without losses."""
LEAST_BYTES = 1024
"""Smaller leaves travel as they are."""
_FIRST_LEAF = 8
"""The buffers of a batch before the observation's."""


class LeafCodec(Protocol):
    """One leaf on one side of a session."""

    def write(self, slots_K: np.ndarray, rows_KB: np.ndarray) -> Buffer: ...
    def read(self, slots_K: np.ndarray, coded: memoryview) -> memoryview: ...


class _Leaf(NamedTuple):
    buffer: int
    """which of a batch's buffers it is"""
    space: spaces.Space[Any]
    row_bytes: int


def check_codecs(names: Sequence[str]) -> None:
    """Raise UsageError or MissingDependencyError unless this side can do with all of them."""
    for name in names:
        if name not in EXACT and not is_lossy(name):
            known = ", ".join(EXACT)
            raise UsageError(f"no codec {name!r}; there are raw, {known}, and with losses jpeg-90, webp-80 …")
        if not _is_here(name):
            raise MissingDependencyError(f"the codec {name} needs {name} (get it with: pip install {name})")


def agree(space: spaces.Space[Any], asked: Sequence[str]) -> list[str]:
    """For each leaf that can be coded at all, the first of ``asked`` that this side has and that fits."""
    return [
        next((name for name in asked if _is_here(name) and _fits(name, leaf)), "")
        for leaf in _fixed_leaves(space)
    ]


def _is_here(name: str) -> bool:
    if name == "lz4":
        return importlib.util.find_spec("lz4") is not None
    return name in EXACT or is_lossy(name)


def _fits(name: str, leaf: _Leaf) -> bool:
    return leaf.row_bytes >= LEAST_BYTES and (name in ("delta", "lz4") or is_picture(leaf.space))


def _fixed_leaves(space: spaces.Space[Any]) -> list[_Leaf]:
    """The leaves whose buffer has a fixed place: those before any of variable size but text."""
    found, index = [], _FIRST_LEAF
    for _, leaf in leaves(space):
        if isinstance(leaf, FIXED):
            size = int(np.prod(leaf.shape or ())) * np.dtype(leaf.dtype).itemsize
            found.append(_Leaf(index, leaf, size))
            index += 1
        elif isinstance(leaf, spaces.Text):
            index += 2
        else:
            break
    return found


def _codec(name: str, leaf: _Leaf, num_slots: int) -> LeafCodec:
    if name == "delta":
        return Delta(num_slots, leaf.row_bytes)
    if name == "lz4":
        return Packed(num_slots, leaf.row_bytes)
    return PictureFiles(name, leaf.space.shape or ())


class Coder:
    """All coded leaves on one side of a session. ``names``: as ``agree`` returned them."""

    def __init__(self, space: spaces.Space[Any], num_slots: int, names: Sequence[str]) -> None:
        """Raises ProtocolError if the names can't be what ``agree`` returned."""
        found = _fixed_leaves(space)
        if len(names) != len(found):
            raise ProtocolError(f"{len(names)} codecs for {len(found)} leaves")
        self._num_slots = num_slots
        self._leaves: dict[int, LeafCodec] = {}
        for name, leaf in zip(names, found, strict=True):
            if name and not (_is_here(name) and _fits(name, leaf)):
                raise ProtocolError(f"the codec {name!r} can't be one for {leaf.space}")
            if name:
                self._leaves[leaf.buffer] = _codec(name, leaf, num_slots)

    def write(self, header: pb.Header, buffers: list[Buffer]) -> None:
        """Code a batch's ``buffers`` in place, and say so in ``header``."""
        slots_K = np.asarray(buffers[0])
        for index, codec in self._leaves.items():
            rows = np.asarray(buffers[index])
            buffers[index] = codec.write(slots_K, rows.view(np.uint8).reshape(len(slots_K), -1))
            header.coded.append(index)

    def read(self, frame: Frame) -> None:
        """Put the observations in the place of what they were coded as. Raises ProtocolError."""
        for index in frame.header.coded:
            codec = self._leaves.get(index)
            if codec is None or index >= len(frame.buffers):
                raise ProtocolError(f"buffer {index} is said to be coded, which it can't be")
            frame.buffers[index] = codec.read(self._slots(frame.buffers[0]), frame.buffers[index])

    def _slots(self, raw: memoryview) -> np.ndarray:
        if not len(raw) or len(raw) % 4 or len(raw) > 4 * self._num_slots:
            raise ProtocolError(f"{len(raw)} bytes of slot numbers for {self._num_slots} slots")
        slots_K = np.frombuffer(raw, "<i4")
        if not 0 <= slots_K.min() <= slots_K.max() < self._num_slots:
            raise ProtocolError(f"slots out of range 0..{self._num_slots - 1}: {slots_K[:16].tolist()}")
        return slots_K
