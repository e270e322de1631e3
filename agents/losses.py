"""Losses: functions of what the network says and of a batch of segments.

A loss is called as ``loss(output, batch, scales)`` and returns (scalar, metrics). Per-task
statistics (``TaskScales``) reach the advantage's scale only: never the policy's input, never
the targets of the value. This file doesn't know optimisers or environments.

Suffixes: N sequences, T transitions, S = T + 1 observations, A = 209 choices, P = 5 parts, K tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from universe2.agents.model import Observation, Output, State
from universe2.agents.returns import Targets, Transitions, decode_value, two_hot, vtrace
from universe2.core.screen import NVEC


@dataclass(frozen=True)
class SegmentBatch:
    """N segments of T transitions, on the learner's device. ``obs`` holds S = T + 1 observations."""

    obs: Observation
    state: State
    """before the first observation"""
    action: Tensor
    """int64 (N, T, P)"""
    expert: Tensor
    """int64 (N, T, P): what an expert would have done; -1 where nobody says"""
    log_prob: Tensor
    """float32 (N, T): of the policy that acted"""
    transitions: Transitions
    task: Tensor
    """int64 (N,)"""
    weight: Tensor
    """float32 (N,): of each transition of the segment in the loss"""


Metrics = dict[str, float]
Loss = Callable[[Output, SegmentBatch, "TaskScales"], tuple[Tensor, dict[str, Tensor]]]


def masked_log_probs(logits: Tensor) -> tuple[Tensor, ...]:
    """(…, A) logits, -inf where dead → log-probabilities of each of the P parts."""
    return tuple(part.log_softmax(-1) for part in torch.split(logits, list(NVEC), -1))


def action_log_prob(parts: tuple[Tensor, ...], action: Tensor) -> Tensor:
    """log π(action), summed over the parts: (…, P) int64 → (…,)."""
    chosen = [part.gather(-1, action[..., i : i + 1]) for i, part in enumerate(parts)]
    return torch.cat(chosen, -1).sum(-1)


def imitation(parts: tuple[Tensor, ...], expert: Tensor) -> Tensor:
    """(…,) -log π(expert's action), 0 where there is none. It must be live where it is given."""
    said = (expert >= 0).all(-1)
    return torch.where(said, -action_log_prob(parts, expert.clamp(min=0)), 0.0)


def entropy(parts: tuple[Tensor, ...]) -> Tensor:
    """(…,) nats, summed over the parts; dead choices count for nothing."""
    # -inf · 0 is NaN, also in the gradient: dead choices are set to a finite number first.
    finite = [part.masked_fill(part == -torch.inf, 0.0) for part in parts]
    terms = [(f * part.exp()).sum(-1) for f, part in zip(finite, parts, strict=True)]
    return -torch.stack(terms, -1).sum(-1)


def sample_action(logits: Tensor, generator: torch.Generator) -> Tensor:
    """(N, A) logits → int64 (N, P) actions; dead choices are never drawn (Gumbel-max)."""
    uniform = torch.rand(logits.shape, generator=generator, device=logits.device)
    noisy = logits - torch.log(-torch.log(uniform.clamp(1e-10, 1 - 1e-7)))
    return torch.stack([part.argmax(-1) for part in torch.split(noisy, list(NVEC), -1)], -1)


class TaskScales:
    """A running root mean square of the advantages of each of K tasks."""

    def __init__(self, count: int, rate: float = 0.02, floor: float = 0.01) -> None:
        self.square = torch.zeros(count, dtype=torch.float64)
        self.updates = torch.zeros(count, dtype=torch.float64)
        self._rate, self._floor = rate, floor

    def update(self, advantage_NT: Tensor, valid_NT: Tensor, task_N: Tensor) -> Tensor:
        """Take the batch in; (N,) what to divide each segment's advantages by."""
        sums_N = torch.stack([(advantage_NT.square() * valid_NT).sum(1), valid_NT.sum(1)])
        stats = torch.zeros(2, len(self.square), device=advantage_NT.device)
        stats.index_add_(1, task_N, sums_N.float())
        totals, counts = stats.cpu().double()
        seen = counts > 0
        self.updates += seen
        # plain averaging at first, then exponential forgetting
        rate = torch.where(seen, (1 / self.updates.clamp(min=1)).clamp(min=self._rate), 0.0)
        self.square += rate * (totals / counts.clamp(min=1) - self.square)
        scale = self.square.sqrt().clamp(min=self._floor).to(advantage_NT)
        return scale[task_N]


@dataclass(frozen=True)
class PPOLoss:
    """Clipped policy optimisation on V-trace targets that are computed afresh in every call.

    With ``imitation_coef`` > 0 the policy is also drawn to what the expert would have done in
    the states that it reached itself (Ross et al., 2011; Schmitt et al., 2018), where one says it.
    """

    clip: float = 0.2
    gamma: float = 0.99
    lam: float = 0.95
    value_coef: float = 0.5
    entropy_coef: float = 0.01
    value_limit: float = 9.0
    imitation_coef: float = 0.0

    def __call__(
        self, output: Output, batch: SegmentBatch, scales: TaskScales
    ) -> tuple[Tensor, dict[str, Tensor]]:
        valid = batch.transitions.valid
        parts = masked_log_probs(output.logits[:, :-1])
        log_ratio = action_log_prob(parts, batch.action) - batch.log_prob
        targets = self._targets(output, batch, log_ratio)
        scale_N = scales.update(targets.advantage, valid, batch.task)
        advantage = targets.advantage / scale_N[:, None]
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        policy = -torch.minimum(ratio * advantage, clipped * advantage)
        value_logits = output.value_logits[:, :-1]
        hot = two_hot(targets.value, value_logits.shape[-1], self.value_limit)
        value = -(hot * value_logits.log_softmax(-1)).sum(-1)
        nats = entropy(parts)
        weight = batch.weight[:, None] * valid
        total = weight.sum().clamp(min=1e-8)

        def mean(x: Tensor) -> Tensor:
            return (weight * torch.where(valid, x, 0.0)).sum() / total

        loss = mean(policy + self.value_coef * value - self.entropy_coef * nats)
        if self.imitation_coef:
            loss = loss + self.imitation_coef * mean(imitation(parts, batch.expert))
        with torch.no_grad():
            metrics = {
                "loss/policy": mean(policy),
                "loss/value": mean(value),
                "loss/entropy": mean(nats),
                "loss/kl": mean(ratio - 1 - log_ratio),
                "loss/clipped": mean((ratio != clipped).float()),
            }
        return loss, metrics

    def _targets(self, output: Output, batch: SegmentBatch, log_ratio: Tensor) -> Targets:
        with torch.no_grad():
            value_NS = decode_value(output.value_logits, self.value_limit)
            return vtrace(batch.transitions, value_NS, log_ratio.exp(), self.gamma, self.lam)
