"""What a training run leaves behind: metrics.jsonl, TensorBoard events, train.log.

metrics.jsonl has a row per task ({"task", "steps", "return_mean", "value_error", "entropy",
"off_policy", "policy_lag", …}; ``steps`` are the run's, all tasks together) and a row of the
learner's own numbers, every few seconds.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from torch.utils.tensorboard.writer import SummaryWriter

from universe2.agents.checkpoint import make_folder, write_atomically
from universe2.agents.collect import Collector
from universe2.agents.losses import Metrics
from universe2.core.errors import TrainingError

log = logging.getLogger("universe2")
"""Of all layers: the client's own account of a lost server belongs in train.log, too."""


def task_numbers(collector: Collector) -> np.ndarray:
    """float64 (tasks, 7), which ranks may add up: steps, episodes, faults, transitions that were too old;
    of the last episodes, at most 100, the number, and the sums of scores and of lengths."""
    numbers = []
    of_task = (collector.steps, collector.episode_count, collector.faults, collector.dropped)
    for task in range(len(collector.tasks)):
        recent = list(collector.episodes[task])  # a copy: the display asks from a thread of its own
        counts = [count[task] for count in of_task]
        sums = (len(recent), sum(e.score for e in recent), sum(e.length for e in recent))
        numbers.append((*counts, *sums))
    return np.array(numbers, np.float64)


def task_rows(tasks: Sequence[str], numbers: np.ndarray) -> list[dict[str, Any]]:
    """One row per task, of ``task_numbers``: the counts, and the means of its last episodes."""
    rows = []
    for task, (steps, episodes, faults, dropped, recent, score, length) in zip(tasks, numbers, strict=True):
        counts = {"task_steps": steps, "episodes": episodes, "faults": faults, "dropped": dropped}
        rows.append(
            {
                "task": task,
                **{name: int(count) for name, count in counts.items()},
                "return_mean": float(score / recent) if recent else None,
                "length_mean": float(length / recent) if recent else None,
            }
        )
    return rows


class RunLog:
    """Writes a run's files in ``folder``; appends if they are there, but for rows beyond ``steps``.

    Such rows were written between the last checkpoint and the run's death, and come again. Until ``begin``
    there is train.log alone: a run that is refused leaves the numbers as they are.
    """

    def __init__(self, folder: Path, steps: int = 0) -> None:
        self._folder, self._steps = folder, steps
        make_folder(folder)
        self._metrics: TextIO | None = None
        self._handler = logging.FileHandler(folder / "train.log", encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._level = log.level
        log.addHandler(self._handler)
        log.setLevel(logging.INFO)
        log.propagate = False

    def begin(self) -> None:
        """Open the rest. Raises TrainingError if metrics.jsonl is damaged."""
        path = self._folder / "metrics.jsonl"
        if path.exists():
            _cut(path, self._steps)
        self._metrics = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self._folder), purge_step=self._steps + 1 if self._steps else None)
        self._wandb = _wandb_run(self._folder)

    @property
    def begun(self) -> bool:
        return self._metrics is not None

    def write(self, seconds: float, steps: int, tasks: list[dict[str, Any]], metrics: Metrics) -> None:
        """One moment of the run. Raises TrainingError if the disk is full."""
        try:
            self._write(seconds, steps, tasks, metrics)
        except OSError as error:
            raise self._unwritable(error) from error

    def _write(self, seconds: float, steps: int, tasks: list[dict[str, Any]], metrics: Metrics) -> None:
        own = {"seconds": seconds, "steps": steps}
        whole, of_task = _by_task([row["task"] for row in tasks], metrics)
        for row in tasks:
            mine = {**own, **row}  # which no metric of that name replaces
            self._row({**mine, **of_task[row["task"]], **mine})
            if row["return_mean"] is not None:
                self._scalar(f"return/{row['task']}", row["return_mean"], steps)
        self._row({**own, **whole, **own})
        for name, value in metrics.items():
            self._scalar(name, value, steps)
        assert self._metrics is not None, "a run has begun that tells of itself"
        self._metrics.flush()
        if self._wandb is not None:
            scores = {f"return/{row['task']}": row["return_mean"] for row in tasks}
            self._wandb.log({**scores, **metrics}, step=steps)

    def close(self) -> None:
        """Raises TrainingError if the disk is full."""
        try:
            if self._metrics is not None:
                self._metrics.close()
                self._board.close()
                if self._wandb is not None:
                    self._wandb.finish()
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            log.removeHandler(self._handler)
            log.setLevel(self._level)
            log.propagate = True
            self._handler.close()

    def _unwritable(self, error: OSError) -> TrainingError:
        return TrainingError(f"cannot write the run's logs in {self._folder}: {error.strerror or error}")

    def _row(self, row: dict[str, Any]) -> None:
        finite = {k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in row.items()}
        assert self._metrics is not None, "a run has begun that tells of itself"
        self._metrics.write(json.dumps({k: _rounded(v) for k, v in finite.items()}) + "\n")

    def _scalar(self, name: str, value: float, steps: int) -> None:
        self._board.add_scalar(name, value, steps)


def _by_task(tasks: list[str], metrics: Metrics) -> tuple[Metrics, dict[str, Metrics]]:
    """(those of the whole, those of each task by their names without it)."""
    whole, of_task = dict(metrics), {}
    for task in sorted(tasks, key=len, reverse=True):  # one's id may be the tail of another's
        mine = [name for name in whole if name.endswith(f"/{task}")]
        of_task[task] = {name.removesuffix(f"/{task}"): whole.pop(name) for name in mine}
    return whole, of_task


def _cut(path: Path, steps: int) -> None:
    """Without the rows beyond ``steps``, and without a last line that was cut off. Raises TrainingError."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")[:-1]
    kept = []
    for number, line in enumerate(lines, 1):
        try:
            if json.loads(line)["steps"] <= steps:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            raise TrainingError(
                f"{path}, line {number}, is not a row of a run's log: {line!r:.80}; "
                "mend it, or move the file away to go on without it"
            ) from None
    if (whole := "".join(line + "\n" for line in kept)) != text:
        write_atomically(path, whole.encode())


def _wandb_run(folder: Path) -> Any:
    """A Weights & Biases run if the package is installed and set up by its own WANDB_MODE; else None.

    Without WANDB_MODE nothing is sent anywhere: having a package is not a wish to use it. The run's id is in
    ``folder``: a training that is resumed goes on in the same one.
    """
    if not os.environ.get("WANDB_MODE") or importlib.util.find_spec("wandb") is None:
        return None
    wandb = importlib.import_module("wandb")
    own = folder / "wandb-id"
    if not own.exists():
        write_atomically(own, secrets.token_hex(8).encode())
    run_id = own.read_text("utf-8")
    return wandb.init(project="universe2", name=folder.name, dir=str(folder), id=run_id, resume="allow")


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
