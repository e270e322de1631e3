"""How noisy the policy gradient is with a critic and without: one policy, one set of rollouts.

Batches of rollouts in groups are collected with a checkpoint's policy, which stays as it is. On
each batch the policy gradient is computed with four advantages:

    nothing     the discounted reward that follows, within the episode and the rollout
    group       the same, less the mean of the group's others (see universe2/agents/group.py)
    critic      the same, less the critic's value of the state
    GAE         generalised advantages, as PPO has them

The first three have the same expectation, so their variances can be compared as they are; GAE's
differs, so its variance counts relative to the square of its mean. The square of the batches' mean
gradient would contain their noise, too; the mean product of two different batches' gradients
doesn't. Each game's rewards are divided by ``spans``. This file draws no conclusions.

Suffixes: N segments, T transitions, S = T + 1 observations, K batches, W weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from universe2.agents.collect import Collector, CollectParams
from universe2.agents.config import TrainConfig
from universe2.agents.group import collect_groups
from universe2.agents.learner import Learner
from universe2.agents.losses import SegmentBatch, action_log_prob, masked_log_probs
from universe2.agents.returns import beyond_the_others, decode_value, gae, returns_to_go
from universe2.agents.segments import segment_batch
from universe2.agents.threads import use_threads
from universe2.agents.train import model_sizes
from universe2.core.seeding import mix
from universe2.faces.make import make_pool

ESTIMATORS = ("nothing", "group", "critic", "GAE")


def measure(
    checkpoint: Path, config: TrainConfig, group: int, batches: int, spans: Mapping[str, float]
) -> dict[str, Any]:
    """For each estimator the ``spread`` of its gradients. ``spans``: task → what counts as a reward of 1."""
    use_threads(config.threads)
    tasks = [task.env_id for task in config.tasks]
    span_by_task = torch.tensor([spans[task] for task in tasks])
    learner = Learner(model_sizes(config), tasks, config.seed)
    learner.load_state(checkpoint).result()
    params = CollectParams(config.rollout, (group,) * len(tasks), lockstep=True)
    gradients: dict[str, list[Tensor]] = {name: [] for name in ESTIMATORS}
    options = {task.env_id: dict(task.options) for task in config.tasks}
    with make_pool(
        dict.fromkeys(tasks, group), screen_size=config.screen_size, options=options, interface="screen"
    ) as pool:
        collector = Collector(pool, learner, params)
        for number in range(batches):
            groups = collect_groups(collector, group, mix(config.seed + 7919 * number) >> 1)
            segments = [segment for one in groups for segment in one]
            batch = segment_batch(segments, [1.0] * len(tasks), collector.texts, learner)
            # nothing is queued at the learner now, so its network may be used directly
            for name, gradient in _gradients(learner, batch, config, group, span_by_task):
                gradients[name].append(gradient)
    learner.close()
    return {name: spread(torch.stack(found)) for name, found in gradients.items()}


def _gradients(
    learner: Learner, batch: SegmentBatch, config: TrainConfig, group: int, span_by_task: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """(estimator, (W,) gradient of the policy's objective) for each estimator."""
    weights = [weight for weight in learner.network.parameters() if weight.requires_grad]
    output = learner.network(batch.obs, batch.state)
    log_prob = action_log_prob(masked_log_probs(output.logits[:, :-1]), batch.action)
    with torch.no_grad():
        value_NS = decode_value(output.value_logits, learner.config.value_limit)
        returns = returns_to_go(batch.transitions, config.gamma)
        advantages = {
            "nothing": returns,
            "group": beyond_the_others(returns, group),
            "critic": returns - value_NS[:, :-1],
            "GAE": gae(batch.transitions, value_NS, config.gamma, config.lam).advantage,
        }
        weight_NT = batch.transitions.valid / span_by_task[batch.task][:, None]
    for name, advantage in advantages.items():
        objective = (weight_NT * advantage * log_prob).mean()
        found = torch.autograd.grad(objective, weights, retain_graph=True, allow_unused=True)
        flat = [
            torch.zeros(weight.numel()) if gradient is None else gradient.flatten()
            for gradient, weight in zip(found, weights, strict=True)
        ]
        yield name, torch.cat(flat)


def spread(gradients_KW: Tensor) -> dict[str, Any]:
    """``deviations``, |g − ḡ|² of each batch; ``mean_square``, of the true mean; and its standard error.

    ``mean_square`` has no bias, so that it may be negative; the error is a jackknife's, which is too
    large where there is little but noise.
    """
    gradients_KW = gradients_KW.double()
    K = len(gradients_KW)
    deviations_K = (gradients_KW - gradients_KW.mean(0)).square().sum(1)
    products_KK = gradients_KW @ gradients_KW.T
    others_K = products_KK.sum(1) - products_KK.diagonal()
    total = others_K.sum()
    without_K = (total - 2 * others_K) / ((K - 1) * (K - 2))
    error = ((K - 1) / K * (without_K - without_K.mean()).square().sum()).sqrt()
    return {
        "deviations": deviations_K.tolist(),
        "mean_square": float(total / (K * (K - 1))),
        "mean_square_error": float(error),
    }
