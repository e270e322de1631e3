"""One process of a run over several: three updates on its part of each batch. Run by test_ranks.py.

rank_worker.py OUT    with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun sets them
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
from test_golden_ppo import SIZE, segment

from universe2.agents.distributed import join_ranks, leave_ranks
from universe2.agents.learner import Learner, OptimParams
from universe2.agents.losses import PPOLoss
from universe2.agents.model import ModelConfig
from universe2.agents.segments import segment_batch
from universe2.agents.text import TextTable
from universe2.core.screen import ScreenMap


def train(out: Path) -> None:
    torch.set_num_threads(1)
    ranks = join_ranks(torch.device("cpu"))
    learner = Learner(ModelConfig("patch", 4, 16, SIZE, text_dim=8), ["a"], seed=1, ranks=ranks)
    mask = ScreenMap(arrows=("up", "right")).action_mask()
    texts = TextTable()
    texts.rows(["golden"])
    rng = np.random.default_rng(2)
    numbers = []
    for _ in range(3):
        whole = [segment(rng, learner.initial_state(1), mask) for _ in range(6)]
        # uneven parts: four segments here, two there
        mine = whole if ranks.size == 1 else [whole[:4], whole[4:]][ranks.rank]
        metrics = learner.forward_backward(segment_batch(mine, [1.0], texts, learner), PPOLoss())
        learner.optim_step(OptimParams(lr=1e-2)).result()
        numbers.append(metrics.result()["loss/total"])
    assert learner.agree(float(ranks.rank)) == ranks.size - 1
    weights = {name: value.numpy() for name, value in learner.network.state_dict().items()}
    np.savez(out, losses=numbers, square=learner.scales.square.numpy(), **weights)
    learner.close()
    leave_ranks()


if __name__ == "__main__":
    train(Path(sys.argv[1]))
