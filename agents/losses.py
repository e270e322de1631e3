"""Losses: functions of what the network says and of a batch of segments.

A loss is called as ``loss(output, batch, scales)`` and returns (scalar, metrics): each a scalar
that is a mean of the whole batch, or (K,) its part of each task (``SegmentBatch.by_task``). Per-task
statistics (``TaskScales``) reach the advantage's scale only: never the policy's input, never
the targets of the value. This file doesn't know optimisers or environments.

Suffixes: N sequences, T transitions, S = T + 1 observations, A = 209 choices, P = 5 parts, K tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from universe2.agents.config import TrainConfig
from universe2.agents.distributed import Ranks
from universe2.agents.model import Observation, Output, State, thumbnail
from universe2.agents.returns import Targets, Transitions, decode_value, two_hot, vtrace
from universe2.core.errors import UsageError
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
    """float32 (N,): of each transition of the segment in the loss. As the loss gets them, those
    of all valid transitions (of all ranks) sum to 1, so that a weighted sum is a mean."""

    def mean(self, x_NT: Tensor) -> Tensor:
        """The weighted mean over the valid transitions; what others hold doesn't matter."""
        return self._weighted(x_NT).sum()

    def by_task(self, x_NT: Tensor, count: int) -> Tensor:
        """float32 (count,): what the transitions of each of so many tasks add to ``mean``."""
        sums_N = self._weighted(x_NT).sum(1)
        return torch.zeros(count, device=sums_N.device).index_add(0, self.task, sums_N)

    def _weighted(self, x_NT: Tensor) -> Tensor:
        valid = self.transitions.valid
        return self.weight[:, None] * valid * torch.where(valid, x_NT, 0.0)


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


SCALE_RATE = 0.02
"""Weight of a batch in a task's running scale, once it has seen many."""
SCALE_FLOOR = 0.01
"""No advantages are enlarged by more than a hundred times."""


class TaskScales:
    """A running root mean square of the advantages of each of K tasks."""

    def __init__(self, count: int, ranks: Ranks | None = None, device: torch.device | None = None) -> None:
        self._ranks = ranks or Ranks()
        # where the advantages are: a GPU isn't waited for
        self.square = torch.zeros(count, dtype=torch.float64, device=device)
        self.updates = torch.zeros(count, dtype=torch.float64, device=device)

    def update(self, advantage_NT: Tensor, valid_NT: Tensor, task_N: Tensor) -> Tensor:
        """Take the batch in; (N,) what to divide each segment's advantages by."""
        sums_N = torch.stack([(advantage_NT.square() * valid_NT).sum(1), valid_NT.sum(1)])
        stats = torch.zeros(2, len(self.square), device=advantage_NT.device)
        stats.index_add_(1, task_N, sums_N.float())
        totals, counts = self._ranks.sum(stats).double()
        seen = counts > 0
        self.updates += seen
        # plain averaging at first, then exponential forgetting
        rate = torch.where(seen, (1 / self.updates.clamp(min=1)).clamp(min=SCALE_RATE), 0.0)
        self.square += rate * (totals / counts.clamp(min=1) - self.square)
        scale = self.square.sqrt().clamp(min=SCALE_FLOOR).to(advantage_NT)
        return scale[task_N]


@dataclass(frozen=True)
class ActorCriticLoss:
    """What the losses of policy and value share; V-trace targets are computed afresh in every call.

    With ``imitation_coef`` > 0 the policy is also drawn to what the expert would have done in
    the states that it reached itself (Ross et al., 2011; Schmitt et al., 2018), where one says
    it. With ``reconstruction_coef`` > 0 the features must also tell what is on the screen.
    """

    gamma: float = 0.99
    lam: float = 0.95
    value_coef: float = 0.5
    entropy_coef: float = 0.01
    value_limit: float = 9.0
    imitation_coef: float = 0.0
    reconstruction_coef: float = 0.0
    scale_per_task: bool = True
    """False: one scale for the advantages of all tasks"""

    def policy(self, log_ratio: Tensor, log_prob: Tensor, advantage: Tensor) -> Tensor:
        """(N, T): the policy's loss, given log π/μ, log π and scaled advantages."""
        raise NotImplementedError

    def targets(self, batch: SegmentBatch, value_NS: Tensor, ratio_NT: Tensor) -> Targets:
        """What values and advantages should be, given the values as they are and π/μ."""
        return vtrace(batch.transitions, value_NS, ratio_NT, self.gamma, self.lam)

    def __call__(
        self, output: Output, batch: SegmentBatch, scales: TaskScales
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts = masked_log_probs(output.logits[:, :-1])
        log_prob = action_log_prob(parts, batch.action)
        log_ratio = log_prob - batch.log_prob
        with torch.no_grad():
            value_NS = decode_value(output.value_logits, self.value_limit)
            targets = self.targets(batch, value_NS, log_ratio.exp())
            task_N = batch.task if self.scale_per_task else torch.zeros_like(batch.task)
            scale_N = scales.update(targets.advantage, batch.transitions.valid, task_N)
        policy = self.policy(log_ratio, log_prob, targets.advantage / scale_N[:, None])
        value_logits = output.value_logits[:, :-1]
        hot = two_hot(targets.value, value_logits.shape[-1], self.value_limit)
        value = -(hot * value_logits.log_softmax(-1)).sum(-1)
        nats = entropy(parts)
        terms = policy + self.value_coef * value - self.entropy_coef * nats
        told = {}
        if self.imitation_coef:
            told["imitation"] = imitated = imitation(parts, batch.expert)
            terms = terms + self.imitation_coef * imitated
        if self.reconstruction_coef:
            terms = terms + self.reconstruction_coef * reconstruction(output, batch)
        with torch.no_grad():
            ratio = log_ratio.exp()
            told |= {
                "value_error": (targets.value - value_NS[:, :-1]).abs(),
                "entropy": nats,
                "off_policy": (log_ratio.abs() > 0.2).float(),
            }
            parts_K = {name: batch.by_task(x_NT, len(scales.square)) for name, x_NT in told.items()}
            metrics = {
                "loss/policy": batch.mean(policy),
                "loss/value": batch.mean(value),
                "loss/kl": batch.mean(ratio - 1 - log_ratio),
                **{f"loss/{name}": part_K.sum() for name, part_K in parts_K.items()},
                **parts_K,
            }
        return batch.mean(terms), metrics


def loss_settings(config: TrainConfig, value_limit: float) -> dict[str, Any]:
    """What a run's settings say of every loss here; ``value_limit`` is the network's."""
    names = [field.name for field in fields(ActorCriticLoss) if field.name != "value_limit"]
    return {name: getattr(config, name) for name in names} | {"value_limit": value_limit}


@dataclass(frozen=True)
class PPOLoss(ActorCriticLoss):
    """Clipped policy optimisation (Schulman et al., 2017)."""

    clip: float = 0.2

    def policy(self, log_ratio: Tensor, log_prob: Tensor, advantage: Tensor) -> Tensor:
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        return -torch.minimum(ratio * advantage, clipped * advantage)


@dataclass(frozen=True)
class VTraceLoss(ActorCriticLoss):
    """The policy gradient of IMPALA (Espeholt et al., 2018): truncated importance weights, no clip."""

    clip_rho: float = 1.0

    def policy(self, log_ratio: Tensor, log_prob: Tensor, advantage: Tensor) -> Tensor:
        rho = log_ratio.detach().exp().clamp(max=self.clip_rho)
        return -rho * advantage * log_prob


def reconstruction(output: Output, batch: SegmentBatch) -> Tensor:
    """(N, T): squared error of the painted screens, mean over pixels. The network must paint."""
    if output.picture is None:
        raise UsageError("a reconstruction loss needs a network with reconstruct = True")
    error = output.picture[:, :-1] - thumbnail(batch.obs.screen[:, :-1])
    return error.square().mean((-3, -2, -1))
