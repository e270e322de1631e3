"""Single values of restricted types ↔ Value messages: options, and info cells of odd shape.

Nothing is pickled and nothing names code. What has no representation arrives as Opaque.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from universe2.core.errors import ProtocolError, UnsupportedError
from universe2.wire.buffers import dtype_name, dtype_named
from universe2.wire.v1 import value_pb2 as pb

MAX_DEPTH = 32
_DECIMAL = re.compile(r"-?[0-9]{1,400}")
_HASHABLE = (bool, int, float, str, bytes, tuple)


@dataclass(frozen=True)
class Opaque:
    """Something that was sent but can't travel: what it was, and how it printed."""

    type_name: str
    text: str


def write_value(value: Any, depth: int = 0) -> pb.Value:
    """The message of a value: the inverse of ``read_value`` for all types that it returns."""
    if value is None:
        return pb.Value(none=True)
    if isinstance(value, np.generic):
        return _write_array(value)
    kind = type(value)
    if kind is bool:
        return pb.Value(boolean=value)
    if kind is int:
        return _write_integer(value)
    if kind is float:
        return pb.Value(real=value)
    if kind is bytes:
        return pb.Value(binary=value)
    if kind is str:
        return _write_text(value)
    if kind is np.ndarray:
        return _write_array(value)
    if kind in (list, tuple, dict) and depth < MAX_DEPTH:
        return _write_composite(value, depth + 1)
    return _opaque(value)


def read_value(message: pb.Value, depth: int = 0) -> Any:
    """The value of a message. Raises ProtocolError, nothing else."""
    if depth > MAX_DEPTH:
        raise ProtocolError(f"values nest deeper than {MAX_DEPTH}")
    kind = message.WhichOneof("kind")
    if kind in ("boolean", "integer", "real", "text", "binary"):
        return getattr(message, kind)
    if kind == "none":
        return None
    if kind == "big_integer":
        if not _DECIMAL.fullmatch(message.big_integer):
            raise ProtocolError(f"{message.big_integer[:40]!r} is not an integer")
        return int(message.big_integer)
    if kind == "array":
        return _read_array(message.array)
    if kind == "list":
        return [read_value(item, depth + 1) for item in message.list.items]
    if kind == "tuple":
        return tuple(read_value(item, depth + 1) for item in message.tuple.items)
    if kind == "map":
        return _read_map(message.map, depth + 1)
    if kind == "opaque":
        return Opaque(message.opaque.type_name, message.opaque.text)
    raise ProtocolError("a value of no known kind; is the other side newer?")


def _write_integer(value: int) -> pb.Value:
    if -(2**63) <= value < 2**63:
        return pb.Value(integer=value)
    # 1,300 bits always fit in the 400 digits that a reader accepts.
    return pb.Value(big_integer=str(value)) if value.bit_length() <= 1300 else _opaque(value)


def _write_text(value: str) -> pb.Value:
    try:
        value.encode()
    except UnicodeEncodeError:  # lone surrogates, which protobuf can't carry
        return _opaque(value)
    return pb.Value(text=value)


def _write_array(value: np.ndarray | np.generic) -> pb.Value:
    array = np.asarray(value)  # of an empty np.str_ too, whose own dtype has no room for a character
    if array.dtype.kind in "US" and not array.dtype.itemsize:
        array = array.astype(f"{array.dtype.kind}1")
    try:
        name = dtype_name(array.dtype)
    except UnsupportedError:
        return _opaque(value)
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    scalar = isinstance(value, np.generic)
    return pb.Value(array=pb.Array(dtype=name, shape=array.shape, data=data, scalar=scalar))


def _write_composite(value: Any, depth: int) -> pb.Value:
    if isinstance(value, dict):
        if not all(type(key) in _HASHABLE for key in value):
            return _opaque(value)
        keys = [write_value(key, depth) for key in value]
        items = [write_value(item, depth) for item in value.values()]
        return pb.Value(map=pb.ValueMap(keys=keys, values=items))
    items = pb.ValueList(items=[write_value(item, depth) for item in value])
    return pb.Value(list=items) if isinstance(value, list) else pb.Value(tuple=items)


def _opaque(value: Any) -> pb.Value:
    if isinstance(value, Opaque):
        return pb.Value(opaque=pb.Opaque(type_name=value.type_name, text=value.text))
    kind = type(value)
    return pb.Value(
        opaque=pb.Opaque(type_name=f"{kind.__module__}.{kind.__qualname__}", text=_printed(value))
    )


def _printed(value: Any) -> str:
    try:
        return ascii(value)[:200]
    except Exception as error:  # noqa: BLE001  a foreign __repr__ may do anything
        return f"(not printable: {type(error).__name__})"


def _read_array(message: pb.Array) -> Any:
    dtype = dtype_named(message.dtype)
    shape = tuple(int(d) for d in message.shape)
    if len(shape) > 32 or len(message.data) != math.prod(shape) * dtype.itemsize:
        raise ProtocolError(f"{len(message.data)} bytes for an array {dtype} {shape}")
    if dtype.itemsize == 0 and math.prod(shape) > 0:  # NumPy would take memory that no byte here pays for
        raise ProtocolError(f"an array of {dtype} has elements without content, of shape {shape}")
    if message.scalar and shape:
        raise ProtocolError(f"a scalar of shape {shape}")
    if dtype.itemsize == 0 or math.prod(shape) == 0:
        if max(shape, default=0) > 2**31 or math.prod(d for d in shape if d) > 2**31:
            raise ProtocolError(f"an array without content of shape {shape}")
        array = np.zeros(shape, dtype)
    else:
        array = np.frombuffer(message.data, dtype).reshape(shape).copy()
    if dtype.kind == "U" and array.size and np.frombuffer(message.data, "<u4").max(initial=0) > 0x10FFFF:
        raise ProtocolError(f"an array of {dtype} holds characters beyond Unicode")
    return array[()] if message.scalar else array


def _read_map(message: pb.ValueMap, depth: int) -> dict[Any, Any]:
    if len(message.keys) != len(message.values):
        raise ProtocolError(f"a map of {len(message.keys)} keys and {len(message.values)} values")
    keys = [read_value(key, depth) for key in message.keys]
    try:
        found = {k: read_value(v, depth) for k, v in zip(keys, message.values, strict=True)}
    except TypeError:
        raise ProtocolError("a map has a key that can't be one") from None
    if not all(type(key) in _HASHABLE for key in keys) or len(found) != len(keys):
        raise ProtocolError("a map has a key that occurs twice or can't be one")
    return found
