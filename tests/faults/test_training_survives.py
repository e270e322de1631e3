"""Training goes on when a browser, an environment worker and one of two servers are killed.

MountainCar is in the mix because each of its steps is worth −1 and nobody climbs the hill in
minutes: a complete episode is 200 steps long, so one that a fault cut would show in the means.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from universe2.client.local_server import LocalServer, local_server

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(420)]

BREAKOUT, CARTPOLE = "arcade/Breakout-v0", "gymnasium/CartPole-v1"
CLICK, CAR = "web/click-test-2-v0", "gymnasium/MountainCar-v0"
TASKS = (BREAKOUT, CARTPOLE, CLICK, CAR)
CAR_STEPS = 200

START_S, STEPS_S, FAULT_S, EPISODES_S, STOP_S = 120.0, 60.0, 60.0, 120.0, 30.0  # longest waits

CONFIG = f"""
threads = 1
seconds = 600
rollout = 16
batch_steps = 512
minibatches = 1
epochs = 1
remotes = REMOTES
out_dir = OUT
[tasks."{BREAKOUT}"]
slots = 8
[tasks."{CARTPOLE}"]
slots = 4
[tasks."{CLICK}"]
slots = 2
share = 0.1
[tasks."{CAR}"]
slots = 4
"""


class Run:
    """``universe2 train`` in a process of its own, and what it writes."""

    def __init__(self, folder: Path, remotes: list[str]) -> None:
        self.out = folder / "run"
        config = folder / "config.toml"
        config.write_text(
            CONFIG.replace("REMOTES", json.dumps(remotes)).replace("OUT", json.dumps(str(self.out)))
        )
        self.said = folder / "said"
        argv = [sys.executable, "-m", "universe2", "train", "--config", str(config)]
        with self.said.open("w") as said:
            self.process = subprocess.Popen(argv, stdout=said, stderr=subprocess.STDOUT)

    def rows(self) -> list[dict[str, Any]]:
        """Complete lines of metrics.jsonl."""
        path = self.out / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def steps(self) -> dict[str, int]:
        """The latest number of transitions of each task."""
        return dict.fromkeys(TASKS, 0) | {
            row["task"]: row["task_steps"] for row in self.rows() if "task" in row
        }

    def log(self) -> str:
        path = self.out / "train.log"
        return path.read_text() if path.exists() else ""

    def until(self, what: str, check: Callable[[], bool], seconds: float) -> None:
        """Wait until ``check``, as long as the process lives, for at most ``seconds``."""
        deadline = time.monotonic() + seconds
        while not check():
            assert self.process.poll() is None, f"training ended before {what}: {self.said.read_text()}"
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.log()[-3000:]}"
            threading.Event().wait(0.1)

    def until_all_step(self, count: int, seconds: float) -> None:
        """Wait until every task has made ``count`` more transitions than now."""
        before = self.steps()
        self.until(
            f"{count} more steps of every task than {before}",
            lambda: all(now >= before[task] + count for task, now in self.steps().items()),
            seconds,
        )

    def until_logged(self, pattern: str) -> None:
        self.until(
            f"a line like {pattern!r} in train.log",
            lambda: re.search(pattern, self.log()) is not None,
            FAULT_S,
        )


@pytest.fixture
def servers() -> Iterator[list[LocalServer]]:
    """Two environment servers."""
    with ExitStack() as stack:
        quiet = ("--slots", "32", "--log-level", "error")
        yield [stack.enter_context(local_server(*quiet)) for _ in range(2)]


def browsers(server: subprocess.Popen[str]) -> list[psutil.Process]:
    """The main processes of a server's Chromiums."""
    return [
        process
        for process, line in commands(server)
        if "--remote-debugging-pipe" in line and "--type=" not in line and "browser_launch" not in line
    ]


def workers(server: subprocess.Popen[str]) -> list[psutil.Process]:
    """A server's worker processes that hold no browser, oldest first: in the order of the tasks."""
    found = [p for p, line in commands(server) if "worker_main" in line and not p.children()]
    return sorted(found, key=lambda process: process.create_time())


def commands(server: subprocess.Popen[str]) -> list[tuple[psutil.Process, str]]:
    found = []
    for process in psutil.Process(server.pid).children(recursive=True):
        try:
            found.append((process, " ".join(process.cmdline())))
        except psutil.NoSuchProcess:
            continue
    return found


def test_training_survives_kill_9(servers: list[LocalServer], tmp_path: Path) -> None:
    (survivor, kept), (lost, doomed) = servers
    run = Run(tmp_path, [survivor, lost])
    try:
        run.until_all_step(20, START_S)

        run.until("a browser on the server that stays", lambda: bool(browsers(kept)), START_S)
        browsers(kept)[0].kill()
        run.until_logged(rf"fault \(INFRASTRUCTURE\) in {CLICK}, slots \[\d\]: .*browser")
        run.until_all_step(20, STEPS_S)

        workers(kept)[-1].kill()
        run.until_logged(rf"fault \(INFRASTRUCTURE\) in {CAR}, slots .*SIGKILL")
        run.until_all_step(20, STEPS_S)

        before = ended(run, CAR)
        doomed.kill()
        for task in TASKS:
            run.until_logged(rf"fault \(INFRASTRUCTURE\) in {task}, slots .*{lost}")  # in step or idle
            run.until_logged(rf"{task}: slots .* are open again, on {survivor}")
        run.until_all_step(40, STEPS_S)
        run.until(
            "every slot of MountainCar ends an episode", lambda: ended(run, CAR) >= before + 4, EPISODES_S
        )

        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(STOP_S) == 0, run.said.read_text()
    finally:
        run.process.kill()
        run.process.wait(STOP_S)

    means = [row for row in run.rows() if row.get("return_mean") is not None]
    cart = [(row["return_mean"], row["length_mean"]) for row in means if row["task"] == CARTPOLE]
    assert cart
    assert all(score == length for score, length in cart)
    car = {(row["return_mean"], row["length_mean"]) for row in means if row["task"] == CAR}
    assert car == {(-CAR_STEPS, CAR_STEPS)}
    faults = {row["task"]: row["faults"] for row in run.rows() if "task" in row}
    assert all(count >= 1 for count in faults.values())


def ended(run: Run, task: str) -> int:
    """Episodes of ``task`` that count."""
    return max((row["episodes"] for row in run.rows() if row.get("task") == task), default=0)
