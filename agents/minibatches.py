"""From segments to minibatches: who counts how much, who goes where, and how they reach the learner.

What the training scripts share. It knows no loss.

Suffixes: N segments of an update.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import numpy as np

from universe2.agents.collect import Collector
from universe2.agents.config import TrainConfig
from universe2.agents.learner import OptimParams
from universe2.agents.losses import Metrics, SegmentBatch
from universe2.agents.segments import Segment, segment_batch

MAX_WEIGHT = 4.0
"""A transition of a task that is behind counts at most this many times."""
_AHEAD = 2  # minibatches queued, so that the learner never waits for their assembly


def learn(
    collector: Collector,
    batches: Iterator[list[Segment]],
    weights: Sequence[float],
    step: Callable[[SegmentBatch], list[Future[Metrics]]],
) -> Metrics:
    """Submit ``step(batch)`` for every minibatch, playing on meanwhile; the mean metrics."""
    learner = collector.learner
    pending: deque[list[Future[Metrics]]] = deque()
    collected: list[Metrics] = []

    def finish() -> None:
        for future in pending.popleft():
            collector.serve_until(future)
            collected.append(future.result())

    for minibatch in batches:
        with learner.watch("assembly"):
            batch = segment_batch(minibatch, weights, collector.texts, learner)
        pending.append(step(batch))
        if len(pending) > _AHEAD:
            finish()
    while pending:
        finish()
    return mean_metrics(collected)


def optim_params(config: TrainConfig, done: float) -> OptimParams:
    """The optimiser's settings when the part ``done`` of the run, in [0, 1], is over."""
    lr = config.lr * (1 - (1 - config.lr_end) * done)
    return OptimParams(lr=lr, max_grad_norm=config.max_grad_norm)


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
