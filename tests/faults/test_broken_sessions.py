"""What breaks inside a session: runtimes that are mute or fail, threads that can't start."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from counted import Mute, act, faults, receive, served
from waiting import eventually

from universe2.client import open_remote
from universe2.client.stream import Stream
from universe2.core.batch import Batch, Fault
from universe2.core.errors import DeadlineError, ProtocolError, ServerLostError, Universe2Error
from universe2.core.spec import EnvConfig
from universe2.testing.counting import COUNTING, CountingRuntime


class _Failing(CountingRuntime):
    def recv(self, timeout: float | None = None) -> Batch:
        raise RuntimeError("a bug in the runtime")


def test_an_answer_that_does_not_come_poisons_the_session() -> None:
    server = served(Mute)
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
    monkeypatch.setattr(Mute, "result_seconds", 0.5)
    monkeypatch.setattr("universe2.client.part.SPARE_SECONDS", 0.5)
    server = served(Mute)
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


def test_a_session_without_a_thread_to_open_it_gives_its_slots_back(monkeypatch: pytest.MonkeyPatch) -> None:
    server = served(CountingRuntime)
    try:
        with monkeypatch.context() as patched:
            refuse_threads(patched, "session-open", 1)
            with pytest.raises(Universe2Error, match="can't start new thread"):
                open_remote(COUNTING.id, 3, EnvConfig(), [server.address])
        assert (server.capacity.slots_free, server.capacity.sessions_open) == (8, 0)
    finally:
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
