"""Several processes that train one network do what one does with all of their data."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from universe2.agents.checkpoint import read_checkpoint

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


@pytest.mark.slow
def test_torchrun_trains_with_the_command_line(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        f'out_dir = "{tmp_path}/run"\ntotal_steps = 8000\nbatch_steps = 1024\n'
        '[tasks."arcade/Catcher-v0"]\nslots = 8\n[tasks."arcade/Runner-v0"]\nslots = 8\n'
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "universe2", "train", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("checkpoint: ") == 2
    _, meta = read_checkpoint(tmp_path / "run" / "checkpoint")
    assert meta["counts"]["steps"] >= 8000
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {row["task"] for row in rows if "task" in row} == {"arcade/Catcher-v0", "arcade/Runner-v0"}
