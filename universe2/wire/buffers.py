"""BufferReader: a frame's raw buffers, taken one by one and checked against what they should be.

It knows dtypes and lengths, not what the numbers mean.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import sys
from collections.abc import Sequence

import numpy as np

from universe2.core.errors import ProtocolError, UnsupportedError

Buffer = bytes | memoryview | np.ndarray
"""Anything whose bytes can be written as they lie: arrays must be contiguous."""

SPARE_ROWS = 65_536
"""How many rows without content a frame may declare beyond one per byte that it carries."""

_NATIVE = sys.byteorder == "little"
"""Is this machine's order of bytes that of the wire?"""

_DTYPE = re.compile(r"\|b1|[<|][iu][1248]|<f[248]|<c(8|16)|<U[0-9]{1,6}|\|S[0-9]{1,6}")


@functools.lru_cache(256)
def dtype_named(name: str) -> np.dtype:
    """The dtype of a wire name such as ``<f4``, or ProtocolError."""
    if not _DTYPE.fullmatch(name):
        raise ProtocolError(f"dtype {name[:40]!r} is not one that may travel")
    return np.dtype(name)


@functools.lru_cache(256)
def dtype_name(dtype: np.dtype) -> str:
    """The wire name of a dtype, in little-endian order; UnsupportedError if it may not travel."""
    name = np.dtype(dtype).newbyteorder("<").str
    if not _DTYPE.fullmatch(name):
        raise UnsupportedError(f"arrays of dtype {dtype} can't travel")
    return name


def may_travel(dtype: np.dtype) -> bool:
    """Has the dtype a wire name? NumPy's long doubles have none."""
    return _DTYPE.fullmatch(dtype.newbyteorder("<").str) is not None


def as_buffer(values: object, dtype: np.dtype) -> np.ndarray:
    """``values`` as a contiguous little-endian array of ``dtype``; no copy if it is one."""
    if type(values) is np.ndarray and values.dtype is dtype and _NATIVE and values.flags.c_contiguous:
        return values  # the common case, in a fraction of the time
    return np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))


def nbytes(buffer: Buffer) -> int:
    """How many bytes are written for it."""
    return len(buffer) if isinstance(buffer, bytes) else buffer.nbytes


class BufferReader:
    """Takes buffers in order. ``copy`` makes arrays that own their memory and can be written."""

    def __init__(self, buffers: Sequence[bytes | memoryview], *, copy: bool = False) -> None:
        self._buffers = buffers
        self._next = 0
        self._copy = copy
        self._rows_left = sum(len(b) for b in buffers) + SPARE_ROWS

    def raw(self) -> memoryview:
        """The next buffer as it is."""
        try:
            found = self._buffers[self._next]
        except IndexError:
            raise ProtocolError(
                f"the frame has {len(self._buffers)} buffers, too few for its content"
            ) from None
        self._next += 1
        return found if type(found) is memoryview else memoryview(found)

    def array(self, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        """The next buffer as an array: a read-only view of the message where alignment allows."""
        raw = self.raw()
        size = dtype.itemsize
        expected = size * (shape[0] if len(shape) == 1 else math.prod(shape))
        if len(raw) != expected:
            raise ProtocolError(
                f"buffer {self._next - 1} has {len(raw)} bytes; {dtype} {shape} takes {expected}"
            )
        if not expected:
            return np.zeros(shape, dtype)
        array = np.frombuffer(raw, dtype)
        if len(shape) != 1:
            array = array.reshape(shape)
        # Unaligned arrays are slow, and compiled code may refuse them.
        return array.copy() if self._copy or (size > 1 and not array.flags.aligned) else array

    def flags(self, count: int) -> np.ndarray:
        """The next buffer as bool (count,). Any byte but 0 and 1 is refused."""
        array = self.array(np.dtype("|u1"), (count,))
        if array.tobytes().translate(None, b"\0\1"):
            raise ProtocolError(f"buffer {self._next - 1}: a flag is neither 0 nor 1")
        return array.view(np.bool_)

    def lengths(self, count: int, least: int = 0) -> np.ndarray:
        """The next buffer as int32 (count,), none below ``least``."""
        array = self.array(np.dtype("<i4"), (count,))
        if count and array.min() < least:
            raise ProtocolError(f"buffer {self._next - 1}: length {array.min()} is below {least}")
        return array

    def spend(self, rows: int) -> int:
        """``rows`` are about to be made. Refuses rows that nothing in the frame pays for."""
        self._rows_left -= rows
        if self._rows_left < 0:
            raise ProtocolError("the frame declares more rows than its size allows")
        return rows

    def done(self) -> None:
        """Nothing may be left over."""
        if self._next != len(self._buffers):
            raise ProtocolError(f"the frame has {len(self._buffers)} buffers, {self._next} expected")


def write_texts(texts: Sequence[str]) -> list[Buffer]:
    """Byte lengths and the UTF-8 texts end to end. UnicodeEncodeError for lone surrogates."""
    parts = [text.encode() for text in texts]
    return [np.array([len(p) for p in parts], "<i4"), b"".join(parts)]


def read_texts(reader: BufferReader, count: int) -> tuple[str, ...]:
    """The inverse of ``write_texts``."""
    lengths = reader.lengths(reader.spend(count))
    raw = bytes(reader.raw())
    ends = list(itertools.accumulate(lengths.tolist(), initial=0))
    if ends[-1] != len(raw):
        raise ProtocolError(f"texts of {ends[-1]} bytes were declared, {len(raw)} came")
    try:
        return tuple(raw[begin:end].decode() for begin, end in itertools.pairwise(ends))
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a text is not UTF-8: {error}") from None
