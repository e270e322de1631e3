"""Servers that are killed: their slots fault, and open again elsewhere."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from counted import act, faults, receive

from universe2.client import open_remote
from universe2.core.batch import Fault
from universe2.core.errors import ServerLostError
from universe2.core.spec import EnvConfig
from universe2.testing.counting import COUNTING

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
