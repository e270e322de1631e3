"""Running a server: settings, tokens and their limits, TLS, metrics, reflection, draining, parked slots."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import universe2
from universe2.cli import serve
from universe2.client import open_remote, server_info
from universe2.client.stream import Stream
from universe2.core.batch import Batch, Fault
from universe2.core.errors import (
    AuthenticationError,
    CapacityError,
    DeadlineError,
    IdleError,
    InvalidActionError,
    InvalidSeedError,
    ServerLostError,
    UnknownEnvError,
    UsageError,
)
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.server.auth import Holder
from universe2.server.capacity import Share
from universe2.server.config import TlsFiles, read_config
from universe2.server.descriptors import provide_descriptors
from universe2.server.logs import JsonFormatter
from universe2.server.member import Member
from universe2.server.parking import ParkingRuntime
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.frames import Frame, encode
from universe2.wire.v1 import universe_pb2 as pb

ALICE, BOB = "alice-token-of-16+", "bob-token-of-16-and-more"


def start(opened: Any = None, **config: Any) -> Server:
    settings = ServerConfig(**{"port": 0, "slots": 8, **config})
    server = Server(settings) if opened is None else Server(settings, opened)
    server.start()
    return server


@pytest.fixture
def server(counting: EnvSpec) -> Iterator[Server]:
    server = start()
    yield server
    server.stop(1.0)


def write(folder: Path, text: str) -> Path:
    path = folder / "serve.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_settings_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "alice").write_text(ALICE)
    text = 'host = "0.0.0.0"\nslots = 512\nfamilies = ["arcade"]\n[tokens.alice]\nfile = "alice"\nslots = 2\n'
    config = ServerConfig(**read_config(write(tmp_path, text)))
    assert (config.host, config.slots, config.families) == ("0.0.0.0", 512, ("arcade",))
    assert config.everyone() == (Holder("alice", ALICE, Share(slots=2)),)
    assert ALICE not in repr(config)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("slotz = 3", "no key 'slotz'. Did you mean 'slots'"),
        ("slots = ", "is not TOML"),
        ("slots = 0", "at least 1"),
        ('families = ["chess"]', "no family 'chess'"),
        ('host = "0.0.0.0"', "--insecure"),
        ('token_file = "nowhere"', "cannot read the token file"),
        ("[tokens.bob]\nslots = 3", "file is missing"),
        (
            '[tokens.bob]\nfile = "bob"\nbytes = 3',
            "Keys: file, slots, sessions, message_bytes, frame_bytes",
        ),
        ('[tls]\nkey = "k"', "tls: certificate is missing"),
        ("port = 70000", "0..65535"),
        ("lease = 0", "above 0 s"),
        ("lease = nan", "above 0 s"),
        ('lease = "long"', "lease must be a number, got 'long'"),
        ('slots = "5"', "slots must be a whole number, got '5'"),
        ("slots = true", "slots must be a whole number, got True"),
        ("host = 7", "host must be a text, got 7"),
        ('families = "arcade"', "families must be a list"),
        ("tokens = 3", "tokens must be a table"),
        ("[tokens]\nbob = 3", "tokens.bob must be a table"),
        ('[tokens.bob]\nfile = "bob"\nslots = "3"', "tokens.bob.slots must be a whole number"),
        ('[tokens.bob]\nfile = "bob"\nsessions = -1', "tokens.bob.sessions must be at least 0, got -1"),
        ("slots = 5000000000", "slots must be at most 2147483647, got 5000000000"),
        ("sessions = 10000000", "sessions must be at most 65536, got 10000000"),
        ("queue = 10000000", "queue must be at most 65536"),
        ("metrics_port = 15900", "port and metrics_port are both 15900"),
        ("families = [[]]", "serve.toml: each of families must be a text"),
        ('slots = "5"', "serve.toml: slots must be a whole number"),
        ('token_file = "nowhere"', "serve.toml: cannot read the token file"),
        ('host = ""', "host is empty"),
        ('host = "localhost:15900"', "host is an address or a name alone, got 'localhost:15900'"),
        ('host = "[::1]:15900"', "host is an address or a name alone"),
        ('host = "http://node1"', "host is an address or a name alone"),
        ("[tls]\nkey = 1\ncertificate = 2", "must be a text"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        ServerConfig(**read_config(write(tmp_path, text)))


@pytest.mark.parametrize(
    ("host", "plain"), [("[::1]", "::1"), ("LOCALHOST", "localhost"), (" 127.0.0.1 ", "127.0.0.1")]
)
def test_a_host_is_known_however_it_is_written(host: str, plain: str) -> None:
    assert ServerConfig(host=host).host == plain


def test_a_name_stands_for_one_token() -> None:
    """The table [tokens.token] would share its limits with token_file."""
    holders = (Holder("token", ALICE), Holder("bob", BOB))
    assert len(ServerConfig(holders=holders).everyone()) == 2
    with pytest.raises(UsageError, match=r"two tokens are named 'token'.*token_file.*\[tokens.token\]"):
        ServerConfig(token=BOB, holders=holders)
    with pytest.raises(UsageError, match="two tokens are named 'bob'"):
        ServerConfig(holders=(*holders, Holder("bob", ALICE)))


def test_a_token_stands_for_one_name() -> None:
    """Of two holders with one secret only one's limits could hold."""
    with pytest.raises(UsageError, match=r"\[tokens.bob\] and \[tokens.eve\] hold the same token") as told:
        ServerConfig(holders=(Holder("alice", ALICE), Holder("bob", BOB), Holder("eve", BOB)))
    assert BOB not in str(told.value)
    with pytest.raises(UsageError, match=r"token_file and \[tokens.alice\] hold the same token"):
        ServerConfig(token=ALICE, holders=(Holder("alice", ALICE),))


def test_tokens_have_limits_of_their_own(counting: EnvSpec) -> None:
    share = Share(slots=3, sessions=2)
    server = start(holders=(Holder("alice", ALICE, share), Holder("bob", BOB)))
    try:
        first = open_remote(COUNTING.id, 2, EnvConfig(), [server.address], token=ALICE)
        with pytest.raises(CapacityError, match="'alice' has 2 of its 3"):
            open_remote(COUNTING.id, 2, EnvConfig(), [server.address], token=ALICE, wait=0.0)
        second = open_remote(COUNTING.id, 5, EnvConfig(), [server.address], token=BOB)
        with pytest.raises(AuthenticationError):
            open_remote(COUNTING.id, 1, EnvConfig(), [server.address], token="neither-of-the-two")
        first.close()
        second.close()
    finally:
        server.stop(1.0)


def test_a_token_limits_what_its_holders_send(counting: EnvSpec) -> None:
    share = Share(message_bytes=2**16, frame_bytes=2**17)
    server = start(holders=(Holder("alice", ALICE, share), Holder("bob", BOB)))
    ask = pb.Open(protocol=1, env_id=COUNTING.id, interface="native", autoreset="next_step", num_slots=1)
    try:
        for token, limit in ((ALICE, 2**16), (BOB, server.config.max_message_bytes)):
            stream = Stream(server.address, token)
            stream.send(encode(pb.Header(sequence=1, open=ask)))
            opened = stream.first(10.0).opened
            assert opened.max_message_bytes == limit
            large = pb.Header(sequence=2, session=opened.session, heartbeat=pb.Heartbeat())
            stream.send(encode(large, [bytes(2**16)]))
            answer = stream.first(10.0)
            stream.hang_up()
            if token == ALICE:
                assert "the limit is 65536" in answer.error.message
            else:
                assert answer.HasField("heartbeat")
        chunk = pb.Chunk(total_bytes=2**17 + 1)
        stream = Stream(server.address, ALICE)
        stream.send(encode(pb.Header(sequence=1, chunk=chunk), [bytes(1000)]))
        assert "the limit is 131072" in stream.first(10.0).error.message
        stream.hang_up()
    finally:
        server.stop(1.0)


def test_only_the_families_that_are_allowed(counting: EnvSpec) -> None:
    server = start(families=("arcade",))
    try:
        with pytest.raises(UnknownEnvError, match="doesn't offer the family 'testing', only arcade"):
            open_remote(COUNTING.id, 1, EnvConfig(), [server.address])
        assert list(server_info(server.address).families) == ["arcade"]
    finally:
        server.stop(1.0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_tls_in_both_directions(counting: EnvSpec, tmp_path: Path) -> None:
    for name in ("server", "client", "stranger"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        command += ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    pem = {name: tmp_path / f"{name}.pem" for name in ("server", "client", "stranger")}
    strangers = TlsFiles(certificate=pem["server"], key=tmp_path / "stranger.key")
    with pytest.raises(UsageError, match=r"stranger\.key doesn't open .*server\.pem .*is it another one's"):
        start(tls=strangers)
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n")
    files = TlsFiles(certificate=pem["server"], key=tmp_path / "server.key", client_ca=broken)
    with pytest.raises(UsageError, match=r"the client CA .*broken\.pem .*is the file damaged"):
        start(tls=files)
    files = dataclasses.replace(files, client_ca=pem["client"])
    server = start(tls=files)
    try:
        base = f"tls://{server.address}?name=server&ca={pem['server']}"
        mine = f"{base}&cert={pem['client']}&key={tmp_path / 'client.key'}"
        runtime = open_remote(COUNTING.id, 1, EnvConfig(), [mine])
        runtime.reset([0], [4])
        assert runtime.recv(5.0).seed.tolist() == [4]
        runtime.close()
        strange = f"{base}&cert={pem['stranger']}&key={tmp_path / 'stranger.key'}"
        for wrong in (base, strange, f"tls://{server.address}?name=server", server.address):
            with pytest.raises(ServerLostError):
                open_remote(COUNTING.id, 1, EnvConfig(), [wrong])
        with pytest.raises(UsageError, match="cert and key go together"):
            open_remote(COUNTING.id, 1, EnvConfig(), [f"{base}&cert=x"])
    finally:
        server.stop(1.0)


def metric(server: Server, name: str, **labels: str) -> float:
    return server.metrics.registry.get_sample_value(f"universe2_{name}", labels) or 0.0


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

    member = Member(0, AtOnce(COUNTING, 2, EnvConfig()))
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


def free_port() -> int:
    import socket

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


SERVE = [sys.executable, "-m", "universe2", "serve"]


def test_check_validates_and_stops(tmp_path: Path) -> None:
    path = write(tmp_path, "slots = 12")
    done = subprocess.run(
        [*SERVE, "--check", "--config", str(path), "--port", "0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "the settings are right: 127.0.0.1:0 (12 slots, no token)\n")
    done = subprocess.run(
        [*SERVE, "--check", "--families", "arcade, atari", "--host", "[::1]", "--port", "7"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "the settings are right: [::1]:7 (256 slots, no token)\n")
    path.write_text("slots = -1")
    done = subprocess.run(
        [*SERVE, "--check", "--config", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "at least 1" in done.stderr


def test_too_few_descriptors_are_told_before_a_client_finds_out() -> None:
    few = f"ulimit -n 64; exec {shlex.join(SERVE)} --check --slots 600 --sessions 200"
    done = subprocess.run(["sh", "-c", few], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "may have 64 file descriptors, and 200 sessions with 600 slots can take about" in done.stderr


@pytest.mark.parametrize(
    ("limits", "raised", "warned"),
    [
        ((64, 4096), (4096, 4096), False),
        ((64, 128), (128, 128), True),
        ((64, resource.RLIM_INFINITY), (2**20, resource.RLIM_INFINITY), False),
        ((4096, 4096), None, False),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, False),
    ],
)
def test_descriptors_are_raised_as_far_as_may_be(
    limits: tuple[int, int],
    raised: tuple[int, int] | None,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, wanted: asked.append(wanted))
    provide_descriptors(ServerConfig())
    assert asked == ([] if raised is None else [raised])
    assert bool(caplog.records) == warned


def test_sigterm_drains_and_exits_with_0_and_every_line_of_its_log_is_an_object() -> None:
    command = [*SERVE, "--port", "0", "--drain", "30", "--log-format", "json", "--log-level", "info"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[2]
        runtime = open_remote("gymnasium/CartPole-v1", 1, EnvConfig(), [address], reopen_deadline=0.2)
        runtime.reset([0], [0])
        runtime.recv(60.0)
        process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 10.0
        refused = ""
        while not refused and time.monotonic() < end:
            try:
                open_remote("gymnasium/CartPole-v1", 1, EnvConfig(), [address]).close()
            except ServerLostError as error:
                refused = str(error)
        assert "opens no more sessions" in refused
        runtime.send([0], [0])  # the running one goes on
        assert runtime.recv(10.0).fault.tolist() == [0]
        runtime.close()
        assert process.wait(10) == 0
        lines = [json.loads(line) for line in process.stderr]
        assert any("draining: " in line["message"] for line in lines), lines
        assert {line["level"] for line in lines} <= {"info", "warning"}


def test_a_signal_interrupts_who_waits_for_it_with_the_lock_in_his_hands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Handlers run in the thread that they interrupt: none may take a lock that this thread can hold."""
    seen = []

    def serving(server: Server, stop: threading.Event, _announce: Any, drained: threading.Event) -> None:
        for number, event in ((signal.SIGTERM, drained), (signal.SIGTERM, stop), (signal.SIGINT, stop)):
            with event._cond:  # type: ignore[attr-defined]  # as within its wait
                signal.raise_signal(number)
            seen.append(event.wait(10.0))
            stop.clear()
        server.stop(0.1)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr("universe2.server.service.serve_forever", serving)
    try:
        serve._run(ServerConfig(port=0), lambda *_: CountingRuntime(COUNTING, 1, EnvConfig()), "", False)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert seen == [True, True, True]


class _Broken(CountingRuntime):
    """Slot 1 fails at every step."""

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        for row in np.flatnonzero((batch.slots == 1) & (batch.step > 0)).tolist():
            batch.fault[row], batch.reward[row] = Fault.ENVIRONMENT, np.nan
            batch.fault_text[row] = "it fell over"
        failed = batch.fault > 0
        self._ledger.finish(batch.slots[failed], np.ones(int(failed.sum()), bool))
        return batch


@pytest.mark.parametrize(("servers", "asked"), [(3, None), (7, 3), (1, 3)])
def test_a_slot_that_keeps_failing_is_parked_and_the_others_go_on(servers: int, asked: int | None) -> None:
    server = start(lambda _id, slots, config: _Broken(COUNTING, slots, config), max_faults=servers)
    runtime = universe2.open_runtime(COUNTING.id, 2, EnvConfig(), remotes=server.address, max_faults=asked)
    try:
        runtime.reset([0, 1], [4, 4])
        runtime.recv(5.0)
        texts = []
        for _ in range(8):
            runtime.send([0, 1], [0, 0])
            rows = 0
            while rows < 2:
                batch = runtime.recv(5.0)
                rows += len(batch)
                texts += batch.fault_text.values()
                assert not batch.fault[batch.slots == 0].any()
        assert [text.count("parked after 3 faults") for text in texts] == [0, 0, 1, 1, 1, 1]
        assert "it fell over" in texts[-1]
        assert metric(server, "parked_total") == 1
        assert metric(server, "faults_total", kind="environment") == 3
    finally:
        runtime.close()
        server.stop(1.0)


@pytest.fixture
def parked() -> ParkingRuntime:
    """Slots 0, 1 and 2, of which 1 is parked and 0 and 2 are in an episode."""
    runtime = ParkingRuntime(_Broken(COUNTING, 3, EnvConfig()), max_faults=1)
    runtime.reset([0, 1, 2], [4, 4, 4])
    runtime.recv()
    runtime.send([0, 1, 2], [0, 0, 0])
    assert "parked" in runtime.recv().fault_text[1]
    return runtime


@pytest.mark.parametrize(
    ("slots", "error", "complaint"),
    [
        ([1, 1], UsageError, "occurs twice"),
        ([0, 1, 0], UsageError, "occurs twice"),
        ([1, 3], UsageError, r"lie in 0\.\.2"),
    ],
)
def test_parked_or_not_slots_are_checked(
    parked: ParkingRuntime, slots: list[int], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        parked.send(slots, [0] * len(slots))
    with pytest.raises(error, match=complaint):
        parked.reset(slots, [4] * len(slots))
    assert_nothing_moved(parked)


@pytest.mark.parametrize("slots", [[1], [0, 1]])
def test_what_is_asked_of_a_parked_slot_must_be_valid_all_the_same(
    parked: ParkingRuntime, slots: list[int]
) -> None:
    wrong = [0] * (len(slots) - 1)
    with pytest.raises(InvalidActionError, match="slot 1"):
        parked.send(slots, [*wrong, 77])
    with pytest.raises(InvalidActionError):
        parked.send(slots, [*wrong, 0, 0])
    with pytest.raises(InvalidSeedError, match="-5"):
        parked.reset(slots, [*wrong, -5])
    with pytest.raises(InvalidSeedError, match=f"expected {len(slots)} seeds"):
        parked.reset(slots, [*wrong, 0, 0])
    assert_nothing_moved(parked)


def test_a_parked_slot_owes_its_fault_before_it_is_asked_again(parked: ParkingRuntime) -> None:
    parked.send([1], [0])
    for ask in (parked.send, parked.reset):
        with pytest.raises(UsageError, match="slot 1 is still busy"):
            ask([0, 1], [0, 0])
    assert parked.recv().slots.tolist() == [1]
    assert_nothing_moved(parked)


def assert_nothing_moved(runtime: ParkingRuntime) -> None:
    """All three can be stepped, and what comes is the second step of those that go on."""
    runtime.send([0, 1, 2], [0, 0, 0])
    refused, batch = runtime.recv(), runtime.recv()
    assert (refused.slots.tolist(), refused.fault.tolist()) == ([1], [Fault.INFRASTRUCTURE])
    assert (batch.slots.tolist(), batch.step.tolist()) == ([0, 2], [2, 2])
    with pytest.raises(IdleError):
        runtime.recv()


FACES: dict[str, Callable[..., Any]] = {
    "make": lambda **how: universe2.make(COUNTING.id, remote="here:1", **how),
    "make_vec": lambda **how: universe2.make_vec(COUNTING.id, 2, remotes="here:1", **how),
    "make_parallel": lambda **how: universe2.make_parallel(COUNTING.id, remote="here:1", **how),
    "make_pool": lambda **how: universe2.make_pool({COUNTING.id: 2}, remotes="here:1", **how),
    "open_runtime": lambda **how: universe2.open_runtime(COUNTING.id, 2, remotes="here:1", **how),
}


@pytest.mark.parametrize("face", FACES)
def test_every_face_takes_max_faults(face: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def opened(_config: EnvConfig, ask: pb.Open, *_: object) -> None:
        asked.append(ask.max_faults)
        raise CapacityError("that will do")

    monkeypatch.setattr("universe2.client.placement.RemoteRuntime", opened)
    for how in ({}, {"max_faults": 2}):
        with pytest.raises(CapacityError, match="that will do"):
            FACES[face](**how)
    assert asked == [0, 2]
    for wrong in (0, -1, 2**32, 1.5):
        with pytest.raises(UsageError, match="max_faults must be a whole number from 1 on"):
            FACES[face](max_faults=wrong)


def test_max_faults_is_for_servers(counting: EnvSpec) -> None:
    with pytest.raises(UsageError, match="max_faults was given but no remote"):
        universe2.make(COUNTING.id, max_faults=3)


def test_threads_of_sessions_end(server: Server) -> None:
    before = threading.active_count()
    for _ in range(5):
        open_remote(COUNTING.id, 1, EnvConfig(), [server.address]).close()
    end = time.monotonic() + 10.0
    # gRPC keeps its pool's threads for the next calls.
    while threading.active_count() > before + 8 and time.monotonic() < end:
        threading.Event().wait(0.05)
    assert threading.active_count() <= before + 8
