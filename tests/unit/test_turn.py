"""Who reads a connection on this machine: callers while they come, else its thread; nothing is lost."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from universe2.client import open_remote
from universe2.client.connection import Connection
from universe2.client.turn import Turn
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING
from universe2.wire.v1 import universe_pb2 as pb


@pytest.fixture
def runtime(counting: EnvSpec) -> Iterator[Any]:
    server = Server(ServerConfig(port=0, slots=4))
    server.start()
    runtime = open_remote(COUNTING.id, 2, EnvConfig(autoreset="same_step"), [server.address])
    runtime.reset([0, 1], [3, 4])
    runtime.recv(10.0)
    yield runtime
    runtime.close()
    server.stop(1.0)


def ask(runtime: Any) -> None:
    runtime.send([0, 1], np.zeros(2, np.int64))


def take(runtime: Any) -> None:
    batch = runtime.recv(10.0)
    assert not batch.fault.any(), batch.fault_text


def readers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that dealt with the messages from now on, in order."""
    names: list[str] = []
    original = Connection._deal_with

    def noted(self: Connection, message: Any) -> Any:
        names.append(threading.current_thread().name)
        return original(self, message)

    monkeypatch.setattr(Connection, "_deal_with", noted)
    return names


def test_a_caller_reads_what_it_waits_for(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    names = readers(monkeypatch)
    for _ in range(500):
        ask(runtime)
        take(runtime)
        runtime.render([0])
    own = names.count(threading.current_thread().name)
    assert own > len(names) / 2  # all, but for pauses of a busy machine


def test_the_thread_reads_when_nobody_waits(runtime: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        ask(runtime)
        take(runtime)
    names = readers(monkeypatch)
    ask(runtime)
    end = time.monotonic() + 10.0
    while not names and time.monotonic() < end:
        threading.Event().wait(0.005)
    assert names
    assert names[0].startswith("receive ")
    take(runtime)


@pytest.mark.parametrize("where", ["_deal_with", "_dispatch"])
def test_an_interrupted_caller_loses_nothing(
    runtime: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Every step is numbered, and checked by the client's book: a lost or repeated one would be a fault."""
    original, interrupted = getattr(Connection, where), 0

    def interrupt(self: Connection, what: Any) -> Any:
        nonlocal interrupted
        if threading.current_thread() is threading.main_thread() and interrupted < 3:
            interrupted += 1
            raise KeyboardInterrupt
        return original(self, what)

    for _ in range(20):
        ask(runtime)
        take(runtime)
    monkeypatch.setattr(Connection, where, interrupt)
    for _ in range(200):
        ask(runtime)
        try:
            take(runtime)
        except KeyboardInterrupt:
            take(runtime)
    assert interrupted


def test_two_who_wait_at_once_both_get_theirs(runtime: Any) -> None:
    done = threading.Event()

    def play() -> None:
        for _ in range(300):
            ask(runtime)
            take(runtime)
        done.set()

    connection = runtime._parts[0].lane.connection
    player = threading.Thread(target=play)
    player.start()
    while not done.is_set():
        connection.ask(pb.Header(heartbeat=pb.Heartbeat()), (), 10.0)
    player.join(10.0)
    assert not player.is_alive()


def test_waiting_ends_in_time_whether_one_may_read_or_not() -> None:
    turn, inbox = Turn(), queue.SimpleQueue[int]()

    def read(seconds: float) -> bool:
        threading.Event().wait(seconds)
        return True

    for reading in (read, None):
        began = time.monotonic()
        with pytest.raises(queue.Empty):
            turn.wait(inbox, 0.1, reading)
        assert 0.1 <= time.monotonic() - began < 5.0
    inbox.put(7)
    assert turn.wait(inbox, 0.0, read) == 7


@pytest.mark.parametrize("seconds", [math.inf, 1e12])
def test_a_caller_may_wait_without_end(seconds: float) -> None:
    inbox: queue.SimpleQueue[int] = queue.SimpleQueue()
    inbox.put(7)
    assert Turn().wait(inbox, seconds, None) == 7
