"""IMPALA (Espeholt et al., 2018): an actor-critic on V-trace targets that uses every segment once.

The plainest of the scripts on the learner's primitives: no epochs, no clipping. What the
policy's own staleness does to the data is what V-trace corrects.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from universe2.agents.collect import Collector
from universe2.agents.config import TrainConfig
from universe2.agents.learner import Learner
from universe2.agents.losses import Metrics, SegmentBatch, VTraceLoss, loss_settings
from universe2.agents.minibatches import learn, minibatches, optim_params, task_weights


def train_vtrace(
    learner: Learner,
    collector: Collector,
    config: TrainConfig,
    part_done: Callable[[], float],
    after_update: Callable[[Metrics], None],
) -> None:
    """Like ``train_ppo``; of its settings, ``clip`` and ``epochs`` mean nothing here."""
    loss = VTraceLoss(**loss_settings(config, learner.config.value_limit))
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

        batches = minibatches(segments, config.minibatches, rng)
        metrics = learn(collector, batches, task_weights(segments, shares), step)
        after_update({**metrics, **lag})
