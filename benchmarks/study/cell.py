"""Runs one cell: its start, its training, its evaluations; the result is one JSON file, written last.

    python -m benchmarks.study.cell quick specialist--arcade.Catcher-v0--0 …    # what the runner calls

May be killed at any moment and called again: the training goes on from its last checkpoint (at
games: as if nothing had been). This file doesn't know what the results mean.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.study.gradients import measure
from benchmarks.study.plan import BUDGETS, GROUP, TEMPERATURE, Cell, cells
from benchmarks.study.references import References, measure_references, reference
from universe2.agents.checkpoint import read_checkpoint, write_atomically
from universe2.agents.config import TrainConfig, from_table
from universe2.agents.evaluate import Place, evaluate, hardware, versions
from universe2.agents.evaluate_policy import load_policy
from universe2.agents.evaluate_suite import Suite, Task
from universe2.agents.learner import Learner
from universe2.agents.threads import use_threads
from universe2.agents.train import CHECKPOINT, model_sizes, train
from universe2.core.errors import TrainingError
from universe2.runtimes.browser_launch import PR_SET_PDEATHSIG
from universe2.trace import EpisodeStore

STOPPED = 75
"""Exit status of a cell that was told to stop: it goes on when it is called again."""
_SLOTS = {"arcade": 16, "web": 4}
_GRADIENT_BATCHES = 16


def run(cell: Cell, runs: Path, result: Path) -> bool:
    """Bring the cell to its end; False if a signal stopped it before. ``runs`` holds all cells' folders."""
    began = time.monotonic()
    folder = runs / cell.name
    start = runs / cell.parent / CHECKPOINT if cell.parent else folder / "start"
    config = train_config(cell, folder, start)
    use_threads(config.threads)
    if not start.exists():
        if cell.parent:
            raise TrainingError(f"{cell.name} starts from {cell.parent}, which has no checkpoint at {start}")
        write_start(config, start)
    train(config, resume=(folder / CHECKPOINT).exists())
    if _steps(folder / CHECKPOINT) < config.total_steps:
        return False
    checkpoints = [folder / CHECKPOINT]
    kept = sorted(folder.glob(f"{CHECKPOINT}-*"))
    if cell.curve:
        checkpoints = [start, *kept]
    if len(kept) != (expected := _kept(config)):
        raise TrainingError(f"{folder} has {len(kept)} checkpoints on the way, and {expected} are needed")
    references = measure_references(cell.played)
    found = {
        "cell": cell.content(),
        "references": references,
        "evaluations": [
            {"steps": 0 if path == start else _steps(path), "returns": play(path, cell, folder)}
            for path in checkpoints
            if cell.played
        ],
        "gradients": [
            {"steps": _steps(path), "estimators": noise(path, cell, config, references)}
            for path in kept
            if cell.gradients
        ],
        "steps": _steps(folder / CHECKPOINT),
        "seconds": round(time.monotonic() - began, 1),
        "core_seconds": round(sum(os.times()[:4]), 1),
        "versions": versions(),
        "hardware": hardware(),
    }
    write_atomically(result, (json.dumps(found, indent=1) + "\n").encode())
    return True


def _kept(config: TrainConfig) -> int:
    """How many checkpoints stay along the way."""
    every = config.keep_every_steps
    return config.total_steps // every if every else 0


def train_config(cell: Cell, folder: Path, start: Path) -> TrainConfig:
    """The cell's training run, in ``folder``, from the weights in ``start``."""
    return from_table({**cell.config, "out_dir": str(folder), "seed": cell.seed, "init_from": str(start)})


def write_start(config: TrainConfig, path: Path) -> None:
    """Fresh weights, as a checkpoint."""
    learner = Learner(model_sizes(config), [task.env_id for task in config.tasks], config.seed)
    learner.save_state(path).result()
    learner.close()


def play(checkpoint: Path, cell: Cell, folder: Path) -> dict[str, list[float]]:
    """Task and levels → returns, by seed. Raises TrainingError if faults left any out."""
    tasks = tuple(
        Task(
            env_id=played.env_id,
            episodes=played.episodes,
            options=dict(played.options),
            name=played.name,
            slots=_SLOTS[played.env_id.partition("/")[0]],
        )
        for played in cell.played
    )
    with EpisodeStore(folder / "episodes.sqlite") as store:
        suite = Suite(name=cell.name, tasks=tasks)
        policy = load_policy(str(checkpoint), temperature=TEMPERATURE)
        run_id = evaluate(policy, suite, store, Place(), seed=cell.seed).run_id
        found = {name: list(returns.values()) for name, returns in store.returns(run_id).items()}
    for task in tasks:
        ended = len(found.get(task.name, []))
        if ended < task.episodes:
            raise TrainingError(
                f"{task.name}: only {ended} of {task.episodes} episodes ended without a fault"
            )
    return found


def noise(
    checkpoint: Path, cell: Cell, config: TrainConfig, references: References
) -> dict[str, dict[str, Any]]:
    """The gradient's, by estimator, with rewards in parts of the way from random play to the expert."""
    scales = {played.env_id: reference(played, references) for played in cell.played}
    spans = {env_id: scale.reference - scale.random for env_id, scale in scales.items()}
    return measure(checkpoint, config, GROUP, _GRADIENT_BATCHES, spans)


def _steps(checkpoint: Path) -> int:
    return int(read_checkpoint(checkpoint)[1]["counts"].get("steps", 0))


def main(
    plan: Annotated[str, typer.Argument()],
    name: Annotated[str, typer.Argument()],
    preset: Annotated[str, typer.Option()],
    runs: Annotated[Path, typer.Option()],
    result: Annotated[Path, typer.Option()],
) -> None:
    """Run one cell of a plan."""
    # should the runner die, nobody else would stop this
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    cell = next(one for one in cells(BUDGETS[plan], preset) if one.name == name)
    if not run(cell, runs, result):
        raise typer.Exit(STOPPED)


if __name__ == "__main__":
    typer.run(main)
