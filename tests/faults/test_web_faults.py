"""Browsers and workers that die are faults of their slots; nothing is left running or lying about."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import eventually

from universe2.core.batch import Batch, Fault
from universe2.core.errors import MissingDependencyError
from universe2.core.host import InfrastructureFault
from universe2.core.runtime import Runtime
from universe2.envs.web.chromium import ENVIRONMENT_VARIABLE, find_chromium
from universe2.runtimes import open_runtime
from universe2.runtimes.browser_process import Browser

pytestmark = pytest.mark.browser

ENV = "web/click-test-2-v0"
GONE_S = 15.0


def descendants(pid: int) -> set[int]:
    """Process ids of everything that ``pid`` started, directly or not."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := parent_of(int(entry.name))) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        fresh = set(children.get(todo.pop(), [])) - found
        found |= fresh
        todo += fresh
    return found


def parent_of(pid: int) -> int | None:
    """None if there is no such process, or only its corpse."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[1])


def browsers(pids: set[int]) -> list[int]:
    """Those of ``pids`` that are a browser's main process."""
    found = []
    for pid in pids:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"--remote-debugging-pipe" in line and b"--type=" not in line and b"browser_launch" not in line:
            found.append(pid)
    return found


def wait_until_gone(pids: set[int]) -> None:
    def left() -> set[int]:
        return {pid for pid in pids if parent_of(pid) is not None}

    assert eventually(lambda: not left(), GONE_S), f"still running: {left()}"


def begin(runtime: Runtime, seed: int = 0) -> Batch:
    runtime.reset([0], [seed])
    return runtime.recv(60)


def step(runtime: Runtime) -> Batch:
    runtime.send([0], np.zeros((1, 5), np.int64))
    return runtime.recv(60)


@pytest.fixture
def runtime() -> Any:
    runtime = open_runtime(ENV, 1)
    yield runtime
    runtime.close()


def test_a_killed_browser_is_a_fault_and_the_slot_recovers(runtime: Runtime) -> None:
    first = begin(runtime).obs["screen"].copy()
    assert not step(runtime).fault[0]
    (browser,) = browsers(descendants(os.getpid()))
    os.kill(browser, signal.SIGKILL)
    faulty = step(runtime)
    assert faulty.fault[0] == Fault.INFRASTRUCTURE
    assert np.isnan(faulty.reward[0])
    assert "browser" in faulty.fault_text[0]
    assert not faulty.obs["screen"].any()
    again = begin(runtime)
    assert not again.fault[0]
    np.testing.assert_array_equal(again.obs["screen"], first)


def test_browsers_die_with_a_killed_worker(runtime: Runtime) -> None:
    begin(runtime)
    started = descendants(os.getpid())
    (worker,) = runtime.pids  # type: ignore[attr-defined]
    assert browsers(started)
    os.kill(worker, signal.SIGKILL)
    wait_until_gone(started)
    assert step(runtime).fault[0] == Fault.INFRASTRUCTURE
    assert not begin(runtime).fault[0]


def test_closing_leaves_nothing(runtime: Runtime) -> None:
    begin(runtime)
    started = descendants(os.getpid())
    assert browsers(started)
    runtime.close()
    wait_until_gone(started)


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "from universe2.runtimes import open_runtime\n"
        f"r = open_runtime({ENV!r}, 2)\n"
        "r.reset([0, 1], [0, 1])\n"
        "n = 0\n"
        "while n < 2: n += len(r.recv(60))\n"
        "print('ready', flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        assert parent.stdout.readline() == b"ready\n"
        started = descendants(parent.pid)
        assert len(browsers(started)) == 2
        parent.kill()
        parent.wait(10)
    wait_until_gone(started)
    assert list(tmp_path.iterdir()) == []


def play(seed: int, **environment: str) -> str:
    """The hash of a short episode, played in a process of its own with these environment variables."""
    code = (
        "import hashlib, numpy as np\n"
        "from universe2.runtimes import open_runtime\n"
        f"r = open_runtime({ENV!r}, 1)\n"
        f"r.reset([0], [{seed}])\n"
        "digest = hashlib.sha256()\n"
        "for step in range(4):\n"
        "    batch = r.recv(60)\n"
        "    assert not batch.fault[0], batch.fault_text\n"
        "    digest.update(batch.obs['screen'].tobytes())\n"
        "    r.send([0], np.array([[0, 0, 9 * step, 32, 2]]))\n"
        "print(digest.hexdigest())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_disk_is_needed() -> None:
    """Nothing can be written where profiles and temporary files would go: /proc takes no files."""
    places = ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")
    assert play(3, **dict.fromkeys(places, "/proc")) == play(3)


CRASHES = """#!/bin/sh
echo started >> {starts}
test "$(wc -l < {starts})" -gt {crashes} || kill -SEGV $$
exec {chromium} "$@"
"""


@pytest.mark.parametrize("crashes", [1, 2])
def test_a_browser_that_crashes_as_it_starts_is_started_once_more(crashes: int, tmp_path: Path) -> None:
    program, starts = tmp_path / "chromium-headless-shell", tmp_path / "starts"
    program.write_text(CRASHES.format(starts=starts, crashes=crashes, chromium=find_chromium()))
    program.chmod(0o755)

    async def start() -> bool:
        browser = await Browser.start(str(program))
        alive = browser.alive
        browser.kill()
        return alive

    if crashes == 1:
        assert asyncio.run(start())
    else:
        with pytest.raises(InfrastructureFault, match="ended as it started"):
            asyncio.run(start())
    assert len(starts.read_text().splitlines()) == 2


@pytest.mark.parametrize("program", ["/bin/true", "/bin/cat"])
def test_a_program_that_is_no_headless_shell_is_refused(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, program)
    with pytest.raises(MissingDependencyError, match="chromium-headless-shell"):
        open_runtime(ENV, 1)
