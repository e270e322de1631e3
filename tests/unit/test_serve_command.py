"""`universe2 serve` as a process: its check, its descriptors, its signals."""

from __future__ import annotations

import json
import resource
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from universe2.cli import serve
from universe2.client import open_remote
from universe2.core.errors import (
    ServerLostError,
)
from universe2.core.spec import EnvConfig
from universe2.server import Server, ServerConfig
from universe2.server.descriptors import provide_descriptors
from universe2.testing.counting import COUNTING, CountingRuntime


def write(folder: Path, text: str) -> Path:
    path = folder / "serve.toml"
    path.write_text(text, encoding="utf-8")
    return path


SERVE = [sys.executable, "-m", "universe2", "serve"]


def test_check_validates_and_stops(tmp_path: Path) -> None:
    path = write(tmp_path, "slots = 12")
    done = subprocess.run(
        [*SERVE, "--check", "--config", str(path), "--port", "0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "the settings are right: 127.0.0.1:0 (12 slots, no token)\n")
    done = subprocess.run(
        [*SERVE, "--check", "--families", "arcade, atari", "--host", "[::1]", "--port", "7", "--no-restore"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout == "the settings are right: [::1]:7 (256 slots, no token, no restore)\n"
    path.write_text("slots = -1")
    done = subprocess.run(
        [*SERVE, "--check", "--config", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "at least 1" in done.stderr


def test_too_few_descriptors_are_told_before_a_client_finds_out() -> None:
    few = f"ulimit -n 64; exec {shlex.join(SERVE)} --check --slots 600 --sessions 200"
    done = subprocess.run(["sh", "-c", few], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "may have 64 file descriptors, and 200 sessions with 600 slots can take about" in done.stderr


@pytest.mark.parametrize(
    ("limits", "raised", "warned"),
    [
        ((64, 4096), (4096, 4096), False),
        ((64, 128), (128, 128), True),
        ((64, resource.RLIM_INFINITY), (2**20, resource.RLIM_INFINITY), False),
        ((4096, 4096), None, False),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, False),
    ],
)
def test_descriptors_are_raised_as_far_as_may_be(
    limits: tuple[int, int],
    raised: tuple[int, int] | None,
    warned: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, wanted: asked.append(wanted))
    provide_descriptors(ServerConfig())
    assert asked == ([] if raised is None else [raised])
    assert bool(caplog.records) == warned


def test_sigterm_drains_and_exits_with_0_and_every_line_of_its_log_is_an_object() -> None:
    command = [*SERVE, "--port", "0", "--drain", "30", "--log-format", "json", "--log-level", "info"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().split()[2]
        runtime = open_remote("gymnasium/CartPole-v1", 1, EnvConfig(), [address], reopen_deadline=0.2)
        runtime.reset([0], [0])
        runtime.recv(60.0)
        process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 10.0
        refused = ""
        while not refused and time.monotonic() < end:
            try:
                open_remote("gymnasium/CartPole-v1", 1, EnvConfig(), [address]).close()
            except ServerLostError as error:
                refused = str(error)
        assert "opens no more sessions" in refused
        runtime.send([0], [0])  # the running one goes on
        assert runtime.recv(10.0).fault.tolist() == [0]
        runtime.close()
        assert process.wait(10) == 0
        lines = [json.loads(line) for line in process.stderr]
        assert any("draining: " in line["message"] for line in lines), lines
        assert {line["level"] for line in lines} <= {"info", "warning"}


def test_a_signal_interrupts_who_waits_for_it_with_the_lock_in_his_hands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Handlers run in the thread that they interrupt: none may take a lock that this thread can hold."""
    seen = []

    def serving(server: Server, stop: threading.Event, _announce: Any, drained: threading.Event) -> None:
        for number, event in ((signal.SIGTERM, drained), (signal.SIGTERM, stop), (signal.SIGINT, stop)):
            with event._cond:  # type: ignore[attr-defined]  # as within its wait
                signal.raise_signal(number)
            seen.append(event.wait(10.0))
            stop.clear()
        server.stop(0.1)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr("universe2.server.service.serve_forever", serving)
    try:
        serve._run(ServerConfig(port=0), lambda *_: CountingRuntime(COUNTING, 1, EnvConfig()), "", False)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert seen == [True, True, True]
