"""A server of one's own whose owner is killed: it ends, and its workers do."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

OWNER = """
import threading

import psutil
from universe2.client import open_remote
from universe2.client.local_server import local_server

with local_server("--slots", "4") as server:
    runtime = open_remote("gymnasium/CartPole-v1", 2, None, [server.address])
    runtime.reset([0, 1], [0, 1])
    runtime.recv(60.0)
    workers = psutil.Process(server.process.pid).children(recursive=True)
    print(server.process.pid, *(worker.pid for worker in workers), flush=True)
    threading.Event().wait()
"""
GONE_S = 10.0


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_a_killed_owner_takes_its_server_and_the_workers_along() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        running = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
        assert len(running) >= 2, "a server and a worker at least"
        owner.kill()
    try:
        _, alive = psutil.wait_procs(running, GONE_S)
        assert alive == []
    finally:
        for process in running:
            if process.is_running():
                process.kill()


def test_a_server_that_was_told_to_ends_in_good_order_with_its_stdin() -> None:
    command = [sys.executable, "-m", "universe2", "serve", "--port", "0", "--until-eof"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("serving on ")
        assert server.poll() is None
        _, said = server.communicate(timeout=30.0)  # closes stdin
    assert server.returncode == 0
    assert "stdin ended" in said
