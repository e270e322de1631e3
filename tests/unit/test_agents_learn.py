"""Each thing that the agent must be able to do, as a task that it learns in seconds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_pool import BLACK, BLUE, GREEN, RED, SIZE, Toy, ToyPool

from universe2.agents.collect import Collector, CollectParams
from universe2.agents.config import TaskConfig, TrainConfig
from universe2.agents.group import train_group
from universe2.agents.learner import Learner
from universe2.agents.model import ModelConfig
from universe2.agents.ppo import train_ppo
from universe2.agents.sampler import Sampler
from universe2.agents.vtrace import train_vtrace
from universe2.core.screen import ARROWS, KEYS, ScreenMap

UP, DOWN = ARROWS.index("up"), ARROWS.index("down")


class Memory(Toy):
    """A colour is shown, then black for two steps; the answer is asked for at the last."""

    def reset(self):
        self.answer = self.rng.choice([UP, DOWN])
        self.left = 3
        return RED if self.answer == UP else BLUE

    def step(self, action):
        self.left -= 1
        over = self.left == 0
        return BLACK, float(over and action[0] == self.answer), over, False


class Keyboard(Toy):
    """One of three keys is right, and which one the instruction says."""

    live = ScreenMap(keys=("a", "b", "c"))

    def reset(self):
        self.key = str(self.rng.choice(["a", "b", "c"]))
        self.instruction = f"press the key {self.key}"
        return GREEN

    def step(self, action):
        assert KEYS[action[1]] in ("none", "a", "b", "c")
        assert not action[[0, 2, 3, 4]].any()
        return BLACK, float(KEYS[action[1]] == self.key), True, False


class Loud(Toy):
    """The colour says which arrow is worth a thousand."""

    worth = 1000.0

    def reset(self):
        self.answer = self.rng.choice([UP, DOWN])
        return RED if self.answer == UP else BLUE

    def step(self, action):
        return BLACK, self.worth * (action[0] == self.answer), True, False


class Delayed(Toy):
    """The first action decides about the reward, which comes four steps later."""

    def reset(self):
        self.step_count, self.good = 0, False
        return RED

    def step(self, action):
        if self.step_count == 0:
            self.good = action[0] == UP
        self.step_count += 1
        over = self.step_count == 5
        return BLACK, 2.0 * (over and self.good), over, False


class Endless(Toy):
    """Reward 1 for ever, cut every five steps by a time limit, which the screen shows."""

    def reset(self):
        self.step_count = 0
        return BLACK

    def step(self, action):
        self.step_count += 1
        return (0, 0, 40 * self.step_count), 1.0, False, self.step_count == 5


class Outdated(Sampler):
    """A policy that hears of every eighth change of the weights only."""

    heard = 0

    def take_weights(self, network, version):
        self.heard += 1
        if self.heard % 8 == 0:
            super().take_weights(network, version)


def run(tasks, updates, script=train_ppo, outdated=False, bases=0, **changes):
    """Train on toys; (learner, collector)."""
    torch.set_num_threads(1)
    names = list(tasks)
    config = TrainConfig(
        tasks=tuple(TaskConfig(env_id=name, slots=tasks[name][1]) for name in names),
        out_dir="",
        screen_size=SIZE,
        **{"rollout": 8, "batch_steps": 256, "minibatches": 2, "epochs": 2, "lr": 4e-3} | changes,
    )
    learner = Learner(ModelConfig("patch", 4, 64, SIZE, text_dim=16, bases=bases), names, config.seed)
    params = CollectParams(config.rollout, config.quota(), lockstep=config.lockstep)
    sampler = None
    if outdated:
        sampler = learner.snapshot().result()
        sampler.__class__ = Outdated
    collector = Collector(ToyPool(tasks), learner, params, sampler)
    collector.start(0)
    collector.lags = []

    def after_update(metrics):
        collector.lags.append(metrics["policy_lag"])

    script(learner, collector, config, lambda: len(collector.lags) / updates, after_update)
    if sampler is not None:
        sampler.close()
    learner.close()
    return learner, collector


def mean_score(collector, task):
    return np.mean([e.score for e in collector.episodes[task]])


def test_memory_across_blank_screens():
    _, collector = run({"memory": (Memory, 32)}, 40)
    assert mean_score(collector, 0) > 0.9  # 0.5 without memory


def test_masked_keys_from_an_instruction():
    _, collector = run({"keys": (Keyboard, 32)}, 30)
    assert mean_score(collector, 0) > 0.9  # 0.25 at random


def test_delayed_reward():
    _, collector = run({"delayed": (Delayed, 32)}, 20)
    assert mean_score(collector, 0) > 1.8


def test_a_truncated_episode_is_worth_what_would_have_come():
    gamma = 0.8
    learner, collector = run({"endless": (Endless, 32)}, 50, gamma=gamma, entropy_coef=0.0)
    lane = collector.lanes[0]
    slots = np.arange(32)
    state = {name: value[slots] for name, value in lane.state.items()}
    values = learner._sampler._values(lane.observations(slots), state)
    # 5 if truncation bootstraps; at most 3.4 (five more rewards) if it were an end
    assert values.mean() == pytest.approx(1 / (1 - gamma), abs=0.6)


def test_stale_data_is_corrected_for():
    """By V-trace alone, without clipping."""
    _, collector = run({"keys": (Keyboard, 32)}, 40, train_vtrace, outdated=True, minibatches=4)
    assert 3 < np.mean(collector.lags) < 20  # optimiser steps between acting and learning
    assert mean_score(collector, 0) > 0.8


def test_without_a_critic():
    groups = {"algorithm": "group", "lockstep": True, "group_size": 8}
    _, collector = run({"delayed": (Delayed, 32)}, 20, train_group, **groups)
    assert mean_score(collector, 0) > 1.8


@pytest.mark.parametrize("per_task", [True, False])
def test_a_task_of_small_rewards_beside_one_of_large_ones(per_task):
    """With one scale for both the quiet one isn't heard."""
    tasks = {"loud": (Loud, 16), "quiet": (Keyboard, 16)}
    _, collector = run(tasks, 45, batch_steps=512, scale_per_task=per_task)
    assert mean_score(collector, 0) > 0.9 * Loud.worth
    assert (mean_score(collector, 1) > 0.8) == per_task


def test_two_tasks_at_once_with_an_encoder_mixed_for_each():
    tasks = {"keys": (Keyboard, 16), "delayed": (Delayed, 16)}
    _, collector = run(tasks, 30, batch_steps=512, bases=3)
    assert mean_score(collector, 0) > 0.85
    assert mean_score(collector, 1) > 1.7
    assert collector.steps[0] == pytest.approx(collector.steps[1], rel=0.1)
