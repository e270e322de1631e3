"""One process of whole runs over several, on toys. Run by test_ranks.py.

rank_runs_worker.py FOLDER    with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun sets them

Writes FOLDER/<rank>.json. Claims to be on a machine with a GPU: what the config says must count.
"""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import torch
from rich.console import Console
from toy_pool import SIZE, Toy, ToyPool

from universe2.agents import train as train_module
from universe2.agents.collect import Collector
from universe2.agents.config import TaskConfig, TrainConfig
from universe2.agents.distributed import Ranks, leave_ranks

SLOTS = 4


class Owned(Toy):
    """Its screen tells which rank it was made on."""

    def __init__(self, rng, rank):
        super().__init__(rng)
        self.rank = rank

    def reset(self):
        return (100 + self.rank, 0, 0)

    def step(self, action):
        return (100 + self.rank, 0, 0), float(action[0] == 1), bool(self.rng.random() < 0.2), False


class SeededPool(ToyPool):
    """Remembers with which seeds its slots were reset."""

    def __init__(self, rank: int) -> None:
        super().__init__({"toys/Owned-v0": (lambda rng: Owned(rng, rank), SLOTS)}, seed=rank)
        self.seeds: list[int] = []

    def reset(self, seed, group=1):
        self.seeds.append(seed)
        super().reset(seed, group)


def runs(folder: Path) -> dict[str, object]:
    """What this rank saw of a run in lockstep that was resumed, and of one in groups."""
    pools: list[SeededPool] = []
    ranks: list[Ranks] = []
    screens: list[int] = []
    weights: list[float] = []
    collect = Collector.collect

    def open_pool(config, mine):
        ranks.append(mine)
        pools.append(SeededPool(mine.rank))
        return pools[-1]

    def looked_at(self, *arguments):
        segments = collect(self, *arguments)
        screens.extend(int(s.seen["screen"][t, 0, 0, 0]) for s in segments for t in range(5))
        weights.append(self.learner.network.policy.weight.sum().item())
        return segments

    torch.cuda.is_available = lambda: True
    train_module._open_pool = open_pool
    train_module.leave_ranks = lambda: None  # joined once for all three
    Collector.collect = looked_at  # type: ignore[method-assign]
    base = TrainConfig(
        tasks=(TaskConfig(env_id="toys/Owned-v0", slots=SLOTS),),
        out_dir=str(folder / "run"),
        screen_size=SIZE,
        device="cpu",
        precision="float32",
        threads=1,
        rollout=4,
        batch_steps=16,
        minibatches=1,
        epochs=1,
        lockstep=True,
        total_steps=64,
    )
    quiet = Console(file=io.StringIO())
    train_module.train(base, console=quiet)
    torch.distributed.barrier()  # rank 0 has saved
    train_module.train(TrainConfig(**{**vars(base), "total_steps": 128}), resume=True, console=quiet)
    groups = {"algorithm": "group", "group_size": 2, "out_dir": str(folder / "groups")}
    train_module.train(TrainConfig(**{**vars(base), **groups}), console=quiet)
    backend = torch.distributed.get_backend()
    leave_ranks()
    return {
        "backend": backend,
        "device": str(ranks[0].device),
        "owners": [toy.rank for toy in pools[1].toys[0]],
        "screens": sorted(set(screens)),
        "weights": weights,
        "starts": [pool.seeds for pool in pools],
    }


if __name__ == "__main__":
    seen = runs(Path(sys.argv[1]))
    Path(sys.argv[1], f"{os.environ['RANK']}.json").write_text(json.dumps(seen))
