"""Slots that keep failing are parked, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from started_server import metric, start

import universe2
from universe2.core.batch import Batch, Fault
from universe2.core.errors import (
    CapacityError,
    IdleError,
    InvalidActionError,
    InvalidSeedError,
    UsageError,
)
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server.parking import ParkingRuntime
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.v1 import universe_pb2 as pb


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
