"""The socket for clients on this machine: sessions go on there, and nothing else is let in."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import waiting

from universe2.client import open_remote
from universe2.client.stream import Stream
from universe2.core.batch import Batch
from universe2.core.errors import DeadlineError, ProtocolError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.server.door import Caller, Door
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire import sockets
from universe2.wire.frames import MAX_MESSAGE_BYTES, decode, encode
from universe2.wire.sockets import MessageSocket, Watchfulness, connect
from universe2.wire.v1 import universe_pb2 as pb


@pytest.fixture
def server(counting: EnvSpec) -> Iterator[Server]:
    server = Server(ServerConfig(port=0, slots=8))
    server.start()
    yield server
    server.stop(1.0)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


def opened(server: Server, **settings: Any) -> Any:
    runtime = open_remote(COUNTING.id, 2, EnvConfig(autoreset="same_step"), [server.address], **settings)
    runtime.reset([0, 1], [3, 4])
    runtime.recv(10.0)
    return runtime


def step(runtime: Any) -> None:
    runtime.send([0, 1], np.zeros(2, np.int64))
    batch = runtime.recv(10.0)
    assert not batch.fault.any(), batch.fault_text


def at_the_door(server: Server) -> MessageSocket:
    connected = connect(server._door.name, MAX_MESSAGE_BYTES)
    assert connected is not None
    return connected


def carrier(runtime: Any) -> str:
    return type(runtime._parts[0].lane.connection._stream).__name__


def eventually(runtime: Any, name: str) -> bool:
    """Steps until the session travels that way."""
    for _ in range(1000):
        step(runtime)
        if carrier(runtime) == name:
            return True
    return False


def test_a_session_of_this_machine_moves_to_the_socket_unless_told_not_to(server: Server) -> None:
    near, far = opened(server), opened(server, same_host=False)
    assert eventually(near, "LocalStream")
    for _ in range(20):
        step(near)
        step(far)
    assert carrier(far) == "Stream"
    near.close()
    far.close()
    assert server.capacity.slots_free == 8


def test_a_move_to_the_socket_looks_like_no_broken_stream_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("universe2.server.session.MOVE_SECONDS", 10.0)  # on a busy machine
    with caplog.at_level(logging.INFO, "universe2.server"):
        runtime = opened(server)
        assert eventually(runtime, "LocalStream")
        assert [record for record in caplog.records if "stream" in record.message] == []
        runtime.close()


def test_the_log_says_that_a_session_waits_to_be_resumed(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    ask = pb.Open(protocol=1, env_id=COUNTING.id, interface="native", autoreset="next_step", num_slots=1)
    stream = Stream(server.address, None)
    with caplog.at_level(logging.INFO, "universe2.server"):
        stream.send(encode(pb.Header(sequence=1, open=ask)))
        session = stream.first(10.0).opened.session
        stream.hang_up()
        line = f"session {session}: its stream is over; it waits to be resumed"
        assert waiting.eventually(lambda: line in caplog.text)
        server._sessions[session].log_if_left()
    assert caplog.text.count(line) == 1


@pytest.mark.parametrize("name", ["Stream", "LocalStream"])
def test_asking_no_slot_for_anything_is_harmless(server: Server, name: str) -> None:
    runtime = opened(server, same_host=name == "LocalStream")
    assert eventually(runtime, name)
    none = np.zeros(0, np.int32)
    for _ in range(3):
        runtime.send(none, np.zeros(0, np.int64))
        runtime.reset(none, [])
        step(runtime)
    runtime.close()


def test_a_socket_that_breaks_costs_no_step(server: Server) -> None:
    """Every step is numbered, and checked by the client's book: a lost or repeated one would be a fault."""
    runtime = opened(server)
    assert eventually(runtime, "LocalStream")
    (session,) = server._sessions.values()
    done = threading.Event()

    def cut() -> None:
        while not done.wait(0.05):
            session.hang_up()

    cutting = threading.Thread(target=cut)
    cutting.start()
    for _ in range(300):
        step(runtime)
    done.set()
    cutting.join()
    server._door.close()  # from here on only gRPC is left
    session.hang_up()
    assert eventually(runtime, "Stream")
    runtime.close()


@pytest.mark.parametrize(
    "header",
    [
        pb.Header(sequence=1, open=pb.Open(protocol=1, env_id=COUNTING.id, num_slots=1)),
        pb.Header(session="0" * 16, resume=pb.Resume(token=bytes(16))),
    ],
)
def test_nobody_comes_in_without_a_session(server: Server, header: pb.Header) -> None:
    caller = at_the_door(server)
    caller.send(encode(header))
    (answer,) = caller
    caller.close()
    assert decode(answer).header.error.type in ("ProtocolError", "ServerLostError")
    assert server.capacity.sessions_open == 0


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (pb.Header(session="x" * 5000, resume=pb.Resume()), "the limit is 4096"),
        (pb.Header(sequence=1, chunk=pb.Chunk(total_bytes=2000)), "taken up here"),
    ],
)
def test_nothing_large_comes_in_before_its_session_is_known(
    server: Server, header: pb.Header, told: str
) -> None:
    caller = at_the_door(server)
    caller.send(encode(header, [bytes(600)]))
    (answer,) = caller
    caller.close()
    assert told in decode(answer).header.error.message


def test_who_is_in_may_send_what_is_large(server: Server) -> None:
    runtime = opened(server)
    connection = runtime._parts[0].lane.connection
    assert carrier(runtime) == "LocalStream"
    answer = connection.ask(pb.Header(heartbeat=pb.Heartbeat()), [bytes(10**6)], 10.0)
    assert answer.header.HasField("heartbeat")
    assert carrier(runtime) == "LocalStream"
    runtime.close()


def test_garbage_at_the_door_ends_there(server: Server) -> None:
    for junk in (b"\xff" * 7, b"\xff\xff\xff\xff", b"\x03\0\0\0abc", b"\x05\0\0\0ab"):
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        raw.settimeout(10.0)
        raw.connect(f"\0{server._door.name}")
        raw.sendall(junk)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(4096):
            pass
        raw.close()
    runtime = opened(server)
    step(runtime)
    runtime.close()


def test_a_caller_that_says_nothing_is_shown_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universe2.server.silence.FIRST_SECONDS", 0.2)
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    raw.settimeout(10.0)
    raw.connect(f"\0{server._door.name}")
    raw.sendall(b"\x09\0\0\0half")  # and no more
    while raw.recv(4096):
        pass
    raw.close()


@pytest.fixture
def full() -> Iterator[str]:
    """The name of a socket whose listener takes nobody, and whose queue is full."""
    found = sockets.listen()
    assert found is not None
    with contextlib.ExitStack() as stack:
        stack.callback(found[0].close)
        with contextlib.suppress(BlockingIOError):
            while True:
                caller = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                caller.setblocking(False)
                caller.connect(f"\0{found[1]}")
        yield found[1]


def test_a_door_where_nobody_is_let_in_is_left(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session stays with gRPC. Opening waited at the door for ever."""
    monkeypatch.setattr(sockets, "_CONNECT_SECONDS", 1)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(connect, full, MAX_MESSAGE_BYTES).result(10.0) is None


def echo(messages: Iterator[Any], _caller: Caller) -> Iterator[bytes]:
    for message in messages:
        yield bytes(message)


def answer_at(door: Door) -> bytes | None:
    """What a caller gets back who says hello; None if the door is shut before."""
    caller = connect(door.name, 2**20)
    assert caller is not None
    try:
        with contextlib.suppress(OSError):
            caller.send(b"hello")
        assert caller.ready(20.0)
        said = caller.receive()
        return None if said is None else bytes(said)
    finally:
        caller.close()


def test_a_door_without_a_descriptor_for_a_caller_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        """The listening socket; it has no descriptor for the first who calls."""

        def __init__(self, listening: Any) -> None:
            self.shutdown, self.close, self.accepts = listening.shutdown, listening.close, listening.accept

        def accept(self) -> Any:
            self.accept = self.accepts  # type: ignore[method-assign]
            raise OSError(24, "Too many open files")

    monkeypatch.setattr("universe2.server.door.PAUSE_SECONDS", 0.05)
    door = Door(echo, most=1, message_bytes=2**20)
    monkeypatch.setattr(door, "_listening", Full(door._listening))
    door.start()
    try:
        assert answer_at(door) == b"hello"
    finally:
        door.close()


def test_a_door_without_a_thread_for_a_caller_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    started, lacked = threading.Thread.start, threading.Event()

    def start(thread: threading.Thread) -> None:
        if thread.name == "door-talk" and not lacked.is_set():
            lacked.set()
            raise RuntimeError("can't start new thread")
        started(thread)

    monkeypatch.setattr("universe2.server.door.PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(threading.Thread, "start", start)
    door = Door(echo, most=1, message_bytes=2**20)
    door.start()
    try:
        assert answer_at(door) is None
        assert answer_at(door) == b"hello", "the first one's room is free again"
    finally:
        door.close()


def test_a_door_that_is_closed_while_it_pauses_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    paused = threading.Event()

    class Full:
        def __init__(self, listening: Any) -> None:
            self.shutdown, self.close = listening.shutdown, listening.close

        def accept(self) -> Any:
            paused.set()
            raise OSError(24, "Too many open files")

    monkeypatch.setattr("universe2.server.door.PAUSE_SECONDS", 60.0)
    before = set(threading.enumerate())
    door = Door(echo, most=1, message_bytes=2**20)
    monkeypatch.setattr(door, "_listening", Full(door._listening))
    door.start()
    (thread,) = [one for one in set(threading.enumerate()) - before if one.name == "door"]
    assert paused.wait(10.0)
    door.close()
    thread.join(10.0)
    assert not thread.is_alive()


def test_messages_arrive_whole_and_none_too_large() -> None:
    left, right = socket.socketpair()
    sender, taker = MessageSocket(left, 2**24), MessageSocket(right, 2**22)
    messages = [bytes([k]) * size for k, size in enumerate((0, 1, 2**16 - 4, 2**16, 3_000_001))]

    def send() -> None:
        with contextlib.suppress(OSError):  # the last is not taken
            for message in [*messages, bytes(2**22 + 1)]:
                sender.send(message)

    thread = threading.Thread(target=send)
    thread.start()
    got = iter(taker)
    assert [next(got) for _ in messages] == messages
    with pytest.raises(ProtocolError, match="the limit is 4194304"):
        next(got)
    taker.close()
    sender.close()
    thread.join(10.0)
    assert not thread.is_alive()


def test_half_a_message_is_the_last(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    there.settimeout(10.0)
    sender = MessageSocket(here, 2**24)
    here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 50_000))
    for message in (bytes(2**23), b"next"):  # nobody takes the first
        with pytest.raises(OSError, match=r"unavailable|pipe"):
            sender.send(message)
    got = 0
    while read := there.recv(2**20):
        got += len(read)
        assert b"next" not in read
    assert 0 < got < 2**23


class _Slow(CountingRuntime):
    """States are large, and restoring them takes until ``go_on``."""

    go_on = threading.Event()

    def snapshot(self, slots: Any) -> list[bytes]:
        return [bytes(2**23) for _ in slots]

    def restore(self, slots: Any, states: Any) -> None:
        assert self.go_on.wait(20.0)
        self.reset(slots, [4] * len(slots))


def test_a_server_that_takes_nothing_for_long_costs_no_request(
    counting: EnvSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process or a machine that swaps. What was sent half was followed by the next message."""
    monkeypatch.setattr(sockets, "_SEND_SECONDS", 1)
    server = Server(ServerConfig(port=0, slots=8), lambda _id, slots, how: _Slow(COUNTING, slots, how))
    server.start()
    runtime = open_remote(COUNTING.id, 3, EnvConfig(), [server.address])
    runtime.reset([0, 1, 2], [4, 4, 4])
    runtime.recv(10.0)
    assert carrier(runtime) == "LocalStream"
    (state,) = runtime.snapshot([0])
    runtime.restore([0], [state])
    runtime.restore([1], [state])  # isn't read while the first is carried out
    _Slow.go_on.set()
    runtime.restore([2], [state])
    rows = 0
    while rows < 3:
        batch = runtime.recv(20.0)
        assert not batch.fault.any(), batch.fault_text
        rows += len(batch)
    runtime.close()
    server.stop(1.0)


class _Together(CountingRuntime):
    """Once ``armed``, slot 0 is ready only together with slot 1, whose ``send`` returns late."""

    armed = False

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        self._both, self.late = threading.Event(), threading.Event()

    def send(self, slots: Any, actions: Any) -> None:
        super().send(slots, actions)
        if self.armed and list(slots) == [1]:
            self._both.set()
            self.late.wait(10.0)

    def recv(self, timeout: float | None = None) -> Batch:
        if self.armed and not self._both.is_set():
            self._both.wait(timeout)
            raise DeadlineError("slot 0 waits for slot 1")
        if self.armed and self._todo.qsize() == 2:
            (a_K, one_K), (b_K, other_K) = (self._todo.get() for _ in range(2))  # type: ignore[misc]
            self._todo.put((np.concatenate([a_K, b_K]), np.concatenate([one_K, other_K])))
        return super().recv(timeout)


def test_a_result_that_is_sent_before_its_request_is_noted_is_not_asked_for_again(counting: EnvSpec) -> None:
    """It came along with another slot's. The session went down by an IdleError."""
    made: list[_Together] = []

    def make(_id: str, slots: int, config: EnvConfig) -> _Together:
        made.append(_Together(COUNTING, slots, config))
        return made[-1]

    server = Server(ServerConfig(port=0, slots=8), make)
    server.start()
    runtime = opened(server)
    assert eventually(runtime, "LocalStream")
    runtime.reset([0, 1], [4, 9])
    runtime.recv(10.0)
    made[0].armed = True
    runtime.send([0], np.zeros(1, np.int64))
    runtime.send([1], np.zeros(1, np.int64))
    batch = runtime.recv(10.0)
    assert batch.slots.tolist() == [0, 1]
    made[0].late.set()
    made[0].armed = False
    for _ in range(3):
        step(runtime)
    runtime.close()
    server.stop(1.0)


def test_looking_finds_what_is_there_and_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    watchfulness = Watchfulness()
    there.send(b"abc")
    assert watchfulness.look(here) == b"abc"
    there.close()
    assert watchfulness.look(here) == b""


class Clock:
    """What time the sockets' module has; a look takes as long as it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.looks = 0
        monkeypatch.setattr(sockets.time, "perf_counter", lambda: self.now)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As the socket's: nothing is there for who doesn't wait."""
        if flags:
            self.looks += 1
            self.now += sockets.LOOK_SECONDS
            raise BlockingIOError
        self.now += self.slept
        return b"abc"

    def wait(self, watchfulness: Watchfulness, seconds: float) -> bool:
        """Whether it was looked in a wait of so many seconds after the look."""
        self.slept, before = seconds, self.looks
        assert watchfulness.receive(self) == b"abc"  # type: ignore[arg-type]
        return self.looks > before


def test_after_a_vain_look_two_short_waits_go_by_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, watchfulness = Clock(monkeypatch), Watchfulness()
    short, long = 0.9 * sockets.LOOK_SECONDS, 1.1 * sockets.LOOK_SECONDS
    assert clock.wait(watchfulness, 0.0)
    assert not any(clock.wait(watchfulness, long) for _ in range(50))
    assert [clock.wait(watchfulness, short) for _ in range(3)] == [False, False, True]
    assert [clock.wait(watchfulness, seconds) for seconds in (long, short, long, short)] == [False] * 4
    assert clock.wait(watchfulness, long)


def test_two_who_slept_look_again(pair: tuple[socket.socket, socket.socket]) -> None:
    """Each slept 1,024 times for every look that was too short, and woke the other too late for his."""
    ends = [MessageSocket(end, 1000) for end in pair]
    doubts = [end._watchfulness for end in ends]
    for doubt in doubts:
        doubt._doubt = sockets._DOUBT

    def echo() -> None:
        for message in ends[1]:
            ends[1].send(bytes(message))

    answering = threading.Thread(target=echo)
    answering.start()
    end, left = time.monotonic() + 20, set(doubts)
    while left and time.monotonic() < end:
        ends[0].send(b"abc")
        assert ends[0].receive() == b"abc"
        left = {doubt for doubt in left if doubt._doubt}
    assert not left
    ends[0].close()
    answering.join(10)
    ends[1].close()


def test_of_a_process_one_thread_looks(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    there.send(b"abc")
    watchfulness = Watchfulness()
    with sockets._LOOKING:
        assert watchfulness.look(here) is None
    assert watchfulness.look(here) == b"abc"


def test_a_socket_is_ready_for_what_was_found_by_looking(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = (MessageSocket(end, 1000) for end in pair)
    assert not here.ready(0.0)
    for text in (b"one", b"", b"two"):
        there.send(text)
        assert here.ready(10.0)
        assert bytes(here.receive() or b"nothing") == (text or b"nothing")
    there.close()
    assert here.ready(10.0)
    assert here.receive() is None


def test_going_on_at_the_socket_is_no_breakage(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """It was planned: only who debugs hears of it. A stream that does break is told of at info."""
    with caplog.at_level(logging.DEBUG, "universe2.client"):
        runtime = opened(server)
        assert carrier(runtime) == "LocalStream"
        ours = [record for record in caplog.records if record.name == "universe2.client"]
        assert [record.levelname for record in ours] == ["DEBUG"]
        assert "goes on at the server's socket" in ours[0].getMessage()
        caplog.clear()
        runtime._parts[0].lane.connection._stream.hang_up()
        step(runtime)
        runtime.close()
    assert "the stream broke" in caplog.text


def test_a_server_can_not_have_its_clients_connect_to_another_program(server: Server) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind("\0somebody-elses-socket")
        other.listen()
        assert connect("somebody-elses-socket", MAX_MESSAGE_BYTES) is None
    at_the_door(server).close()
