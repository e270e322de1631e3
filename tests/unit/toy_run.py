"""A whole training run on toys, small enough to be one of many in a test."""

from __future__ import annotations

import io

from rich.console import Console
from toy_pool import SIZE, Toy, ToyFault, ToyPool

from universe2.agents import train as train_module
from universe2.agents.config import TaskConfig, TrainConfig


class Flaky(Toy):
    """Breaks now and then; asks for ``up``."""

    def step(self, action):
        if self.rng.random() < 0.05:
            raise ToyFault
        return (0, 0, 0), float(action[0] == 1), True, False


class BreaksOnce(Toy):
    """Breaks at the step of that number, if any."""

    breaks_at = 0
    count = 0

    def step(self, action):
        self.count += 1
        if self.count == self.breaks_at:
            raise ToyFault
        return (0, 0, 0), 1.0, True, False


def toy_config(tmp_path, monkeypatch):
    """A run of moments, once its pool is made of toys."""
    toys = {"toys/Flaky-v0": (Flaky, 8)}
    monkeypatch.setattr(train_module, "_open_pool", lambda config, ranks: ToyPool(toys))
    monkeypatch.setattr(train_module, "_LOG_S", 0.0)
    return TrainConfig(
        tasks=(TaskConfig(env_id="toys/Flaky-v0", slots=8),),
        out_dir=str(tmp_path / "run"),
        screen_size=SIZE,
        total_steps=600,
        rollout=8,
        batch_steps=128,
        minibatches=2,
        epochs=1,
    )


def quiet():
    return Console(file=io.StringIO())
