"""``watch``: pictures of some slots of an open session as they come, beside whoever plays them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np

from universe2.client.lane import Lane
from universe2.client.stream import as_error, channel_to, credentials, told
from universe2.core.errors import ProtocolError
from universe2.wire.frames import decode
from universe2.wire.v1 import universe_pb2 as pb

METHOD = "/universe2.wire.v1.Universe/Watch"

LOOK_SECONDS = 0.5
"""How often it is looked whether the player's session is over."""


def watch(
    lane: Lane,
    slots: Sequence[int],
    per_second: float = 10.0,
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """(slot, uint8 (H, W, 3)), at most ``per_second`` a slot, on a stream of its own until the session ends.

    Slots are those of the server's session. A slow reader gets the newest picture next. Raises
    UnsupportedError, ServerLostError, or why the session was lost.
    """
    height, width = size or (0, 0)
    ask = pb.WatchRequest(
        session=lane.opened.session,
        token=lane.opened.resume_token,
        member=lane.number,
        slots=slots,
        per_second=per_second,
        height=height,
        width=width,
    )
    with channel_to(lane.address) as channel:
        stream: Any = channel.unary_stream(METHOD, request_serializer=pb.WatchRequest.SerializeToString)
        call = stream(ask, metadata=credentials(lane.connection.token))
        done: queue.SimpleQueue[None] = queue.SimpleQueue()
        threading.Thread(target=_end_with, args=(lane, call, done), daemon=True, name="watch").start()
        try:
            for message in call:
                frame = decode(message)
                if frame.header.HasField("error"):
                    raise told(frame.header.error, f"{lane.address}: ")
                yield from _pictures(frame.header.pictures, frame.buffers)
        except grpc.RpcError as error:
            if lane.alive:
                raise as_error(error, lane.address) from None
            if not lane.left:
                raise lane.connection.reason from None
        finally:
            done.put(None)
            call.cancel()


def _end_with(lane: Lane, call: Any, done: queue.SimpleQueue[None]) -> None:
    """Cancel the call when the player's session is over: a network that swallows all says nothing of it.

    Until it is ``done``, which the garbage collector may say, so it is no Event, which has a lock.
    """
    alive = True
    while alive:
        alive = lane.alive  # before the wait, in which the server may still end the call in good order
        try:
            done.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            continue
        return
    call.cancel()


def _pictures(body: pb.Pictures, buffers: Sequence[memoryview]) -> Iterator[tuple[int, np.ndarray]]:
    if not len(body.slots) == len(body.heights) == len(body.widths) == len(buffers):
        raise ProtocolError(f"{len(buffers)} pictures of {len(body.slots)} slots")
    for slot, high, wide, raw in zip(body.slots, body.heights, body.widths, buffers, strict=True):
        if len(raw) != high * wide * 3:
            raise ProtocolError(f"{len(raw)} bytes for a picture of {high} × {wide}")
        yield slot, np.frombuffer(raw, np.uint8).reshape(high, wide, 3)
