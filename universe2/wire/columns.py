"""Batched values of spaces ↔ raw buffers, as protos/universe2/wire/v1/space.proto lays down.

The space alone decides how many buffers there are and what each holds; nothing describes
itself. The batched form is that of ``universe2.core.spaces``.

Suffixes: N rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.errors import ProtocolError
from universe2.core.spaces import FIXED, stack, take, unstack
from universe2.wire.buffers import Buffer, BufferReader, as_buffer, read_texts, write_texts

_INT32 = np.dtype("<i4")


def write_values(space: spaces.Space[Any], batched: Any, out: list[Buffer]) -> None:
    """Append the buffers of a batched value to ``out``. Arrays that fit are not copied."""
    if isinstance(space, FIXED):
        out.append(as_buffer(batched, np.dtype(space.dtype)))
    elif isinstance(space, spaces.Dict):
        for key, sub in space.spaces.items():
            write_values(sub, batched[key], out)
    elif isinstance(space, spaces.Tuple):
        for sub, part in zip(space.spaces, batched, strict=True):
            write_values(sub, part, out)
    elif isinstance(space, spaces.Text):
        out.extend(write_texts(batched))
    elif isinstance(space, spaces.Sequence):
        _write_sequences(space, batched, out)
    elif isinstance(space, spaces.Graph):
        _write_graphs(space, batched, out)
    elif isinstance(space, spaces.OneOf):
        choices_N = np.array([int(choice) for choice, _ in batched], _INT32)
        out.append(choices_N)
        for index, sub in enumerate(space.spaces):
            write_values(sub, stack(sub, [value for choice, value in batched if choice == index]), out)
    else:
        raise TypeError(f"{type(space).__name__} is not one of Gymnasium's ten spaces")


def read_values(space: spaces.Space[Any], count: int, reader: BufferReader) -> Any:
    """The batched value of ``count`` rows that comes next. Raises ProtocolError, nothing else."""
    if isinstance(space, FIXED):
        return reader.array(np.dtype(space.dtype), (count, *(space.shape or ())))
    if isinstance(space, spaces.Dict):
        return {key: read_values(sub, count, reader) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(read_values(sub, count, reader) for sub in space.spaces)
    if isinstance(space, spaces.Text):
        return read_texts(reader, count)
    if isinstance(space, spaces.Sequence):
        return _read_sequences(space, count, reader)
    if isinstance(space, spaces.Graph):
        return _read_graphs(space, count, reader)
    assert isinstance(space, spaces.OneOf)
    return _read_choices(space, count, reader)


def _write_sequences(space: spaces.Sequence, values_N: Sequence[Any], out: list[Buffer]) -> None:
    feature = space.feature_space
    if space.stack:
        counts = [rows(feature, value) for value in values_N]
        joined = concatenated(feature, values_N)
    else:
        counts = [len(value) for value in values_N]
        joined = stack(feature, list(itertools.chain.from_iterable(values_N)))
    out.append(np.array(counts, _INT32))
    write_values(feature, joined, out)


def _read_sequences(space: spaces.Sequence, count: int, reader: BufferReader) -> tuple[Any, ...]:
    lengths_N = reader.lengths(reader.spend(count))
    total = reader.spend(int(lengths_N.sum(dtype=np.int64)))
    joined = read_values(space.feature_space, total, reader)
    slices = _slices(lengths_N)
    if space.stack:
        return tuple(take(space.feature_space, joined, part) for part in slices)
    singles = unstack(space.feature_space, joined, total)
    return tuple(tuple(singles[part]) for part in slices)


def _write_graphs(space: spaces.Graph, graphs_N: Sequence[Any], out: list[Buffer]) -> None:
    with_edges = [g for g in graphs_N if g.edge_links is not None]
    out.append(np.array([rows(space.node_space, g.nodes) for g in graphs_N], _INT32))
    out.append(np.array([-1 if g.edge_links is None else len(g.edge_links) for g in graphs_N], _INT32))
    write_values(space.node_space, concatenated(space.node_space, [g.nodes for g in graphs_N]), out)
    if space.edge_space is not None:
        write_values(space.edge_space, concatenated(space.edge_space, [g.edges for g in with_edges]), out)
    links = [as_buffer(g.edge_links, _INT32).reshape(-1, 2) for g in with_edges]
    out.append(np.concatenate(links) if links else np.zeros((0, 2), _INT32))


def _read_graphs(space: spaces.Graph, count: int, reader: BufferReader) -> tuple[spaces.GraphInstance, ...]:
    nodes_N = reader.lengths(reader.spend(count))
    edges_N = reader.lengths(count, least=-1)
    if space.edge_space is None and (edges_N >= 0).any():
        raise ProtocolError("a graph has edges although its space has none")
    node_total = reader.spend(int(nodes_N.sum(dtype=np.int64)))
    some_N = np.maximum(edges_N, 0)
    edge_total = reader.spend(int(some_N.sum(dtype=np.int64)))
    nodes = read_values(space.node_space, node_total, reader)
    edges = None if space.edge_space is None else read_values(space.edge_space, edge_total, reader)
    links = reader.array(_INT32, (edge_total, 2))
    if edge_total and (links < 0).any() | (links >= np.repeat(nodes_N, some_N)[:, None]).any():
        raise ProtocolError("an edge links a node that its graph doesn't have")
    graphs = []
    for node_part, edge_part, edge_count in zip(_slices(nodes_N), _slices(some_N), edges_N, strict=True):
        own = take(space.node_space, nodes, node_part)
        if edge_count < 0:
            graphs.append(spaces.GraphInstance(own, None, None))
        else:
            assert space.edge_space is not None
            own_edges = take(space.edge_space, edges, edge_part)
            graphs.append(spaces.GraphInstance(own, own_edges, links[edge_part]))
    return tuple(graphs)


def _read_choices(space: spaces.OneOf, count: int, reader: BufferReader) -> tuple[tuple[np.int64, Any], ...]:
    choices_N = reader.lengths(reader.spend(count)).astype(np.int64)
    if count and choices_N.max() >= len(space.spaces):
        raise ProtocolError(f"choice {choices_N.max()} of a OneOf with {len(space.spaces)} members")
    values: list[Any] = [None] * count
    for index, sub in enumerate(space.spaces):
        chosen = np.flatnonzero(choices_N == index)
        singles = unstack(sub, read_values(sub, len(chosen), reader), len(chosen))
        for row, value in zip(chosen.tolist(), singles, strict=True):
            values[row] = value
    return tuple(zip(choices_N, values, strict=True))


def rows(space: spaces.Space[Any], batched: Any) -> int:
    """How many rows a batched value has."""
    if isinstance(space, spaces.Dict):
        key = next(iter(space.spaces), None)
        return 0 if key is None else rows(space.spaces[key], batched[key])
    if isinstance(space, spaces.Tuple):
        return rows(space.spaces[0], batched[0]) if space.spaces else 0
    return len(batched)


def concatenated(space: spaces.Space[Any], parts: Sequence[Any]) -> Any:
    """Batched values end to end, as one."""
    if isinstance(space, spaces.Dict):
        return {key: concatenated(sub, [p[key] for p in parts]) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(concatenated(sub, [p[i] for p in parts]) for i, sub in enumerate(space.spaces))
    if isinstance(space, FIXED):
        empty = np.zeros((0, *(space.shape or ())), space.dtype)
        return np.concatenate([empty, *(np.asarray(p, space.dtype) for p in parts)])
    return tuple(itertools.chain.from_iterable(parts))


def _slices(lengths: np.ndarray) -> list[slice]:
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    return [slice(end - size, end) for end, size in zip(ends, lengths.tolist(), strict=True)]
