"""What a session repeats on the stream that follows a broken one, as one sees it without a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

from universe2.core.batch import Batch
from universe2.core.errors import DeadlineError, UsageError
from universe2.server.auth import Who
from universe2.server.capacity import Capacity
from universe2.server.config import ServerConfig
from universe2.server.metrics import Metrics
from universe2.server.opening import Openings, read_asks
from universe2.server.session import Session
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.frames import Assembler, decode, encode
from universe2.wire.v1 import universe_pb2 as pb


class _Stream:
    """A stream that nothing ever happens to."""

    def cancel(self) -> None:
        pass

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return True


def opened(cls: type[CountingRuntime]) -> tuple[Session, Assembler]:
    """A session of two slots that nobody has a stream of yet."""
    assembler = Assembler()
    session = Session(ServerConfig(port=0), assembler, Metrics(Capacity(8, 8)), lambda _: None)
    ask = pb.Open(protocol=1, env_id=COUNTING.id, interface="native", autoreset="next_step", num_slots=2)
    first = encode(pb.Header(sequence=1, open=ask))
    frame = assembler.add(first)
    assert frame is not None
    session.open(
        frame,
        read_asks(ask),
        lambda _, *asked: cls(COUNTING, *asked),
        lambda: None,
        Who("tester"),
        Openings(),
    )
    return session, assembler


def reset(session: Session, sequence: int, slot: int) -> bytes:
    header = pb.Header(sequence=sequence, session=session.id, received=1, reset=pb.Reset())
    return encode(header, [np.array([slot], "<i4"), np.array([7], "<i8")])


def kind(message: bytes) -> str | None:
    body: str | None = decode(message).header.WhichOneof("body")
    return body


def test_a_client_is_read_while_frames_are_repeated_to_it_and_answered_after_them() -> None:
    session, _ = opened(CountingRuntime)
    list(session.stream(iter([]), _Stream()))
    answered, over = threading.Event(), threading.Event()

    def requests() -> Iterator[bytes]:
        yield reset(session, 2, 0)
        answered.set()
        over.wait(20.0)

    sent: list[bytes] = []
    replies = session.stream(requests(), _Stream(), pb.Resume(received=0), sent.append)
    try:
        assert [kind(next(replies)) for _ in range(2)] == ["resumed", "opened"]
        assert answered.wait(10.0)  # both would wait for each other to read, for ever
        assert sent == []
        assert kind(next(replies)) == "batch"
    finally:
        over.set()
        replies.close()  # type: ignore[attr-defined]  # it is a generator
        session.close()


class _Refused(CountingRuntime):
    """As if a server behind it were gone, once ``gone`` is set."""

    gone = threading.Event()

    def recv(self, timeout: float | None = None) -> Batch:
        if not self.gone.wait(timeout):
            raise DeadlineError("nothing")
        self.gone.clear()
        error = UsageError("lost")
        error.slots = (0, 1)
        raise error


def test_a_stream_that_breaks_between_two_refusals_loses_none() -> None:
    session, _ = opened(_Refused)
    over = threading.Event()

    def requests() -> Iterator[bytes]:
        yield from (reset(session, 2 + slot, slot) for slot in (0, 1))
        _Refused.gone.set()
        over.wait(20.0)

    replies = session.stream(requests(), _Stream())
    try:
        assert kind(next(replies)) == "opened"
        heard = [decode(next(replies)).header.reply_to]
        over.set()
        replies.close()  # type: ignore[attr-defined]  # it is a generator
        replies = session.stream(iter([]), _Stream(), pb.Resume(received=2))
        heard += [found.reply_to for found in (decode(m).header for m in replies) if found.HasField("error")]
        assert heard == [2, 3]
    finally:
        over.set()
        session.close()
