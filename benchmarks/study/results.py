"""The results that are there, as scores by arm. It computes no statistics and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study.plan import Cell
from benchmarks.study.runner import is_done, result_path
from benchmarks.study.statistics import Scores, areas
from universe2.agents.ranking import Reference, reference_of
from universe2.core.errors import UsageError
from universe2.core.registry import find


class Results:
    """What is there of a plan."""

    def __init__(self, cells: Sequence[Cell], folder: Path) -> None:
        self.cells = list(cells)
        self.found = [
            json.loads(result_path(folder, cell).read_text("utf-8"))
            for cell in cells
            if is_done(folder, cell)
        ]

    def of(self, arm: str) -> list[dict[str, Any]]:
        return [result for result in self.found if result["cell"]["arm"] == arm]

    def seeds(self, *arms: str) -> int:
        """The fewest seeds that any task or mix of these arms has."""
        counts: dict[tuple[str, str], int] = {}
        for arm in arms:
            for result in self.of(arm):
                key = (arm, result["cell"]["of"])
                counts[key] = counts.get(key, 0) + 1
        return min(counts.values(), default=0)

    def scores(self, arm: str, levels: str = "held-out", family: str = "", at: int = -1) -> Scores:
        """Normalised scores of the evaluation number ``at`` (the last by default), by environment."""
        found: dict[str, list[np.ndarray]] = {}
        for result in self.of(arm):
            for name, returns in result["evaluations"][at]["returns"].items():
                env_id, _, where = name.partition(" ")
                if where == levels and env_id.startswith(family):
                    found.setdefault(env_id, []).append(reference(env_id).normalise(np.array(returns)))
        return found

    def areas(self, arm: str) -> Scores:
        """The areas under the learning curves of an arm whose cells play one task each."""
        found: dict[str, list[np.ndarray]] = {}
        for result in self.of(arm):
            env_id = result["cell"]["of"]
            steps = [evaluation["steps"] for evaluation in result["evaluations"]]
            returns = np.array([next(iter(one["returns"].values())) for one in result["evaluations"]])
            found.setdefault(env_id, []).append(areas(steps, returns, reference(env_id)))
        return found

    def curve(self, arm: str) -> list[tuple[float, Scores]]:
        """(part of the training, scores) at every evaluation that all cells of the arm have."""
        results = self.of(arm)
        count = min((len(result["evaluations"]) for result in results), default=0)
        points = []
        for at in range(count):
            parts = [result["evaluations"][at]["steps"] / result["steps"] for result in results]
            points.append((float(np.mean(parts)), self.scores(arm, at=at)))
        return points

    def deviations(self, estimator: str, relative: bool = False) -> list[np.ndarray]:
        """Squared deviations of the gradients of each seed, of all checkpoints measured."""
        found = []
        for result in self.of("recipe"):
            values = [
                np.array(one["estimators"][estimator]["deviations"])
                / (one["estimators"][estimator]["mean_square"] if relative else 1.0)
                for one in result["gradients"]
            ]
            if values:
                found.append(np.concatenate(values))
        return found


def reference(env_id: str) -> Reference:
    """The scores of random play and of the reference player. Raises UsageError if it has none."""
    known = reference_of(find(env_id).reference)
    if known is None:
        raise UsageError(f"{env_id} has no reference scores; the study needs them")
    return known
