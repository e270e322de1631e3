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
import torch

from universe2.agents.checkpoint import read_checkpoint
from universe2.agents.config import TaskConfig, TrainConfig
from universe2.agents.distributed import join_ranks, own_gpu
from universe2.agents.train import train
from universe2.core.errors import UsageError

WORKER = Path(__file__).with_name("rank_worker.py")
RUNS_WORKER = Path(__file__).with_name("rank_runs_worker.py")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(out, rank, size, port, worker=WORKER):
    here = {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, str(worker), str(out)],
        env=os.environ | here,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_ranks_are_one(tmp_path):
    port = free_port()
    files = [tmp_path / f"{name}.npz" for name in ("alone", "first", "second")]
    processes = [
        start(files[0], 0, 1, port),
        start(files[1], 0, 2, port),
        start(files[2], 1, 2, port),
    ]
    finish(processes)
    alone, first, second = (np.load(file) for file in files)
    for name in alone.files:
        assert first[name] == pytest.approx(alone[name], rel=1e-4, abs=1e-6), name
        assert (first[name] == second[name]).all(), name
    assert len(set(alone["losses"].tolist())) == 3


def finish(processes):
    try:
        said = [process.communicate(timeout=100)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.stderr.close()
    assert not any(process.returncode for process in processes), "\n".join(said)


def test_ranks_play_episodes_of_their_own(tmp_path):
    """Also after a resume, and in groups; and they are joined where the config says, GPU or not."""
    port = free_port()
    finish([start(tmp_path, rank, 2, port, RUNS_WORKER) for rank in (0, 1)])
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for rank, seen in enumerate((first, second)):
        assert (seen["backend"], seen["device"]) == ("gloo", "cpu")
        assert seen["owners"] == [rank] * 4
        assert seen["screens"] == [100 + rank]
    assert first["weights"] == second["weights"]
    assert len(set(first["weights"])) == 5  # two updates each; the third run begins as the first
    # begun; resumed, rank 0 from what it saved; in groups begun again before each update
    assert [len(seeds) for seeds in first["starts"]] == [1, 0, 3]
    assert [len(seeds) for seeds in second["starts"]] == [1, 1, 3]
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for row in rows:  # of both ranks
        assert row.get("task_steps", row["steps"]) == row["steps"]
    assert rows[-1]["steps"] == 128
    mine, others = ({seed for seeds in seen["starts"] for seed in seeds} for seen in (first, second))
    assert not mine & others


@pytest.mark.parametrize("changes", [{"device": "cuda:0"}, {"device": "cuda", "gpus": 1}])
def test_ranks_need_a_gpu_each(changes, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: changes.get("gpus", 2))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    config = TrainConfig(
        tasks=(TaskConfig(env_id="a/B-v0"),), out_dir=str(tmp_path), device=changes["device"]
    )
    with pytest.raises(UsageError, match="own"):
        train(config)


def test_each_rank_has_the_gpu_of_its_number(monkeypatch):
    """And NCCL joins them. Without GPUs here: what PyTorch is asked for."""
    asked = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", asked.append)
    monkeypatch.setattr("torch.distributed.init_process_group", asked.append)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    device = torch.device("cuda", 1)
    assert own_gpu() == device
    assert join_ranks(own_gpu()).device == device
    assert asked == [device, "nccl"]


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
    assert done.stdout.count("checkpoint: ") == 1
    _, meta = read_checkpoint(tmp_path / "run" / "checkpoint")
    assert meta["counts"]["steps"] >= 8000
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    last = {row["task"]: row["task_steps"] for row in rows if "task" in row}
    assert set(last) == {"arcade/Catcher-v0", "arcade/Runner-v0"}
    assert sum(last.values()) == rows[-1]["steps"], "out of lockstep the ranks are not equally far"
