"""A server of one's own: ``universe2 serve`` in another process of this host, for as long as needed.

It knows the line by which a server says that it is ready, nothing else about servers. The server holds one
end of a pipe whose other end is here, so it ends with this process however that ends, SIGKILL included.
"""

from __future__ import annotations

import contextlib
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from universe2.core.errors import ServerLostError

START_S = 60.0
"""The longest wait for a server to say that it is ready."""
STOP_S = 30.0
"""The longest wait for it to end in good order; then it is killed."""


class LocalServer(NamedTuple):
    """A running server."""

    address: str
    """host:port"""
    process: subprocess.Popen[str]


@contextlib.contextmanager
def local_server(*arguments: str, log: Path | None = None) -> Iterator[LocalServer]:
    """Start ``universe2 serve --port 0 *arguments``; it ends with the block, or with this process.

    ``log`` takes what the server says on stderr. Raises ServerLostError if it doesn't start.
    """
    argv = [sys.executable, "-m", "universe2", "serve", "--port", "0", "--until-eof", *arguments]
    with contextlib.ExitStack() as stack:
        stderr = stack.enter_context(log.open("w")) if log else None
        process = stack.enter_context(
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True)
        )
        stack.callback(_stop, process)
        yield LocalServer(_address(process, f"; see {log}" if log else ""), process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen[str], where: str) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if not select.select([process.stdout], [], [], 1.0)[0]:
            continue
        line = process.stdout.readline()
        if found := re.search(r"serving on (\S+:\d+)", line):
            return found[1]
        if not line:
            raise ServerLostError(f"the server ended at its start, exit code {process.wait(STOP_S)}{where}")
    raise ServerLostError(f"the server did not say that it is ready within {START_S:g} s{where}")
