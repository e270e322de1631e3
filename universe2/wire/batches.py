"""Batch ↔ frame body and buffers, in the order that universe.proto lays down."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.batch import Batch
from universe2.core.errors import ProtocolError, in_utf8
from universe2.core.spaces import FIXED, leaves
from universe2.wire.buffers import Buffer, BufferReader, as_buffer
from universe2.wire.columns import read_values, write_values
from universe2.wire.frames import Frame
from universe2.wire.infos import read_infos, write_infos
from universe2.wire.v1 import universe_pb2 as pb

I32, I64, F64, BOOL, U8 = (np.dtype(d) for d in ("<i4", "<i8", "<f8", "|b1", "|u1"))


def slot_bytes(space: spaces.Space[Any], count: int) -> int:
    """What ``count`` slots' rows take at most, an episode's end in each, as far as the space tells.

    Infos come on top, and observations of no fixed size.
    """
    row = 0
    for _, leaf in leaves(space):
        if isinstance(leaf, FIXED):
            row += math.prod(leaf.shape or ()) * np.dtype(leaf.dtype).itemsize
        elif isinstance(leaf, spaces.Text):
            row += I32.itemsize + 4 * leaf.max_length  # of UTF-8
    return 2 * row * count


def write_batch(batch: Batch, space: spaces.Space[Any]) -> tuple[pb.Batch, list[Buffer]]:
    """The body and the buffers of a batch. Arrays are referred to, not copied."""
    out: list[Buffer] = [
        as_buffer(batch.slots, I32),
        as_buffer(batch.reward, F64),
        as_buffer(batch.terminated, BOOL),
        as_buffer(batch.truncated, BOOL),
        as_buffer(batch.episode, I64),
        as_buffer(batch.step, I64),
        as_buffer(batch.seed, I64),
        as_buffer(batch.fault, U8),
    ]
    body = pb.Batch(rows=len(batch), final_rows=len(batch.final_rows))
    for row, text in batch.fault_text.items():
        body.fault_texts.add(row=int(row), text=in_utf8(text))
    write_values(space, batch.obs, out)
    if body.final_rows:
        out.append(as_buffer(batch.final_rows, I32))
        write_values(space, batch.final_obs, out)
    body.info.extend(write_infos(batch.info, out))
    body.final_info.extend(write_infos(batch.final_info, out))
    return body, out


def read_batch(frame: Frame, space: spaces.Space[Any], num_slots: int) -> Batch:
    """The batch in a frame, its large arrays as views. Raises ProtocolError, nothing else."""
    body = frame.header.batch
    count, finals = body.rows, body.final_rows
    if not 1 <= count <= num_slots or finals > count:
        raise ProtocolError(f"a batch of {count} rows ({finals} final) from {num_slots} slots")
    reader = BufferReader(frame.buffers)
    batch = Batch(
        slots=read_slots(reader, num_slots),
        reward=reader.array(F64, (count,)),
        terminated=reader.flags(count),
        truncated=reader.flags(count),
        episode=reader.array(I64, (count,)),
        step=reader.array(I64, (count,)),
        seed=reader.array(I64, (count,)),
        fault=reader.array(U8, (count,)),
        obs=read_values(space, count, reader),
    )
    if len(batch.slots) != count:
        raise ProtocolError(f"{len(batch.slots)} slots in a batch of {count} rows")
    if finals:
        batch.final_rows = reader.array(I32, (finals,))
        if not _distinct_below(batch.final_rows, count):
            raise ProtocolError("a batch's final rows are out of range, or occur twice")
        batch.final_obs = read_values(space, finals, reader)
    if body.info:
        batch.info = read_infos(body.info, count, reader)
    if body.final_info:
        batch.final_info = read_infos(body.final_info, finals, reader)
    reader.done()
    if batch.fault.tobytes().translate(None, b"\0\1\2\3"):
        raise ProtocolError(f"fault {batch.fault.max()} is of no known kind")
    batch.fault_text = {f.row: f.text for f in body.fault_texts if f.row < count}
    return batch


def read_request_slots(reader: BufferReader, num_slots: int) -> np.ndarray:
    """The next buffer as int32 (K,), at most ``num_slots``. Which slots, the runtime will check."""
    raw = reader.raw()
    if len(raw) % 4 or len(raw) > 4 * num_slots:
        raise ProtocolError(f"{len(raw)} bytes of slot numbers for {num_slots} slots")
    return np.frombuffer(raw, I32).copy()


def read_slots(reader: BufferReader, num_slots: int) -> np.ndarray:
    """The next buffer as slot numbers, int32 (K,), each in range and none twice."""
    slots = read_request_slots(reader, num_slots)
    if slots.tobytes() != _everyone(num_slots) and not _distinct_below(slots, num_slots):
        raise ProtocolError(f"slots out of range 0..{num_slots - 1}, or twice: {slots[:16].tolist()}")
    return slots


@functools.lru_cache(64)
def _everyone(num_slots: int) -> bytes:
    """All slots in order, as they travel: what mostly comes."""
    return np.arange(num_slots, dtype=I32).tobytes()


def _distinct_below(numbers: np.ndarray, limit: int) -> bool:
    if not numbers.size:
        return True
    if (numbers[1:] > numbers[:-1]).all():
        return bool(numbers[0] >= 0 and numbers[-1] < limit)
    return bool(numbers.min() >= 0 and numbers.max() < limit and len(np.unique(numbers)) == len(numbers))
