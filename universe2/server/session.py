"""Session: slots that one client holds, over one stream after the other.

Two threads a stream: its own runs ``stream`` and waits for the runtime; another reads requests
and asks the runtime. That is what the Runtime contract allows: one sends, one receives. Where the
stream allows it, the reading thread answers at once what the runtime has ready at once. Requests
that are wrong are answered with an error and the session goes on; frames that break the protocol
end it. A stream that breaks leaves the session as it is, until another takes it up or its lease is over.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import numpy as np

from universe2.core.errors import (
    AuthenticationError,
    CapacityError,
    ClosedError,
    DeadlineError,
    ProtocolError,
    ServerLostError,
    Universe2Error,
    UnsupportedError,
    in_utf8,
    name_of,
    shortened,
)
from universe2.core.runtime import Runtime
from universe2.server.auth import Who
from universe2.server.backlog import Backlog
from universe2.server.member import Member
from universe2.server.members import Members
from universe2.server.metrics import Metrics
from universe2.server.opening import Asked, Openings, OpenRuntime, open_all
from universe2.server.parking import ParkingRuntime
from universe2.server.requests import check_pictures, picture_size, pictures_frame
from universe2.server.silence import Hanger
from universe2.server.viewers import Viewer
from universe2.wire.buffers import Buffer
from universe2.wire.frames import MIN_MESSAGE_BYTES, PROTOCOL, Assembler, Frame, Message, encode, size_of
from universe2.wire.journal import Journal
from universe2.wire.sharing import Lender
from universe2.wire.v1 import universe_pb2 as pb

log = logging.getLogger("universe2.server")

POLL = 0.05
"""Seconds for which waiting for the runtime may hold up an error reply or a heartbeat."""

MAX_REPLIES = 1024
"""Replies that may wait for a client to read them, and requests for what its environments do one by one."""

MOVE_SECONDS = 1.0
"""How long a session may be without a stream before the log says so: one that moves to the socket is, too."""

LEAVE_SECONDS = 5.0
"""How long a stream that another replaces may take to leave, before the other is told to try again."""


Send = Callable[[bytes], None]


class Limits(Protocol):
    """What a session must know of its server."""

    @property
    def lease(self) -> float: ...
    @property
    def open_deadline(self) -> float: ...
    @property
    def max_frame_bytes(self) -> int: ...
    @property
    def max_faults(self) -> int: ...
    @property
    def restore(self) -> bool: ...


@dataclass(frozen=True)
class _End:
    """The session is over; ``error`` is what the client is told, if anything."""

    error: Universe2Error | None = None


@dataclass(frozen=True)
class _Leave:
    """A stream is over, and the session is not."""

    stream: int


class Session:
    """One client's slots. ``over`` is called once, when they are free again."""

    def __init__(
        self, limits: Limits, assembler: Assembler, metrics: Metrics, over: Callable[[Session], None]
    ) -> None:
        self.id = secrets.token_hex(8)
        self.token = secrets.token_bytes(16)
        self.lease = limits.lease
        self.heard = time.monotonic()
        self._limits = limits
        self._metrics = metrics
        self._over = over
        self._events: queue.SimpleQueue[_End | _Leave | int | pb.Header | tuple[pb.Header, list[Buffer]]] = (
            queue.SimpleQueue()
        )
        self._assembler = assembler
        self._replies = Backlog(MAX_REPLIES, 2 * limits.max_frame_bytes)
        """those among the events"""
        self._aside = Backlog(MAX_REPLIES, 2 * assembler.max_frame_bytes)
        """requests that wait for a member's own thread"""
        self._journal = Journal(2 * limits.max_frame_bytes)
        self._lender: Lender | None = None
        self._client_message_bytes = MIN_MESSAGE_BYTES
        self._members = Members((), (), self._aside)
        self._give_back: Callable[[], None] = lambda: None
        self._turn = threading.Lock()
        """whose turn it is to receive and to post; what follows is whoever's who has it"""
        self._send: Send | None = None
        self._outstanding = 0
        """rows owed less rows received; below 0 while rows have come that are sent for but not owed yet"""
        self._stream = 0
        self._context: Hanger | None = None
        self._attached = threading.Lock()
        self._left: float | None = None
        """since when no stream has come after one that left, unless the log has said so"""
        self._reader: threading.Thread | None = None
        self._answering: float | None = None
        """since when the reading thread is at a request, and hears nothing else meanwhile"""
        self._ending = self._ended = self._given_up = False
        self._closing = threading.Lock()

    # What the server does with it

    def open(
        self,
        frame: Frame,
        members: Sequence[Asked],
        open_runtime: OpenRuntime,
        give_back: Callable[[], None],
        who: Who,
        openings: Openings,
        door: str = "",
    ) -> None:
        """Open the slots that a client's first frame asks for. ``give_back`` frees what it took.

        ``who`` asks, the log says. ``door`` is the socket at which clients on this machine may go on.
        """
        ask = frame.header.open
        self._client_message_bytes = max(ask.max_message_bytes, MIN_MESSAGE_BYTES)
        self.lease = min(max(ask.lease_seconds, 1.0), 3600.0) if ask.lease_seconds > 0 else self._limits.lease
        runtimes = open_all(open_runtime, members, self._limits.open_deadline, give_back, openings)
        asks = [member.ask for member in members]
        self._give_back = give_back
        patient = [self._patient(*pair) for pair in zip(runtimes, asks, strict=True)]
        self._members = Members(patient, asks, self._aside)
        opened, masks = self._members.begin()
        self._journal.limit += self._members.slot_bytes()
        if ask.same_host:
            self._lender = Lender()
        opened.protocol, opened.session, opened.resume_token = PROTOCOL, self.id, self.token
        opened.local_socket = door if ask.same_host else ""
        opened.lease_seconds, opened.max_message_bytes = self.lease, self._assembler.max_message_bytes
        self.heard = time.monotonic()
        lent = ", ".join(f"{a.num_slots} × {a.env_id}" for a in asks)
        log.info("session %s: %s, for %s", self.id, lent, who, extra=vars(who))
        self._post(pb.Header(reply_to=frame.header.sequence, opened=opened), masks)

    def _patient(self, runtime: Runtime, ask: pb.Open) -> ParkingRuntime:
        """With slots that are parked if they fail too often."""
        most = ask.max_faults or self._limits.max_faults
        return ParkingRuntime(runtime, most, self._parked, self._metrics.restarts.inc)

    def pictures(self, ask: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[bytes]:
        """What a viewer's stream says, until the session or the stream ends."""
        size = picture_size(ask.height, ask.width)
        member = self._members.numbered(ask.member)
        slots = frozenset(range(member.runtime.num_slots)).intersection(ask.slots)
        check_pictures(len(slots), size)
        viewer = Viewer(slots, ask.per_second, size)
        with self._closing:
            if self._ended:
                return
            member.viewers = (*member.viewers, viewer)
        try:
            while context.is_active() and (found := viewer.next(1.0)) is not None:
                if found:
                    header, buffers = pictures_frame(list(found.values()))
                    header.pictures.slots.extend(found)
                    yield encode(header, buffers)
        finally:
            with self._closing:
                member.viewers = tuple(other for other in member.viewers if other is not viewer)

    @property
    def silent(self) -> float:
        """For how many seconds the client has said nothing that could have been heard.

        At a request nothing can be heard for as long as it may take; one that takes longer hangs.
        """
        since, now = self._answering, time.monotonic()
        return now - self.heard if since is None else max(now - since - self._members.result_seconds, 0.0)

    def tell(self, header: pb.Header) -> None:
        """Have the client told, as soon as its stream is free. From any thread."""
        self._events.put(header)

    def log_if_left(self) -> None:
        """Say once in the log that its stream is over, if no other takes it up within ``MOVE_SECONDS``."""
        left = self._left
        if left is not None and time.monotonic() - left > MOVE_SECONDS:
            self._left = None
            log.info("session %s: its stream is over; it waits to be resumed", self.id)

    def check_token(self, token: bytes) -> None:
        """Raise AuthenticationError unless it is the one that ``opened`` gave."""
        if not hmac.compare_digest(token, self.token):
            raise AuthenticationError(f"session {self.id}: the resume token is wrong")

    def stream(
        self,
        requests: Iterator[Message],
        context: Hanger,
        resume: pb.Resume | None = None,
        send: Send | None = None,
    ) -> Iterator[bytes]:
        """Everything that the server says on one stream, the first or one that takes the session up again.

        What goes by ``send``, which any thread may use, is not repeated here. Raises Universe2Error if
        it can't be the session's stream, which leaves the session as it is.
        """
        number = self._attach(context)
        try:
            if resume is not None:
                self._assembler.restart()
                if send is None or self._send is not None:
                    self._metrics.resumed.inc()
                    log.info("session %s: resumed", self.id)
                else:
                    log.debug("session %s: goes on through the local socket", self.id)
                resumed = pb.Resumed(received=self._assembler.received)
                yield encode(pb.Header(session=self.id, resumed=resumed))
            again = self._journal.after(0 if resume is None else resume.received)
            self._send = None  # the reading thread sends nothing before all that is repeated
            self._reader = threading.Thread(
                target=self._read, args=(requests, number), daemon=True, name="session-read"
            )
            # Before it is repeated: a client that repeats as much at the same time must be read meanwhile.
            self._reader.start()
            yield from again
            self._send = send
            yield from self._serve(number)
        except Universe2Error as error:
            log.info("session %s ends: %s: %s", self.id, type(error).__name__, shortened(error))
            self.close()  # first: who is told so finds the slots free
            yield from self._post(error_header(error))
        except Exception as error:
            log.exception("session %s failed", self.id)
            self.close()
            yield from self._post(error_header(failure(error)))
        finally:
            self._left = time.monotonic()
            self._attached.release()
            if self._ending:
                self.close()

    def end(self, error: Universe2Error | None = None) -> None:
        """Tell the client why, if it has a stream, and close. From any thread; returns at once."""
        self._ending = True
        self._events.put(_End(error))
        if not self._attached.locked():
            threading.Thread(target=self.close, daemon=True, name="session-close").start()

    def hang_up(self) -> None:
        """Cancel the stream that it has."""
        if self._context is not None:
            self._context.cancel()

    def give_up(self) -> None:
        """Close although the stream's thread is still here, in an environment that doesn't return."""
        if self._ended or self._given_up:
            return
        log.error(
            "session %s: %s hangs; its slots are taken back, and threads of this server stay there until it "
            "returns, which may be never: begin the server anew if this goes on",
            self.id,
            self._members.names,
        )
        threading.Thread(target=self.close, daemon=True, name="session-close").start()
        self._given_up = True

    def close(self) -> None:
        """Close the runtime and give its slots back. May be called twice."""
        with self._closing:
            if self._ended:
                return
            self._ended = True
            try:
                self._members.close()
            finally:
                self._give_back()
                self._over(self)
        log.info("session %s closed", self.id)

    # Streams

    def _attach(self, context: Hanger) -> int:
        """Become the session's stream: its number, once the one before has left."""
        self.heard = time.monotonic()
        self.hang_up()
        self._events.put(_Leave(self._stream))
        if not self._attached.acquire(timeout=LEAVE_SECONDS):
            if self._ended:
                raise ServerLostError(f"session {self.id} has ended")
            raise DeadlineError(f"session {self.id}: the stream before is still busy; try again")
        if self._reader is not None:
            self._reader.join(max(self.heard + LEAVE_SECONDS - time.monotonic(), 0.0))
        if self._ending or self._ended:
            self._attached.release()
            self.close()
            raise ServerLostError(f"session {self.id} has ended")
        if self._reader is not None and self._reader.is_alive():
            self._attached.release()
            raise DeadlineError(f"session {self.id}: a request is still being answered; try again")
        self._context, self._left = context, None
        number = self._stream = self._stream + 1
        # A stream that breaks while the runtime is waited for must end the wait.
        if not context.add_callback(lambda: self._events.put(_Leave(number))):
            self._events.put(_Leave(number))
        return number

    def _serve(self, stream: int) -> Iterator[bytes]:
        """Replies and batches, until the stream or the session ends."""
        while True:
            event = None
            with contextlib.suppress(queue.Empty):  # the lease is the server's business
                event = self._events.get(block=self._outstanding <= 0, timeout=self.lease)
            with self._turn:
                if event is None:
                    if self._outstanding > 0:
                        yield from self._receive(POLL)
                elif isinstance(event, int):
                    self._outstanding += event
                elif isinstance(event, pb.Header):
                    yield from self._post(event)
                elif isinstance(event, _Leave):
                    if event.stream == stream:
                        return
                elif isinstance(event, _End):
                    if event.error is not None:
                        raise event.error
                    self.close()
                    return
                else:
                    self._replies.remove(size_of(*event))
                    yield from self._post(*event)

    def _receive(self, timeout: float) -> Iterator[bytes]:
        """What is ready, after a short wait."""
        found = self._members.next(timeout)
        if found is None:
            return
        member, batch = found
        if isinstance(batch, Universe2Error):
            if not batch.slots:
                raise batch
            yield from self._refusals(member, batch)
            return
        self._outstanding -= len(batch)
        ready = time.monotonic()
        self._metrics.step_seconds.observe(member.waited(batch.slots, ready))
        batch, body, buffers = member.written(batch)
        self._metrics.batch(batch)
        for viewer in member.viewers:
            viewer.show(member.runtime, batch)
        header = pb.Header(batch=body, member=member.number)
        offers: list[pb.Header] = []
        # On this machine what is coded would cost more than it saves.
        if member.coder is not None and not (self._send is not None and member.exact):
            member.coder.write(header, buffers)
        elif self._lender is not None and member.exact:
            offers = self._lender.lend(header, buffers)
        messages = self._post(header, buffers)
        for offer in offers:  # kept before anything is sent: a stream that breaks there loses none
            messages = messages + self._post(offer)
        yield from messages
        self._metrics.reply_wait_seconds.observe(time.monotonic() - ready)

    def _refusals(self, member: Member, error: Universe2Error) -> list[bytes]:
        """A server behind this one refused requests: so are those that asked here, as far as they were."""
        slots_K = np.array(error.slots, np.int32)
        request_K = member.askers(slots_K)
        self._outstanding -= len(slots_K)
        messages: list[bytes] = []
        for request in np.unique(request_K).tolist():
            header = error_header(error, request)
            header.member = member.number
            header.error.slots.extend(slots_K[request_K == request].tolist())
            messages += self._post(header)
        return messages  # all kept before any is sent: a stream that breaks there loses none

    def _post(self, header: pb.Header, buffers: list[Buffer] | None = None) -> list[bytes]:
        """Number and keep a frame: the messages to send."""
        header.session = self.id
        header.received = self._assembler.received
        _, messages = self._journal.add(header, buffers or (), self._client_message_bytes)
        self._metrics.bytes_out.inc(sum(map(len, messages)))
        return messages

    def _parked(self, slot: int, text: str) -> None:
        self._metrics.parked.inc()
        last_line = text.strip().rpartition("\n")[2]
        log.warning("session %s: slot %d is parked: %s", self.id, slot, last_line or "no details")

    # Requests

    def _read(self, requests: Iterator[Message], stream: int) -> None:
        """The reading thread: every request until the stream or the session ends."""
        end: _End | _Leave = _Leave(stream)
        try:
            for message in self._unbroken(requests):
                self.heard = time.monotonic()
                self._metrics.bytes_in.inc(len(message))
                frame = self._assembler.add(message)
                if frame is None:
                    continue
                if frame.header.WhichOneof("body") == "close":
                    end = _End()
                    break
                self._answering = self.heard
                self._answer(frame)
                self.heard = time.monotonic()
                self._answering = None
        except Universe2Error as error:
            end = _End(error)
        except Exception as error:
            log.exception("session %s failed", self.id)
            end = _End(failure(error))
        self._answering = None
        self._events.put(end)

    def _unbroken(self, requests: Iterator[Message]) -> Iterator[Message]:
        """What comes until the stream ends or breaks. What a runtime raises meanwhile is no matter of it."""
        try:
            yield from requests
        except (grpc.RpcError, OSError):
            log.debug("session %s: its stream broke", self.id)  # that it is over is said when it leaves

    def _answer(self, frame: Frame) -> None:
        header = frame.header
        if header.session != self.id:
            raise ProtocolError(f"a frame for session {header.session!r} came on the stream of {self.id!r}")
        self._journal.acknowledge(header.received)
        kind = header.WhichOneof("body") or ""
        if kind == "attach" and self._lender is not None:
            self._lender.answered(header.attach)
            return
        member = self._members.numbered(header.member)
        if self._members.several and member.must_wait(frame):
            member.do_aside(lambda: self._carry_out_aside(member, frame), size_of(*frame))
        else:
            self._carry_out(member, frame)

    def _carry_out_aside(self, member: Member, frame: Frame) -> None:
        try:
            self._carry_out(member, frame)
        except Universe2Error as error:
            self._events.put(_End(error))
        except Exception as error:
            log.exception("session %s failed", self.id)
            self._events.put(_End(failure(error)))

    def _carry_out(self, member: Member, frame: Frame) -> None:
        """Ask the member; what it owes for that, or its answer, is the stream's to say."""
        header = frame.header
        try:
            if header.HasField("restore") and not self._limits.restore:
                raise UnsupportedError(
                    f"{member.runtime.spec.id}: this server takes no states: it runs with --no-restore"
                )
            event = member.ask(frame)
        except (ProtocolError, ClosedError):
            raise
        except Universe2Error as error:
            event = (error_header(error), [])
        if isinstance(event, int):
            if self._members.several:
                self._members.sent(member, event)
            elif self._answered_at_once(event):
                return
        else:
            event[0].reply_to, event[0].member = header.sequence, member.number
            if not self._replies.add(size_of(*event)):
                raise ProtocolError(f"the client asks and doesn't read its replies: {self._replies}")
        self._events.put(event)

    def _answered_at_once(self, rows: int) -> bool:
        """In the reading thread: what the runtime has ready now. Saves two switches between threads."""
        if not rows:
            return True  # no slots were named: nothing is owed, and the runtime may not be asked for it
        if self._send is None or not self._turn.acquire(blocking=False):
            return False
        try:
            if self._outstanding > 0 or not self._events.empty():
                return False
            self._outstanding += rows
            if self._outstanding <= 0:
                return True  # the rows came with others' before they were owed, and were sent then
            for message in self._receive(0.0):
                try:
                    self._send(message)
                except OSError:  # the frame is kept for the stream that comes after this one
                    self.hang_up()
                    break
            if self._outstanding > 0:
                self._events.put(0)  # wakes the thread that waits
            return True
        finally:
            self._turn.release()


def error_header(error: Universe2Error, reply_to: int = 0) -> pb.Header:
    """An error as a frame's header."""
    seconds = error.retry_after if isinstance(error, CapacityError) else 0.0
    told = pb.Error(type=name_of(error), message=in_utf8(shortened(error)), retry_after_seconds=seconds)
    return pb.Header(reply_to=reply_to, error=told)


def failure(error: Exception) -> Universe2Error:
    """What clients hear of an error that nobody raised on purpose."""
    return Universe2Error(f"the server failed: {type(error).__name__}: {error}")
