"""Returns, values and masked distributions against hand-computed cases and naive code."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from universe2.agents.losses import TaskScales, action_log_prob, entropy, masked_log_probs, sample_action
from universe2.agents.returns import Transitions, bins, decode_value, gae, two_hot, vtrace
from universe2.core.screen import NVEC

LIMIT, COUNT = 9.0, 127


def transitions(reward, terminated=(), truncated=(), invalid=(), final=0.0):
    size = len(reward)

    def at(places):
        return torch.tensor([[i in places for i in range(size)]])

    return Transitions(
        torch.tensor([reward], dtype=torch.float64),
        at(terminated),
        at(truncated),
        torch.full((1, size), final, dtype=torch.float64),
        ~at(invalid),
    )


def test_gae_by_hand():
    value = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    found = gae(transitions([10.0, 20.0]), value, gamma=0.5, lam=0.5)
    second = 20 + 0.5 * 3 - 2  # 19.5
    first = 10 + 0.5 * 2 - 1 + 0.25 * second
    assert found.advantage.tolist() == [[pytest.approx(first), pytest.approx(second)]]
    assert found.value.tolist() == [[pytest.approx(1 + first), pytest.approx(2 + second)]]


def test_termination_has_no_future_and_truncation_has_the_final_observations():
    value = torch.tensor([[1.0, 7.0, 7.0]], dtype=torch.float64)
    ended = gae(transitions([5.0, 0.0], terminated=[0], final=100.0), value, 0.5, 1.0)
    cut = gae(transitions([5.0, 0.0], truncated=[0], final=100.0), value, 0.5, 1.0)
    assert ended.value[0, 0] == 5.0
    assert cut.value[0, 0] == 5.0 + 0.5 * 100.0


def test_nothing_crosses_a_fault():
    value = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    found = gae(transitions([1.0, math.nan, 1.0], invalid=[1]), value, 0.5, 0.9)
    assert found.advantage[0, 1] == 0
    assert found.value[0, 1] == 2.0
    assert found.advantage[0, 0] == 1 + 0.5 * 2 - 1
    assert found.advantage[0, 2] == 1 + 0.5 * 4 - 3


def naive_vtrace(t, value, ratio, gamma, lam):
    """The definition, target by target: a sum over the future with products of clipped ratios.

    And the advantages: the same without the first step's own ratio, less the value.
    """
    size = t.reward.shape[1]
    ends = (t.terminated | t.truncated | ~t.valid)[0].tolist()
    targets, advantages = [], []
    for s in range(size):
        total, weight = 0.0, 1.0
        advantage, later = 0.0, 1.0
        for k in range(s, size):
            if not t.valid[0, k]:
                break
            after = value[0, k + 1].item()
            if t.truncated[0, k]:
                after = t.final_value[0, k].item()
            if t.terminated[0, k]:
                after = 0.0
            delta = t.reward[0, k].item() + gamma * after - value[0, k].item()
            clipped = min(1.0, ratio[0, k].item())
            total += weight * clipped * delta
            advantage += delta if k == s else later * clipped * delta
            if ends[k]:
                break
            weight *= gamma * lam * clipped
            later *= gamma * lam * (1.0 if k == s else clipped)
        targets.append(value[0, s].item() + total)
        advantages.append(advantage)
    return targets, advantages


numbers = st.floats(-5, 5)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 8))
def test_vtrace_is_its_definition(data, size):
    reward = data.draw(st.lists(numbers, min_size=size, max_size=size))
    value = torch.tensor(
        [data.draw(st.lists(numbers, min_size=size + 1, max_size=size + 1))], dtype=torch.float64
    )
    ratio = torch.tensor(
        [data.draw(st.lists(st.floats(0.1, 3), min_size=size, max_size=size))], dtype=torch.float64
    )
    places = st.sets(st.integers(0, size - 1))
    truncated = data.draw(places)
    terminated = data.draw(places) - truncated
    t = transitions(reward, terminated, truncated, data.draw(places), data.draw(numbers))
    found = vtrace(t, value, ratio, 0.9, 0.8)
    targets, advantages = naive_vtrace(t, value, ratio, 0.9, 0.8)
    assert found.value[0].tolist() == pytest.approx(targets)
    assert found.advantage[0].tolist() == pytest.approx(advantages, rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(st.floats(-8000, 8000))
def test_two_hot_keeps_the_value(value):
    hot = two_hot(torch.tensor([value], dtype=torch.float64), COUNT, LIMIT)
    assert hot.sum().item() == pytest.approx(1)
    assert (hot > 0).sum() <= 2
    assert (hot >= 0).all()
    assert (hot * bins(COUNT, LIMIT).double()).sum().item() == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_values_beyond_the_bins_count_as_the_last():
    hot = two_hot(torch.tensor([1e9, -1e9]), COUNT, LIMIT)
    assert hot[0, -1] == 1
    assert hot[1, 0] == 1


def test_decoding_inverts_the_coding():
    value = torch.tensor([0.0, 0.3, -2.5, 40.0])
    logits = two_hot(value, COUNT, LIMIT).clamp(min=1e-12).log()
    assert decode_value(logits, LIMIT).tolist() == pytest.approx(value.tolist(), rel=1e-3, abs=1e-3)


masks = st.lists(st.booleans(), min_size=sum(NVEC), max_size=sum(NVEC))


@settings(deadline=None, max_examples=25)
@given(masks, st.integers(0, 2**31 - 1))
def test_masked_parts_are_categorical_over_the_live_choices(mask, seed):
    mask = np.array(mask)
    mask[np.cumsum([0, *NVEC[:-1]])] = True
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(1, sum(NVEC), generator=generator)
    logits = raw.masked_fill(~torch.tensor(mask), -torch.inf).requires_grad_()
    action = sample_action(logits, generator)
    parts = masked_log_probs(logits)
    log_prob, nats = 0.0, 0.0
    starts = np.cumsum([0, *NVEC])
    for i, (a, b) in enumerate(pairwise(starts)):
        live = np.flatnonzero(mask[a:b])
        assert action[0, i].item() in live
        weights = np.exp(raw[0, a:b].numpy().astype(np.float64)[live])
        chances = weights / weights.sum()
        log_prob += math.log(chances[list(live).index(action[0, i].item())])
        nats -= float((chances * np.log(chances)).sum())
    assert action_log_prob(parts, action).item() == pytest.approx(log_prob, abs=1e-4)
    assert entropy(parts).item() == pytest.approx(nats, abs=1e-4)
    (entropy(parts) + action_log_prob(parts, action)).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_advantages_of_each_task_come_to_the_same_size():
    generator = torch.Generator().manual_seed(0)
    scales, task = TaskScales(3), torch.tensor([0, 1, 0, 1])
    size = torch.tensor([200.0, 0.5, 200.0, 0.5])
    for _ in range(40):
        advantage = size[:, None] * torch.randn(4, 64, generator=generator)
        valid = torch.rand(4, 64, generator=generator) < 0.7
        scale = scales.update(advantage, valid, task)
        scaled = (advantage / scale[:, None])[valid]
        assert float(scaled.square().mean().sqrt()) == pytest.approx(1.0, abs=0.3)
    assert float(scale[0] / scale[1]) == pytest.approx(400, rel=0.1)
    assert scales.square[2] == 0  # nothing was seen of the third
