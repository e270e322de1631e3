"""Info columns ↔ messages and buffers: arrays as they lie, texts end to end, the rest as values."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from universe2.core.batch import Column, InfoColumns
from universe2.core.errors import ProtocolError, UnsupportedError
from universe2.wire.buffers import (
    Buffer,
    BufferReader,
    as_buffer,
    dtype_name,
    dtype_named,
    may_travel,
    read_texts,
    write_texts,
)
from universe2.wire.v1 import value_pb2 as pb
from universe2.wire.values import read_value, write_value


def write_infos(columns: InfoColumns, out: list[Buffer]) -> list[pb.InfoColumn]:
    """One message per column; their buffers are appended to ``out``."""
    return [_write_column(key, column, out) for key, column in columns.items()]


def read_infos(messages: Iterable[pb.InfoColumn], count: int, reader: BufferReader) -> InfoColumns:
    """The columns over ``count`` rows. Raises ProtocolError, nothing else."""
    columns: InfoColumns = {}
    for message in messages:
        if message.key in columns:
            raise ProtocolError(f"info {message.key!r} occurs twice")
        columns[message.key] = _read_column(message, count, reader)
    return columns


def _write_column(key: str, column: Column, out: list[Buffer]) -> pb.InfoColumn:
    if not isinstance(key, str):
        raise UnsupportedError(f"an info key must be a string to travel, got {key!r}")
    values, mask = column
    message = pb.InfoColumn(key=key, masked=bool(np.count_nonzero(mask) < len(mask)))
    if message.masked:
        out.append(as_buffer(mask, np.dtype(bool)))
    if values.dtype.kind in "biufc" and may_travel(values.dtype):
        message.kind = pb.InfoColumn.DENSE
        message.dtype = dtype_name(values.dtype)
        message.shape.extend(values.shape[1:])
        out.append(as_buffer(values, values.dtype))
        return message
    cells = list(values[mask])
    if all(type(cell) is str for cell in cells):
        try:
            out.extend(write_texts(cells))
        except UnicodeEncodeError:  # lone surrogates: those cells travel as Opaque
            pass
        else:
            message.kind = pb.InfoColumn.TEXT
            return message
    message.kind = pb.InfoColumn.CELLS
    message.cells.extend(write_value(cell) for cell in cells)
    return message


def _read_column(message: pb.InfoColumn, count: int, reader: BufferReader) -> Column:
    mask = reader.flags(count) if message.masked else np.ones(reader.spend(count), bool)
    if message.kind == pb.InfoColumn.DENSE:
        dtype = dtype_named(message.dtype)
        shape = tuple(int(d) for d in message.shape)
        if dtype.kind not in "biufc" or len(shape) > 31 or max(shape, default=0) > 2**31:
            raise ProtocolError(f"info {message.key!r}: a dense column of {dtype} {shape}")
        return Column(reader.array(dtype, (count, *shape)), mask)
    present = int(np.count_nonzero(mask))
    if message.kind == pb.InfoColumn.TEXT:
        cells = list(read_texts(reader, present))
    elif message.kind == pb.InfoColumn.CELLS:
        cells = [read_value(cell) for cell in message.cells]
    else:
        raise ProtocolError(f"info {message.key!r}: a column of no known kind")
    if len(cells) != present:
        raise ProtocolError(f"info {message.key!r}: {len(cells)} cells for {present} rows")
    values = np.empty(count, dtype=object)  # None in every row
    for row, cell in zip(np.flatnonzero(mask).tolist(), cells, strict=True):
        values[row] = cell
    return Column(values, mask)
