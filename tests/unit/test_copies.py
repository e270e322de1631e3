"""How often an observation is copied between an environment's memory and the caller's array.

Through shared memory not at all (and once by a face that was asked for copies); over TCP twice at
most, what gRPC itself makes not counted.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from universe2.client import open_remote
from universe2.core import shareable
from universe2.core.batch import Batch
from universe2.core.registry import find
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.faces.vector import RuntimeVectorEnv
from universe2.runtimes.compiled import CompiledRuntime
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime

SLOTS, ROW = 4, 2**19
FRAME = SLOTS * ROW
"""bytes of a batch's observations"""


class _Frames(CountingRuntime):
    """Observes ``frames``, which never moves."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        self.observation_space = spaces.Box(0, 255, (ROW,), np.uint8)
        self.frames = self.memory((num_slots, ROW))

    def memory(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape, np.uint8)

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        self.frames[:] = batch.step[0]
        batch.obs = self.frames
        return batch


class _Shared(_Frames):
    def memory(self, shape: tuple[int, ...]) -> np.ndarray:
        return shareable.zeros(shape, np.uint8)


@pytest.fixture
def opened() -> Iterator[Any]:
    """Opens a runtime behind a server in this process: (the runtime, its client)."""
    servers: list[Server] = []

    def open_(runtime: Runtime, same_host: bool, codec: str = "auto") -> tuple[Any, Runtime]:
        server = Server(ServerConfig(port=0), lambda _id, _slots, _config: runtime)
        server.start()
        servers.append(server)
        count = runtime.num_slots
        client = open_remote(
            runtime.spec, count, runtime.config, [server.address], same_host=same_host, codec=codec
        )
        client.reset(range(count), [7] * count)
        client.recv(10.0)
        step(client)  # from the second batch on memory is shared
        return runtime, client

    yield open_
    for server in servers:
        server.stop(1.0)


def step(runtime: Runtime) -> Batch:
    runtime.send(range(runtime.num_slots), np.zeros(runtime.num_slots, np.int64))
    return runtime.recv(10.0)


def mapped_from(array: np.ndarray) -> str:
    """The file that the memory of ``array`` is mapped from, if any."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(part, 16) for part in line.split(maxsplit=1)[0].split("-"))
        if first <= address < last:
            return line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) > 5 else ""
    raise AssertionError(f"address {address:#x} is not mapped")


def test_shared_memory_is_the_runtimes_own(opened: Any) -> None:
    """What the environment writes later shows in the client's array: there is nothing in between."""
    runtime, client = opened(_Shared(COUNTING, SLOTS, EnvConfig()), same_host=True)
    batch = step(client)
    assert (batch.obs == 2).all()
    assert not np.shares_memory(batch.obs, runtime.frames)  # two mappings of it
    assert "memfd" in mapped_from(batch.obs)
    runtime.frames[1, 2] = 99
    assert batch.obs[1, 2] == 99
    client.close()


@pytest.mark.parametrize(("copy", "copies"), [(False, 0), (True, 1)])
def test_a_face_copies_once_if_asked_to(opened: Any, copy: bool, copies: int) -> None:
    runtime, client = opened(_Shared(COUNTING, SLOTS, EnvConfig()), same_host=True)
    env = RuntimeVectorEnv(client, copy=copy)
    env.reset(seed=7)
    taken = peak(lambda: env.step(np.zeros(SLOTS, np.int64)))
    assert copies - 0.1 < taken < copies + 0.1, taken
    obs = env.step(np.zeros(SLOTS, np.int64))[0]
    runtime.frames[1, 2] = 99
    assert (obs[1, 2] == 99) == (not copy)
    client.close()


def test_a_game_draws_into_the_memory_that_its_clients_read(opened: Any) -> None:
    game = CompiledRuntime(find("arcade/Breakout-v0"), 64, EnvConfig())
    _, client = opened(game, same_host=True)
    batch = step(client)
    assert "memfd" in mapped_from(batch.obs)
    before = np.array(batch.obs)
    local = step(game)  # past the server, which doesn't know: the client's array shows the next frame
    assert shareable.find(local.obs) is not None
    assert np.array_equal(batch.obs, local.obs)
    assert not np.array_equal(batch.obs, before)
    client.close()


def peak(call: Any) -> float:
    """The most memory that ``call`` took at a time in this process, in observations."""
    gc.collect()
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        kept = call()
        taken = tracemalloc.get_traced_memory()[1] - before
        del kept
    finally:
        tracemalloc.stop()
    return taken / FRAME


def test_over_tcp_an_observation_is_copied_twice_at_most(opened: Any) -> None:
    """Server and client are in this process. gRPC makes one of the copies: what arrives."""
    _, client = opened(_Frames(COUNTING, SLOTS, EnvConfig()), same_host=False, codec="raw")
    taken = peak(lambda: step(client))
    batch = step(client)
    assert (batch.obs == 3).all()
    assert isinstance(origin(batch.obs), bytes)  # the client reads it where gRPC put it
    assert taken < 1 + 2 + 0.1, taken
    client.close()


def origin(array: Any) -> object:
    """What owns an array's memory."""
    while True:
        under = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
        if under is None:
            return array
        array = under
