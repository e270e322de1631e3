"""Worker processes that die, hang, leave, raise and shout, and a parent that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import pytest

from universe2.client import open_remote
from universe2.core.batch import Batch, Fault
from universe2.core.errors import ClosedError, DeadlineError
from universe2.core.registry import find
from universe2.core.seeding import next_seed
from universe2.core.spec import EnvConfig
from universe2.runtimes.process import ProcessRuntime
from universe2.server import Server, ServerConfig

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)

import misbehaving as m  # noqa: E402 (the workers import it by this name as well)


@pytest.fixture
def opened() -> Iterator[Any]:
    runtimes: list[ProcessRuntime] = []

    def open_(slots: int = 4, autoreset: Any = "next_step", options: Any = None, **limits: Any) -> Any:
        limits = {"slots_per_worker": 2, "step_deadline": 30.0, **limits}
        config = EnvConfig(autoreset=autoreset, options=options or {})
        runtimes.append(ProcessRuntime(m.SPEC, slots, config, **limits))
        return runtimes[-1]

    yield open_
    for runtime in runtimes:
        pids = runtime.pids
        runtime.close()
        assert not any(psutil.pid_exists(pid) for pid in pids)


def rows(runtime: ProcessRuntime, count: int) -> dict[int, dict[str, Any]]:
    """slot → its row of the next ``count`` rows."""
    found: dict[int, dict[str, Any]] = {}
    while len(found) < count:
        batch: Batch = runtime.recv(30)
        for row, slot in enumerate(batch.slots.tolist()):
            assert slot not in found
            found[slot] = {
                "obs": np.array(batch.obs[row]),
                "reward": batch.reward[row],
                "fault": batch.fault[row],
                "text": batch.fault_text.get(row, ""),
                "step": batch.step[row],
                "episode": batch.episode[row],
                "seed": batch.seed[row],
                "ended": batch.ended[row],
            }
    return found


def begin(runtime: ProcessRuntime) -> dict[int, dict[str, Any]]:
    slots = range(runtime.num_slots)
    runtime.reset(slots, [100 + slot for slot in slots])
    return rows(runtime, runtime.num_slots)


def step(runtime: ProcessRuntime, **actions: int) -> dict[int, dict[str, Any]]:
    """Step the slots named s0, s1, …"""
    slots = [int(name[1:]) for name in actions]
    runtime.send(slots, np.array(list(actions.values())))
    return rows(runtime, len(slots))


def test_environment_that_raises_is_a_fault_of_its_slot_only(opened: Any) -> None:
    runtime = opened()
    begin(runtime)
    got = step(runtime, s0=m.RAISE, s1=m.FINE)
    assert got[0]["fault"] == Fault.ENVIRONMENT
    assert "the environment is unhappy" in got[0]["text"]
    assert "misbehaving.py" in got[0]["text"]
    assert np.isnan(got[0]["reward"])
    assert not got[0]["obs"].any()
    assert got[1]["fault"] == Fault.NONE
    assert got[1]["reward"] == 1.0
    again = step(runtime, s0=m.FINE, s1=m.FINE)
    assert (again[0]["step"], again[0]["episode"], again[0]["seed"]) == (0, 1, next_seed(100))
    assert again[1]["step"] == 2


@pytest.mark.parametrize(("action", "words"), [(m.KILL, "SIGKILL"), (m.EXIT, "exited with code 3")])
def test_dead_worker_faults_its_slots_and_no_other(opened: Any, action: int, words: str) -> None:
    runtime = opened()
    begin(runtime)
    step(runtime, s0=m.FINE, s1=m.FINE, s2=m.FINE, s3=m.FINE)
    got = step(runtime, s0=action, s2=m.FINE, s3=m.FINE)
    assert got[0]["fault"] == Fault.INFRASTRUCTURE
    assert words in got[0]["text"]
    assert (got[2]["fault"], got[2]["step"], got[3]["step"]) == (Fault.NONE, 2, 2)
    # Slot 1 was idle; its episode is gone all the same, and it must hear of that.
    late = step(runtime, s1=m.FINE)
    assert late[1]["fault"] == Fault.INFRASTRUCTURE
    assert words in late[1]["text"]
    fresh = step(runtime, s0=m.FINE, s1=m.FINE)
    assert [(fresh[s]["fault"], fresh[s]["step"], fresh[s]["episode"]) for s in (0, 1)] == [(0, 0, 1)] * 2


def test_killed_from_outside_while_idle(opened: Any) -> None:
    runtime = opened(2)
    begin(runtime)
    (pid,) = runtime.pids
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while runtime.pids in ([], [pid]) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    got = step(runtime, s0=m.FINE)
    assert got[0]["fault"] == Fault.INFRASTRUCTURE
    runtime.reset([1], [7])  # an explicit reset needs no fault: nothing is pretended
    assert rows(runtime, 1)[1]["obs"].tolist() == [0, 7]


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_hanging_worker_is_killed_at_its_deadline(opened: Any, autoreset: str) -> None:
    runtime = opened(autoreset=autoreset, step_deadline=0.5)
    begin(runtime)
    started = time.monotonic()
    got = step(runtime, s0=m.FINE, s1=m.HANG, s2=m.FINE)
    assert 0.4 < time.monotonic() - started < 15
    assert got[1]["fault"] == Fault.INFRASTRUCTURE
    assert "longer than 0.5 s" in got[1]["text"]
    assert got[2]["fault"] == Fault.NONE
    assert step(runtime, s1=m.FINE)[1]["step"] == 0


def test_leaking_worker_is_killed_before_the_machine_suffers(opened: Any) -> None:
    runtime = opened(step_deadline=30.0, memory_limit=500 * 2**20)
    begin(runtime)
    pids = runtime.pids
    for _ in range(40):
        got = step(runtime, s0=m.LEAK, s2=m.FINE)
        assert got[2]["fault"] == Fault.NONE
        if got[0]["fault"]:
            break
        threading.Event().wait(0.1)  # a leak takes time in life too
    assert got[0]["fault"] == Fault.INFRASTRUCTURE
    assert "MiB of memory, more than 500" in got[0]["text"]
    assert step(runtime, s0=m.FINE)[0]["step"] == 0
    assert runtime.pids[1] == pids[1]
    assert runtime.pids[0] != pids[0]


def test_reset_that_raises_is_a_fault_not_a_hang(opened: Any) -> None:
    runtime = opened(2, options={"doom": 100})
    got = begin(runtime)
    assert got[0]["fault"] == Fault.ENVIRONMENT
    assert "doomed seed 100" in got[0]["text"]
    assert got[1]["fault"] == Fault.NONE
    assert step(runtime, s0=m.FINE)[0]["obs"].tolist() == [0, next_seed(100)]


def test_same_step_reset_that_raises_keeps_the_transition(opened: Any) -> None:
    runtime = opened(1, "same_step", {"doom": next_seed(100)})
    begin(runtime)
    runtime.send([0], np.array([m.END]))
    batch = runtime.recv(30)
    assert (batch.fault[0], batch.reward[0], batch.terminated[0]) == (Fault.NONE, 1.0, True)
    assert batch.final_obs.tolist() == [[1, 100]]
    got = step(runtime, s0=m.FINE)
    assert got[0]["fault"] == Fault.ENVIRONMENT
    assert "doomed" in got[0]["text"]
    assert step(runtime, s0=m.FINE)[0]["step"] == 0


def test_worker_that_never_steps_is_given_up_in_clear_words(opened: Any) -> None:
    runtime = opened(2, "disabled", max_failures=2)
    for _ in range(2):
        begin(runtime)
        assert step(runtime, s0=m.KILL)[0]["fault"] == Fault.INFRASTRUCTURE
    got = begin(runtime)
    assert got[0]["fault"] == got[1]["fault"] == Fault.INFRASTRUCTURE
    assert "2 in a row without one successful step" in got[1]["text"]
    assert "given up" in got[1]["text"]


def test_host_that_can_not_start(opened: Any) -> None:
    spec = m.EnvSpec(
        id="test/Nowhere-v0", runtime="process", entry="nowhere:x", spaces_from=m.SPEC.spaces_from
    )
    runtime = ProcessRuntime(spec, 1, EnvConfig(autoreset="disabled"))
    try:
        assert "No module named 'nowhere'" in begin(runtime)[0]["text"]
    finally:
        runtime.close()


def here_and_served(opened: Any, slots: int, **options: Any) -> Iterator[Any]:
    """A runtime as it is, and one like it through a server that parks a slot at its first fault."""
    yield opened(slots, options=options)
    behind = opened(slots, options=options)
    server = Server(ServerConfig(port=0), lambda _id, _slots, _config: behind)
    server.start()
    remote = open_remote(m.SPEC, slots, EnvConfig(options=options), [server.address], max_faults=1)
    yield remote
    remote.close()
    server.stop(1.0)


def test_what_only_the_environment_can_refuse_is_the_users_fault_here_and_on_servers(opened: Any) -> None:
    for runtime in here_and_served(opened, 2, refuse=7):
        begin(runtime)
        for again in range(2):  # and never parked: nothing is wrong with the slot
            got = step(runtime, s0=m.REFUSED, s1=m.FINE)
            assert (got[0]["fault"], got[0]["text"]) == (Fault.USER, "that move isn't legal here")
            assert (got[1]["fault"], got[1]["step"]) == (Fault.NONE, 2 * again + 1)
            assert step(runtime, s0=m.FINE, s1=m.FINE)[0]["step"] == 0
        runtime.reset([0], [7])
        got = rows(runtime, 1)
        assert (got[0]["fault"], got[0]["text"]) == (Fault.USER, "no level has the seed 7")


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (m.BAD_SHAPE, "shape (3,)"),
        (m.UNPICKLABLE, "can't be pickled"),
        (m.NO_NUMBER, "ValueError: the reward is nan, which says of a step that it is a fault"),
        (m.NO_FLAG, "ValueError: terminated must be True or False, got 'no'"),
    ],
)
def test_wrong_values_are_environment_faults(opened: Any, action: int, words: str) -> None:
    runtime = opened(2)
    begin(runtime)
    got = step(runtime, s0=action, s1=m.FINE)
    assert got[0]["fault"] == Fault.ENVIRONMENT
    assert words in got[0]["text"]
    assert got[1]["reward"] == 1.0


def test_info_that_can_not_be_read_here_is_a_fault_of_its_slot_only(opened: Any) -> None:
    runtime = opened(3)  # slots 0 and 1 share a worker
    begin(runtime)
    got = step(runtime, s0=m.UNREADABLE, s2=m.FINE)
    assert got[0]["fault"] == Fault.ENVIRONMENT
    assert "slots [0] can't be unpickled" in got[0]["text"]
    assert "missing 1 required positional argument: 'why'" in got[0]["text"]
    got |= step(runtime, s1=m.FINE)
    assert (got[1]["reward"], got[2]["reward"]) == (1.0, 1.0)
    assert step(runtime, s0=m.FINE)[0]["step"] == 0


def test_numbers_that_the_dtype_can_not_hold_are_environment_faults() -> None:
    gym.register("Overflowing-v0", entry_point="misbehaving:Overflowing")
    runtime = ProcessRuntime(find("gymnasium/Overflowing-v0"), 3)
    try:
        runtime.reset([0, 1, 2], [0, 1, 2])
        rows(runtime, 3)
        runtime.send([0, 1, 2], np.arange(3))
        got = rows(runtime, 3)
        assert (got[0]["fault"], got[0]["reward"]) == (Fault.NONE, 1.0)
        assert got[0]["obs"].tolist() == [0, 44, 255]
        for slot, words in (
            (1, "int64 with the value -1 at [0], which uint8 can't hold"),
            (2, "[0.0, nan, 1.0]"),
        ):
            assert got[slot]["fault"] == Fault.ENVIRONMENT
            assert "observation: expected Box(0, 255, (3,), uint8)" in got[slot]["text"]
            assert words in got[slot]["text"]
            assert np.isnan(got[slot]["reward"])
    finally:
        runtime.close()
        del gym.registry["Overflowing-v0"]


def test_printing_harms_nothing_and_stays_out_of_stdout(opened: Any, capfd: Any) -> None:
    runtime = opened(2)
    begin(runtime)
    assert step(runtime, s0=m.PRINT, s1=m.FINE)[0]["reward"] == 1.0
    runtime.close()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "more garbage" in captured.err


def test_close_wakes_a_blocked_receiver_and_is_quick(opened: Any) -> None:
    runtime = opened(1, step_deadline=30)
    begin(runtime)
    runtime.send([0], np.array([m.HANG]))
    raised: list[BaseException] = []

    def receive() -> None:
        try:
            runtime.recv()
        except ClosedError as error:
            raised.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    with pytest.raises(DeadlineError):
        runtime.recv(0.05)
    started = time.monotonic()
    runtime.close()
    runtime.close()
    thread.join(5)
    assert raised
    assert time.monotonic() - started < 11
    with pytest.raises(ClosedError):
        runtime.send([0], np.array([0]))


PARENT = """
import sys; sys.path.insert(0, {here!r})
import misbehaving as m
from universe2.runtimes.process import ProcessRuntime
runtime = ProcessRuntime(m.SPEC, 3, slots_per_worker=1)
runtime.reset([0, 1, 2], [0, 1, 2])
count = 0
while count < 3:
    count += len(runtime.recv())
runtime.send([0], [m.HANG])
print(*runtime.pids, flush=True)
sys.stdin.read()
"""


def test_killed_parent_leaves_no_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT.format(here=HERE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(workers) == 3
        parent.kill()
        parent.wait(10)
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not alive
