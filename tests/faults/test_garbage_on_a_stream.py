"""Garbage and repeated frames on a session's stream: answered or ended in our words, and others play on."""

from __future__ import annotations

import logging
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from waiting import eventually

from universe2.client import open_remote
from universe2.client.stream import LocalStream, Stream
from universe2.core.errors import AuthenticationError, ProtocolError, ServerLostError, Universe2Error
from universe2.core.spec import EnvConfig
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.frames import MAX_MESSAGE_BYTES, PROTOCOL, decode, encode
from universe2.wire.sockets import connect
from universe2.wire.v1 import universe_pb2 as pb

sys.path.insert(0, str(Path(__file__).parents[1] / "property"))

from wire_samples import mutated

SECONDS = 10.0
Line = Stream | LocalStream


class _Bystander(threading.Thread):
    """Plays on the same server all the while; every row must be the next one."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._runtime = open_remote(COUNTING.id, 2, EnvConfig(autoreset="same_step"), [address])
        self._halt = threading.Event()
        self.steps = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        runtime = self._runtime
        try:
            runtime.reset([0, 1], [4, 4])
            runtime.recv(SECONDS)
            while not self._halt.wait(0.002):
                runtime.send([0, 1], np.zeros(2, np.int64))
                batch = runtime.recv(SECONDS)
                assert not batch.fault.any(), batch.fault_text
                self.steps += 1
        except BaseException as error:  # noqa: BLE001 (raised again by the test)
            self.error = error

    def finish(self) -> None:
        """It still plays, and stops now."""
        steps = self.steps
        assert eventually(lambda: self.steps > steps or self.error is not None), "it stands still"
        self._halt.set()
        self.join(SECONDS)
        self._runtime.close()
        if self.error is not None:
            raise self.error


@pytest.fixture
def server(caplog: pytest.LogCaptureFixture) -> Iterator[Server]:
    server = Server(
        ServerConfig(port=0, slots=64), lambda _id, slots, config: CountingRuntime(COUNTING, slots, config)
    )
    server.start()
    bystander = _Bystander(server.address)
    bystander.start()
    yield server
    bystander.finish()
    assert eventually(lambda: server.capacity.sessions_open == 0)
    assert (server.capacity.sessions_open, server.capacity.slots_free) == (0, 64)
    server.stop(1.0)
    crashes = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not crashes, [record.getMessage() for record in crashes]


def opening(num_slots: int = 2) -> pb.Open:
    ask = pb.Open(
        protocol=PROTOCOL,
        env_id=COUNTING.id,
        interface="native",
        autoreset="next_step",
        num_slots=num_slots,
        same_host=True,
    )
    ask.lease_seconds = 1.0
    return ask


def over_grpc(server: Server) -> tuple[Line, str]:
    """A session's stream, and the session."""
    stream = Stream(server.address, None)
    stream.send(encode(pb.Header(sequence=1, open=opening())))
    return stream, stream.first(SECONDS).opened.session


def over_the_socket(server: Server) -> tuple[Line, str]:
    """The same, moved to the local socket, which takes the numbers from 2 on."""
    first = Stream(server.address, None)
    first.send(encode(pb.Header(sequence=1, open=opening())))
    opened = first.first(SECONDS).opened
    first.send(encode(pb.Header(sequence=2, session=opened.session, heartbeat=pb.Heartbeat())))
    assert first.first(SECONDS).HasField("heartbeat")
    first.hang_up()
    connected = connect(opened.local_socket, MAX_MESSAGE_BYTES)
    assert connected is not None
    local = LocalStream(server.address, connected)
    resume = pb.Resume(token=opened.resume_token, received=2)
    local.send(encode(pb.Header(session=opened.session, resume=resume)))
    assert local.first(SECONDS).HasField("resumed")
    return local, opened.session


WAYS: list[tuple[Callable[[Server], tuple[Line, str]], int]] = [(over_grpc, 2), (over_the_socket, 3)]
"""How to begin, and the number of the next frame."""
ways = pytest.mark.parametrize(("begin", "due"), WAYS, ids=["gRPC", "local socket"])


def requests(session: str, due: int) -> list[bytes]:
    """A frame of every kind that a client may send, as it should be if it comes next."""
    slots, seeds = np.arange(2, dtype="<i4"), np.arange(2, dtype="<i8")
    bodies: list[tuple[dict[str, Any], list[np.ndarray]]] = [
        ({"reset": pb.Reset()}, [slots, seeds]),
        ({"send": pb.Send()}, [slots, seeds]),
        ({"snapshot": pb.Snapshot()}, [slots]),
        ({"restore": pb.Restore()}, [slots, slots, slots]),
        ({"render": pb.Render(height=8, width=8)}, [slots]),
        ({"heartbeat": pb.Heartbeat()}, []),
        ({"attach": pb.Attach(region=1, proof=b"x" * 32)}, []),
        ({"chunk": pb.Chunk(total_bytes=2000)}, [np.zeros(600, np.uint8)]),
        ({"close": pb.Close()}, []),
        ({"resume": pb.Resume(token=b"x" * 16)}, []),
        ({"open": opening()}, []),
    ]
    return [
        encode(pb.Header(sequence=due, session=session, received=1, **body), parts) for body, parts in bodies
    ]


def said(line: Line) -> list[pb.Header]:
    """All that the server says until the stream ends, which it must, in good order or as we word it."""
    timer = threading.Timer(SECONDS, line.hang_up)
    timer.start()
    found: list[pb.Header] = []
    try:
        found += [decode(message).header for message in line]
    except ServerLostError as error:
        if "Exception" in str(error):  # gRPC's word for a server's method that raised
            raise
    finally:
        assert timer.is_alive(), f"no end within {SECONDS} s; it said {found}"
        timer.cancel()
        line.hang_up()
    return found


def garbage(server: Server, begin: Callable[[Server], tuple[Line, str]], due: int, rng: random.Random) -> str:
    """One session that is sent damaged frames: how it ended."""
    line, session = begin(server)
    message = rng.choice(requests(session, due))
    for _ in range(rng.randint(1, 2)):
        line.send(mutated(message, rng) if rng.random() < 0.9 else rng.randbytes(rng.randint(0, 300)))
    line.half_close()
    replies = said(line)
    errors = [reply.error for reply in replies if reply.HasField("error")]
    assert all(error.type and "the server failed" not in error.message for error in errors), errors
    return errors[-1].type if errors else "nothing"


@ways
@pytest.mark.parametrize(
    "count", [25, pytest.param(1500, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_damaged_frames(server: Server, begin: Any, due: int, count: int) -> None:
    rng = random.Random(count)
    ends = [garbage(server, begin, due, rng) for _ in range(count)]
    assert "ProtocolError" in ends


@ways
def test_a_frame_that_comes_twice_is_not_carried_out_twice(server: Server, begin: Any, due: int) -> None:
    for again in (0, 1):  # the frame itself, or the one before it
        line, session = begin(server)
        reset = requests(session, due)[0]
        step = requests(session, due + 1)[1]
        for message in (reset, step, (step, reset)[again]):
            line.send(message)
        replies = said(line)
        assert [reply.batch.rows for reply in replies if reply.HasField("batch")] in ([2, 2], [2], [])
        assert replies[-1].error.type == "ProtocolError"
        assert f"came where {due + 2} was due" in replies[-1].error.message


@ways
def test_another_clients_frames(server: Server, begin: Any, due: int) -> None:
    """What belongs to one session ends the other whose stream it comes on, and not its own."""
    line, session = begin(server)
    other, stranger = begin(server)
    line.send(requests(stranger, due)[0])
    assert said(line)[-1].error.type == "ProtocolError"
    other.send(requests(stranger, due)[0])
    assert other.first(SECONDS).HasField("batch")
    assert session != stranger
    other.hang_up()


@pytest.mark.parametrize("ask", [b"", b"\xff\xff\xff", pb.WatchRequest(session="x" * 16).SerializeToString()])
def test_a_viewer_who_asks_nonsense(server: Server, ask: bytes) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_stream("/universe2.wire.v1.Universe/Watch")(ask, timeout=SECONDS)
        if ask == b"\xff\xff\xff":  # no message at all: gRPC's own answer
            with pytest.raises(grpc.RpcError) as refused:
                next(call)
            assert refused.value.code() == grpc.StatusCode.INTERNAL
            return
        (message,) = call
        assert decode(message).header.error.type == ServerLostError.__name__


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"token": b"x" * 16}, AuthenticationError),
        ({"height": 4}, Universe2Error),
        ({"slots": [2**32 - 1], "per_second": float("nan")}, None),
        ({"slots": list(range(1000)) * 9, "per_second": -1.0}, None),
    ],
)
def test_a_viewer_of_a_session_who_asks_nonsense(
    server: Server, fields: dict[str, Any], kind: type[Universe2Error] | None
) -> None:
    """It is refused, or sees what there is; whoever plays isn't held up."""
    stream = Stream(server.address, None)
    stream.send(encode(pb.Header(sequence=1, open=opening())))
    opened = stream.first(SECONDS).opened
    ask = pb.WatchRequest(**{"session": opened.session, "token": opened.resume_token, **fields})
    with grpc.insecure_channel(server.address) as channel:
        method = channel.unary_stream(
            "/universe2.wire.v1.Universe/Watch", request_serializer=pb.WatchRequest.SerializeToString
        )
        call = method(ask, timeout=SECONDS)
        if kind is not None:
            (message,) = call
            assert decode(message).header.error.type in {
                sub.__name__ for sub in (kind, *kind.__subclasses__())
            }
        stream.send(requests(opened.session, 2)[0])
        assert stream.first(SECONDS).HasField("batch")
        call.cancel()
    stream.hang_up()


def test_a_stream_that_begins_with_something_else(server: Server) -> None:
    for message in [*requests("", 1)[:9], *requests("nobody", 1)[:6], b"", b"\0" * 50]:
        stream = Stream(server.address, None)
        stream.send(message)
        stream.half_close()
        replies = said(stream)
        assert all(reply.error.type == ProtocolError.__name__ for reply in replies), replies


@pytest.mark.parametrize(
    "count", [25, pytest.param(1500, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_damaged_openings(server: Server, count: int) -> None:
    """It opens what it understood, or says what is wrong; what was opened, ``close`` ends."""
    rng, kinds = random.Random(count), set()
    sound = encode(pb.Header(sequence=1, open=opening()))
    for _ in range(count):
        stream = Stream(server.address, None)
        stream.send(mutated(sound, rng))
        stream.send(encode(pb.Header(sequence=2, close=pb.Close())))
        stream.half_close()
        replies = said(stream)
        kinds |= {reply.error.type or reply.WhichOneof("body") for reply in replies}
    assert {"opened", "ProtocolError"} <= kinds
