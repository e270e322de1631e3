"""Sessions end: by their lease, with their client, their server, by the garbage collector."""

from __future__ import annotations

import contextlib
import gc
import queue
import subprocess
import sys
import threading
import time
import weakref

import pytest
from counted import Mute, act, faults, receive, served
from waiting import eventually

from universe2.client import open_remote
from universe2.core.batch import Batch
from universe2.core.errors import ClosedError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.faces.make import make
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime


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


class _Hanging(CountingRuntime):
    """Once ``hangs`` is set, ``recv`` doesn't return before ``freed`` is."""

    result_seconds = 0.5
    hangs, freed, hung = threading.Event(), threading.Event(), threading.Event()

    def recv(self, timeout: float | None = None) -> Batch:
        if self.hangs.is_set() and not self._todo.empty():
            self.hung.set()
            self.freed.wait(60)
        return super().recv(timeout)


@pytest.mark.parametrize("same_host", [True, False])
def test_a_game_that_hangs_keeps_no_slots_when_its_lease_is_over(
    same_host: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("universe2.server.service.HEAR_SECONDS", 0.3)
    for event in ("hangs", "freed", "hung"):
        monkeypatch.setattr(_Hanging, event, threading.Event())
    server = served(_Hanging)
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [server.address], lease=1.0, same_host=same_host)
    try:
        runtime.reset([0, 1], [1, 2])
        assert faults(receive(runtime, 2)) == []
        _Hanging.hangs.set()
        act(runtime, [0, 1])
        assert _Hanging.hung.wait(5.0)
        assert server.capacity.slots_free == 6
        if not same_host:  # there requests are still heard, so it lives until its client is gone
            connection = runtime._parts[0].lane.connection  # type: ignore[attr-defined]
            runtime._closed.set()  # type: ignore[attr-defined]
            connection._over.set()
            connection._stream.hang_up()
        assert eventually(lambda: server.capacity.slots_free == 8, 15.0)
        assert f"{COUNTING.id} hangs; its slots are taken back" in caplog.text
    finally:
        _Hanging.freed.set()
        runtime.close()
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
        assert eventually(lambda: server.metrics.reaped._value.get() == 3)
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


def test_stopping_the_server_waits_for_no_session_that_is_opening() -> None:
    go, closed = threading.Event(), threading.Event()

    class Late(CountingRuntime):
        def close(self) -> None:
            closed.set()

    def slow(env_id: str, num_slots: int, config: EnvConfig) -> CountingRuntime:
        assert go.wait(30.0)
        return Late(COUNTING, num_slots, config)

    server = Server(ServerConfig(port=0, slots=8), slow)
    server.start()
    told: queue.SimpleQueue[Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            open_remote(COUNTING.id, 3, EnvConfig(), [server.address], wait=0.0)
        except Exception as error:  # noqa: BLE001  it is looked at
            told.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        assert eventually(lambda: server.capacity.slots_free == 5)
        began = time.monotonic()
        server.stop(2.0)
        assert time.monotonic() - began < 1.5
        assert "shutting down" in str(told.get(timeout=10.0))
        assert server.capacity.slots_free == 5
    finally:
        go.set()
    assert closed.wait(10.0)
    assert eventually(lambda: server.capacity.slots_free == 8)


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
    server = served(Mute)
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
