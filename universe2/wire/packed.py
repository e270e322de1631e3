"""The codec "lz4": what "delta" makes of a batch's rows, packed as one LZ4 block.

The previous frame is the reference, so that most of what LZ4 sees is new.
benchmarks/codecs.py says on which networks it pays. Needs the package lz4.
"""

from __future__ import annotations

import struct

import numpy as np

from universe2.core.errors import ProtocolError
from universe2.wire.delta import Delta

_SIZE = struct.Struct("<I")


class Packed:
    """One side of a session, one leaf."""

    def __init__(self, num_slots: int, row_bytes: int) -> None:
        from lz4 import block

        self._lz4 = block
        self._delta = Delta(num_slots, row_bytes)

    def write(self, slots_K: np.ndarray, rows_KB: np.ndarray) -> bytes:
        """The size of the changes, uint32, and the changes, packed."""
        packed: bytes = self._lz4.compress(self._delta.write(slots_K, rows_KB), store_size=True)
        return packed

    def read(self, slots_K: np.ndarray, coded: memoryview) -> memoryview:
        if len(coded) < _SIZE.size:
            raise ProtocolError(f"{len(coded)} bytes of packed changes")
        (size,) = _SIZE.unpack(coded[: _SIZE.size])
        if size > self._delta.most(len(slots_K)):
            raise ProtocolError(f"{size} bytes of changes in {len(slots_K)} rows")
        try:
            changes = self._lz4.decompress(coded[_SIZE.size :], uncompressed_size=size)
        except self._lz4.LZ4BlockError as error:
            raise ProtocolError(f"packed changes can't be unpacked: {error}") from None
        return self._delta.read(slots_K, memoryview(changes))
