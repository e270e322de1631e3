"""The server as a client meets it: opening, refusals, errors that don't end a session, large frames."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from raw_client import Raw, ints, longs, start

import universe2
from universe2.client import open_remote, server_info
from universe2.client.placement import own_hash, shares
from universe2.client.stream import as_error
from universe2.core.errors import (
    AuthenticationError,
    CapacityError,
    DeadlineError,
    InvalidActionError,
    InvalidSeedError,
    ProtocolError,
    ServerLostError,
    Universe2Error,
    UnknownEnvError,
    UnsupportedError,
    UsageError,
    VersionError,
)
from universe2.core.registry import find, register, unregister
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.server.auth import Who
from universe2.server.service import _refusal
from universe2.server.session import error_header
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.v1 import universe_pb2 as pb
from universe2.wire.values import read_value, write_value

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-good-length"


@pytest.fixture
def server(counting: EnvSpec) -> Iterator[Server]:
    server = start()
    yield server
    server.stop(1.0)


def test_any_protobuf_client_can_open_reset_and_step(server: Server) -> None:
    with Raw(server.address) as raw:
        opened = raw.open().header.opened
        assert opened.spec_hash == COUNTING.hash()
        assert opened.spec.id == COUNTING.id
        raw.say(ints(0, 1), longs(4, 9), reset=pb.Reset())
        reply = next(raw.replies)
        assert reply.header.sequence == 2
        assert reply.header.batch.rows == 2
        assert list(reply.buffers)[:2] == [ints(0, 1), np.zeros(2).tobytes()]
        raw.say(ints(1), longs(3), send=pb.Send())
        reply = next(raw.replies)
        assert reply.buffers[1] == np.ones(1).tobytes()
        assert reply.buffers[8] == longs(9, 1, 3)
        raw.say(close=pb.Close())
        assert list(raw.replies) == []
    assert server.capacity.slots_free == 8


def test_a_wrong_request_is_answered_and_the_session_lives(server: Server) -> None:
    with Raw(server.address) as raw:
        raw.open()
        raw.say(ints(0, 1), longs(4, 9), reset=pb.Reset())
        next(raw.replies)
        raw.say(ints(0), longs(77), send=pb.Send())
        reply = next(raw.replies)
        assert (reply.header.reply_to, reply.header.error.type) == (3, "InvalidActionError")
        assert "slot 0" in reply.header.error.message
        raw.say(ints(0), snapshot=pb.Snapshot())
        assert next(raw.replies).header.error.type == "UnsupportedError"
        raw.say(ints(5), longs(4), reset=pb.Reset())
        assert next(raw.replies).header.error.type == "UsageError"
        raw.say(ints(0), longs(1), send=pb.Send())
        assert next(raw.replies).header.batch.rows == 1


@pytest.mark.parametrize(
    ("buffers", "header", "complaint"),
    [
        ([ints(0), longs(4)], {"reset": pb.Reset(), "sequence": 7}, "frame 7 came where 2 was due"),
        ([ints(0), longs(4)], {"reset": pb.Reset(), "session": "other"}, "came on the stream of"),
        ([ints(0), b"1"], {"reset": pb.Reset()}, "1 bytes"),
        ([ints(0, 1, 0), longs(4)], {"reset": pb.Reset()}, "12 bytes of slot numbers for 2 slots"),
        ([ints(0)], {"reset": pb.Reset()}, "too few"),
        ([ints(0), longs(1), b""], {"reset": pb.Reset()}, "3 buffers, 2 expected"),
        ([], {"opened": pb.Opened()}, "can't send opened"),
        ([b"x"], {"chunk": pb.Chunk(total_bytes=2**40)}, "the limit is"),
        ([], {}, "can't send None"),
    ],
)
def test_frames_that_break_the_protocol_end_the_session(
    server: Server, buffers: list[bytes], header: dict[str, Any], complaint: str
) -> None:
    with Raw(server.address) as raw:
        raw.open()
        raw.say(*buffers, **header)
        error = next(raw.replies).header.error
        assert error.type == "ProtocolError"
        assert complaint in error.message
        assert list(raw.replies) == []
    assert server.capacity.slots_free == 8


def test_a_header_of_a_thousand_members_is_read_and_one_of_a_million_is_not(server: Server) -> None:
    """Each empty one takes 3 bytes on the wire, and a hundred times that as an object."""
    for count, kind, told in ((1024, "UsageError", "got 1025"), (2**19, "ProtocolError", "a header of")):
        with Raw(server.address) as raw:
            error = raw.open(more=[pb.Open()] * count).header.error
            assert (error.type, told in error.message) == (kind, True), error.message


@pytest.mark.parametrize(
    "fields", [{"env_id": "arcade/" + "x" * 500_000}, {"options": {"x" * 500_000: write_value(1)}}]
)
def test_names_that_are_too_long_are_cut_and_looked_up_nowhere(
    server: Server, fields: dict[str, Any]
) -> None:
    with Raw(server.address) as raw:
        error = raw.open(**fields).header.error
    assert error.type == "UsageError"
    assert "at most 256 characters, got 50000" in error.message
    assert len(error.message) < 400


def test_of_an_error_that_is_too_long_both_ends_are_told() -> None:
    told = error_header(UsageError("what: " + "x" * 10**6 + ": why")).error.message
    assert told.startswith("what: ")
    assert told.endswith(": why")
    assert len(told) < 17_000


def test_of_an_error_that_is_too_long_both_ends_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "universe2.server"):
        _refusal(UsageError("what: " + "x" * 10**6 + ": why"), Who("tester"))
    (line,) = caplog.messages
    assert line.endswith(": why")
    assert len(line) < 17_000


def test_versions_and_definitions_must_match(server: Server) -> None:
    with Raw(server.address) as raw:
        error = raw.open(protocol=99).header.error
        assert error.type == "VersionError"
        assert "protocol 99" in error.message
    other = EnvSpec(id=COUNTING.id, runtime="x", entry="", spaces_from="", options={"level": 3})
    with pytest.raises(VersionError, match="has hash"):
        open_remote(other, 1, EnvConfig(), [server.address])
    assert server.capacity.slots_free == 8


def test_an_id_stands_for_its_definition_here(server: Server) -> None:
    """Who names an environment means the one that they know: the servers' must be the same."""
    newer = dataclasses.replace(COUNTING, options={**COUNTING.options, "level": 3})
    other = start(lambda _id, count, config: CountingRuntime(newer, count, config))
    try:
        for options in ({}, {"level": 4}):
            with pytest.raises(VersionError, match="has hash"):
                universe2.make(COUNTING.id, remote=other.address, **options)
        assert other.capacity.slots_free == 8
        # What can't be compared is as it was: an id that only the server knows, a gateway's business.
        unregister(COUNTING.id)
        universe2.make(COUNTING.id, remote=other.address, level=4).close()
        register(COUNTING)
        config = EnvConfig(options={"level": 4})
        open_remote(COUNTING.id, 1, config, [other.address], same_definition=False).close()
    finally:
        other.stop(1.0)


def test_options_are_compared_as_they_arrive() -> None:
    """What has no form on the wire arrives as a description of it: that is what a server hashes."""
    config = EnvConfig(options={"make_kwargs": {"folder": Path("x")}})
    arrived = EnvConfig(options={"make_kwargs": read_value(write_value({"folder": Path("x")}))})
    spec = find("gymnasium/CartPole-v1")
    assert own_hash(spec.id, config) == spec.hash(arrived) != spec.hash(config)
    assert own_hash("nobody/Knows-v0", EnvConfig()) == ""


def test_servers_that_disagree_both_have_their_slots_back(server: Server) -> None:
    spec = dataclasses.replace(COUNTING, options={"level": 3})
    other = start(lambda _id, count, config: CountingRuntime(spec, count, config))
    with pytest.raises(VersionError, match="the servers disagree"):
        open_remote(COUNTING.id, 2, EnvConfig(), [server.address, other.address], same_definition=False)
    assert [server.capacity.slots_free, other.capacity.slots_free] == [8, 8]
    other.stop(1.0)


class _Failed(grpc.RpcError):  # type: ignore[misc]
    def __init__(self, details: str) -> None:
        self.code, self.details = lambda: grpc.StatusCode.UNAVAILABLE, lambda: details


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ("DNS resolution failed for foo:1: C-ares status is not ARES_SUCCESS qtype=A", "no such host"),
        (
            "failed to connect to all addresses; last error: UNKNOWN: Connection refused (111)",
            "nobody listens",
        ),
        ("Socket closed", "the connection broke"),
        ("the server is shutting down", "the server is shutting down"),
    ],
)
def test_what_grpc_says_is_told_in_plain_words(details: str, told: str) -> None:
    error = as_error(_Failed(details), "foo:1")
    assert str(error).startswith(f"foo:1: {told}")
    assert "ares" not in str(error).lower().replace("shared", "")


def test_refusals_have_their_own_errors(server: Server) -> None:
    with pytest.raises(UnknownEnvError, match="Did you mean testing/Counting-v0"):
        open_remote("testing/Countin-v0", 1, EnvConfig(), [server.address])
    with pytest.raises(UsageError, match="no option 'speed'"):
        open_remote(COUNTING.id, 1, EnvConfig(options={"speed": 2}), [server.address])
    with pytest.raises(CapacityError, match="9 slots were asked for, 8 of 8 are free"):
        open_remote(COUNTING.id, 9, EnvConfig(), [server.address])
    with pytest.raises(ServerLostError, match=r"127\.0\.0\.1:1"):
        open_remote(COUNTING.id, 1, EnvConfig(), ["127.0.0.1:1"])
    assert server.capacity.slots_free == 8


def test_errors_of_use_leave_the_slots_as_they_were(server: Server) -> None:
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
    runtime.reset([0, 1], [4, 9])
    runtime.recv(5.0)
    with pytest.raises(InvalidActionError, match="slot 1"):
        runtime.send([0, 1], np.array([0, 7]))
    with pytest.raises(UnsupportedError, match="snapshots"):
        runtime.snapshot([0])
    runtime.send([0, 1], np.array([0, 1]))
    assert runtime.recv(5.0).step.tolist() == [1, 1]
    runtime.close()


class _Picky(CountingRuntime):
    """Refuses seed 13, as an environment may; its snapshots are the slots' numbers."""

    def reset(self, slots: Any, seeds: Any) -> None:
        if 13 in list(seeds):
            raise InvalidSeedError("13 brings bad luck")
        super().reset(slots, seeds)

    def snapshot(self, slots: Any) -> list[bytes]:
        return [bytes([int(slot)]) * 3 for slot in slots]


def picky(env_id: str, num_slots: int, config: EnvConfig) -> CountingRuntime:
    return _Picky(COUNTING, num_slots, config)


def test_what_only_the_server_can_refuse_comes_from_recv() -> None:
    servers = [start(picky), start(picky)]
    runtime = open_remote(COUNTING.id, 4, EnvConfig(), [s.address for s in servers])
    try:
        runtime.reset(range(4), [1, 2, 3, 4])
        seen = sorted([*runtime.recv(5.0).slots.tolist(), *runtime.recv(5.0).slots.tolist()])
        assert seen == [0, 1, 2, 3]
        runtime.reset([2, 3], [13, 5])
        with pytest.raises(InvalidSeedError, match="bad luck"):
            runtime.recv(5.0)
        runtime.send([2, 3], np.zeros(2, np.int64))
        batch = runtime.recv(5.0)
        assert (batch.slots.tolist(), batch.episode.tolist(), batch.step.tolist()) == ([2, 3], [0, 0], [1, 1])
        assert batch.seed.tolist() == [3, 4]
        assert runtime.snapshot([3, 0]) == [b"\1\1\1", b"\0\0\0"]
        assert [p.shape for p in runtime.render([1, 2], (10, 12))] == [(10, 12, 3)] * 2
    finally:
        runtime.close()
        for server in servers:
            server.stop(1.0)


@pytest.mark.parametrize("again", ["reset", "restore"])
def test_what_is_asked_of_a_busy_slot_costs_nothing_when_the_server_refuses_it(again: str) -> None:
    server = start(picky)
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
    try:
        runtime.reset([0, 1], [1, 2])
        runtime.recv(5.0)
        runtime.reset([0], [13])
        with pytest.raises(UsageError, match="slot 0 is still busy"):
            getattr(runtime, again)([0], [5] if again == "reset" else [b"state"])
        with pytest.raises(InvalidSeedError, match="bad luck"):
            runtime.recv(5.0)
        runtime.send([0], np.zeros(1, np.int64))
        batch = runtime.recv(5.0)
        assert (batch.episode.tolist(), batch.step.tolist(), batch.seed.tolist()) == ([0], [1], [1])
    finally:
        runtime.close()
        server.stop(1.0)


def test_two_sessions_at_once_share_the_slots(server: Server) -> None:
    first = open_remote(COUNTING.id, 5, EnvConfig(), [server.address])
    second = open_remote(COUNTING.id, 3, EnvConfig(autoreset="same_step"), [server.address])
    with pytest.raises(CapacityError, match="0 of 8"):
        open_remote(COUNTING.id, 1, EnvConfig(), [server.address], wait=0.0)
    first.reset(range(5), range(5))
    second.reset(range(3), range(3))
    assert len(first.recv(5.0)) + len(second.recv(5.0)) == 8
    assert server_info(server.address).slots_free == 0
    first.close()
    assert server.capacity.slots_free == 5
    second.send([0], np.zeros(1, np.int64))
    assert second.recv(5.0).step.tolist() == [1]
    second.close()


def test_sessions_over_the_limit_are_told(counting: EnvSpec) -> None:
    server = start(sessions=1)
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address])
    with pytest.raises(CapacityError, match="1 sessions are open"):
        open_remote(COUNTING.id, 1, EnvConfig(), [server.address], wait=0.0)
    runtime.close()
    server.stop(1.0)


def test_opening_has_a_deadline_and_what_comes_late_is_closed() -> None:
    go, closed = threading.Event(), threading.Event()

    class Late(CountingRuntime):
        def close(self) -> None:
            closed.set()

    def slow(env_id: str, num_slots: int, config: EnvConfig) -> CountingRuntime:
        assert go.wait(10.0)
        return Late(COUNTING, num_slots, config)

    server = start(slow, open_deadline=0.2)
    with pytest.raises(DeadlineError, match="not open after"):
        open_remote(COUNTING.id, 3, EnvConfig(), [server.address])
    assert server.capacity.slots_free == 5
    go.set()
    assert closed.wait(5.0)
    server.stop(1.0)
    assert server.capacity.slots_free == 8


def test_what_never_opens_gives_its_slots_back_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universe2.server.opening.LATE_SECONDS", 0.5)
    go, closed = threading.Event(), threading.Event()

    class Late(CountingRuntime):
        def close(self) -> None:
            closed.set()

    def hanging(env_id: str, num_slots: int, config: EnvConfig) -> CountingRuntime:
        assert go.wait(30.0)
        return Late(COUNTING, num_slots, config)

    server = start(hanging, open_deadline=0.2)
    try:
        with pytest.raises(DeadlineError, match="not open after"):
            open_remote(COUNTING.id, 3, EnvConfig(), [server.address])
        end = time.monotonic() + 10.0
        while server.capacity.slots_free < 8 and time.monotonic() < end:
            threading.Event().wait(0.02)
        assert (server.capacity.slots_free, server.capacity.sessions_open) == (8, 0)
        go.set()  # it wasn't hung after all
        assert closed.wait(10.0)
    finally:
        server.stop(1.0)
    assert server.capacity.slots_free == 8, "given back twice"


@pytest.mark.parametrize("error", [SystemExit("no licence found"), RuntimeError("no licence found")])
def test_an_environment_that_fails_when_it_is_made_is_an_error_at_once(error: BaseException) -> None:
    def failing(env_id: str, num_slots: int, config: EnvConfig) -> CountingRuntime:
        raise error

    server = start(failing, open_deadline=60.0)
    try:
        with pytest.raises(Universe2Error, match=f"{type(error).__name__}: no licence found") as told:
            open_remote(COUNTING.id, 3, EnvConfig(), [server.address], open_deadline=20.0)
        assert type(told.value) is Universe2Error, "the server isn't lost"
        assert (server.capacity.slots_free, server.capacity.sessions_open) == (8, 0)
    finally:
        server.stop(1.0)


def test_a_token_is_asked_for_and_compared(counting: EnvSpec) -> None:
    server = start(token=TOKEN)
    try:
        for wrong in (None, "wrong" + TOKEN, TOKEN[:-1]):
            with pytest.raises(AuthenticationError, match="token"):
                open_remote(COUNTING.id, 1, EnvConfig(), [server.address], token=wrong)
            with pytest.raises(AuthenticationError):
                server_info(server.address, wrong)
        runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address], token=TOKEN)
        runtime.close()
        assert server_info(server.address, TOKEN).slots_total == 8
        assert healthy(server.address)
    finally:
        server.stop(1.0)


def healthy(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5.0)
    return bool(check.status == health_pb2.HealthCheckResponse.SERVING)


def test_listening_elsewhere_without_a_token_is_refused() -> None:
    for host in ("0.0.0.0", "192.168.1.4", "::", "example.org"):
        with pytest.raises(UsageError, match="--insecure"):
            ServerConfig(host=host)
        ServerConfig(host=host, insecure=True)
        ServerConfig(host=host, token=TOKEN)
    ServerConfig(host="::1")


def test_a_taken_port_is_an_error(server: Server) -> None:
    with pytest.raises(UsageError, match="the port is taken"):
        Server(ServerConfig(port=server.port))


def test_something_else_on_the_port(server: Server) -> None:
    bare = grpc.server(ThreadPoolExecutor(1))
    port = bare.add_insecure_port("127.0.0.1:0")
    bare.start()
    with pytest.raises(ProtocolError, match="not one of universe2"):
        open_remote(COUNTING.id, 1, EnvConfig(), [f"127.0.0.1:{port}"])
    bare.stop(None)


def test_slots_are_spread_by_free_capacity() -> None:
    assert shares(10, {"a": 30, "b": 10}) == [("a", 8), ("b", 2)]
    assert shares(3, {"a": 1, "b": 1, "c": 1}) == [("a", 1), ("b", 1), ("c", 1)]
    assert shares(1, {"a": 0, "b": 5}) == [("b", 1)]
    assert shares(7, {"a": 4, "b": 0, "c": 3}) == [("a", 4), ("c", 3)]
    with pytest.raises(CapacityError, match="8 slots were asked for, 7 are free"):
        shares(8, {"a": 4, "b": 3})


def test_serve_says_where_and_ends_in_good_order() -> None:
    code = "import sys; from universe2.cli import main; sys.argv[0] = 'universe2'; main()"
    command = [sys.executable, "-c", code, "serve", "--port", "0", "--slots", "3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving on 127.0.0.1:")
        address = line.split()[2]
        assert server_info(address).slots_total == 3
        port = address.rsplit(":", 1)[1]
        command[command.index("--port") + 1] = port
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 2
        assert second.stderr.strip().splitlines() == [
            f"universe2: cannot listen on 127.0.0.1:{port}: the port is taken, or the address isn't this "
            "machine's; choose another with --port or --host"
        ]
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def test_generated_code_is_fresh() -> None:
    command = [sys.executable, str(ROOT / "protos" / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("env_id", ["atari/Pong-v0", "arcade/Breakout-v0", "arcade/Maze-v0"])
def test_a_snapshot_goes_on_the_same_way_on_another_server(env_id: str) -> None:
    servers = [start(None), start(None)]
    runtimes = [open_remote(env_id, 1, EnvConfig(), [server.address]) for server in servers]
    try:
        for runtime in runtimes:
            runtime.reset([0], [5])
            runtime.recv(30.0)
        first, second = runtimes
        for _ in range(3):
            first.send([0], [2])
            first.recv(30.0)
        second.restore([0], first.snapshot([0]))
        assert second.recv(30.0).step.tolist() == [3]
        for action in (2, 1, 0, 2):
            futures = []
            for runtime in runtimes:
                runtime.send([0], [action])
                batch = runtime.recv(30.0)
                futures.append((batch.obs.tobytes(), batch.reward.tolist(), batch.step.tolist()))
            assert futures[0] == futures[1]
        second.restore([0], [b"something else"])
        with pytest.raises(UsageError, match="not a snapshot"):
            second.recv(30.0)
    finally:
        for runtime in runtimes:
            runtime.close()
        for server in servers:
            server.stop(1.0)
