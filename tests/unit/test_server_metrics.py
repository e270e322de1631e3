"""What a server tells: metrics, reflection, logs."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from started_server import ALICE, metric, start

from universe2.client import open_remote
from universe2.core.batch import Batch, Fault
from universe2.core.errors import (
    CapacityError,
    DeadlineError,
)
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server
from universe2.server.auth import Holder
from universe2.server.backlog import Backlog
from universe2.server.logs import JsonFormatter
from universe2.server.member import Member
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.frames import Frame
from universe2.wire.v1 import universe_pb2 as pb


@pytest.fixture
def server(counting: EnvSpec) -> Iterator[Server]:
    server = start()
    yield server
    server.stop(1.0)


def test_what_happens_is_counted(server: Server) -> None:
    runtime = open_remote(COUNTING.id, 3, EnvConfig(), [server.address])
    runtime.reset(range(3), range(3))
    runtime.recv(5.0)
    runtime.send(range(3), [0] * 3)
    runtime.recv(5.0)
    assert metric(server, "steps_total") == 6
    assert metric(server, "slots_taken") == 3
    assert metric(server, "step_seconds_count") == 2
    assert metric(server, "bytes_total", direction="in") > 100
    runtime.close()
    assert metric(server, "sessions_open") == 0


def test_numbers_of_faults_begin_at_0(server: Server) -> None:
    """One that begins at 1 hasn't risen, for who watches whether it rises."""
    kinds = {kind.name.lower() for kind in Fault} - {"none"}
    value = server.metrics.registry.get_sample_value
    assert {kind: value("universe2_faults_total", {"kind": kind}) for kind in kinds} == dict.fromkeys(
        kinds, 0.0
    )


class _SlowSlot(CountingRuntime):
    """Slot 0's first step takes until ``go``; the others' rows come first."""

    go = threading.Event()

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        self._held: list[Any] = []

    def recv(self, timeout: float | None = None) -> Batch:
        if self._held and self.go.is_set():
            self._todo.put(self._held.pop())
        if not self._todo.empty():
            item = self._todo.get()
            assert item is not None
            if item[0].tolist() != [0] or item[1] is None or self.go.is_set():
                self._todo.put(item)
                return super().recv(timeout)
            self._held.append(item)
        self.go.wait(0.02)
        raise DeadlineError("held")


@pytest.mark.parametrize("same_host", [True, False])
def test_a_steps_time_is_that_of_the_slot_that_was_asked(
    same_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_SlowSlot, "go", threading.Event())
    server = start(lambda _id, slots, config: _SlowSlot(COUNTING, slots, config))
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [server.address], same_host=same_host)
    try:
        runtime.reset([0, 1], [4, 4])
        runtime.recv(10.0)
        before = metric(server, "step_seconds_sum")
        runtime.send([0], [0])
        threading.Event().wait(1.0)
        for _ in range(5):  # asked after slot 0, and answered before it
            runtime.send([1], [0])
            assert runtime.recv(10.0).slots.tolist() == [1]
        fast = metric(server, "step_seconds_sum")
        assert fast - before < 0.9
        _SlowSlot.go.set()
        assert runtime.recv(10.0).slots.tolist() == [0]
        assert metric(server, "step_seconds_sum") - fast >= 1.0
        assert metric(server, "step_seconds_count") == 7
    finally:
        runtime.close()
        server.stop(1.0)


def test_a_row_that_comes_before_its_request_is_noted_came_at_once() -> None:
    """Its own request's time isn't known yet, and the one before's is no matter of it."""
    seconds: list[float] = []

    class AtOnce(CountingRuntime):
        def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
            super().send(slots, actions)
            self.recv()
            seconds.append(member.waited(np.array([0], np.int32), time.monotonic()))

    member = Member(0, AtOnce(COUNTING, 2, EnvConfig()), Backlog(1, 1))
    member.runtime.reset([0], [4])
    member.runtime.recv()
    slots, actions = (memoryview(np.zeros(1, kind).tobytes()) for kind in ("<i4", "<i8"))
    for number in range(1, 4):
        member.ask(Frame(pb.Header(sequence=number, send=pb.Send()), [slots, actions]))
        threading.Event().wait(0.05)
    assert seconds == [0.0, 0.0, 0.0]


def test_metrics_over_http(counting: EnvSpec) -> None:
    server = start(metrics_port=free_port())
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{server.config.metrics_port}/metrics", timeout=5
        ) as page:
            assert b"universe2_slots_total 8.0" in page.read()
    finally:
        server.stop(1.0)
    again = start(metrics_port=server.config.metrics_port)  # its port is free
    again.stop(1.0)
    again.stop(1.0)
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.config.metrics_port}/metrics", timeout=5)


def test_a_connection_to_the_metrics_that_says_nothing_is_closed(
    counting: EnvSpec, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("universe2.server.metrics.IDLE_SECONDS", 0.2)
    server = start(metrics_port=free_port())
    try:
        with socket.create_connection(("127.0.0.1", server.config.metrics_port), 10.0) as idle:
            assert idle.recv(1) == b""
    finally:
        server.stop(1.0)
    assert "Traceback" not in capfd.readouterr().err


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_reflection_names_the_service(server: Server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        (reply,) = stub.ServerReflectionInfo(iter([ask]), timeout=5.0)
    names = {service.name for service in reply.list_services_response.service}
    assert {"universe2.wire.v1.Universe", "grpc.health.v1.Health"} <= names


def test_a_log_line_is_an_object() -> None:
    record = logging.LogRecord(
        "universe2.server", logging.WARNING, "", 1, "session %s: silent", ("0123456789abcdef",), None
    )
    line = json.loads(JsonFormatter().format(record))
    assert (line["level"], line["session"]) == ("warning", "0123456789abcdef")


def test_logs_say_who_called(counting: EnvSpec, caplog: pytest.LogCaptureFixture) -> None:
    server = start(holders=(Holder("alice", ALICE),))
    try:
        with caplog.at_level(logging.INFO, "universe2.server"):
            open_remote(COUNTING.id, 2, EnvConfig(), [server.address], token=ALICE).close()
            with pytest.raises(CapacityError):
                open_remote(COUNTING.id, 9, EnvConfig(), [server.address], token=ALICE)
    finally:
        server.stop(1.0)
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    (opened,) = [line for line in lines if f"2 × {COUNTING.id}, for alice at 127.0.0.1:" in line["message"]]
    (refused,) = [line for line in lines if "a stream from alice at 127.0.0.1:" in line["message"]]
    for line in (opened, refused):
        assert line["holder"] == "alice"
        assert re.fullmatch(r"127\.0\.0\.1:\d+", line["peer"])
