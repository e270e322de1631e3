"""Workers that die, hang, exit or print behind a server: the cause reaches the client, others go on.

And the workers of a client that was killed are gone when its lease is over.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from universe2.client import open_remote
from universe2.core.batch import Fault
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig
from universe2.runtimes.process import ProcessRuntime
from universe2.server import Server, ServerConfig

sys.path.insert(0, str(Path(__file__).parent))

import misbehaving as m


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    """Two slots, each in a worker of its own, behind a server."""
    opened: list[ProcessRuntime] = []

    def open_(_id: str, slots: int, config: EnvConfig) -> Runtime:
        opened.append(ProcessRuntime(m.SPEC, slots, config, slots_per_worker=1, step_deadline=2.0))
        return opened[-1]

    server = Server(ServerConfig(port=0, slots=4), open_)
    server.start()
    runtime = open_remote(m.SPEC, 2, EnvConfig(), [server.address])
    runtime.reset([0, 1], [7, 8])
    gather(runtime, 2)
    yield runtime
    pids = opened[0].pids
    runtime.close()
    server.stop(1.0)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def gather(runtime: Runtime, rows: int) -> dict[int, tuple[int, str, int]]:
    """slot → (fault, its text, step)."""
    found: dict[int, tuple[int, str, int]] = {}
    end = time.monotonic() + 30.0
    while len(found) < rows:
        batch = runtime.recv(end - time.monotonic())
        for row, slot in enumerate(batch.slots.tolist()):
            assert np.isnan(batch.reward[row]) == bool(batch.fault[row])
            found[slot] = int(batch.fault[row]), batch.fault_text.get(row, ""), int(batch.step[row])
    return found


@pytest.mark.parametrize(
    ("action", "kind", "words"),
    [
        (m.RAISE, Fault.ENVIRONMENT, "the environment is unhappy"),
        (m.KILL, Fault.INFRASTRUCTURE, "SIGKILL"),
        (m.EXIT, Fault.INFRASTRUCTURE, "exited with code 3"),
        (m.HANG, Fault.INFRASTRUCTURE, "took longer than 2 s"),
    ],
)
def test_the_cause_comes_through_and_the_slot_begins_anew(
    runtime: Runtime, action: int, kind: Fault, words: str
) -> None:
    runtime.send([0, 1], [action, m.FINE])
    rows = gather(runtime, 2)
    assert rows[0][0] == kind
    assert words in rows[0][1]
    if kind == Fault.ENVIRONMENT:
        assert "misbehaving.py" in rows[0][1]  # its own traceback
    assert rows[1] == (0, "", 1)
    runtime.send([0, 1], [m.FINE, m.FINE])
    rows = gather(runtime, 2)
    assert (rows[0][0], rows[0][2], rows[1][2]) == (0, 0, 2)


def test_what_a_worker_prints_stays_there(runtime: Runtime, capfd: pytest.CaptureFixture[str]) -> None:
    runtime.send([0, 1], [m.PRINT, m.UNPICKLABLE])
    rows = gather(runtime, 2)
    assert rows[0] == (0, "", 1)
    assert "pickle" in rows[1][1]
    assert "garbage" not in capfd.readouterr().out


CLIENT = """
import sys, numpy as np
from universe2.client import open_remote
address, action = sys.argv[1], int(sys.argv[2])
runtime = open_remote("test/Misbehaving-v0", 2, None, [address], lease=1.0)
runtime.reset([0, 1], [7, 8])
seen = 0
while seen < 2:
    seen += len(runtime.recv(30.0))
runtime.send([0], np.array([action]))
if action == 0:
    runtime.recv(30.0)
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("action", [m.FINE, m.HANG], ids=["idle", "in a step that never ends"])
def test_the_workers_of_a_killed_client_are_gone_after_its_lease(action: int) -> None:
    opened: list[ProcessRuntime] = []

    def open_(_id: str, slots: int, config: EnvConfig) -> Runtime:
        opened.append(ProcessRuntime(m.SPEC, slots, config, slots_per_worker=1, step_deadline=60.0))
        return opened[-1]

    server = Server(ServerConfig(port=0, slots=4), open_)
    server.start()
    command = [sys.executable, "-c", CLIENT, server.address, str(action)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline() == "open\n"
            workers = [psutil.Process(pid) for pid in opened[0].pids]
            assert len(workers) == 2
        finally:
            client.kill()
    _, alive = psutil.wait_procs(workers, timeout=20.0)
    assert not alive
    end = time.monotonic() + 10.0
    while server.capacity.sessions_open and time.monotonic() < end:
        threading.Event().wait(0.05)
    assert (server.capacity.sessions_open, server.capacity.slots_free) == (0, 4)
    server.stop(1.0)
