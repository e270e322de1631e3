"""Connection: one session on one server, with its receiving thread, whose work a caller who waits may do.

It numbers what is sent, checks the numbers of what comes, matches answers with questions, and takes
the session up again when its stream breaks. Once it is lost or poisoned it is never used
again. What batches mean is not its business.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import TypeVar

from universe2.client.lane import Lane, Sink
from universe2.client.resuming import resumed, resumed_once
from universe2.client.stream import Broken, LocalStream, Stream, told
from universe2.client.turn import Turn
from universe2.client.waiting import Patience
from universe2.core.errors import (
    DeadlineError,
    ProtocolError,
    ServerLostError,
    Universe2Error,
    VersionError,
)
from universe2.core.heap import keep_messages
from universe2.wire.buffers import Buffer
from universe2.wire.frames import (
    MAX_FRAME_BYTES,
    MAX_MESSAGE_BYTES,
    MEMBERS_PER_DEADLINE,
    Assembler,
    Frame,
    Message,
    decode,
    encode,
)
from universe2.wire.journal import Journal
from universe2.wire.sharing import Borrower
from universe2.wire.sockets import connect
from universe2.wire.v1 import universe_pb2 as pb

log = logging.getLogger("universe2.client")

_Item = TypeVar("_Item")

MOVE_SECONDS = 10.0
"""How long opening waits until the session goes on at the server's socket."""

GOODBYE_SECONDS = 5.0
"""How long a server may take to end the stream of a session that is not needed any more."""


class Connection:
    """One open session, with a lane for each of ``asks``. Raises what the server answers if it has none.

    A server that says nothing for ``open_deadline`` seconds (for every 8 lanes that it opens) is waited for
    no longer; one that says that the client is in its queue, for ``ask.queue_seconds`` on top. A stream
    that breaks is no end: the session is taken up again, as long as its lease lasts.
    """

    def __init__(
        self,
        address: str,
        asks: Sequence[pb.Open],
        sinks: Sequence[Sink],
        token: str | None,
        open_deadline: float,
        patience: Patience,
    ) -> None:
        keep_messages()
        self.address = address
        self.heard = time.monotonic()
        self.lanes = [Lane(self, i, *pair) for i, pair in enumerate(zip(asks, sinks, strict=True))]
        self.token = token
        self._lock = threading.Lock()
        self._journal = Journal(2 * MAX_FRAME_BYTES)
        self._assembler = Assembler()
        self._borrower = Borrower()
        self._patience = patience
        self._beaten = 0.0
        self._answers: dict[int, queue.SimpleQueue[Frame | Universe2Error]] = {}
        self._session = ""
        self._in_queue = False
        self._message_bytes = MAX_MESSAGE_BYTES
        self._delivered = 0
        """the last frame that was dealt with"""
        self._turn = Turn()
        self._outcome: Universe2Error | None = None
        """how the stream ended for a caller who read it"""
        self._over = threading.Event()
        self._reason: Universe2Error | None = None
        self._stream: Stream | LocalStream | None = Stream(address, token, open_deadline)
        self._local: LocalStream | None = None
        self._moved = threading.Event()
        self._unsaid = False
        """whether there was no stream for the goodbye"""
        self._thread = threading.Thread(target=self._receive, daemon=True, name=f"receive {address}")
        try:
            self._thread.start()
            self.opened = self._open(asks, open_deadline)
            self._session = self.opened.session
            self._assembler.max_frame_bytes += max(lane.slot_bytes() for lane in self.lanes)
            self._message_bytes = min(self.opened.max_message_bytes, MAX_MESSAGE_BYTES) or MAX_MESSAGE_BYTES
            self._go_local()
        except BaseException:  # also Ctrl-C, in a queue
            if self._session:
                self.leave()  # without a goodbye the server would keep the slots for the lease
            else:
                self.close()
            raise

    def _open(self, asks: Sequence[pb.Open], deadline: float) -> pb.Opened:
        """Ask for all lanes; each hears what the server says of it."""
        whole = pb.Open()
        whole.CopyFrom(asks[0])
        whole.more.extend(asks[1:])
        rounds = -(-len(asks) // MEMBERS_PER_DEADLINE)
        frame = self.ask(pb.Header(open=whole), (), rounds * deadline, whole.queue_seconds)
        first = frame.header.opened
        masks = [bytes(buffer) for buffer in frame.buffers]
        told = [first, *first.more]
        if len(told) != len(asks) or len(masks) != sum(opened.has_action_mask for opened in told):
            self._session = first.session
            raise VersionError(
                f"{self.address}: {len(told)} environments opened where {len(asks)} were asked for; "
                "install the same release of universe2 on both sides"
            )
        for lane, opened in zip(self.lanes, told, strict=True):
            lane.opened.CopyFrom(opened)
            lane.opened.ClearField("more")
            lane.mask = masks.pop(0) if opened.has_action_mask else b""
            for name in ("session", "resume_token", "lease_seconds", "max_message_bytes", "local_socket"):
                setattr(lane.opened, name, getattr(first, name))
        return first

    @property
    def deserted(self) -> bool:
        """Does no lane need the session any more?"""
        return all(lane.left for lane in self.lanes)

    def _go_local(self) -> None:
        """If the server is on this machine, have the receiving thread take the session up at its socket."""
        self._local = self._local_stream()
        if self._local is not None and self._stream is not None:
            self._stream.hang_up()
            self._moved.wait(MOVE_SECONDS)

    def _local_stream(self) -> LocalStream | None:
        name = self.opened.local_socket
        connected = connect(name, MAX_MESSAGE_BYTES) if name else None
        return LocalStream(self.address, connected) if connected else None

    def send(self, header: pb.Header, buffers: Sequence[Buffer] = ()) -> int:
        """Send a frame, without waiting. ``buffers`` may be changed afterwards. Its number."""
        with self._lock:
            return self._send(header, buffers)

    def ask(
        self, header: pb.Header, buffers: Sequence[Buffer], timeout: float, queue_seconds: float = 0.0
    ) -> Frame:
        """Send a frame and wait for the one that answers it. Raises the answer if it is an error.

        ``queue_seconds`` more if by then the server has said that this client is in its queue.
        """
        answer: queue.SimpleQueue[Frame | Universe2Error] = queue.SimpleQueue()
        with self._lock:
            if self._over.is_set():
                raise self.reason
            number = self._send(header, buffers, answer)
        try:
            found = self._answered(answer, timeout, queue_seconds)
        except queue.Empty:
            kind, waited = header.WhichOneof("body"), timeout + queue_seconds * self._in_queue
            late = DeadlineError(f"{self.address}: no answer to {kind} within {waited:g} s")
            self.poison(late)
            raise late from None
        finally:
            self._answers.pop(number, None)
        if isinstance(found, Universe2Error):
            raise found
        if found.header.HasField("error"):
            raise told(found.header.error)
        return found

    def _answered(
        self, answer: queue.SimpleQueue[Frame | Universe2Error], timeout: float, queue_seconds: float
    ) -> Frame | Universe2Error:
        try:
            return self.wait(answer, timeout)
        except queue.Empty:
            if not self._in_queue:
                raise
            return self.wait(answer, queue_seconds)

    def wait(self, inbox: queue.SimpleQueue[_Item], seconds: float) -> _Item:
        """What comes into ``inbox``, which is fed by what is received here; queue.Empty after ``seconds``.

        On this machine the calling thread receives it itself, when it can.
        """
        near = isinstance(self._stream, LocalStream)
        return self._turn.wait(inbox, seconds, self._receive_one if near else None)

    def beat(self, patience: float) -> None:
        """Renew the lease; if nothing was heard for ``patience`` seconds, try another stream.

        Of several lanes' beats at about the same time one is enough.
        """
        stream, now = self._stream, time.monotonic()
        if stream is None or now - self._beaten < patience / 8:
            return
        self._beaten = now
        if now - max(self.heard, stream.began) > patience:
            stream.hang_up()
        else:
            self.send(pb.Header(heartbeat=pb.Heartbeat()))

    def poison(self, reason: Universe2Error) -> None:
        """Give the session up: nothing that still comes on its stream counts. The server is told so."""
        self._finish(reason)
        self._hang_up_later()

    @property
    def reason(self) -> Universe2Error:
        """Why the session is over."""
        return self._reason or ServerLostError(f"{self.address}: the session is over")

    @property
    def alive(self) -> bool:
        return not self._over.is_set()

    def say_goodbye(self) -> None:
        """Ask the server to end the session in good order; ``close`` waits for it."""
        with self._lock:
            if not self._over.is_set():
                self._over.set()
                self._say_close()

    def close(self, wait: float = 0.0) -> None:
        """End the session; the server frees its slots. May be called twice.

        After ``say_goodbye`` it waits at most ``wait`` seconds until the server has done so.
        """
        self._over.set()
        with self._lock:
            stream = self._stream
        if stream is None and self._unsaid and wait > 0:
            self._thread.join(wait)  # it tries to say it on another
        if stream is not None:
            stream.half_close()
            if wait > 0:
                self._turn.call()
                self._thread.join(wait)
            stream.hang_up()

    def leave(self) -> None:
        """End the session in good order, and wait until the server has freed its slots, but not for long."""
        self.say_goodbye()
        self.close(wait=GOODBYE_SECONDS)

    def _send(
        self,
        header: pb.Header,
        buffers: Sequence[Buffer],
        answer: queue.SimpleQueue[Frame | Universe2Error] | None = None,
    ) -> int:
        header.session = self._session
        header.received = self._delivered
        number, messages = self._journal.add(header, buffers, self._message_bytes)
        if answer is not None:
            self._answers[number] = answer
        if self._stream is not None:
            for message in messages:
                self._stream.send(message)
        return number

    def _say_close(self) -> None:
        self._unsaid = self._stream is None
        if self._stream is not None:
            with contextlib.suppress(ProtocolError):  # it hasn't read for long: it won't read this either
                self._send(pb.Header(close=pb.Close()), ())
            self._stream.half_close()

    def _hang_up_later(self) -> threading.Timer:
        """Close, should the server not have ended the stream by then: at once would take the goodbye back."""
        timer = threading.Timer(GOODBYE_SECONDS, self.close)
        timer.daemon = True
        timer.start()
        return timer

    # The receiving thread

    def _receive(self) -> None:
        self._turn.begin()
        reason = self._receive_stream()
        while not self._over.is_set() and isinstance(reason, Broken) and self._session:
            self._log_end(reason)
            try:
                self._resume()
            except Exception as error:  # noqa: BLE001  said, and the end of the session
                reason = as_ours(error, f"{self.address}: taking the session up again")
                break
            reason = self._receive_stream()
        self._finish(ServerLostError(str(reason)) if isinstance(reason, Broken) else reason)
        self._moved.set()
        if not isinstance(reason, Broken):
            self._drain()
        self.close()

    def _log_end(self, reason: Broken) -> None:
        """Why another stream is needed: this one was given up for the server's socket, or it broke."""
        if self._local is not None:
            log.debug("%s: session %s goes on at the server's socket", self.address, self._session)
        else:
            log.info(
                "%s: the stream broke (%s); taking session %s up again", self.address, reason, self._session
            )

    def _drain(self) -> None:
        """Wait until the server has ended the stream."""
        if self._stream is None:
            return
        timer = self._hang_up_later()
        with contextlib.suppress(Universe2Error):
            for _ in self._stream:
                pass
        timer.cancel()

    def _receive_stream(self) -> Universe2Error:
        """Take what comes on the stream until it ends; why it did."""
        stream = self._stream
        assert stream is not None
        try:
            for message in stream:
                if (fatal := self._deal_with(message)) is not None:
                    return fatal
                if isinstance(stream, LocalStream):
                    self._turn.rest()
                    if self._outcome is not None:
                        return self._outcome
        except Exception as error:  # noqa: BLE001  said, and the end of the session
            return as_ours(error, f"{self.address}: receiving")
        return self._ended()

    def _receive_one(self, seconds: float) -> bool:
        """In a caller's thread: deal with one message, if it comes in time. False: that is the thread's task.

        What ends the stream is left to the thread.
        """
        stream = self._stream
        if self._outcome is not None or not isinstance(stream, LocalStream):
            return False
        if not stream.ready(seconds):
            return True
        try:
            message = stream.receive()
            self._outcome = self._ended() if message is None else self._deal_with(message)
        except Exception as error:  # noqa: BLE001  said, and the end of the session
            self._outcome = as_ours(error, f"{self.address}: receiving")
        except BaseException:  # Ctrl-C, perhaps in mid-message: another stream begins with that message
            self._outcome = Broken(f"{self.address}: reading was interrupted")
            raise
        return self._outcome is None

    def _deal_with(self, message: Message) -> Universe2Error | None:
        """One message of the stream; what ends the session, if that does."""
        self.heard = time.monotonic()
        if self._reason is not None:
            return None  # given up
        if not self._session and self._is_queued(decode(message).header):
            return None
        frame = self._assembler.add(message)
        if frame is None:
            return None
        fatal = self._dispatch(frame)
        self._delivered = frame.header.sequence
        return fatal

    def _ended(self) -> Broken:
        return Broken(f"{self.address}: the server ended the stream")

    def _is_queued(self, header: pb.Header) -> bool:
        queued = header.queued
        if header.HasField("queued"):
            self._in_queue = True
            self._patience.queued(self.address, queued.place, queued.retry_after_seconds)
            return True
        return False

    def _resume(self) -> None:
        """Take the session up on another stream. Raises ServerLostError when that can't be any more."""
        with self._lock:
            if self._stream is not None:
                self._stream.hang_up()
            self._stream = None
        ask = pb.Resume(token=self.opened.resume_token, received=self._delivered)
        near, far = self._near, lambda: Stream(self.address, self.token)
        message = encode(pb.Header(session=self._session, resume=ask))
        found = resumed(near, far, message, self.opened.lease_seconds, self._over)
        if found is None:
            with self._lock:  # whoever set it over has by then tried to say goodbye
                unsaid = self._unsaid
            found = resumed_once(near, far, message, GOODBYE_SECONDS) if unsaid else None
        if found is None:
            raise self.reason
        stream, received = found
        with self._lock:
            self._assembler.restart(self._delivered)
            for message in self._journal.after(received):
                stream.send(message)
            self._outcome, self._stream = None, stream
            if self._over.is_set():  # closed meanwhile
                self._say_close()
                self._hang_up_later()
        self.heard = time.monotonic()
        self._moved.set()

    def _near(self) -> LocalStream | None:
        """The socket that was found before, or is now."""
        found, self._local = self._local or self._local_stream(), None
        return found

    def _dispatch(self, frame: Frame) -> Universe2Error | None:
        header = frame.header
        self._journal.acknowledge(header.received)
        if header.shared:
            self._borrower.resolve(frame)
        answer = self._answers.get(header.reply_to)
        if answer is not None:
            answer.put(frame)
        elif header.HasField("heartbeat"):
            return None
        elif header.HasField("drain"):
            log.warning("%s shuts down: the session ends in %g s", self.address, header.drain.seconds)
        elif header.HasField("offer"):
            self.send(pb.Header(attach=self._borrower.answer(header.offer)))
        elif header.HasField("error") and not header.reply_to:
            return told(header.error, f"{self.address}: ")
        elif not self._over.is_set():
            if header.member >= len(self.lanes):
                raise ProtocolError(f"{self.address}: a frame of member {header.member}, which wasn't opened")
            self.lanes[header.member].tell(frame)
        return None

    def _finish(self, reason: Universe2Error) -> None:
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            tell = not self._over.is_set() and self._session != ""
            self._over.set()
            waiting = list(self._answers.values())
            if tell:
                self._say_close()
        for answer in waiting:
            answer.put(reason)
        if tell:
            for lane in self.lanes:
                lane.tell(reason)


def as_ours(error: Exception, doing: str) -> Universe2Error:
    """What ``doing`` something raised, as an error that can be told. What nobody expected is logged."""
    if isinstance(error, Universe2Error):
        return error
    log.error("%s failed", doing, exc_info=error)
    return Universe2Error(f"{doing} failed: {type(error).__name__}: {error}")
