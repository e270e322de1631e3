"""What is large on the wire: batches in pieces, and what is too large for a client or a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from raw_client import Raw, ints, longs, start

from universe2.client import open_remote
from universe2.core.batch import Batch, info_columns
from universe2.core.errors import UsageError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import requests
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire import frames
from universe2.wire.journal import Journal
from universe2.wire.v1 import universe_pb2 as pb


class _Large(CountingRuntime):
    """Observations of 40 kB."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        self.observation_space = spaces.Box(0, 255, (40_000,), np.uint8)

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.obs = np.resize(np.arange(251, dtype=np.uint8), (len(batch), 40_000))
        return batch


def large(env_id: str, num_slots: int, config: EnvConfig) -> CountingRuntime:
    return _Large(COUNTING, num_slots, config)


def test_large_batches_travel_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universe2.client.placement.MAX_MESSAGE_BYTES", 2**16)
    server = start(large)
    runtime = open_remote(COUNTING.id, 8, EnvConfig(), [server.address])
    try:
        runtime.reset(range(8), range(8))
        batch = runtime.recv(5.0)
        assert (batch.obs == np.resize(np.arange(251, dtype=np.uint8), (8, 40_000))).all()
    finally:
        runtime.close()
        server.stop(1.0)


class _Talkative(_Large):
    """Infos of 100 kB, too."""

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.info = info_columns([{"said": np.zeros(100_000, np.uint8)}] * len(batch))
        return batch


def test_a_batch_may_be_as_large_as_its_slots_are_and_what_is_larger_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("universe2.client.connection.Assembler", lambda: frames.Assembler(2**17))
    texts = []
    for kind in (_Large, _Talkative):
        server = start(lambda _id, slots, config, kind=kind: kind(COUNTING, slots, config))
        runtime = open_remote(COUNTING.id, 8, EnvConfig(), [server.address], same_host=False)
        runtime.reset(range(8), range(8))
        texts.append(runtime.recv(5.0).fault_text.get(0, ""))
        runtime.close()
        server.stop(1.0)
    assert texts[0] == ""
    assert f"the limit is {2**17 + 2 * 8 * 40_000}" in texts[1]


def test_a_row_of_each_slot_may_wait_to_be_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universe2.server.session.Journal", lambda _limit: Journal(2**17))
    server = start(large)
    try:
        with Raw(server.address) as raw:
            raw.open(num_slots=8)
            kinds = []
            for number in [*range(8)] * 3:  # 24 rows of 40 kB are more than 8 with as many final ones
                raw.say(ints(number), longs(4), reset=pb.Reset())
                kinds.append(next(raw.replies).header.WhichOneof("body"))
                if kinds[-1] == "error":
                    break
    finally:
        server.stop(1.0)
    assert kinds[:8] == ["batch"] * 8
    assert kinds[-1] == "error"


class _Drawing(CountingRuntime):
    """Its own pictures are of 8 × 8, its states of 200 bytes; it draws no large ones here."""

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        assert size is None
        return super().render(slots)

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        return [bytes(200) for _ in slots]


def test_an_answer_larger_than_a_client_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert requests.MAX_ANSWER_BYTES <= frames.MAX_FRAME_BYTES - 2**20
    monkeypatch.setattr("universe2.server.requests.MAX_ANSWER_BYTES", 400)
    server = start(lambda _id, slots, config: _Drawing(COUNTING, slots, config))
    runtime: Any = open_remote(COUNTING.id, 3, EnvConfig(), [server.address])
    try:
        runtime.reset(range(3), [4] * 3)
        runtime.recv(5.0)
        for ask, told in (
            (lambda: runtime.render([0], (2048, 2048)), "pictures of 1 slots take 12582912 bytes"),
            (lambda: runtime.render(range(3)), "pictures of 3 slots take 576 bytes"),
            (lambda: runtime.snapshot(range(3)), "states of 3 slots take 600 bytes"),
            (lambda: next(runtime.watch(2, size=(8, 20))), "pictures of 1 slots take 480 bytes"),
        ):
            with pytest.raises(UsageError, match=f"{told}, an answer holds at most 400"):
                ask()
        assert [len(runtime.render([0, 1])), len(runtime.snapshot([0, 1]))] == [2, 2]
        runtime.send(range(3), np.zeros(3, np.int64))
        assert not runtime.recv(5.0).fault.any()
    finally:
        runtime.close()
        server.stop(1.0)
