"""RemoteRuntime: the Runtime contract over slots that live on servers.

Calls go out without waiting; whatever servers deliver meets in one inbox, which ``recv`` takes
from. A server that is lost costs its own slots a fault each, and nothing else.

Suffixes: N slots of the runtime, K slots of one call.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from universe2.client.berth import Berth
from universe2.client.heart import Heart, end_sessions
from universe2.client.lane import Lane
from universe2.client.part import Arrival, Likeness, Part, Reopened, Terms
from universe2.client.slots import Place, SlotBook
from universe2.client.watch import watch
from universe2.core.batch import Batch, fault_batch
from universe2.core.errors import (
    ClosedError,
    DeadlineError,
    IdleError,
    ProtocolError,
    ServerLostError,
    Universe2Error,
    UsageError,
    error_named,
)
from universe2.core.ledger import Phase
from universe2.core.pictures import check_size
from universe2.core.runtime import Runtime
from universe2.core.spaces import check_actions, empty, take
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.wire.batches import I32, I64, read_batch
from universe2.wire.buffers import Buffer, as_buffer
from universe2.wire.columns import write_values
from universe2.wire.frames import Frame
from universe2.wire.schema import read_space
from universe2.wire.v1 import universe_pb2 as pb
from universe2.wire.values import read_value

log = logging.getLogger("universe2.client")

_TICK = 1.0


class _Lost(NamedTuple):
    """Slots that were asked although their state is gone: they owe the caller a fault row."""

    slots: np.ndarray
    text: str


class RemoteRuntime(Runtime):
    """Slots on one server or several. Made by ``universe2.client.placement``, which then opens the berths and
    calls ``begin``.

    One that is dropped without ``close`` frees its slots when it is collected.
    """

    def __init__(
        self, config: EnvConfig, ask: pb.Open, shares: Sequence[tuple[Berth, int]], terms: Terms
    ) -> None:
        """``shares``: how many slots at which berth. ``ask`` without a number of slots."""
        self.config = config
        self.num_slots = sum(count for _, count in shares)
        self._terms = terms
        self._process = os.getpid()
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._book = SlotBook(self.num_slots, config.autoreset)
        self._parts: list[Part] = []
        self._heart = Heart(self._parts, self._book, self._lock, self._inbox, self._closed)
        likeness, start = Likeness(), 0
        for berth, count in shares:
            mine = pb.Open(num_slots=count)
            mine.MergeFrom(ask)
            self._parts.append(Part(start, mine, berth, likeness, self._inbox, self._closed))
            start += count
        self._heart.start()
        weakref.finalize(self, self._heart.stop).atexit = False

    def begin(self, env: str | EnvSpec) -> None:
        """All parts have a session."""
        self._describe(env, self._parts[0].opened)
        longest = [p.deadline(p.lane) for p in self._parts if p.lane is not None]
        self.result_seconds = max(longest) + self._terms.reopen_deadline

    def _describe(self, env: str | EnvSpec, opened: pb.Opened) -> None:
        self.observation_space = read_space(opened.observation_space)
        self.action_space = read_space(opened.action_space)
        lane = self._parts[0].lane
        assert lane is not None
        self.action_mask = np.frombuffer(lane.mask, np.uint8) > 0 if opened.has_action_mask else None
        info = opened.spec
        self.spec = env if isinstance(env, EnvSpec) else spec_from(info)

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        self._check_process()
        with self._lock:
            slots_K = self._book.ledger.check_slots(slots)
            self._book.ledger.check_free(slots_K)  # what is saved of busy slots could not be gone back to
            self._book.save(slots_K)
            slots_K, seeds_K = self._book.ledger.begin_reset(slots_K, list(seeds))
            for part, rows in self._split(slots_K):
                self._reset_on(part, slots_K[rows], seeds_K[rows])

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        self._check_process()
        ledger = self._book.ledger
        with self._lock:
            slots_K = ledger.check_slots(slots)
            actions = check_actions(self.action_space, actions, slots_K)
            ledger.check_step(slots_K)
            sent = self._sent_first(slots_K, actions)
            self._book.save(slots_K)
            slots_K, again_K = ledger.begin_step(slots_K)
            if sent is not None:
                self._book.asked(slots_K, sent)
                return
            for part, rows in self._split(slots_K):
                mine_K = slots_K[rows]
                if self._book.all_known(mine_K):
                    self._send_on(part, mine_K, take(self.action_space, actions, rows))
                else:
                    self._send_after_loss(part, mine_K, again_K[rows], actions, rows)

    def _sent_first(self, slots_K: np.ndarray, actions: Any) -> int | None:
        """With one server, which has all the slots, the request's number: it works while the book is kept."""
        part = self._parts[0]
        if len(self._parts) > 1 or part.lane is None or not self._book.all_known(slots_K):
            return None
        buffers: list[Buffer] = [as_buffer(slots_K, I32)]
        write_values(self.action_space, actions, buffers)
        return part.lane.send(pb.Header(send=pb.Send()), buffers)

    def _send_after_loss(
        self, part: Part, slots_K: np.ndarray, again_K: np.ndarray, actions: Any, rows: slice | np.ndarray
    ) -> None:
        """Some of the slots lost their server: those in mid-episode are a fault, others are reset."""
        book = self._book
        known_K = book.place_N[slots_K] == Place.KNOWN
        lost_K = ~known_K & ~again_K
        if lost_K.any():
            book.place_N[slots_K[lost_K]] = Place.OWED
            text = f"the server of this slot, {part.address}, was lost; its episode is over"
            self._inbox.put(_Lost(slots_K[lost_K], text))
        if (~known_K & again_K).any():
            begun_K = slots_K[~known_K & again_K]
            self._reset_on(part, begun_K, book.ledger.seed[begun_K])
        if known_K.any():
            chosen = np.arange(self.num_slots)[rows] if isinstance(rows, slice) else rows
            self._send_on(part, slots_K[known_K], take(self.action_space, actions, chosen[known_K]))

    def recv(self, timeout: float | None = None) -> Batch:
        self._check_process()
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                event = self._inbox.get_nowait()
            except queue.Empty:
                event = self._wait(end)
            if self._closed.is_set():
                raise ClosedError("the runtime is closed")
            with self._lock:
                batch = self._handle(event)
            if batch is not None:
                return batch

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        self._check_process()
        slots_K = self._book.ledger.check_slots(slots)
        states: list[bytes] = [b""] * len(slots_K)
        for rows, frame in self._ask(slots_K, lambda: pb.Header(snapshot=pb.Snapshot())):
            if len(frame.buffers) != len(rows):
                raise ProtocolError(f"{len(frame.buffers)} states for {len(rows)} slots")
            for row, state in zip(rows.tolist(), frame.buffers, strict=True):
                states[row] = bytes(state)
        return states

    def restore(self, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        self._check_process()
        with self._lock:
            slots_K = self._book.ledger.check_slots(slots)
            if len(states) != len(slots_K):
                raise UsageError(f"expected {len(slots_K)} states, one per slot, got {len(states)}")
            parts = list(self._split(slots_K))
            for part, _ in parts:
                if part.lane is None:
                    raise ServerLostError(f"{part.address} was lost; reset its slots first")
            self._book.ledger.check_free(slots_K)
            self._book.save(slots_K)
            self._book.restoring(slots_K)
            for part, rows in parts:
                mine_K = slots_K[rows]
                chosen = [states[i] for i in np.arange(len(slots_K))[rows]]
                self._out(part, mine_K, pb.Header(restore=pb.Restore()), chosen)

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        self._check_process()
        slots_K = self._book.ledger.check_slots(slots)
        height, width = (0, 0) if size is None else check_size(size)
        pictures: list[np.ndarray] = [np.zeros((0, 0, 3), np.uint8)] * len(slots_K)
        ask = pb.Render(height=height, width=width)
        for rows, frame in self._ask(slots_K, lambda: pb.Header(render=ask)):
            sizes = list(zip(frame.header.pictures.heights, frame.header.pictures.widths, strict=False))
            if not len(rows) == len(sizes) == len(frame.buffers):
                raise ProtocolError(f"{len(frame.buffers)} pictures for {len(rows)} slots")
            for row, (high, wide), raw in zip(rows.tolist(), sizes, frame.buffers, strict=True):
                if len(raw) != high * wide * 3:
                    raise ProtocolError(f"{len(raw)} bytes for a picture of {high} × {wide}")
                pictures[row] = np.frombuffer(raw, np.uint8).reshape(high, wide, 3).copy()
        return pictures

    def watch(
        self, slot: int, per_second: float = 10.0, size: tuple[int, int] | None = None
    ) -> Iterator[np.ndarray]:
        """Pictures of a slot, uint8 (H, W, 3), as it is played; from another thread than the player's.

        At most ``per_second``. A slow reader gets the newest next, and holds nobody up. Ends with
        the slot's session. Raises UnsupportedError, ServerLostError.
        """
        self._check_process()
        (part,) = (part for part in self._parts if part.start <= slot < part.stop)
        if part.lane is None:
            raise ServerLostError(f"{part.address} was lost; reset its slots first")
        for _, picture in watch(part.lane, [slot - part.start], per_second, size):
            yield picture

    def close(self) -> None:
        if os.getpid() != self._process:
            return  # a goodbye would end the session of the process that opened it
        self._closed.set()
        self._book.ledger.closed = True
        end_sessions(self._parts, self._inbox)
        self._heart.stop()

    def _check_process(self) -> None:
        """Before any lock, which a thread may have held that a forked process doesn't have."""
        if os.getpid() != self._process:
            raise UsageError(
                f"the slots on {'+'.join(self._terms.addresses)} were opened by process {self._process}, and "
                f"this is process {os.getpid()}, forked from it: what both said would mix. Open the "
                "environment in the process that plays it, which should be started by multiprocessing's "
                '"spawn", or be forked before anything is opened: gRPC often fails in a fork of who uses it'
            )

    # Sending; the lock is held

    def _split(self, slots_K: np.ndarray) -> Iterator[tuple[Part, slice | np.ndarray]]:
        """The parts that ``slots_K`` lie on, and which rows belong to each."""
        if len(self._parts) == 1:
            yield self._parts[0], slice(0, len(slots_K))
            return
        for part in self._parts:
            rows = np.flatnonzero((slots_K >= part.start) & (slots_K < part.stop))
            if len(rows) == len(slots_K):
                yield part, slice(0, len(slots_K))
            elif len(rows):
                contiguous = rows[-1] - rows[0] == len(rows) - 1
                yield part, slice(int(rows[0]), int(rows[-1]) + 1) if contiguous else rows

    def _send_on(self, part: Part, slots_K: np.ndarray, actions: Any) -> None:
        buffers: list[Buffer] = []
        write_values(self.action_space, actions, buffers)
        self._out(part, slots_K, pb.Header(send=pb.Send()), buffers)

    def _reset_on(self, part: Part, slots_K: np.ndarray, seeds_K: np.ndarray) -> None:
        if part.lane is None:
            self._book.place_N[slots_K] = Place.NOWHERE
            part.reopen()
            return
        self._book.placed(slots_K)
        self._out(part, slots_K, pb.Header(reset=pb.Reset()), [as_buffer(seeds_K, I64)])

    def _out(self, part: Part, slots_K: np.ndarray, header: pb.Header, buffers: Sequence[Buffer]) -> None:
        # Known slots have a lane; if it is dead by now, its end is in the inbox.
        assert part.lane is not None
        local_K = as_buffer(slots_K - part.start if part.start else slots_K, I32)
        self._book.asked(slots_K, part.lane.send(header, [local_K, *buffers]))

    def _ask(self, slots_K: np.ndarray, header: Any) -> Iterator[tuple[np.ndarray, Frame]]:
        """Ask each server for its share of idle slots: (rows of the call, answer)."""
        with self._lock:
            self._book.ledger.check_idle(slots_K)
            lost_K = self._book.place_N[slots_K] != Place.KNOWN
            if lost_K.any():
                raise ServerLostError(
                    f"slot {slots_K[np.argmax(lost_K)]}: its server was lost; reset it first"
                )
            shares = [(part, part.lane, rows) for part, rows in self._split(slots_K)]
        for part, lane, rows in shares:
            assert lane is not None
            local_K = as_buffer(slots_K[rows] - part.start, I32)
            frame = lane.ask(header(), [local_K], part.deadline(lane))
            yield np.arange(len(slots_K))[rows], frame

    # Receiving

    def _wait(self, end: float | None) -> object:
        """The next event; raises if none can come, or none came in time."""
        while True:
            if self._closed.is_set():
                raise ClosedError("the runtime is closed")
            with self._lock:
                self._check_hope()
            left = _TICK if end is None else min(end - time.monotonic(), _TICK)
            try:
                return self._next(max(left, 0.0))
            except queue.Empty:
                if end is not None and time.monotonic() >= end:
                    raise DeadlineError("no slot was ready in time") from None

    def _next(self, seconds: float) -> object:
        """What comes into the inbox next; queue.Empty if nothing does in time."""
        lane = self._parts[0].lane
        if lane is None or len(self._parts) > 1:
            return self._inbox.get(timeout=seconds)
        return lane.wait(self._inbox, seconds)

    def _check_hope(self) -> None:
        """Raise unless some slot's result can still come."""
        if not self._inbox.empty():
            return
        if Phase.BUSY not in self._book.ledger.phase.tobytes():
            raise IdleError("no slot is busy: send or reset before receiving")
        gone = [part for part in self._parts if part.gave_up is not None]
        stuck = [slot for part in gone for slot in self._book.queued_on(part.start, part.stop).tolist()]
        if not stuck or len(stuck) < len(self._book.ledger.busy()):
            return
        raise self._undone(np.array(stuck, np.int32), ServerLostError(self._why_nowhere(gone[0])))

    def _why_nowhere(self, part: Part) -> str:
        seconds = self._terms.reopen_deadline
        return f"{part.address} is lost and no server took its slots within {seconds:g} s: {part.gave_up}"

    def _handle(self, event: object) -> Batch | None:
        if isinstance(event, _Lost):
            return self._fault_batch(event.slots, event.text)
        if isinstance(event, Reopened):
            # Another runtime of the session may have heard sooner that it was lost.
            known = event.part.lane is not None and event.lane is not None
            batch = self._lost(event.part, ServerLostError("the session was lost")) if known else None
            return self._reopened(event.part, event.lane, event.error) or batch
        if not isinstance(event, Arrival) or event.part.lane is not event.lane:
            return None
        part, lane, what = event
        if isinstance(what, Universe2Error):
            return self._lost(part, what)
        if what.header.HasField("error"):
            raise self._refused(part, what.header)
        try:
            batch = read_batch(what, self.observation_space, part.count)
            self._book.accept(batch, part.start)
        except ProtocolError as error:
            lane.poison(error)
            return self._lost(part, error)
        return batch

    def _refused(self, part: Part, header: pb.Header) -> Universe2Error:
        """The server refused a request: its slots are as before, and the caller hears why."""
        busy_K = self._book.busy_on(part.start, part.stop)
        refused_K = busy_K[self._book.request_N[busy_K] == header.reply_to]
        if header.error.slots:
            refused_K = refused_K[np.isin(refused_K - part.start, header.error.slots)]
        error = error_named(header.error.type, f"{part.address}: {header.error.message}")
        return self._undone(refused_K, error)

    def _undone(self, slots_K: np.ndarray, error: Universe2Error) -> Universe2Error:
        """The error that says that what was asked of these slots was refused; they are as before."""
        self._book.undo(slots_K)
        error.slots = tuple(slots_K.tolist())
        return error

    def _lost(self, part: Part, reason: Universe2Error) -> Batch | None:
        part.lane = None
        slots_K = self._book.lose(part.start, part.stop)
        log.warning("%s lost their server: %s", part.name, reason)
        if not len(slots_K):
            return None
        return self._fault_batch(slots_K, f"{type(reason).__name__}: {reason}")

    def _reopened(self, part: Part, lane: Lane | None, error: Universe2Error | None) -> Batch | None:
        part.reopening = False
        part.gave_up = error
        if lane is None:
            return self._left_over(part)
        if not lane.alive:
            part.reopen()
            return None
        part.lane, part.address = lane, lane.address
        slots_K = self._book.queued_on(part.start, part.stop)
        if len(slots_K):
            self._reset_on(part, slots_K, self._book.ledger.seed[slots_K])
        return None

    def _left_over(self, part: Part) -> Batch | None:
        """No server takes the part's slots: faults of those that wait, so that the others go on without them.

        The next request looks for a server again. Where there are no others, ``recv`` raises instead.
        """
        slots_K = self._book.queued_on(part.start, part.stop)
        if not len(slots_K) or all(other.gave_up is not None for other in self._parts):
            return None
        return self._fault_batch(slots_K, self._why_nowhere(part))

    def _fault_batch(self, slots_K: np.ndarray, text: str) -> Batch:
        ledger, count = self._book.ledger, len(slots_K)
        self._book.place_N[slots_K] = Place.NOWHERE
        batch = fault_batch(
            slots_K,
            empty(self.observation_space, count),
            ledger.episode[slots_K],
            ledger.step[slots_K],
            ledger.seed[slots_K],
            [text] * count,
        )
        ledger.finish(slots_K, batch.ended, batch.fault)
        return batch


def spec_from(info: pb.SpecInfo) -> EnvSpec:
    """An environment as its server describes it; it can't be opened here."""
    return EnvSpec(
        id=info.id,
        runtime=info.runtime,
        entry="",
        spaces_from="",
        options={name: read_value(value) for name, value in info.options.items()},
        description=info.description,
        reference=dict(info.reference),
        multi_agent=info.multi_agent,
    )
