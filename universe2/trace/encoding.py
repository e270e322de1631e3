"""Canonical bytes of one value of a Gymnasium space, and back.

The same value gives the same bytes on every machine, so they are what is hashed and what an
action trace is made of. The form, given the space (all numbers little-endian):

    Box, Discrete, MultiDiscrete, MultiBinary   the array in the space's dtype, C order, no header
    Dict, Tuple                                 the parts one after the other, in the space's order
    Text                                        uint64 number of bytes, then UTF-8
    Sequence                                    uint64 number of elements, then the elements
    OneOf                                       uint64 index, then the chosen part
    Graph                                       uint64 nodes, uint64 edges, uint8 whether there are
                                                edges at all, then nodes, edges, links as int32 pairs

This file doesn't know how batches travel (see ``universe2.wire``): it trades speed for a
definition that fits in a docstring.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from universe2.core.errors import ProtocolError
from universe2.core.spaces import FIXED


def row_of(space: spaces.Space[Any], batched: Any, row: int) -> Any:
    """One single value of a batched one (a view where it is an array)."""
    if isinstance(space, spaces.Dict):
        return {key: row_of(sub, batched[key], row) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(row_of(sub, batched[i], row) for i, sub in enumerate(space.spaces))
    return batched[row]


def encode(space: spaces.Space[Any], value: Any) -> bytes:
    """The canonical bytes of one (unbatched) value of ``space``."""
    return b"".join(_parts(space, value))


def decode(space: spaces.Space[Any], data: bytes | memoryview) -> tuple[Any, int]:
    """The value that begins ``data``, and how many bytes it took. Inverse of ``encode``.

    Raises ProtocolError if the bytes end too early or can't be a value of the space, nothing else.
    """
    reader = _Reader(memoryview(data))
    return _read(space, reader), reader.at


def _parts(space: spaces.Space[Any], value: Any) -> Iterator[bytes]:
    if isinstance(space, FIXED):
        yield _array_bytes(value, space.dtype)
    elif isinstance(space, spaces.Dict):
        for key, sub in space.spaces.items():
            yield from _parts(sub, value[key])
    elif isinstance(space, spaces.Tuple):
        for part, sub in zip(value, space.spaces, strict=True):
            yield from _parts(sub, part)
    elif isinstance(space, spaces.Text):
        text = value.encode()
        yield struct.pack("<Q", len(text)) + text
    elif isinstance(space, spaces.Sequence):
        elements = list(iterate(space.stacked_feature_space, value)) if space.stack else value
        yield struct.pack("<Q", len(elements))
        for element in elements:
            yield from _parts(space.feature_space, element)
    elif isinstance(space, spaces.OneOf):
        index, chosen = value
        yield struct.pack("<Q", int(index))
        yield from _parts(space.spaces[int(index)], chosen)
    elif isinstance(space, spaces.Graph):
        yield from _graph_parts(space, value)
    else:
        raise TypeError(f"no canonical bytes for values of {space}")


def _graph_parts(space: spaces.Graph, value: Any) -> Iterator[bytes]:
    edges = 0 if value.edges is None else len(value.edges)
    yield struct.pack("<QQB", len(value.nodes), edges, value.edges is not None)
    yield _array_bytes(value.nodes, space.node_space.dtype)
    if value.edges is not None:
        assert space.edge_space is not None
        yield _array_bytes(value.edges, space.edge_space.dtype)
        yield _array_bytes(value.edge_links, np.dtype(np.int32))


def _array_bytes(value: Any, dtype: Any) -> bytes:
    return np.asarray(value, np.dtype(dtype).newbyteorder("<")).tobytes()


SPARE_ELEMENTS = 2**16
"""So many elements may be announced beyond the bytes that are left: there are some that take none."""


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> memoryview:
        found = self.data[self.at : self.at + count]
        if len(found) < count:
            raise ProtocolError(
                f"value cut short: wanted {count} bytes at {self.at}, but only {len(found)} are left; "
                "is the space the one it was written with?"
            )
        self.at += count
        return found

    def unpack(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def count(self) -> int:
        """A number of elements that come."""
        (count,) = self.unpack("<Q")
        left = len(self.data) - self.at
        if count > left + SPARE_ELEMENTS:
            raise ProtocolError(
                f"value cut short: {count} elements from {self.at} on, but only {left} bytes are left; "
                "is the space the one it was written with?"
            )
        return int(count)

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        kind = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        flat = np.frombuffer(self.take(count * kind.itemsize), kind.newbyteorder("<"))
        return flat.astype(kind).reshape(shape)


def _read(space: spaces.Space[Any], reader: _Reader) -> Any:
    if isinstance(space, spaces.Discrete):
        return reader.array((), space.dtype)[()]
    if isinstance(space, FIXED):
        return reader.array(tuple(space.shape or ()), space.dtype)
    if isinstance(space, spaces.Dict):
        return {key: _read(sub, reader) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_read(sub, reader) for sub in space.spaces)
    if isinstance(space, spaces.Text):
        text = bytes(reader.take(reader.unpack("<Q")[0]))
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(f"a text is not UTF-8 ({error}): is it damaged?") from None
    if isinstance(space, spaces.Sequence):
        elements = [_read(space.feature_space, reader) for _ in range(reader.count())]
        if not space.stack:
            return tuple(elements)
        empty: Any = create_empty_array(space.feature_space, len(elements), np.zeros)
        return concatenate(space.feature_space, elements, empty) if elements else empty
    if isinstance(space, spaces.OneOf):
        index = reader.unpack("<Q")[0]
        if index >= len(space.spaces):
            raise ProtocolError(
                f"choice {index} of {len(space.spaces)}; is the space the one it was written with?"
            )
        return np.int64(index), _read(space.spaces[index], reader)
    if isinstance(space, spaces.Graph):
        return _read_graph(space, reader)
    raise TypeError(f"no canonical bytes for values of {space}")


def _read_graph(space: spaces.Graph, reader: _Reader) -> spaces.GraphInstance:
    nodes, edges, (has_edges,) = reader.count(), reader.count(), reader.unpack("<B")
    node_array = reader.array((nodes, *(space.node_space.shape or ())), space.node_space.dtype)
    if not has_edges:
        return spaces.GraphInstance(node_array, None, None)
    if space.edge_space is None:
        raise ProtocolError(
            f"{edges} edges, which the space doesn't have; is it the one it was written with?"
        )
    edge_array = reader.array((edges, *(space.edge_space.shape or ())), space.edge_space.dtype)
    links = reader.array((edges, 2), np.int32)
    return spaces.GraphInstance(node_array, edge_array, links)
