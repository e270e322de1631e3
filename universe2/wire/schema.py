"""Gymnasium spaces ↔ their schema message, without loss (random state apart)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.errors import ProtocolError, UnsupportedError
from universe2.wire.buffers import as_buffer, dtype_name, dtype_named
from universe2.wire.v1 import space_pb2 as pb

MAX_DEPTH = 32
MAX_SPACES = 4096
MAX_ELEMENTS = 2**24


def write_space(space: spaces.Space[Any]) -> pb.Space:
    """The schema of ``space``. UnsupportedError if it isn't made of Gymnasium's ten spaces."""
    if isinstance(space, spaces.Box):
        return pb.Space(box=_write_box(space))
    if isinstance(space, spaces.Discrete):
        name = dtype_name(np.dtype(space.dtype))
        return pb.Space(discrete=pb.Discrete(n=int(space.n), start=int(space.start), dtype=name))
    if isinstance(space, spaces.MultiDiscrete):
        dtype = np.dtype(space.dtype)
        bounds = {"nvec": _bytes(space.nvec, dtype), "start": _bytes(space.start, dtype)}
        shape = space.nvec.shape
        return pb.Space(multi_discrete=pb.MultiDiscrete(dtype=dtype_name(dtype), shape=shape, **bounds))
    if isinstance(space, spaces.MultiBinary):
        return pb.Space(multi_binary=pb.MultiBinary(shape=space.shape, flat=isinstance(space.n, int)))
    if isinstance(space, spaces.Text):
        text = pb.Text(min_length=space.min_length, max_length=space.max_length)
        text.charset = "".join(space.character_list)
        return pb.Space(text=text)
    if isinstance(space, spaces.Dict):
        if not all(isinstance(key, str) for key in space.spaces):
            raise UnsupportedError(f"a Dict space's keys must be strings to travel, got {list(space.spaces)}")
        subs = [write_space(sub) for sub in space.spaces.values()]
        return pb.Space(dict=pb.DictSpace(keys=list(space.spaces), spaces=subs))
    if isinstance(space, spaces.Sequence):
        return pb.Space(
            sequence=pb.SequenceSpace(feature=write_space(space.feature_space), stack=space.stack)
        )
    if isinstance(space, spaces.Graph):
        edge = None if space.edge_space is None else write_space(space.edge_space)
        return pb.Space(graph=pb.Graph(node=write_space(space.node_space), edge=edge))
    if isinstance(space, spaces.Tuple):
        return pb.Space(tuple=pb.TupleSpace(spaces=[write_space(sub) for sub in space.spaces]))
    if isinstance(space, spaces.OneOf):
        return pb.Space(one_of=pb.TupleSpace(spaces=[write_space(sub) for sub in space.spaces]))
    raise UnsupportedError(f"{type(space).__name__} is not one of Gymnasium's ten spaces and can't travel")


def read_space(message: pb.Space) -> spaces.Space[Any]:
    """The space of a schema. Raises ProtocolError, nothing else."""
    try:
        return _Reading().read(message, 0)
    except (ValueError, TypeError, AssertionError, OverflowError, Warning) as error:
        raise ProtocolError(f"the schema describes no valid space: {error}") from None


class _Reading:
    """One schema being read; counts what it has made, so that a small message can't ask for much."""

    def __init__(self) -> None:
        self.spaces_left = MAX_SPACES
        self.elements_left = MAX_ELEMENTS

    def read(self, message: pb.Space, depth: int) -> spaces.Space[Any]:
        self.spaces_left -= 1
        if depth > MAX_DEPTH or self.spaces_left < 0:
            raise ProtocolError(f"spaces nest deeper than {MAX_DEPTH}, or are more than {MAX_SPACES}")
        kind = message.WhichOneof("kind")
        if kind == "box":
            return self._box(message.box)
        if kind == "discrete":
            dtype = _integer(message.discrete.dtype)
            limits = np.iinfo(dtype)
            last = message.discrete.start + message.discrete.n - 1
            if not limits.min <= message.discrete.start <= last <= limits.max:
                raise ProtocolError(f"Discrete: {message.discrete.start} … {last} don't fit {dtype}")
            start = dtype.type(message.discrete.start)
            return spaces.Discrete(message.discrete.n, start=start, dtype=dtype.type)
        if kind == "multi_discrete":
            multi = message.multi_discrete
            dtype = _integer(multi.dtype)
            shape = self._shape(multi.shape)
            nvec, start = _array(multi.nvec, dtype, shape), _array(multi.start, dtype, shape)
            return spaces.MultiDiscrete(nvec, dtype=dtype.type, start=start)
        if kind == "multi_binary":
            shape = self._shape(message.multi_binary.shape)
            if message.multi_binary.flat and len(shape) == 1:
                return spaces.MultiBinary(shape[0])
            return spaces.MultiBinary(list(shape))
        if kind == "text":
            text = message.text
            return spaces.Text(text.max_length, min_length=text.min_length, charset=text.charset)
        return self._composite(message, kind, depth + 1)

    def _composite(self, message: pb.Space, kind: str | None, depth: int) -> spaces.Space[Any]:
        if kind == "dict":
            keys, subs = message.dict.keys, message.dict.spaces
            if len(keys) != len(subs) or len(set(keys)) != len(keys):
                raise ProtocolError("Dict space: keys and spaces don't pair up")
            pairs = zip(keys, (self.read(sub, depth) for sub in subs), strict=True)
            return spaces.Dict(list(pairs))
        if kind == "tuple":
            return spaces.Tuple(self._all(message.tuple.spaces, depth))
        if kind == "one_of":
            return spaces.OneOf(self._all(message.one_of.spaces, depth))
        if kind == "sequence":
            return spaces.Sequence(self.read(message.sequence.feature, depth), stack=message.sequence.stack)
        if kind == "graph":
            edge = self.read(message.graph.edge, depth) if message.graph.HasField("edge") else None
            return spaces.Graph(self.read(message.graph.node, depth), edge)
        raise ProtocolError("a space of no known kind; is the other side newer?")

    def _all(self, messages: Iterable[pb.Space], depth: int) -> list[spaces.Space[Any]]:
        return [self.read(message, depth) for message in messages]

    def _shape(self, shape: Iterable[int]) -> tuple[int, ...]:
        dims = tuple(int(d) for d in shape)
        self.elements_left -= math.prod(dims)
        if len(dims) > 32 or self.elements_left < 0 or max(dims, default=0) > MAX_ELEMENTS:
            raise ProtocolError(f"spaces of more than {MAX_ELEMENTS} elements, or 32 axes")
        return dims

    def _box(self, box: pb.Box) -> spaces.Box:
        dtype = dtype_named(box.dtype)
        if dtype.kind not in "biuf":
            raise ProtocolError(f"Box of dtype {dtype}")
        shape = self._shape(box.shape)
        low, high = _array(box.low, dtype, shape), _array(box.high, dtype, shape)
        space = spaces.Box(low, high, shape, dtype.type)
        space.bounded_below = _array(box.bounded_below, np.dtype("|u1"), shape).astype(bool)
        space.bounded_above = _array(box.bounded_above, np.dtype("|u1"), shape).astype(bool)
        return space


def _write_box(space: spaces.Box) -> pb.Box:
    dtype = np.dtype(space.dtype)
    return pb.Box(
        dtype=dtype_name(dtype),
        shape=space.shape,
        low=_bytes(space.low, dtype),
        high=_bytes(space.high, dtype),
        bounded_below=_bytes(space.bounded_below, np.dtype(bool)),
        bounded_above=_bytes(space.bounded_above, np.dtype(bool)),
    )


def _bytes(values: Any, dtype: np.dtype) -> bytes:
    """All elements, or one if all have the same bits."""
    array = as_buffer(np.asarray(values), dtype)
    data = array.tobytes()
    first = data[: dtype.itemsize]
    return first if array.size and data == first * array.size else data


def _array(data: bytes, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape)
    if len(data) == dtype.itemsize and count:
        return np.full(shape, np.frombuffer(data, dtype)[0])
    if len(data) != count * dtype.itemsize:
        raise ProtocolError(f"{len(data)} bytes for {count} elements of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _integer(name: str) -> np.dtype:
    dtype = dtype_named(name)
    if dtype.kind not in "iu":
        raise ProtocolError(f"{dtype} is not an integer dtype")
    return dtype
