"""Many clients, clients that vanish, and clients that don't read: nothing is left, nobody else is held up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from waiting import eventually

from universe2.client import open_remote
from universe2.client.stream import Stream
from universe2.core.batch import Batch
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.frames import PROTOCOL, encode
from universe2.wire.v1 import universe_pb2 as pb


def served(cls: type[CountingRuntime] = CountingRuntime, **config: Any) -> Server:
    settings = {"port": 0, "slots": 1000, "sessions": 1000, **config}
    server = Server(ServerConfig(**settings), lambda _id, slots, config: cls(COUNTING, slots, config))
    server.start()
    return server


@pytest.fixture
def server() -> Iterator[Server]:
    server = served()
    yield server
    server.stop(1.0)


def play(address: str, steps: int) -> int:
    """Rows that came as they should."""
    runtime = open_remote(COUNTING.id, 2, EnvConfig(autoreset="same_step"), [address])
    runtime.reset([0, 1], [4, 9])
    runtime.recv(60.0)
    for _ in range(steps):
        runtime.send([0, 1], np.zeros(2, np.int64))
        assert not runtime.recv(60.0).fault.any()
    runtime.close()
    return 2 * steps


def drop(address: str) -> None:
    """Open a session, and vanish without a word: it is over with its lease."""
    stream = Stream(address, None)
    ask = pb.Open(
        protocol=PROTOCOL, env_id=COUNTING.id, interface="native", autoreset="next_step", num_slots=1
    )
    ask.lease_seconds = 1.0
    stream.send(encode(pb.Header(sequence=1, open=ask)))
    assert stream.first(30.0).HasField("opened")
    stream.hang_up()


def own_threads() -> int:
    """But gRPC's pool, which is bounded and keeps its threads for the next calls."""
    return sum(not thread.name.startswith("grpc_") for thread in threading.enumerate())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_sessions_dropped_without_closing_leave_nothing(server: Server) -> None:
    drop(server.address)  # what is made at first use
    files = open_files()
    for _ in range(40):
        drop(server.address)
    assert eventually(lambda: server.capacity.slots_free == 1000)
    assert server.capacity.sessions_open == 0
    assert eventually(lambda: open_files() <= files + 4), (files, open_files())


def test_threads_of_sessions_end(server: Server) -> None:
    threads = own_threads()
    for _ in range(5):
        open_remote(COUNTING.id, 1, EnvConfig(), [server.address]).close()
    assert eventually(lambda: own_threads() <= threads + 2), [t.name for t in threading.enumerate()]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_sessions_dropped_leave_nothing(server: Server) -> None:
    drop(server.address)
    files, threads = open_files(), own_threads()
    for _ in range(1000):
        drop(server.address)
    assert eventually(lambda: server.capacity.sessions_open == 0)
    assert server.capacity.slots_free == 1000
    assert eventually(lambda: open_files() <= files + 4), (files, open_files())
    assert eventually(lambda: own_threads() <= threads + 4), [t.name for t in threading.enumerate()]


def test_thirty_clients_at_once(server: Server) -> None:
    with ThreadPoolExecutor(30) as pool:
        assert sum(pool.map(lambda _: play(server.address, 5), range(30))) == 300
    assert eventually(lambda: server.capacity.slots_free == 1000)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_clients_at_once(server: Server) -> None:
    with ThreadPoolExecutor(200) as pool:
        assert sum(pool.map(lambda _: play(server.address, 50), range(200))) == 200 * 100
    assert eventually(lambda: server.capacity.slots_free == 1000)


class _Large(CountingRuntime):
    """Observations of 1 MB."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        self.observation_space = spaces.Box(0, 255, (2**20,), np.uint8)

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.obs = np.zeros((len(batch), 2**20), np.uint8)
        return batch


def test_a_client_that_does_not_read_is_reaped_and_holds_nobody_up() -> None:
    server = served(_Large)
    stream = Stream(server.address, None)
    ask = pb.Open(
        protocol=PROTOCOL, env_id=COUNTING.id, interface="native", autoreset="next_step", num_slots=64
    )
    ask.lease_seconds, ask.max_message_bytes = 1.0, 2**24
    stream.send(encode(pb.Header(sequence=1, open=ask)))
    opened = stream.first(10.0).opened
    slots, seeds = np.arange(64, dtype="<i4"), np.arange(64, dtype="<i8")
    header = pb.Header(sequence=2, session=opened.session, reset=pb.Reset())
    stream.send(encode(header, [slots, seeds]))  # 64 MB come; nobody takes them
    try:
        assert play(server.address, 3) == 6
        assert eventually(lambda: server.capacity.slots_free == 1000, 15.0)
    finally:
        stream.hang_up()
        server.stop(1.0)
