"""Servers that are killed, hang, or come back: faults for their slots, and for no others."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import eventually

from universe2.client import open_remote
from universe2.client.stream import Stream
from universe2.core.batch import Batch, Fault
from universe2.core.errors import ClosedError, DeadlineError, ProtocolError, ServerLostError
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.faces.make import make
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime

SCRIPT = Path(__file__).with_name("holding_server.py")
Started = tuple[str, "subprocess.Popen[str]", Path]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts servers in processes of their own; kills what is left of them."""
    running: list[subprocess.Popen[str]] = []

    def start_one(port: int = 0) -> Started:
        hold = tmp_path / f"hold{len(running)}"
        command = [sys.executable, str(SCRIPT), str(hold), str(port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        running.append(process)
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the server did not start"
        return address, process, hold

    yield start_one
    for process in running:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def receive(runtime: Runtime, rows: int, timeout: float = 20.0) -> dict[int, tuple[Batch, int]]:
    """slot → (batch, row), once ``rows`` rows have come."""
    found: dict[int, tuple[Batch, int]] = {}
    end = time.monotonic() + timeout
    while len(found) < rows:
        batch = runtime.recv(end - time.monotonic())
        for row, slot in enumerate(batch.slots.tolist()):
            assert slot not in found
            found[slot] = batch, row
    return found


def faults(rows: dict[int, tuple[Batch, int]]) -> list[int]:
    return sorted(slot for slot, (batch, row) in rows.items() if batch.fault[row])


def act(runtime: Runtime, slots: list[int]) -> None:
    runtime.send(slots, np.zeros(len(slots), np.int64))


def test_killed_in_mid_step_its_slots_fault_and_reopen_elsewhere(start: Callable[..., Started]) -> None:
    (first, _, _), (second, doomed, hold) = start(), start()
    runtime = open_remote(COUNTING.id, 8, EnvConfig(), [first, second], reopen_deadline=20.0)
    try:
        everyone = list(range(8))
        runtime.reset(everyone, [slot * 5 + 4 for slot in everyone])  # episodes of 7 steps
        receive(runtime, 8)
        act(runtime, everyone)
        assert faults(receive(runtime, 8)) == []
        hold.touch()
        act(runtime, everyone)
        alive = receive(runtime, 4)
        assert sorted(alive) == [0, 1, 2, 3]
        doomed.kill()
        began = time.monotonic()
        dead = receive(runtime, 4)
        assert time.monotonic() - began < 5.0
        assert faults(dead) == [4, 5, 6, 7]
        for slot, (batch, row) in dead.items():
            assert batch.fault[row] == Fault.INFRASTRUCTURE
            assert np.isnan(batch.reward[row])
            assert second in batch.fault_text[row]
            assert (batch.episode[row], batch.step[row], batch.seed[row]) == (0, 2, slot * 5 + 4)
        act(runtime, everyone)
        again = receive(runtime, 8)
        assert faults(again) == []
        for slot, (batch, row) in again.items():
            expected = (0, 3) if slot < 4 else (1, 0)
            assert (batch.episode[row], batch.step[row]) == expected
        act(runtime, everyone)
        for slot, (batch, row) in receive(runtime, 8).items():
            assert (batch.episode[row], batch.step[row]) == ((0, 4) if slot < 4 else (1, 1))
            assert batch.obs["count"][row][0] == batch.seed[row]
    finally:
        runtime.close()


def test_killed_while_idle_the_fault_comes_with_the_next_step(start: Callable[..., Started]) -> None:
    address, process, _ = start()
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [address], reopen_deadline=20.0)
    try:
        runtime.reset([0, 1], [4, 9])
        receive(runtime, 2)
        process.kill()
        process.wait(10)
        act(runtime, [0])
        assert faults(receive(runtime, 1)) == [0]
        start(int(address.rsplit(":", 1)[1]))  # it is back, on the same port
        act(runtime, [0, 1])
        rows = receive(runtime, 2)
        assert faults(rows) == [1]
        batch, row = rows[0]
        assert (batch.episode[row], batch.step[row]) == (1, 0)
    finally:
        runtime.close()


def test_no_server_takes_the_slots(start: Callable[..., Started]) -> None:
    address, process, _ = start()
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [address], reopen_deadline=0.5)
    try:
        runtime.reset([0], [4])
        receive(runtime, 1)
        process.kill()
        act(runtime, [0])
        assert faults(receive(runtime, 1)) == [0]
        for _ in range(2):  # what is asked is refused, and changes nothing
            act(runtime, [0])
            with pytest.raises(ServerLostError, match="no server took its slots") as lost:
                runtime.recv(20.0)
            assert lost.value.slots == (0,)
        process.wait(10)
        start(int(address.rsplit(":", 1)[1]))  # it is back
        act(runtime, [0])
        ((batch, row),) = receive(runtime, 1).values()
        assert (batch.fault[row], batch.episode[row], batch.step[row]) == (0, 1, 0)
    finally:
        runtime.close()


def test_no_server_takes_some_slots_and_the_others_go_on(start: Callable[..., Started]) -> None:
    """They starved, unheard of, for as long as others were busy."""
    (first, _, _), (second, doomed, _) = start(), start()
    runtime = open_remote(COUNTING.id, 24, EnvConfig(), [first, second], reopen_deadline=0.5)
    alive, dead = list(range(12)), list(range(12, 24))  # a server has 16: there is no room for them all
    try:
        runtime.reset(alive + dead, [slot * 20 + 19 for slot in range(24)])
        receive(runtime, 24)
        doomed.kill()
        doomed.wait(10)
        act(runtime, dead)
        assert faults(receive(runtime, 12)) == dead
        for _ in range(2):
            act(runtime, alive)
            receive(runtime, 12)
            act(runtime, dead)
            rows = receive(runtime, 12)
            assert faults(rows) == dead
            batch, row = rows[12]
            assert batch.fault[row] == Fault.INFRASTRUCTURE
            assert f"{second} is lost and no server took its slots within 0.5 s" in batch.fault_text[row]
        start(int(second.rsplit(":", 1)[1]))
        act(runtime, dead)
        assert faults(receive(runtime, 12)) == []
    finally:
        runtime.close()


class _Mute(CountingRuntime):
    """Takes requests and never answers."""

    def recv(self, timeout: float | None = None) -> Batch:
        threading.Event().wait(timeout)
        raise DeadlineError("mute")


class _Failing(CountingRuntime):
    def recv(self, timeout: float | None = None) -> Batch:
        raise RuntimeError("a bug in the runtime")


def served(cls: type[CountingRuntime], **config: float) -> Server:
    def opened(env_id: str, num_slots: int, env_config: EnvConfig) -> CountingRuntime:
        return cls(COUNTING, num_slots, env_config)

    server = Server(ServerConfig(port=0, slots=8, **config), opened)  # type: ignore[arg-type]
    server.start()
    return server


def test_an_answer_that_does_not_come_poisons_the_session() -> None:
    server = served(_Mute)
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address], deadline=0.6)
    try:
        runtime.reset([0], [0])
        batch = runtime.recv(10.0)
        assert batch.fault.tolist() == [Fault.INFRASTRUCTURE]
        assert "no result" in batch.fault_text[0]
        assert eventually(lambda: server.capacity.slots_free == 8, 5.0)  # long before the lease is over
    finally:
        runtime.close()
        server.stop(1.0)


def test_a_client_waits_longer_than_the_server_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gives up first decides between one slot's fault and a lost session."""
    monkeypatch.setattr(_Mute, "result_seconds", 0.5)
    monkeypatch.setattr("universe2.client.part.SPARE_SECONDS", 0.5)
    server = served(_Mute)
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address], reopen_deadline=3.0)
    try:
        assert runtime.result_seconds == 0.5 + 0.5 + 3.0  # and what stands before this one longer still
        began = time.monotonic()
        runtime.reset([0], [0])
        assert runtime.recv(10.0).fault.tolist() == [Fault.INFRASTRUCTURE]
        assert time.monotonic() - began > 0.9
    finally:
        runtime.close()
        server.stop(1.0)


def test_a_bug_in_the_runtime_reaches_the_client() -> None:
    server = served(_Failing)
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address])
    try:
        runtime.reset([0], [0])
        batch = runtime.recv(10.0)
        assert "a bug in the runtime" in batch.fault_text[0]
    finally:
        runtime.close()
        server.stop(1.0)


class _Full(CountingRuntime):
    """Raises where ``place`` says, at its first step, what would also say that a stream broke."""

    place = ""
    error: Exception = OSError(24, "Too many open files")

    def send(self, slots: Any, actions: Any) -> None:
        if self.place == "send":
            raise self.error
        super().send(slots, actions)

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        if self.place == "recv" and batch.step[0]:
            raise self.error
        return batch


@pytest.mark.parametrize("same_host", [True, False])
@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("send", OSError(24, "Too many open files")),
        ("recv", OSError(24, "Too many open files")),
        ("recv", ServerLostError("Too many open files")),
    ],
)
def test_an_error_of_the_system_in_a_runtime_is_no_broken_stream(
    place: str, error: Exception, same_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Full, "place", place)
    monkeypatch.setattr(_Full, "error", error)
    server = served(_Full)
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address], deadline=15.0, same_host=same_host)
    try:
        runtime.reset([0], [4])
        runtime.recv(10.0)
        act(runtime, [0])
        batch = runtime.recv(20.0)
        assert "Too many open files" in batch.fault_text[0]
    finally:
        runtime.close()
        server.stop(1.0)


class _Held(CountingRuntime):
    """Returns nothing while ``hold`` is set."""

    hold = threading.Event()

    def recv(self, timeout: float | None = None) -> Batch:
        if self.hold.is_set():
            threading.Event().wait(0.02)
            raise DeadlineError("held")
        return super().recv(timeout)


def test_a_slot_that_owes_its_fault_is_not_reset_with_those_that_wait() -> None:
    server = served(_Held)
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
    try:
        runtime.reset([0, 1], [4, 9])
        receive(runtime, 2)
        _Held.hold.set()
        act(runtime, [0])
        next(iter(server._sessions.values())).end(ServerLostError("gone"))
        assert faults(receive(runtime, 1)) == [0]
        _Held.hold.clear()
        act(runtime, [0])  # begins anew, as soon as another session is open
        inbox = runtime._inbox  # type: ignore[attr-defined]
        assert eventually(lambda: not inbox.empty())
        act(runtime, [1])  # was idle in mid-episode: its fault waits behind the news of that session
        rows = receive(runtime, 2)
        assert faults(rows) == [1]
        batch, row = rows[0]
        assert (batch.episode[row], batch.step[row]) == (1, 0)
        act(runtime, [0, 1])
        rows = receive(runtime, 2)
        assert faults(rows) == []
        found = {slot: (batch.episode[row], batch.step[row]) for slot, (batch, row) in rows.items()}
        assert found == {0: (1, 1), 1: (1, 0)}
    finally:
        _Held.hold.clear()
        runtime.close()
        server.stop(1.0)


def refuse_threads(monkeypatch: pytest.MonkeyPatch, prefix: str, times: int) -> None:
    """As Python does when the system gives no more."""
    start, left = threading.Thread.start, [times]

    def refused(thread: threading.Thread) -> None:
        if thread.name.startswith(prefix) and left[0] > 0:
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)


@pytest.mark.parametrize(
    ("prefix", "times", "heard"), [("receive ", 1, False), ("receive ", 1000, True), ("reopen ", 1, True)]
)
def test_an_error_that_nobody_expected_while_a_session_is_reopened(
    prefix: str, times: int, heard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again, or heard of; in any case the slots can be sent to again. They couldn't, ever."""
    server = served(CountingRuntime)
    deadline = 1.0 if heard else 20.0
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [server.address], reopen_deadline=deadline)
    try:
        runtime.reset([0, 1], [4, 9])
        receive(runtime, 2)
        next(iter(server._sessions.values())).end(ServerLostError("gone"))
        assert eventually(lambda: not server._sessions)  # till then a step may be answered
        act(runtime, [0, 1])
        assert faults(receive(runtime, 2)) == [0, 1]
        with monkeypatch.context() as patched:
            refuse_threads(patched, prefix, times)
            act(runtime, [0, 1])
            if heard:
                with pytest.raises(ServerLostError, match="can't start new thread"):
                    runtime.recv(20.0)
            else:
                assert faults(receive(runtime, 2)) == []
        act(runtime, [0, 1])
        assert faults(receive(runtime, 2)) == []
    finally:
        runtime.close()
        server.stop(1.0)


def test_an_error_that_nobody_expected_while_a_session_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slots' faults say it. Nothing came, for ever."""
    server = served(CountingRuntime)
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [server.address], same_host=False)
    tried: list[Stream] = []

    def first(stream: Stream, timeout: float) -> object:
        tried.append(stream)
        raise RuntimeError("can't start new thread")

    try:
        runtime.reset([0, 1], [4, 9])
        receive(runtime, 2)
        with monkeypatch.context() as patched:
            patched.setattr(Stream, "first", first)
            next(iter(server._sessions.values())).hang_up()
            act(runtime, [0, 1])
            batch = runtime.recv(20.0)
        assert batch.fault.tolist() == [Fault.INFRASTRUCTURE] * 2
        assert "can't start new thread" in batch.fault_text[0]
        assert [stream._call.is_active() for stream in tried] == [False]
        act(runtime, [0, 1])
        assert faults(receive(runtime, 2)) == []
    finally:
        runtime.close()
        server.stop(1.0)


def test_a_session_that_takes_no_heartbeat_any_more_is_given_up_alone() -> None:
    """The thread that beats goes on for the others."""
    servers = [served(CountingRuntime) for _ in range(2)]
    runtime: Any = open_remote(
        COUNTING.id, 2, EnvConfig(), [server.address for server in servers], deadline=2.0
    )

    def full(patience: float) -> None:
        raise ProtocolError("nothing of 512 MiB was acknowledged")

    beaten = threading.Event()
    try:
        runtime.reset([0, 1], [4, 9])
        receive(runtime, 2)
        runtime._parts[1].lane.connection.beat = lambda patience: beaten.set()
        runtime._parts[0].lane.connection.beat = full
        lost = runtime._parts[0].lane
        assert eventually(lambda: not lost.alive)
        beaten.clear()
        assert beaten.wait(10.0)
    finally:
        runtime.close()
        for server in servers:
            server.stop(1.0)


def test_a_silent_session_is_reaped_and_a_living_one_is_not() -> None:
    server = served(CountingRuntime)
    silent = open_remote(COUNTING.id, 2, EnvConfig(), [server.address], lease=1.0)
    living = open_remote(COUNTING.id, 3, EnvConfig(), [server.address], lease=1.0)
    try:
        silent._closed.set()  # type: ignore[attr-defined]  # its heart stops
        assert eventually(lambda: server.capacity.slots_free == 5)
        threading.Event().wait(1.5)
        assert server.capacity.slots_free == 5
        living.reset([0], [0])
        assert living.recv(5.0).fault.tolist() == [0]
    finally:
        silent.close()
        living.close()
        server.stop(1.0)


class _LateSecond(CountingRuntime):
    """The second takes longer to open than the lease of the first."""

    LEASE = 2.0
    opened = 0

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        type(self).opened += 1
        threading.Event().wait(2 * self.LEASE * (self.opened == 2))
        super().__init__(spec, num_slots, config)


def test_what_is_open_lives_on_while_other_servers_open() -> None:
    servers = [served(_LateSecond) for _ in range(2)]
    addresses = [server.address for server in servers]
    runtime = open_remote(COUNTING.id, 4, EnvConfig(), addresses, lease=_LateSecond.LEASE)
    try:
        assert [server.capacity.sessions_open for server in servers] == [1, 1]
        runtime.reset(range(4), [4] * 4)
        assert faults(receive(runtime, 4)) == []
    finally:
        runtime.close()
        for server in servers:
            server.stop(1.0)


def test_leases_hold_although_a_session_could_not_be_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started, lacked = threading.Thread.start, threading.Event()

    def start(thread: threading.Thread) -> None:
        if thread.name == "session-close" and not lacked.is_set():
            lacked.set()
            raise RuntimeError("can't start new thread")
        started(thread)

    server = served(CountingRuntime)
    silent = [
        open_remote(COUNTING.id, 2, EnvConfig(), [server.address], lease=1.0, same_host=False)
        for _ in range(3)
    ]
    monkeypatch.setattr(threading.Thread, "start", start)
    try:
        for runtime in silent:  # its heart stops, and its stream breaks for good
            connection = runtime._parts[0].lane.connection  # type: ignore[attr-defined]
            runtime._closed.set()  # type: ignore[attr-defined]
            connection._over.set()
            connection._stream.hang_up()
        assert eventually(lambda: server.capacity.slots_free == 8, 20.0)
        assert lacked.is_set()
        assert server.metrics.reaped._value.get() == 3
    finally:
        for runtime in silent:
            runtime.close()
        server.stop(1.0)


def test_a_killed_client_frees_its_slots(counting: EnvSpec) -> None:
    server = served(CountingRuntime)
    code = (
        "from universe2.client import open_remote\n"
        f"r = open_remote('{COUNTING.id}', 4, None, ['{server.address}'], lease=1.0)\n"
        "print('open', flush=True)\n"
        "input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "open\n"
        assert server.capacity.slots_free == 4
        process.kill()
        assert eventually(lambda: server.capacity.slots_free == 8, 5.0)
        assert eventually(lambda: server.capacity.sessions_open == 0, 5.0)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        process.stdin.close()
        server.stop(1.0)


def test_stopping_the_server_tells_its_clients_and_close_is_bounded() -> None:
    server = served(CountingRuntime)
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address], reopen_deadline=0.3)
    runtime.reset([0], [0])
    runtime.recv(5.0)
    began = time.monotonic()
    server.stop(2.0)
    assert time.monotonic() - began < 4.0
    act(runtime, [0])
    assert "shutting down" in runtime.recv(5.0).fault_text[0]
    began = time.monotonic()
    runtime.close()
    runtime.close()
    assert time.monotonic() - began < 2.0
    with pytest.raises(ClosedError):
        runtime.reset([0], [0])


def test_an_environment_that_is_dropped_frees_its_slots(counting: EnvSpec) -> None:
    server = served(CountingRuntime)
    env = make(COUNTING.id, remote=server.address)
    env.reset(seed=4)
    del env
    gc.collect()
    assert eventually(lambda: server.capacity.slots_free == 8, 5.0)
    server.stop(1.0)


def test_the_garbage_collector_waits_for_no_lock() -> None:
    """It may run in any thread at any moment, also in one that holds these."""
    server = served(CountingRuntime)
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address])
    dropped = threading.Event()
    weakref.finalize(runtime, dropped.set)
    connection = runtime._parts[0].lane.connection  # type: ignore[attr-defined]
    locks = [connection._lock, connection._over._cond, runtime._lock, runtime._closed._cond]  # type: ignore[attr-defined]
    box = [runtime]
    del runtime

    def collect() -> None:
        with contextlib.ExitStack() as held:
            for lock in locks:
                held.enter_context(lock)
            box.clear()
            gc.collect()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    thread.join(5.0)
    assert not thread.is_alive()
    assert dropped.is_set()
    assert eventually(lambda: server.capacity.slots_free == 8, 5.0)
    server.stop(1.0)


def test_closing_wakes_a_blocked_recv() -> None:
    server = served(_Mute)
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address])
    runtime.reset([0], [0])
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            runtime.recv()
        except ClosedError as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    runtime.close()
    thread.join(5.0)
    server.stop(1.0)
    assert len(outcome) == 1
