"""The numbers of three updates at a fixed seed, of each loss: a refactoring that changes them says so."""

from __future__ import annotations

import numpy as np
import pytest

from universe2.agents.cloning import CloningLoss
from universe2.agents.group import GroupLoss
from universe2.agents.learner import Learner, OptimParams
from universe2.agents.losses import PPOLoss, VTraceLoss
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


@pytest.mark.parametrize(
    ("loss", "names", "off_policy", "golden"),
    [
        (PPOLoss(), ("loss/policy", "loss/value", "loss/entropy"), 0.0, "PPO"),
        (VTraceLoss(), ("loss/policy", "loss/value", "loss/entropy"), 0.5, "VTRACE"),
        (GroupLoss(group=2), ("loss/policy", "loss/entropy", "loss/total"), 0.5, "GROUP"),
        (CloningLoss(), ("loss/cloning", "loss/value", "loss/total"), 0.0, "CLONING"),
    ],
    ids=("ppo", "vtrace", "group", "cloning"),
)
def test_three_updates(loss, names, off_policy, golden):
    """``off_policy``: by so much the policy that acted gave other log-probabilities than it might."""
    learner = Learner(ModelConfig("patch", 4, 16, SIZE, text_dim=8), ["a"], seed=1)
    rng = np.random.default_rng(2)
    mask = ScreenMap(arrows=("up", "right")).action_mask()
    texts = TextTable()
    texts.rows(["golden"])
    found = []
    for _ in range(3):
        parts = [segment(rng, learner.initial_state(1), mask) for _ in range(N)]
        for part in parts:
            part.done["log_prob"] += off_policy * rng.normal(size=T).astype(np.float32) if off_policy else 0
        metrics = learner.forward_backward(segment_batch(parts, [1.0], texts, learner), loss)
        norm = learner.optim_step(OptimParams(lr=1e-2)).result()["optim/grad_norm"]
        numbers = metrics.result()
        found.append([*(numbers[name] for name in names), norm])
    learner.close()
    assert np.array(found) == pytest.approx(np.array(GOLDEN[golden]), rel=1e-3, abs=1e-4), found


GOLDEN = {
    "PPO": [
        [-0.333126, 3.199638, 1.098611, 0.478411],
        [0.075395, 3.164188, 1.097277, 0.612009],
        [-0.551206, 3.146404, 1.095724, 0.814779],
    ],
    "VTRACE": [
        [0.29109, 3.050715, 1.098611, 0.454249],
        [0.081893, 2.933002, 1.096694, 0.338013],
        [-0.247642, 2.995067, 1.094806, 0.446617],
    ],
    "GROUP": [
        [0.118965, 1.098611, 0.107979, 0.436949],
        [0.012393, 1.096588, 0.001427, 0.370682],
        [0.038861, 1.096292, 0.027898, 0.299192],
    ],
    "CLONING": [
        [1.098493, 3.199726, 1.898424, 0.329814],
        [1.084216, 3.201027, 1.884473, 0.395878],
        [1.113197, 3.161494, 1.90357, 0.718419],
    ],
}
