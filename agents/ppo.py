"""PPO on V-trace targets, over any mix of tasks: the whole algorithm, on the learner's primitives.

Collect segments from all tasks; then, for a few epochs, take minibatches that hold every task
in the same proportion, add up gradients and step. Targets are computed afresh in every
minibatch (see ``PPOLoss``), so data that is a little stale is corrected for. While the learner
works, the collector goes on answering slots whose tasks are behind.

Suffixes: N segments of an update.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import numpy as np

from universe2.agents.collect import Collector
from universe2.agents.config import TrainConfig
from universe2.agents.learner import Learner, OptimParams
from universe2.agents.losses import Metrics, PPOLoss
from universe2.agents.segments import Segment, segment_batch

MAX_WEIGHT = 4.0
"""A transition of a task that is behind counts at most this many times."""
_AHEAD = 2  # minibatches queued, so that the learner never waits for their assembly


def train_ppo(
    learner: Learner,
    collector: Collector,
    config: TrainConfig,
    part_done: Callable[[], float],
    after_update: Callable[[Metrics], None],
) -> None:
    """Update until ``part_done()`` (0 at the start, 1 at the end of the run) reaches 1.

    ``after_update`` gets the update's mean metrics; what it raises ends the training.
    """
    loss = PPOLoss(
        config.clip,
        config.gamma,
        config.lam,
        config.value_coef,
        config.entropy_coef,
        learner.config.value_limit,
        config.imitation_coef,
    )
    rng = np.random.default_rng([config.seed, learner.version])
    while (done := part_done()) < 1:
        segments = collector.collect(lambda: part_done() >= 1)
        if not segments or part_done() >= 1:
            continue
        lag = collector.lag(segments)
        lr = config.lr * (1 - (1 - config.lr_end) * done)
        params = OptimParams(lr=lr, max_grad_norm=config.max_grad_norm)
        weights = task_weights(segments, [task.share for task in config.tasks])
        pending: deque[Future[Metrics]] = deque()
        collected: list[Metrics] = []
        for _ in range(config.epochs):
            for minibatch in minibatches(segments, config.minibatches, rng):
                batch = segment_batch(minibatch, weights, collector.texts, learner)
                pending.append(learner.forward_backward(batch, loss))
                pending.append(learner.optim_step(params))
                while len(pending) > 2 * _AHEAD:
                    collector.serve_until(pending[0])
                    collected.append(pending.popleft().result())
        for future in pending:
            collector.serve_until(future)
            collected.append(future.result())
        after_update({**mean_metrics(collected), "policy_lag": lag})


def task_weights(segments: Sequence[Segment], shares: Sequence[float]) -> list[float]:
    """What a transition of each task counts, so that every task present has its share."""
    counts = Counter(segment.task for segment in segments)
    present = sum(shares[task] for task in counts)
    even = [len(segments) * share / present for share in shares]
    return [
        min(even[task] / counts[task], MAX_WEIGHT) if counts[task] else 0.0 for task in range(len(shares))
    ]


def minibatches(segments: Sequence[Segment], count: int, rng: np.random.Generator) -> Iterator[list[Segment]]:
    """The segments in random order, dealt so that each minibatch has its part of every task."""
    task_N = np.array([segment.task for segment in segments])
    place_N = np.empty(len(segments))
    for task in np.unique(task_N):
        mine = rng.permutation(np.flatnonzero(task_N == task))
        place_N[mine] = (np.arange(len(mine)) + rng.random()) / len(mine)
    for part in np.array_split(np.argsort(place_N), min(count, len(segments))):
        yield [segments[i] for i in part]


def mean_metrics(metrics: Sequence[Metrics]) -> Metrics:
    """The mean of each metric over those dicts that have it."""
    names = dict.fromkeys(name for m in metrics for name in m)
    return {name: float(np.mean([m[name] for m in metrics if name in m])) for name in names}
