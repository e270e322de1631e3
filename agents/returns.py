"""Returns, advantages and the coding of values: pure functions of tensors.

Boundaries: a terminated transition is worth its reward alone; a truncated one bootstraps with
the value of the episode's final observation; an invalid one (it ended in a fault) has no
target, and nothing flows across it.

Suffixes: N sequences, T transitions, V bins.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Transitions(NamedTuple):
    """What happened after each of T observations, batch first; all (N, T)."""

    reward: Tensor
    """float32; any finite number where not ``valid``"""
    terminated: Tensor
    truncated: Tensor
    final_value: Tensor
    """float32: value of the final observation where ``truncated``"""
    valid: Tensor
    """bool: False where the transition ended in a fault"""


class Targets(NamedTuple):
    """value: what V should have been; advantage: how much better the action was; both (N, T)."""

    value: Tensor
    advantage: Tensor


def next_values(transitions: Transitions, value_NS: Tensor) -> Tensor:
    """(N, T): the value after each transition, given values of T + 1 observations."""
    after = torch.where(transitions.truncated, transitions.final_value, value_NS[:, 1:])
    return torch.where(transitions.terminated, 0.0, after)


def vtrace(
    transitions: Transitions,
    value_NS: Tensor,
    ratio_NT: Tensor,
    gamma: float,
    lam: float = 1.0,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
) -> Targets:
    """V-trace (Espeholt et al., 2018) with λ. ``value_NS`` has T + 1 columns.

    ``ratio_NT`` is π(a) / μ(a) of the policy to be valued over the one that acted. Where it is
    1, the advantage is exactly GAE(λ).
    """
    after = next_values(transitions, value_NS)
    rho = ratio_NT.clamp(max=clip_rho)
    carry = gamma * lam * ratio_NT.clamp(max=clip_c)
    carry = carry * ~(transitions.terminated | transitions.truncated | ~transitions.valid)
    reward = torch.where(transitions.valid, transitions.reward, 0.0)
    error = reward + gamma * after - value_NS[:, :-1]
    delta = torch.where(transitions.valid, rho * error, 0.0)
    total = torch.zeros_like(delta[:, 0])
    corrections = []
    for delta_t, carry_t in zip(delta.unbind(1)[::-1], carry.unbind(1)[::-1], strict=True):
        total = delta_t + carry_t * total
        corrections.append(total)
    correction = torch.stack(corrections[::-1], 1)
    # the action's own ratio is left to the policy loss; what comes after it is corrected
    later = torch.cat([correction[:, 1:], torch.zeros_like(correction[:, :1])], 1)
    inside = ~(transitions.terminated | transitions.truncated)
    advantage = torch.where(transitions.valid, error + gamma * lam * inside * later, 0.0)
    return Targets(value_NS[:, :-1] + correction, advantage)


def gae(transitions: Transitions, value_NS: Tensor, gamma: float, lam: float) -> Targets:
    """Generalised advantage estimation (Schulman et al., 2016): V-trace on the policy's own data."""
    return vtrace(transitions, value_NS, torch.ones_like(transitions.reward), gamma, lam)


def returns_to_go(transitions: Transitions, gamma: float) -> Tensor:
    """(N, T): discounted rewards from each transition to its episode's end or the last transition."""
    reward = torch.where(transitions.valid, transitions.reward, 0.0)
    carry = gamma * ~(transitions.terminated | transitions.truncated | ~transitions.valid)
    total = torch.zeros_like(reward[:, 0])
    found = []
    for reward_t, carry_t in zip(reward.unbind(1)[::-1], carry.unbind(1)[::-1], strict=True):
        total = reward_t + carry_t * total
        found.append(total)
    return torch.stack(found[::-1], 1)


def beyond_the_others(returns_NT: Tensor, group: int) -> Tensor:
    """(N, T): by how much each return exceeds the mean of the other ``group`` - 1 at the same time.

    Rows [0, group) are one group, and so on: rollouts from the same state that know nothing of
    each other. Then the others' mean doesn't depend on the action, so as a baseline it adds no bias.
    """
    grouped = returns_NT.view(-1, group, returns_NT.shape[1])
    others = (grouped.sum(1, keepdim=True) - grouped) / (group - 1)
    return (grouped - others).view_as(returns_NT)


def symlog(x: Tensor) -> Tensor:
    """sign(x) · ln(1 + |x|)."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x: Tensor) -> Tensor:
    """The inverse of symlog."""
    return torch.sign(x) * torch.expm1(torch.abs(x))


def bins(count: int, limit: float, device: torch.device | None = None) -> Tensor:
    """(V,) returns, evenly spaced in symlog space from -limit to limit; odd counts hold 0."""
    return symexp(torch.linspace(-limit, limit, count, device=device))


def two_hot(value: Tensor, count: int, limit: float) -> Tensor:
    """(…,) values → (…, V) probabilities on the two bins around each, with the value as their mean.

    Values beyond the last bins count as those.
    """
    positions = bins(count, limit, value.device).to(value.dtype)
    value = value.clamp(positions[0], positions[-1])
    upper = torch.searchsorted(positions, value.detach().contiguous(), right=True).clamp(1, count - 1)
    below, above = positions[upper - 1], positions[upper]
    weight = ((value - below) / (above - below)).unsqueeze(-1)
    target = torch.zeros(*value.shape, count, device=value.device, dtype=value.dtype)
    target.scatter_(-1, (upper - 1).unsqueeze(-1), 1 - weight)
    return target.scatter_(-1, upper.unsqueeze(-1), weight)


def decode_value(logits: Tensor, limit: float) -> Tensor:
    """(…, V) logits → (…,) values: the mean of the bins."""
    return (logits.softmax(-1) * bins(logits.shape[-1], limit, logits.device)).sum(-1)
