"""How observations travel is agreed upon when a session opens, and losses show in the hash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

import universe2
from universe2.client import open_remote
from universe2.core.batch import Batch
from universe2.core.errors import MissingDependencyError, UsageError
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig, opening
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire import codecs
from universe2.wire.delta import _AT_A_TIME, Delta

SPACE = spaces.Dict(
    {"screen": spaces.Box(0, 255, (40, 48, 3), np.uint8), "count": spaces.Box(0, 99, (3,), np.int64)}
)
RAMP = np.linspace(0, 250, 40 * 48 * 3).reshape(40, 48, 3).astype(np.uint8)


class _Pictures(CountingRuntime):
    """A slope whose first row is the step."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        assert not config.lossy, "an environment knows nothing of losses on the way"
        super().__init__(spec, num_slots, config)
        self.observation_space = SPACE

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        screen = np.repeat(RAMP[None], len(batch), 0)
        screen[:, 0] = batch.step[:, None, None]
        batch.obs = {"screen": screen, "count": np.repeat(batch.step[:, None], 3, 1)}
        return batch


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(ServerConfig(port=0), lambda _id, slots, config: _Pictures(COUNTING, slots, config))
    server.start()
    yield server
    server.stop(1.0)


def opened(server: Server, codec: Any, **settings: Any) -> Any:
    return open_remote(COUNTING.id, 3, EnvConfig(), [server.address], codec=codec, **settings)


def agreed(runtime: Any) -> list[str]:
    return list(runtime._parts[0].lane.opened.codecs)


def worst(runtime: Runtime) -> int:
    """The largest difference of any pixel over four steps."""
    runtime.reset(range(3), range(3))
    worst = 0
    for step in range(4):
        batch = runtime.recv(10.0)
        expected = np.repeat(RAMP[None], len(batch), 0)
        expected[:, 0] = step
        worst = max(worst, int(np.abs(batch.obs["screen"].astype(int) - expected).max()))
        assert (batch.obs["count"] == step).all()
        runtime.send(range(3), np.zeros(3, np.int64))
    runtime.recv(10.0)
    return worst


@pytest.mark.parametrize(
    ("codec", "names"),
    [
        ("raw", []),
        ("delta", ["", "delta"]),
        ("lz4", ["", "lz4"]),
        ("png", ["", "png"]),
        (["png", "delta"], ["", "png"]),
    ],
)
@pytest.mark.parametrize("same_host", [True, False])
def test_codecs_without_losses_lose_nothing(
    server: Server, codec: Any, names: list[str], same_host: bool
) -> None:
    runtime = opened(server, codec, same_host=same_host)
    assert sorted(agreed(runtime)) == names  # Dict spaces order their keys
    assert runtime.spec.hash(runtime.config) == COUNTING.hash()
    assert worst(runtime) == 0
    runtime.close()


@pytest.mark.parametrize("codec", ["jpeg-90", "webp-80"])
def test_losses_are_asked_for_and_show_in_the_hash(server: Server, codec: str) -> None:
    runtime = opened(server, ["delta", codec])
    assert sorted(agreed(runtime)) == ["", codec]
    found = runtime._parts[0].lane.opened.spec_hash
    assert found == COUNTING.hash(EnvConfig(lossy=codec)) == runtime.spec.hash(runtime.config)
    assert found != COUNTING.hash()
    assert 0 < worst(runtime) < 200
    runtime.close()


def test_what_the_server_has_not_travels_as_it_is_unless_it_has_losses(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "agree", lambda space, asked: ["", ""])
    runtime = opened(server, ["lz4", "png"])
    assert agreed(runtime) == []
    assert worst(runtime) == 0
    runtime.close()
    with pytest.raises(UsageError, match="no pictures that could be sent as jpeg-90"):
        opened(server, "jpeg-90")


def test_what_cannot_be_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no codec 'zip'; there are raw, delta, lz4, png"):
        opened(server, "zip")
    with pytest.raises(UsageError, match="of one kind only"):
        opened(server, ["jpeg-90", "webp-80"])
    with pytest.raises(UsageError, match="Q from 1 to 100, got 'jpeg-101'"):
        EnvConfig(lossy="jpeg-101")
    with pytest.raises(UsageError, match="only on their way from a server"):
        universe2.open_runtime("gymnasium/CartPole-v1", 1, EnvConfig(lossy="jpeg-90"))
    with pytest.raises(UsageError, match="a codec was given but no remote"):
        universe2.make_vec("gymnasium/CartPole-v1", 1, codec="delta")
    monkeypatch.setattr(codecs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install lz4"):
        opened(server, "lz4")


def test_elsewhere_only_what_changed_is_sent_and_here_everything_is_seen(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = Delta.write

    def noted(self: Delta, slots_K: np.ndarray, rows_KB: np.ndarray) -> np.ndarray:
        coded = write(self, slots_K, rows_KB)
        written.append(coded.nbytes)
        return coded

    monkeypatch.setattr(Delta, "write", noted)
    here = open_remote(COUNTING.id, 3, EnvConfig(), [server.address])
    assert sorted(agreed(here)) == ["", "delta"]
    assert worst(here) == 0
    here.close()
    assert written == []
    elsewhere = open_remote(COUNTING.id, 3, EnvConfig(), [server.address], same_host=False)
    assert worst(elsewhere) == 0
    elsewhere.close()
    first, *later = written
    assert first > 3 * RAMP.nbytes * 0.95
    assert max(later) < first / 10


@pytest.mark.parametrize("row_bytes", [64, 100, 12288])
def test_changes_are_of_the_slots_that_they_say(row_bytes: int) -> None:
    """In any order, neighbours or not, more than are compared at a time, and none changed."""
    rng = np.random.default_rng(row_bytes)
    count = 2 * _AT_A_TIME // row_bytes if row_bytes > 1000 else 40
    writer, reader = Delta(count, row_bytes), Delta(count, row_bytes)
    truth = np.zeros((count, row_bytes), np.uint8)
    for number in range(12):
        slots = np.sort(rng.permutation(count)[: rng.integers(1, count + 1)]) if number % 2 else None
        slots = np.arange(count) if slots is None else slots
        if number % 3 == 0:
            slots = rng.permutation(slots)
        slots = slots.astype(np.int32)
        truth[slots, rng.integers(0, row_bytes)] += np.uint8(number % 4)
        coded = writer.write(slots, truth[slots])
        read = np.frombuffer(reader.read(slots, memoryview(coded)), np.uint8)
        assert np.array_equal(read.reshape(len(slots), row_bytes), truth[slots])
        assert not read.flags.writeable
