"""Training on thousands of slots of several tasks, on two servers."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from started_server import metric, start

from universe2.agents.config import TaskConfig, TrainConfig
from universe2.agents.train import train

SLOTS = {"arcade/Catcher-v0": 1200, "arcade/Runner-v0": 800}


def test_two_thousand_remote_slots_are_trained_on(tmp_path: Path) -> None:
    """About half by each server; and each task has what an update takes of it."""
    with ExitStack() as stack:
        servers = [start(slots=1000), start(slots=1000)]
        for server in servers:
            stack.callback(server.stop, 1.0)
        config = TrainConfig(
            tasks=tuple(TaskConfig(env_id=env_id, slots=count) for env_id, count in SLOTS.items()),
            remotes=tuple(server.address for server in servers),
            out_dir=str(tmp_path / "run"),
            screen_size=(32, 32),
            rollout=2,
            batch_steps=4000,
            minibatches=4,
            epochs=1,
            total_steps=12_000,
        )
        path = train(config, console=Console(file=io.StringIO()))
        played = [metric(server, "steps_total") for server in servers]
    assert min(played) >= 0.4 * sum(played) > 0.4 * 12_000
    rows = [json.loads(line) for line in path.with_name("metrics.jsonl").read_text("utf-8").splitlines()]
    last = {row["task"]: row["task_steps"] for row in rows if "task" in row}
    assert min(last.values()) >= 4000
    assert sum(last.values()) == rows[-1]["steps"] >= 12_000
