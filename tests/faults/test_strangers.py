"""Whoever has no token takes nothing from those who have one: no memory, no threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from waiting import eventually

from universe2.client import server_info
from universe2.server import Server, ServerConfig
from universe2.server.silence import OPEN_THREADS
from universe2.testing.counting import COUNTING, CountingRuntime

TOKEN = "a-token-of-good-length"
HEALTH = "/grpc.health.v1.Health"
UNIVERSE = "/universe2.wire.v1.Universe"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

Answering = Callable[[str], list[threading.Thread]]


@pytest.fixture
def answering() -> Answering:
    """Threads of this test's server: those of an earlier one may still be ending."""
    before = set(threading.enumerate())
    return lambda name: [t for t in set(threading.enumerate()) - before if t.name.startswith(name)]


@pytest.fixture
def server(answering: Answering) -> Iterator[Server]:
    server = Server(
        ServerConfig(port=0, sessions=1, queue=0, token=TOKEN),
        lambda _id, slots, config: CountingRuntime(COUNTING, slots, config),
    )
    server.start()
    yield server
    server.stop(1.0)


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def mute() -> Iterator[Iterator[bytes]]:
    """A request that never comes, until the test is over."""
    over = threading.Event()
    yield iter(lambda: b"late" * (not over.wait(10.0)), b"")
    over.set()


def code(call: Any, seconds: float = 5.0) -> grpc.StatusCode:
    """How a call ended, which it must in time."""
    error = call.exception(timeout=seconds)
    assert isinstance(error, grpc.RpcError)
    found = error.code()
    assert isinstance(found, grpc.StatusCode)
    return found


def test_what_is_compressed_is_refused_before_it_is_inflated(channel: grpc.Channel) -> None:
    check = health_pb2_grpc.HealthStub(channel).Check
    ask = health_pb2.HealthCheckRequest(service="x" * 2**20)  # a thousandth of it on the wire
    with pytest.raises(grpc.RpcError) as refused:
        check(ask, timeout=5.0, compression=grpc.Compression.Gzip)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert check(health_pb2.HealthCheckRequest(), timeout=5.0).status


@pytest.mark.parametrize("method", ["Info", "Watch", "Session"])
def test_who_is_refused_is_not_waited_for(channel: grpc.Channel, mute: Iterator[bytes], method: str) -> None:
    call = channel.stream_unary(f"{UNIVERSE}/{method}").future(mute)
    assert code(call) == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("method", [f"{HEALTH}/Check", f"{UNIVERSE}/Info", f"{UNIVERSE}/Watch", REFLECTION])
def test_a_request_that_does_not_come_is_not_waited_for_long(
    channel: grpc.Channel, mute: Iterator[bytes], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("universe2.server.silence.FIRST_SECONDS", 0.1)
    metadata = [("authorization", f"Bearer {TOKEN}")]
    call = channel.stream_unary(method).future(mute, metadata=metadata)
    assert code(call) == grpc.StatusCode.CANCELLED


def test_calls_that_need_no_token_leave_the_threads_of_those_that_do(
    answering: Answering, server: Server, channel: grpc.Channel, mute: Iterator[bytes]
) -> None:
    calls = [channel.stream_unary(f"{HEALTH}/Check").future(mute) for _ in range(100)]
    for _ in range(3):
        assert server_info(server.address, TOKEN, 5.0).slots_total
    assert 0 < len(answering("grpc-open")) <= OPEN_THREADS
    for call in calls:
        call.cancel()


def test_health_is_told_although_strangers_open_calls_and_say_nothing(
    server: Server, channel: grpc.Channel, mute: Iterator[bytes]
) -> None:
    with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as strangers:
        silent = [strangers.stream_unary(f"{HEALTH}/Check").future(mute) for _ in range(OPEN_THREADS + 8)]
        assert eventually(lambda: len(server._silence._until) == OPEN_THREADS, 5.0)
        check = health_pb2_grpc.HealthStub(channel).Check
        assert check(health_pb2.HealthCheckRequest(), timeout=2.0).status
        for call in silent:
            call.cancel()


def test_a_server_that_stopped_leaves_no_threads(
    answering: Answering, server: Server, channel: grpc.Channel
) -> None:
    assert server_info(server.address, TOKEN, 5.0).slots_total
    assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5.0).status
    here = answering("grpc")
    assert len(here) >= 2  # one has answered each of the two
    server.stop(1.0)
    for thread in here:
        thread.join(5.0)
    assert not answering("grpc")


def test_watchers_of_health_that_come_and_go_stop_nothing(server: Server, channel: grpc.Channel) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch
    for _ in range(3):
        calls = [watch(health_pb2.HealthCheckRequest(), timeout=5.0) for _ in range(20)]
        for call in calls:
            call.cancel()
        assert server_info(server.address, TOKEN, 1.0).slots_total
    assert code(watch(health_pb2.HealthCheckRequest(), timeout=5.0)) == grpc.StatusCode.UNIMPLEMENTED


def test_health_knows_its_services_and_whether_they_go_on(server: Server, channel: grpc.Channel) -> None:
    check, ask = health_pb2_grpc.HealthStub(channel).Check, health_pb2.HealthCheckRequest
    for name in ("", "universe2.wire.v1.Universe"):
        assert check(ask(service=name), timeout=5.0).status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError, match="there is no such service"):
        check(ask(service="other"), timeout=5.0)
    server.drain(threading.Event())
    assert check(ask(), timeout=5.0).status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize(
    ("requests", "told"), [([], grpc.StatusCode.UNIMPLEMENTED), ([b"\xff\xff"], grpc.StatusCode.INTERNAL)]
)
def test_a_call_without_a_request_that_can_be_read(
    channel: grpc.Channel, requests: list[bytes], told: grpc.StatusCode
) -> None:
    assert code(channel.stream_unary(f"{HEALTH}/Check").future(iter(requests))) == told
