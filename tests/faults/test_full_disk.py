"""A full disk costs what can't be written, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universe2.client import open_remote
from universe2.client.local_server import local_server
from universe2.core.errors import UsageError
from universe2.trace.store import EpisodeStore, Run


def test_a_server_whose_log_finds_no_room_goes_on() -> None:
    """/dev/full refuses every byte, as a full disk does."""
    with local_server("--slots", "2", "--lease", "5", log=Path("/dev/full")) as server:
        for _ in range(2):
            runtime = open_remote("gymnasium/CartPole-v1", 2, None, [server.address])
            runtime.reset([0, 1], [0, 1])
            rows = 0
            while rows < 2:
                rows += len(runtime.recv(60.0))
            runtime.send([0, 1], np.array([0, 1]))
            batch = runtime.recv(60.0)
            assert not batch.fault.any()
            runtime.close()
        server.process.terminate()
        assert server.process.wait(30.0) == 0


def test_an_episode_store_without_room_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "episodes.sqlite"
    texts = dict.fromkeys(("name", "kind", "policy", "policy_hash", "suite", "suite_hash"), "x" * 200)
    tables: Any = {name: {} for name in ("suite_content", "references", "versions", "hardware")}
    run = Run(**texts, **tables)
    with EpisodeStore(path) as store:
        first = store.add_run(run)
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages}")

        def fill() -> None:
            for _ in range(10_000):
                store.add_run(run)

        with pytest.raises(UsageError, match="database or disk is full; what was stored before"):
            fill()
        store._db.execute(f"PRAGMA max_page_count = {pages + 100}")  # somebody made room
        later = store.add_run(run)
    assert later > first
    with EpisodeStore(path) as store:
        assert {found.id for found in store.runs()} >= {first, later}
