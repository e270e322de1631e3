"""Policy optimisation without a critic: what a rollout is worth more than others of its group.

Before every update all slots begin anew, each group of neighbours in the same episode, and play
one segment. An action's advantage is the discounted reward that followed it within its episode
and segment, less the mean of the same for the rest of the group at the same time (Kool et al.,
2019; Ahmadian et al., 2024). PPO's clipping and epochs are as in ``ppo``; no value is learned or
asked for, so nothing tells what would have come after the segment's end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from universe2.agents.collect import Collector
from universe2.agents.config import TrainConfig
from universe2.agents.learner import Learner
from universe2.agents.losses import Metrics, PPOLoss, SegmentBatch, loss_settings
from universe2.agents.minibatches import learn, minibatches, optim_params, task_weights
from universe2.agents.returns import Targets, beyond_the_others, returns_to_go
from universe2.agents.segments import Segment
from universe2.core.seeding import mix


@dataclass(frozen=True)
class GroupLoss(PPOLoss):
    """PPO's loss on groups: rows [0, group) of a batch are one, and so on."""

    value_coef: float = 0.0
    group: int = 8

    def targets(self, batch: SegmentBatch, value_NS: Tensor, ratio_NT: Tensor) -> Targets:
        returns = returns_to_go(batch.transitions, self.gamma)
        return Targets(torch.zeros_like(returns), beyond_the_others(returns, self.group))


def train_group(
    learner: Learner,
    collector: Collector,
    config: TrainConfig,
    part_done: Callable[[], float],
    after_update: Callable[[Metrics], None],
) -> None:
    """Like ``train_ppo``; of its settings, ``lam`` and ``value_coef`` mean nothing here."""
    settings = loss_settings(config, learner.config.value_limit) | {"value_coef": 0.0}
    loss = GroupLoss(**settings, clip=config.clip, group=config.group_size)
    shares = [task.share for task in config.tasks]
    tried = 0  # since the last update: what breaks under a seed is not begun again with that seed
    while (done := learner.agree(part_done())) < 1:
        seed = mix(mix(learner.ranks.seed(config.seed)) + learner.version + (tried << 32)) >> 1
        tried += 1
        groups = collect_groups(collector, config.group_size, seed)
        if learner.agree(float(len(groups) < collector.params.minimum)):
            continue
        segments = [segment for group in groups for segment in group]
        lag = collector.lag(segments)
        params = optim_params(config, done)
        rng = np.random.default_rng([config.seed, learner.version])

        def step(batch: SegmentBatch) -> list[Future[Metrics]]:
            return [learner.forward_backward(batch, loss), learner.optim_step(params)]  # noqa: B023

        batches = (
            part for _ in range(config.epochs) for part in group_minibatches(groups, config.minibatches, rng)
        )
        tried = 0
        metrics = learn(collector, batches, task_weights(segments, shares), step)
        after_update({**metrics, **lag})


def collect_groups(collector: Collector, size: int, seed: int) -> list[list[Segment]]:
    """One segment of every slot, from new beginnings; groups that a fault interrupted are dropped.

    Where a slot has nothing but faults, others may have filled the quota with a second segment.
    """
    collector.start(seed, size)
    segments = sorted(collector.collect(), key=_group(size))
    groups = [list(group) for _, group in groupby(segments, _group(size))]
    whole = [group for group in groups if len({s.slot for s in group}) == len(group) == size]
    # what follows a fault within a segment is another episode than the others'
    return [group for group in whole if all(s.done["valid"].all() for s in group)]


def _group(size: int) -> Callable[[Segment], tuple[int, int]]:
    return lambda segment: (segment.task, segment.slot // size)


def group_minibatches(
    groups: Sequence[list[Segment]], count: int, rng: np.random.Generator
) -> Iterator[list[Segment]]:
    """Like ``minibatches``, but every group stays whole."""
    whole = {id(group[0]): group for group in groups}
    for firsts in minibatches([group[0] for group in groups], count, rng):
        yield [segment for first in firsts for segment in whole[id(first)]]
