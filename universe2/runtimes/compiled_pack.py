"""From a canvas to a frame: 0xRRGGBB → three bytes, in machine code for the CPU.

It doesn't know where canvases come from, nor who reads frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# Numba's types for these are wrong or missing.
_intrinsic: Any = intrinsic

LINE = 64
"""Bytes of a cache's line."""

PACKED = 64
"""Pixels that are packed at once."""

STREAM = 8 << 20
"""Bytes of frames that are written past the caches, which they would leave before they are written again.

Otherwise a line is read before it is written, which takes 0.1 to 0.7 µs a frame, the more the busier the
machine is; whoever reads the frames from memory then needs up to 0.2 µs more.
"""


def pack(colours: Any, octets: Any, streams: bool) -> None:
    """0xRRGGBB → three bytes. ``streams``: past the caches."""
    whole = colours.shape[0] // PACKED * PACKED
    if streams and octets.ctypes.data % LINE == 0:
        for i in range(0, whole, PACKED):
            stream_some(colours, i, octets)
    else:
        for i in range(0, whole, PACKED):
            pack_some(colours, i, octets)
    for i in range(whole, colours.shape[0]):
        colour = colours[i]
        octets[3 * i] = (colour >> 16) & 255
        octets[3 * i + 1] = (colour >> 8) & 255
        octets[3 * i + 2] = colour & 255


@_intrinsic  # type: ignore[untyped-decorator]
def pack_some(_context: Any, colours: Any, i: Any, octets: Any) -> Any:
    """Machine code that packs PACKED pixels from the i-th on: four vectors of 64 bytes become three."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for packed, place in packed_vectors(target, builder, signature, arguments):
            builder.store(packed, place, align=1)
        return target.get_dummy_value()

    return types.void(colours, i, octets), generate


@_intrinsic  # type: ignore[untyped-decorator]
def stream_some(_context: Any, colours: Any, i: Any, octets: Any) -> Any:
    """``pack_some`` to where a line of the cache begins, without asking memory what the line held."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        once = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        for packed, place in packed_vectors(target, builder, signature, arguments):
            builder.store(packed, place, align=LINE).set_metadata("nontemporal", once)
        return target.get_dummy_value()

    return types.void(colours, i, octets), generate


def packed_vectors(target: Any, builder: Any, signature: Any, arguments: Any) -> list[tuple[Any, Any]]:
    """Code that makes three vectors of octets, and where each belongs."""
    vector, word = ir.VectorType(ir.IntType(8), 64), ir.IntType(64)

    def at(which: int, first: Any, further: int) -> Any:
        array = target.make_array(signature.args[which])(target, builder, arguments[which])
        index = builder.add(first, ir.Constant(word, further))
        return builder.bitcast(builder.gep(array.data, [index]), vector.as_pointer())

    first = builder.sext(arguments[1], word) if arguments[1].type.width < 64 else arguments[1]
    octet = builder.mul(first, ir.Constant(word, 3))
    whole = [builder.load(at(0, first, 16 * part), align=4) for part in range(4)]
    made = []
    for part in range(3):
        # Byte b of the frame is byte 2 - b % 3 of pixel b // 3.
        order = [b // 3 * 4 + 2 - b % 3 - 64 * part for b in range(64 * part, 64 * part + 64)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), 64), order)
        made.append((builder.shuffle_vector(whole[part], whole[part + 1], mask), at(2, octet, 64 * part)))
    return made


def pack_plainly(colours: np.ndarray, octets: np.ndarray, streams: bool) -> None:
    """``pack`` in plain Python."""
    for part in range(3):
        octets[part::3] = colours >> (16 - 8 * part) & 255
