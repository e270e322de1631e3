"""Several processes that train one network do what one does with all of their data."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).with_name("rank_worker.py")


def start(out, rank, size, port):
    here = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(out)],
        env=os.environ | here,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_ranks_are_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = [tmp_path / f"{name}.npz" for name in ("alone", "first", "second")]
    processes = [
        start(files[0], 0, 1, port),
        start(files[1], 0, 2, port),
        start(files[2], 1, 2, port),
    ]
    try:
        for process in processes:
            _, said = process.communicate(timeout=100)
            assert process.returncode == 0, said
    finally:
        for process in processes:
            process.kill()
    alone, first, second = (np.load(file) for file in files)
    for name in alone.files:
        assert first[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-6), name
        assert (first[name] == second[name]).all(), name
    assert len(set(alone["losses"].tolist())) == 3
