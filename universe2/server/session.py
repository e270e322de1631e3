"""Session: one stream and its Runtime.

Two threads: gRPC's own runs ``frames`` and waits for the runtime; another reads requests and
asks the runtime. That is what the Runtime contract allows: one sends, one receives. Requests that
are wrong are answered with an error and the session goes on; frames that break the protocol
end it.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, cast

import grpc
import numpy as np

from universe2.core.errors import (
    ClosedError,
    DeadlineError,
    ProtocolError,
    Universe2Error,
    UsageError,
    VersionError,
)
from universe2.core.runtime import Runtime
from universe2.core.spec import Autoreset, EnvConfig, Interface
from universe2.server.capacity import Capacity
from universe2.wire.batches import I64, read_request_slots, write_batch
from universe2.wire.buffers import Buffer, BufferReader
from universe2.wire.columns import read_values
from universe2.wire.frames import MIN_MESSAGE_BYTES, PROTOCOL, Assembler, Frame, chunks, encode
from universe2.wire.schema import write_space
from universe2.wire.v1 import universe_pb2 as pb
from universe2.wire.values import read_value, write_value

log = logging.getLogger("universe2.server")

POLL = 0.05
"""Seconds for which waiting for the runtime may hold up an error reply or a heartbeat."""

MAX_REPLIES = 1024
"""Replies that may wait for a client to read them."""

OpenRuntime = Callable[[str, int, EnvConfig], Runtime]


class Limits(Protocol):
    """What a session must know of its server."""

    @property
    def lease(self) -> float: ...
    @property
    def open_deadline(self) -> float: ...
    @property
    def max_message_bytes(self) -> int: ...
    @property
    def max_frame_bytes(self) -> int: ...


class _End:
    """The session is over; ``error`` is what the client is told, if anything."""

    def __init__(self, error: Universe2Error | None = None) -> None:
        self.error = error


class Session:
    """Serves one stream from its first frame to its end."""

    def __init__(self, limits: Limits, capacity: Capacity, open_runtime: OpenRuntime) -> None:
        self.id = secrets.token_hex(8)
        self.lease = limits.lease
        self.heard = time.monotonic()
        self._limits = limits
        self._capacity = capacity
        self._open_runtime = open_runtime
        self._events: queue.SimpleQueue[_End | int | tuple[pb.Header, list[Buffer]]] = queue.SimpleQueue()
        self._assembler = Assembler(limits.max_frame_bytes)
        self._sequence = 0
        self._client_message_bytes = MIN_MESSAGE_BYTES
        self._runtime: Runtime | None = None
        self._give_back: Callable[[], None] = lambda: None

    def end(self, error: Universe2Error | None = None) -> None:
        """Make ``frames`` stop, from any thread."""
        self._events.put(_End(error))

    def frames(self, requests: Iterator[bytes]) -> Iterator[bytes]:
        """Everything that the server says on this stream."""
        try:
            frame = self._first(requests)
            if frame is None:
                return
            header, buffers = self._open(frame)
            yield from self._out(header, buffers)
            threading.Thread(target=self._read, args=(requests,), daemon=True, name="session-read").start()
            yield from self._serve()
        except Universe2Error as error:
            log.info("session %s ends: %s: %s", self.id, type(error).__name__, error)
            self.close()  # first: who is told so finds the slots free
            yield from self._out(_error(error))
        except Exception as error:
            log.exception("session %s failed", self.id)
            self.close()
            yield from self._out(_error(_failure(error)))
        finally:
            self.close()

    def close(self) -> None:
        """Close the runtime and give its slots back. May be called twice."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            try:
                runtime.close()
            finally:
                self._give_back()
                log.info("session %s closed; %d slots free", self.id, self._capacity.slots_free)

    # Opening

    def _first(self, requests: Iterator[bytes]) -> Frame | None:
        for message in requests:
            self.heard = time.monotonic()
            if (frame := self._assembler.add(message)) is not None:
                return frame
        return None

    def _open(self, frame: Frame) -> tuple[pb.Header, list[Buffer]]:
        if frame.header.WhichOneof("body") != "open":
            raise ProtocolError(f"a session begins with open, not {frame.header.WhichOneof('body')}")
        ask = frame.header.open
        if ask.protocol != PROTOCOL:
            raise VersionError(
                f"the client speaks protocol {ask.protocol}, this server {PROTOCOL}; "
                "install the same release of universe2 on both sides"
            )
        self._client_message_bytes = max(ask.max_message_bytes, MIN_MESSAGE_BYTES)
        self.lease = min(max(ask.lease_seconds, 1.0), 3600.0) if ask.lease_seconds > 0 else self._limits.lease
        config = EnvConfig(
            interface=cast(Interface, ask.interface),  # EnvConfig checks both
            screen_size=(ask.screen_height or 64, ask.screen_width or 64),
            autoreset=cast(Autoreset, ask.autoreset),
            options={name: read_value(value) for name, value in ask.options.items()},
        )
        if ask.num_slots < 1:
            raise UsageError(f"num_slots must be at least 1, got {ask.num_slots}")
        self._give_back = self._capacity.take_slots(ask.num_slots)
        runtime = self._opened_in_time(ask.env_id, ask.num_slots, config)
        self._runtime = runtime
        self.heard = time.monotonic()
        spec_hash = runtime.spec.hash(config)
        if ask.spec_hash and ask.spec_hash != spec_hash:
            raise VersionError(
                f"{ask.env_id}: the client's definition has hash {ask.spec_hash}, the server's {spec_hash}; "
                "their episodes would differ. Install the same releases on both sides"
            )
        log.info("session %s: %d × %s", self.id, ask.num_slots, ask.env_id)
        mask: list[Buffer] = [] if runtime.action_mask is None else [runtime.action_mask.astype(np.uint8)]
        return pb.Header(reply_to=frame.header.sequence, opened=self._description(runtime, spec_hash)), mask

    def _opened_in_time(self, env_id: str, num_slots: int, config: EnvConfig) -> Runtime:
        """Open in a thread of its own; what comes after the deadline is closed again there."""
        done: queue.SimpleQueue[Runtime | Exception] = queue.SimpleQueue()
        lock, late = threading.Lock(), threading.Event()
        give_back = self._give_back

        def work() -> None:
            result: Runtime | Exception
            try:
                result = self._open_runtime(env_id, num_slots, config)
            except Exception as error:  # noqa: BLE001  raised again in the session's thread
                result = error
            with lock:
                if not late.is_set():
                    done.put(result)
                    return
            if isinstance(result, Runtime):
                result.close()
            give_back()

        threading.Thread(target=work, daemon=True, name="session-open").start()
        try:
            result = done.get(timeout=self._limits.open_deadline)
        except queue.Empty:
            with lock:
                if done.empty():
                    late.set()
                    raise DeadlineError(
                        f"{env_id}: {num_slots} slots were not open after {self._limits.open_deadline} s"
                    ) from None
            result = done.get_nowait()
        if isinstance(result, Exception):
            give_back()
            raise result
        return result

    def _description(self, runtime: Runtime, spec_hash: str) -> pb.Opened:
        spec = runtime.spec
        return pb.Opened(
            protocol=PROTOCOL,
            session=self.id,
            spec_hash=spec_hash,
            observation_space=write_space(runtime.observation_space),
            action_space=write_space(runtime.action_space),
            has_action_mask=runtime.action_mask is not None,
            group_size=runtime.group_size,
            lease_seconds=self.lease,
            max_message_bytes=self._limits.max_message_bytes,
            spec=pb.SpecInfo(
                id=spec.id,
                runtime=spec.runtime,
                description=spec.description,
                options={name: write_value(value) for name, value in spec.options.items()},
                reference=dict(spec.reference),
                multi_agent=spec.multi_agent,
            ),
        )

    # Replies

    def _serve(self) -> Iterator[bytes]:
        assert self._runtime is not None
        outstanding = 0
        while True:
            try:
                event = self._events.get(block=outstanding == 0, timeout=self.lease)
            except queue.Empty:
                if not outstanding:
                    continue  # the lease is the server's business
            else:
                if isinstance(event, int):
                    outstanding += event
                elif isinstance(event, _End):
                    if event.error is not None:
                        raise event.error
                    return
                else:
                    yield from self._out(*event)
                continue
            try:
                batch = self._runtime.recv(POLL)
            except DeadlineError:
                continue
            outstanding -= len(batch)
            body, buffers = write_batch(batch, self._runtime.observation_space)
            yield from self._out(pb.Header(batch=body), buffers)

    def _out(self, header: pb.Header, buffers: list[Buffer] | None = None) -> Iterator[bytes]:
        self._sequence += 1
        header.sequence = self._sequence
        header.session = self.id
        message = encode(header, buffers or ())
        yield from chunks(message, header, self._client_message_bytes)

    # Requests

    def _read(self, requests: Iterator[bytes]) -> None:
        """The reading thread: every request until the stream or the session ends."""
        end = _End()
        try:
            for message in requests:
                self.heard = time.monotonic()
                frame = self._assembler.add(message)
                if frame is None:
                    continue
                if frame.header.WhichOneof("body") == "close":
                    break
                self._answer(frame)
        except grpc.RpcError:
            log.info("session %s: the stream broke", self.id)
        except Universe2Error as error:
            end = _End(error)
        except Exception as error:
            log.exception("session %s failed", self.id)
            end = _End(_failure(error))
        self._events.put(end)

    def _answer(self, frame: Frame) -> None:
        header = frame.header
        if header.session != self.id:
            raise ProtocolError(f"a frame for session {header.session!r} came on the stream of {self.id!r}")
        handler = _HANDLERS.get(header.WhichOneof("body") or "")
        runtime = self._runtime
        if runtime is None:
            raise ClosedError("the session is closed")
        if handler is None:
            raise ProtocolError(f"a client can't send {header.WhichOneof('body')}")
        try:
            event = handler(runtime, frame)
        except (ProtocolError, ClosedError):
            raise
        except Universe2Error as error:
            event = (_error(error), [])
        if not isinstance(event, int):
            event[0].reply_to = header.sequence
            if self._events.qsize() >= MAX_REPLIES:
                raise ProtocolError(f"the client asks and doesn't read: {MAX_REPLIES} replies are waiting")
        self._events.put(event)


_Event = int | tuple[pb.Header, list[Buffer]]


def _reset(runtime: Runtime, frame: Frame) -> _Event:
    reader = BufferReader(frame.buffers, copy=True)
    slots = read_request_slots(reader, runtime.num_slots)
    seeds = reader.array(I64, (len(slots),))
    reader.done()
    runtime.reset(slots, seeds)
    return len(slots)


def _send(runtime: Runtime, frame: Frame) -> _Event:
    reader = BufferReader(frame.buffers, copy=True)
    slots = read_request_slots(reader, runtime.num_slots)
    actions = read_values(runtime.action_space, len(slots), reader)
    reader.done()
    runtime.send(slots, actions)
    return len(slots)


def _snapshot(runtime: Runtime, frame: Frame) -> _Event:
    reader = BufferReader(frame.buffers)
    slots = read_request_slots(reader, runtime.num_slots)
    reader.done()
    return pb.Header(snapshots=pb.Snapshots()), list(runtime.snapshot(slots))


def _restore(runtime: Runtime, frame: Frame) -> _Event:
    reader = BufferReader(frame.buffers)
    slots = read_request_slots(reader, runtime.num_slots)
    states = [bytes(reader.raw()) for _ in slots]
    reader.done()
    runtime.restore(slots, states)
    return len(slots)


def _render(runtime: Runtime, frame: Frame) -> _Event:
    reader = BufferReader(frame.buffers)
    slots = read_request_slots(reader, runtime.num_slots)
    reader.done()
    ask = frame.header.render
    if (ask.height or ask.width) and not (8 <= ask.height <= 2048 and 8 <= ask.width <= 2048):
        raise UsageError(f"a picture must be 8 to 2048 pixels high and wide, not {ask.height} × {ask.width}")
    pictures = runtime.render(slots, (ask.height, ask.width) if ask.height else None)
    body = pb.Pictures(heights=[p.shape[0] for p in pictures], widths=[p.shape[1] for p in pictures])
    return pb.Header(pictures=body), [np.ascontiguousarray(p, np.uint8) for p in pictures]


def _heartbeat(_runtime: Runtime, _frame: Frame) -> _Event:
    return pb.Header(heartbeat=pb.Heartbeat()), []


_HANDLERS: dict[str, Callable[[Runtime, Frame], _Event]] = {
    "reset": _reset,
    "send": _send,
    "snapshot": _snapshot,
    "restore": _restore,
    "render": _render,
    "heartbeat": _heartbeat,
}


def _error(error: Universe2Error, reply_to: int = 0) -> pb.Header:
    text = str(error).encode(errors="backslashreplace").decode()
    return pb.Header(reply_to=reply_to, error=pb.Error(type=type(error).__name__, message=text))


def _failure(error: Exception) -> Universe2Error:
    return Universe2Error(f"the server failed: {type(error).__name__}: {error}")
