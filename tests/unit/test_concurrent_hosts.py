"""WorkerRuntime over a concurrent host: results as they come, one slot's trouble is its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from universe2.core.batch import Fault
from universe2.core.seeding import next_seed
from universe2.runtimes.workers import WorkerRuntime

sys.path.insert(0, str(Path(__file__).parent))

import slow_slots as slow


@pytest.fixture
def runtime() -> Iterator[WorkerRuntime]:
    opened = WorkerRuntime(
        slow.SPEC, 3, host="slow_slots:SlowHost", slots_per_worker=3, step_deadline=1.0, max_failures=5
    )
    opened.reset([0, 1, 2], [10, 11, 12])
    assert sorted(slots_of(opened, 3)) == [0, 1, 2]
    yield opened
    opened.close()


def slots_of(runtime: WorkerRuntime, count: int) -> dict[int, int]:
    """slot → fault of the next ``count`` rows."""
    found: dict[int, int] = {}
    while len(found) < count:
        batch = runtime.recv(20)
        found.update(zip(batch.slots.tolist(), batch.fault.tolist(), strict=True))
    return found


def test_a_slow_slot_holds_nobody_up(runtime: WorkerRuntime) -> None:
    runtime.send([0, 2], np.array([slow.WHEN_OTHER_STEPPED, slow.WHEN_OTHER_STEPPED]))
    runtime.send([1], np.array([slow.AT_ONCE]))  # unblocks them: so steps do overlap
    assert slots_of(runtime, 3) == {0: 0, 1: 0, 2: 0}


def test_a_fault_that_is_not_the_environments(runtime: WorkerRuntime) -> None:
    runtime.send([0, 1], np.array([slow.BROKEN, slow.AT_ONCE]))
    assert slots_of(runtime, 2) == {0: Fault.INFRASTRUCTURE, 1: Fault.NONE}


def test_an_info_that_cannot_be_columns_is_a_fault(runtime: WorkerRuntime) -> None:
    runtime.send([0, 1], np.array([slow.ODD_INFO, slow.AT_ONCE]))
    assert slots_of(runtime, 2) == {0: Fault.ENVIRONMENT, 1: Fault.NONE}
    runtime.send([0, 1], np.array([slow.AT_ONCE, slow.AT_ONCE]))
    assert slots_of(runtime, 2) == {0: Fault.NONE, 1: Fault.NONE}


def test_the_next_seed_is_told_beforehand(runtime: WorkerRuntime) -> None:
    runtime.send([1], np.array([slow.AT_ONCE]))
    batch = runtime.recv(20)
    assert batch.obs.tolist() == [[next_seed(11), 1]]


def test_a_step_past_its_deadline_ends_the_worker_at_last(runtime: WorkerRuntime) -> None:
    runtime.send([0, 1], np.array([slow.FOR_EVER, slow.AT_ONCE]))
    assert slots_of(runtime, 1) == {1: Fault.NONE}
    batch = runtime.recv(20)
    assert batch.slots.tolist() == [0]
    assert "longer than 1 s" in batch.fault_text[0]
    runtime.send([0, 1], np.array([slow.AT_ONCE, slow.AT_ONCE]))
    assert slots_of(runtime, 2) == {0: Fault.NONE, 1: Fault.INFRASTRUCTURE}


def test_leaving_from_a_task_ends_the_worker(runtime: WorkerRuntime) -> None:
    runtime.send([2], np.array([slow.LEAVE]))
    batch = runtime.recv(20)
    assert "exited with code 4" in batch.fault_text[0]


def test_closing_in_mid_step_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    opened = WorkerRuntime(slow.SPEC, 8, host="slow_slots:SlowHost", slots_per_worker=8)
    opened.reset(range(8), range(8))
    assert slots_of(opened, 8) == dict.fromkeys(range(8), 0)
    opened.send(range(8), np.full(8, slow.AT_ONCE))
    opened.close()
    assert capfd.readouterr().err == ""


def test_two_threads_get_each_their_own_pictures(runtime: WorkerRuntime) -> None:
    def painted(slot: int) -> list[int]:
        return [int(runtime.render([slot])[0][0, 0, 0]) for _ in range(100)]

    with ThreadPoolExecutor(2) as both:
        first, second = both.submit(painted, 1), both.submit(painted, 2)
        assert (first.result(20), second.result(20)) == ([1] * 100, [2] * 100)


def test_pictures_come_in_the_order_asked(runtime: WorkerRuntime) -> None:
    pictures = runtime.render([2, 0], (8, 16))
    assert [int(picture[0, 0, 0]) for picture in pictures] == [2, 0]
    assert pictures[0].shape == (8, 16, 3)
