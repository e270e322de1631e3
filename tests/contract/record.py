"""Which ids have kept the contract, as lines of a file: a run of hours can be stopped and goes on.

``make contract`` names the file. Without one (UNIVERSE2_CONTRACT_RECORD) nothing is noted and nothing is
left out. A line is: id, commit, date, seconds. To run an id again, take its line out.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_FILE = os.environ.get("UNIVERSE2_CONTRACT_RECORD", "")


@contextmanager
def recorded(env_id: str) -> Iterator[None]:
    """Skip what is in the file; add what passes to it, in one write, as others may be adding too."""
    if not _FILE:
        yield
        return
    path = Path(_FILE)
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    if found := next((line for line in lines if line.split("\t")[0] == env_id), None):
        pytest.skip(f"kept the contract at {found.split(chr(9))[1]}")
    began = time.monotonic()
    yield
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{env_id}\t{commit}\t{date}\t{time.monotonic() - began:.0f}\n")
