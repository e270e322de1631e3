"""Behaviour cloning: the network learns what demonstrations did, and what it was worth.

    python -m universe2.agents.cloning u2/runner-v0 u2/click-v0 --out runs/cloned

The whole algorithm, on the learner's primitives: cut the episodes into segments, deal
minibatches that hold every dataset in the same proportion, step. A training run goes on from
its checkpoint with `init_from`.

Suffixes: N segments, T transitions, S = T + 1 observations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from universe2.agents.demonstrations import Recording, live_choices, read_dataset
from universe2.agents.learner import Learner, OptimParams
from universe2.agents.losses import (
    Metrics,
    SegmentBatch,
    TaskScales,
    imitation,
    masked_log_probs,
)
from universe2.agents.minibatches import mean_metrics, minibatches, task_weights
from universe2.agents.model import Output, brightness, preset
from universe2.agents.returns import decode_value, gae, two_hot
from universe2.agents.segments import Segment, segment_batch
from universe2.agents.text import TextTable
from universe2.agents.threads import use_workers
from universe2.core.errors import UsageError
from universe2.core.screen import NVEC
from universe2.core.shell import errors_in_a_line


@dataclass(frozen=True)
class CloningLoss:
    """Cross-entropy with the actions taken; the value learns the demonstrator's return."""

    gamma: float = 0.99
    lam: float = 0.95
    value_coef: float = 0.25
    value_limit: float = 9.0

    def __call__(
        self, output: Output, batch: SegmentBatch, scales: TaskScales
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts = masked_log_probs(output.logits[:, :-1])
        with torch.no_grad():
            value_NS = decode_value(output.value_logits, self.value_limit)
            targets = gae(batch.transitions, value_NS, self.gamma, self.lam)
        value_logits = output.value_logits[:, :-1]
        hot = two_hot(targets.value, value_logits.shape[-1], self.value_limit)
        value = batch.mean(-(hot * value_logits.log_softmax(-1)).sum(-1))
        policy = batch.mean(imitation(parts, batch.action))
        with torch.no_grad():
            chosen = torch.stack([part.argmax(-1) for part in parts], -1)
            accuracy = batch.mean((chosen == batch.action).all(-1).float())
        loss = policy + self.value_coef * value
        return loss, {"loss/cloning": policy.detach(), "loss/value": value.detach(), "accuracy": accuracy}


def clone(
    learner: Learner,
    segments: Sequence[Segment],
    texts: TextTable,
    epochs: int,
    count: int,
    params: OptimParams,
    seed: int = 0,
    after_epoch: Callable[[int, Metrics], None] = lambda epoch, metrics: None,
) -> None:
    """``epochs`` passes over the segments, in minibatches of ``count`` segments."""
    loss = CloningLoss(value_limit=learner.config.value_limit)
    weights = task_weights(segments, [1.0] * len(learner.tasks))
    for epoch in range(epochs):
        rng = np.random.default_rng([seed, learner.version])
        collected = []
        for part in minibatches(segments, max(1, len(segments) // count), rng):
            batch = segment_batch(part, weights, texts, learner)
            done = learner.forward_backward(batch, loss)
            learner.optim_step(params).result()
            collected.append(done.result())
        after_epoch(epoch, mean_metrics(collected))


def segments_of(
    recording: Recording, task: int, length: int, mask: np.ndarray, texts: TextTable
) -> list[Segment]:
    """An episode as segments of ``length`` transitions; the last one is filled up with invalid ones.

    Those after the first begin with an empty memory, but for what moves on the screen.
    """
    total = len(recording.actions)
    found = []
    for begin in range(0, total, length):
        n = min(length, total - begin)
        rows_S = np.minimum(np.arange(begin, begin + length + 1), total)
        rows_T = np.minimum(np.arange(begin, begin + length), total - 1)
        actions_P = np.stack(recording.actions)
        rewards = np.array(recording.rewards, np.float32)
        before = np.maximum(rows_S - 1, 0)
        last = (rows_T == total - 1) & (np.arange(length) < n)
        dark = brightness(torch.from_numpy(recording.screens[max(begin - 1, 0)])).numpy()
        seen = {
            "screen": np.stack([recording.screens[row] for row in rows_S]),
            "text": texts.rows([recording.instructions[row] for row in rows_S]),
            "first": rows_S == 0,
            "prev_action": np.where((rows_S == 0)[:, None], 0, actions_P[before]),
            "prev_reward": np.where(rows_S == 0, 0, rewards[before]).astype(np.float32),
            "expert": np.full((length + 1, len(NVEC)), -1, np.int64),
        }
        done = {
            "action": actions_P[rows_T],
            "log_prob": np.zeros(length, np.float32),
            "reward": rewards[rows_T],
            "terminated": last & recording.terminated,
            "truncated": np.zeros(length, bool),
            "final_value": np.zeros(length, np.float32),
            # nobody knows what would have come after a time limit: that step is left out
            "valid": (np.arange(length) < n) & ~(last & (not recording.terminated)),
            "version": np.zeros(length, np.int64),
        }
        found.append(Segment(task, mask, seen, done, {"brightness": dark}))
    return found


def main(
    datasets: Annotated[list[str], typer.Argument(help="Minari datasets, each a task.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")],
    epochs: Annotated[int, typer.Option(help="Passes over the data.", min=1)] = 5,
    lr: Annotated[float, typer.Option(help="Adam's.")] = 3e-3,
    sizes: Annotated[str, typer.Option("--preset", help="Of the network.")] = "nano",
    bases: Annotated[int, typer.Option(help="As in a training config: for many tasks.")] = 0,
    length: Annotated[int, typer.Option(help="Transitions per segment.", min=1)] = 32,
    seed: Annotated[int, typer.Option(help="Of weights and order.")] = 0,
) -> None:
    """Clone demonstrations into a checkpoint."""
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; name the file to write, say {out / 'checkpoint'}")
    texts = TextTable()
    segments: list[Segment] = []
    sizes_seen = set()
    for task, name in enumerate(datasets):
        recordings = read_dataset(name)
        sizes_seen |= {screen.shape[:2] for r in recordings for screen in r.screens[:1]}
        mask = live_choices(name)
        found = [s for r in recordings for s in segments_of(r, task, length, mask, texts)]
        if not any(segment.done["valid"].any() for segment in found):
            raise UsageError(
                f"the Minari dataset {name} holds no step to learn from: of its {len(recordings)} episodes "
                "none has a step but one that a time limit cut; expected are episodes that were played"
            )
        segments += found
    if len(sizes_seen) > 1:
        raise UsageError(f"the datasets have screens of several sizes: {sorted(sizes_seen)}")
    network = replace(preset(sizes, sizes_seen.pop()), bases=bases)
    learner = Learner(network, datasets, seed, workers=use_workers())
    for segment in segments:
        segment.state["hidden"] = learner.initial_state(1)["hidden"][0]

    def tell(epoch: int, metrics: Metrics) -> None:
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        typer.echo(f"epoch {epoch + 1} of {epochs}: {numbers}")

    clone(learner, segments, texts, epochs, 16, OptimParams(lr=lr), seed, tell)
    learner.save_state(out, {"datasets": datasets}).result()
    learner.close()
    typer.echo(f"checkpoint: {out}")


if __name__ == "__main__":
    with errors_in_a_line():
        typer.run(main)
