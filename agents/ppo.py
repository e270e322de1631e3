"""PPO on V-trace targets, over any mix of tasks: the whole algorithm, on the learner's primitives.

Collect segments from all tasks; then, for a few epochs, take minibatches that hold every task
in the same proportion, add up gradients and step. Targets are computed afresh in every
minibatch (see ``ActorCriticLoss``), so data that is a little stale is corrected for. While the
learner works, the collector goes on answering slots whose tasks are behind.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from universe2.agents.collect import Collector
from universe2.agents.config import TrainConfig
from universe2.agents.learner import Learner
from universe2.agents.losses import Metrics, PPOLoss, SegmentBatch, loss_settings
from universe2.agents.minibatches import learn, minibatches, optim_params, task_weights


def train_ppo(
    learner: Learner,
    collector: Collector,
    config: TrainConfig,
    part_done: Callable[[], float],
    after_update: Callable[[Metrics], None],
) -> None:
    """Update until ``part_done()`` (0 at the start, 1 at the end of the run) reaches 1.

    What was collected when it did is learned from, too. ``after_update`` gets the update's mean
    metrics; what it raises ends the training.
    """
    loss = PPOLoss(**loss_settings(config, learner.config.value_limit), clip=config.clip)
    shares = [task.share for task in config.tasks]
    while (done := learner.agree(part_done())) < 1:
        segments = collector.collect(lambda: part_done() >= 1)
        # the end of the run may leave some rank too little for its part of every minibatch
        if learner.agree(float(len(segments) < collector.params.minimum)):
            continue
        lag = collector.lag(segments)
        params = optim_params(config, done)
        rng = np.random.default_rng([config.seed, learner.version])

        def step(batch: SegmentBatch) -> list[Future[Metrics]]:
            done = [learner.forward_backward(batch, loss), learner.optim_step(params)]  # noqa: B023
            collector.refresh()
            return done

        batches = (
            part for _ in range(config.epochs) for part in minibatches(segments, config.minibatches, rng)
        )
        metrics = learn(collector, batches, task_weights(segments, shares), step)
        after_update({**metrics, **lag})
