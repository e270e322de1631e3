"""What a client may ask of a session's runtime: one function a request.

Each takes the runtime and the frame, and returns the number of rows that the runtime owes for it,
or the frame that answers it. Wrong requests raise; whether that ends the session is not said here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from universe2.core.errors import UsageError
from universe2.core.pictures import check_size
from universe2.core.runtime import Runtime
from universe2.wire.batches import I64, read_request_slots
from universe2.wire.buffers import Buffer, BufferReader
from universe2.wire.columns import read_values
from universe2.wire.frames import Frame
from universe2.wire.v1 import universe_pb2 as pb

Outcome = int | tuple[pb.Header, list[Buffer]]


MAX_ANSWER_BYTES = 255 * 2**20
"""Of pictures or states in one frame, which leaves room for its header: a client takes frames of 256 MiB, and
larger ones only of what its slots observe."""


def _reset(runtime: Runtime, frame: Frame) -> Outcome:
    reader = BufferReader(frame.buffers, copy=True)
    slots = read_request_slots(reader, runtime.num_slots)
    seeds = reader.array(I64, (len(slots),))
    reader.done()
    runtime.reset(slots, seeds)
    return len(slots)


def _send(runtime: Runtime, frame: Frame) -> Outcome:
    reader = BufferReader(frame.buffers, copy=True)
    slots = read_request_slots(reader, runtime.num_slots)
    actions = read_values(runtime.action_space, len(slots), reader)
    reader.done()
    runtime.send(slots, actions)
    return len(slots)


def _snapshot(runtime: Runtime, frame: Frame) -> Outcome:
    reader = BufferReader(frame.buffers)
    slots = read_request_slots(reader, runtime.num_slots)
    reader.done()
    states = list(runtime.snapshot(slots))
    _check_answer("states", len(slots), sum(map(len, states)))
    return pb.Header(snapshots=pb.Snapshots()), [*states]


def _restore(runtime: Runtime, frame: Frame) -> Outcome:
    reader = BufferReader(frame.buffers)
    slots = read_request_slots(reader, runtime.num_slots)
    states = [bytes(reader.raw()) for _ in slots]
    reader.done()
    runtime.restore(slots, states)
    return len(slots)


def _render(runtime: Runtime, frame: Frame) -> Outcome:
    reader = BufferReader(frame.buffers)
    slots = read_request_slots(reader, runtime.num_slots)
    reader.done()
    ask = frame.header.render
    size = picture_size(ask.height, ask.width)
    check_pictures(len(slots), size)
    pictures = runtime.render(slots, size)
    _check_answer("pictures", len(slots), sum(picture.size for picture in pictures))
    return pictures_frame(pictures)


def check_pictures(slots: int, size: tuple[int, int] | None) -> None:
    """Raise UsageError if pictures of that size, if it is known, would be too large, before any is drawn."""
    if size is not None:
        _check_answer("pictures", slots, slots * size[0] * size[1] * 3)


def _check_answer(what: str, slots: int, size: int) -> None:
    if size > MAX_ANSWER_BYTES:
        raise UsageError(
            f"{what} of {slots} slots take {size} bytes, an answer holds at most {MAX_ANSWER_BYTES}: "
            "ask for fewer slots at a time"
        )


def picture_size(height: int, width: int) -> tuple[int, int] | None:
    """What a client asked for; None for the environment's own. Raises UsageError."""
    if not height and not width:
        return None
    return check_size((height, width))


def pictures_frame(pictures: Sequence[np.ndarray]) -> tuple[pb.Header, list[Buffer]]:
    """Pictures, uint8 (H, W, 3) each, as header and buffers."""
    body = pb.Pictures(heights=[p.shape[0] for p in pictures], widths=[p.shape[1] for p in pictures])
    return pb.Header(pictures=body), [np.ascontiguousarray(p, np.uint8) for p in pictures]


def _heartbeat(_runtime: Runtime, _frame: Frame) -> Outcome:
    return pb.Header(heartbeat=pb.Heartbeat()), []


HANDLERS: dict[str, Callable[[Runtime, Frame], Outcome]] = {
    "reset": _reset,
    "send": _send,
    "snapshot": _snapshot,
    "restore": _restore,
    "render": _render,
    "heartbeat": _heartbeat,
}
