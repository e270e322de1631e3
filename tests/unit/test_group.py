"""Groups of rollouts from one beginning: how they come about, and what an advantage among them is."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))
from test_golden_ppo import SIZE, segment
from toy_pool import Toy, ToyFault, ToyPool
from toy_run import quiet, toy_config

from universe2.agents.checkpoint import read_checkpoint
from universe2.agents.config import TaskConfig, TrainConfig
from universe2.agents.group import group_minibatches
from universe2.agents.learner import Learner
from universe2.agents.losses import PPOLoss
from universe2.agents.model import ModelConfig
from universe2.agents.returns import Transitions, beyond_the_others, returns_to_go
from universe2.agents.segments import Segment, segment_batch
from universe2.agents.text import TextTable
from universe2.agents.train import train
from universe2.core.errors import UsageError
from universe2.core.screen import ScreenMap
from universe2.faces.make import make_pool


def test_returns_end_with_the_episode_and_skip_faults():
    reward = torch.tensor([[1.0, 2.0, 4.0, 8.0], [1.0, float("nan"), 4.0, 8.0]])
    flags = torch.zeros(2, 4, dtype=torch.bool)
    terminated, truncated, valid = flags.clone(), flags.clone(), ~flags
    terminated[0, 1] = truncated[0, 2] = True
    valid[1, 1] = False
    transitions = Transitions(reward, terminated, truncated, torch.full((2, 4), 99.0), valid)
    found = returns_to_go(transitions, 0.5)
    assert found.tolist() == [[2.0, 2.0, 4.0, 8.0], [1.0, 0.0, 8.0, 8.0]]


def test_the_baseline_is_the_mean_of_the_others():
    returns = torch.tensor([[1.0, 0.0], [4.0, 0.0], [7.0, 3.0], [10.0, 0.0], [20.0, 0.0], [30.0, 0.0]])
    found = beyond_the_others(returns, 3)
    assert found.tolist() == [[-4.5, -1.5], [0.0, -1.5], [4.5, 3.0], [-15.0, 0.0], [0.0, 0.0], [15.0, 0.0]]


def test_neighbours_begin_in_the_same_episode(counting):
    with make_pool({counting.id: 6}) as pool:
        pool.reset(3, group=2)
        seeds = np.zeros(6, np.int64)
        seen = 0
        while seen < 6:
            _, batch = pool.recv(10)
            seeds[batch.slots] = batch.seed
            seen += len(batch)
    assert (seeds[::2] == seeds[1::2]).all()
    assert len(set(seeds)) == 3


def test_minibatches_hold_whole_groups():
    empty = np.zeros(0)
    groups = [[Segment(task, empty, {}, {}, {}, slot) for slot in range(4)] for task in (0, 0, 1, 1)]
    parts = list(group_minibatches(groups, 2, np.random.default_rng(0)))
    assert [len(part) for part in parts] == [8, 8]
    for part in parts:
        assert [segment.slot for segment in part] == [0, 1, 2, 3] * 2
        assert sorted(segment.task for segment in part[::4]) == [0, 1]


def test_groups_need_lockstep_and_slots_that_fit():
    def config(slots, **changes):
        given = {"algorithm": "group", "lockstep": True, "rollout": 8, "batch_steps": 256, "group_size": 8}
        return TrainConfig(tasks=(TaskConfig(env_id="a/B-v0", slots=slots),), out_dir="x", **given | changes)

    assert config(32).quota() == (32,)
    with pytest.raises(UsageError, match="needs lockstep = true"):
        config(32, lockstep=False)
    with pytest.raises(UsageError, match="16 slots, 32 segments per update"):
        config(16)
    with pytest.raises(UsageError, match="the same multiple of group_size = 12"):
        config(32, group_size=12)
    assert config(32, minibatches=4).minibatches == 4
    with pytest.raises(UsageError, match="gives 4 groups of 8 segments, too few for 5 minibatches"):
        config(32, minibatches=5)


@pytest.mark.parametrize(("per_task", "seen"), [(True, [1, 1]), (False, [1, 0])])
def test_one_scale_for_all_tasks(per_task, seen):
    learner = Learner(ModelConfig("patch", 4, 16, SIZE, text_dim=8), ["a", "b"], seed=1)
    mask = ScreenMap(arrows=("up", "right")).action_mask()
    texts = TextTable()
    texts.rows(["golden"])
    rng = np.random.default_rng(2)
    two = [replace(segment(rng, learner.initial_state(1), mask), task=task) for task in (0, 1)]
    batch = segment_batch(two, [1.0, 1.0], texts, learner)
    learner.forward_backward(batch, PPOLoss(scale_per_task=per_task)).result()
    learner.close()
    assert learner.scales.updates.tolist() == seen


class BreaksUnder(Toy):
    """Its third step breaks, in every slot, under the seed with which the first groups begin."""

    def __init__(self, rng, seeds):
        super().__init__(rng)
        self.seeds, self.count = seeds, 0

    def reset(self):
        self.count = 0
        return super().reset()

    def step(self, action):
        self.count += 1
        if self.count == 3 and self.seeds[-1] == self.seeds[:2][-1]:
            raise ToyFault
        return (0, 0, 0), 1.0, False, False


class Seeded(ToyPool):
    def __init__(self, slots):
        self.seeds = []
        super().__init__({"toys/Flaky-v0": (lambda rng: BreaksUnder(rng, self.seeds), slots)})

    def reset(self, seed, group=1):
        self.seeds.append(seed)
        super().reset(seed, group)


def test_what_breaks_under_a_seed_is_not_begun_with_it_for_ever(tmp_path, monkeypatch):
    pool = Seeded(8)
    config = toy_config(tmp_path, monkeypatch)
    monkeypatch.setattr("universe2.agents.train._open_pool", lambda config, ranks: pool)
    group = {"algorithm": "group", "lockstep": True, "group_size": 4, "batch_steps": 64, "total_steps": 256}
    path = train(replace(config, **group), console=quiet())
    assert read_checkpoint(path)[1]["optimizer_steps"] > 0
    assert len(set(pool.seeds)) == len(pool.seeds)
