"""The numbers of three PPO updates at a fixed seed: a refactoring that changes them says so."""

from __future__ import annotations

import numpy as np
import pytest

from universe2.agents.learner import Learner, OptimParams
from universe2.agents.losses import PPOLoss
from universe2.agents.model import ModelConfig
from universe2.agents.segments import Segment, segment_batch
from universe2.agents.text import TextTable
from universe2.core.screen import ScreenMap

SIZE, T, N = (32, 32), 8, 4


def segment(rng, state, mask):
    seen = {
        "screen": rng.integers(0, 256, (T + 1, *SIZE, 3), dtype=np.uint8),
        "text": np.zeros(T + 1, np.int32),
        "first": rng.random(T + 1) < 0.2,
        "prev_action": np.zeros((T + 1, 5), np.int64),
        "prev_reward": rng.random(T + 1).astype(np.float32),
        "expert": np.full((T + 1, 5), -1),
    }
    done = {
        "action": np.stack([rng.integers(0, 3, T), *np.zeros((4, T), np.int64)], 1),
        "log_prob": np.full(T, -1.1, np.float32),
        "reward": rng.normal(size=T).astype(np.float32),
        "terminated": rng.random(T) < 0.1,
        "truncated": rng.random(T) < 0.1,
        "final_value": rng.random(T).astype(np.float32),
        "valid": rng.random(T) < 0.9,
        "version": np.zeros(T, np.int64),
    }
    return Segment(0, mask, seen, done, {name: value[0] for name, value in state.items()})


def test_three_updates():
    learner = Learner(ModelConfig("patch", 4, 16, SIZE, text_dim=8), ["a"], seed=1)
    rng = np.random.default_rng(2)
    mask = ScreenMap(arrows=("up", "right")).action_mask()
    texts = TextTable()
    texts.rows(["golden"])
    found = []
    for _ in range(3):
        parts = [segment(rng, learner.initial_state(1), mask) for _ in range(N)]
        metrics = learner.forward_backward(segment_batch(parts, [1.0], texts, learner), PPOLoss())
        norm = learner.optim_step(OptimParams(lr=1e-2)).result()["optim/grad_norm"]
        numbers = metrics.result()
        found.append([numbers["loss/policy"], numbers["loss/value"], numbers["loss/entropy"], norm])
    learner.close()
    assert np.array(found) == pytest.approx(np.array(GOLDEN), rel=1e-3, abs=1e-4), found


GOLDEN = [
    [-0.333126, 3.199638, 1.098611, 0.478411],
    [0.075395, 3.164188, 1.097277, 0.612009],
    [-0.551206, 3.146404, 1.095724, 0.814779],
]
