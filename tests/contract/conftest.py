"""An environment server in a process of its own, for the contract tests of a file."""

from __future__ import annotations

import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

START_S = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a running ``universe2 serve``."""
    argv = [sys.executable, "-m", "universe2", "serve", "--port", "0", "--slots", "512"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield address_of(process)
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def address_of(process: subprocess.Popen[str]) -> str:
    """host:port from the line that a server prints when it is ready."""
    assert process.stdout is not None
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if not select.select([process.stdout], [], [], 1.0)[0]:
            continue
        line = process.stdout.readline()
        if found := re.search(r"serving on (\S+:\d+)", line):
            return found[1]
        if not line:
            break
    raise RuntimeError(f"the server did not say that it is serving within {START_S} s")
