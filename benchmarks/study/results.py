"""The results that are there, as scores by arm. It computes no statistics and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study.plan import Cell, Played
from benchmarks.study.references import reference
from benchmarks.study.runner import is_done, result_path
from benchmarks.study.statistics import Scores, areas
from universe2.agents.ranking import Reference


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
        found: dict[str, dict[str, np.ndarray]] = {}
        for result in self.of(arm):
            for played in _played(result):
                if played.levels == levels and played.env_id.startswith(family):
                    returns = np.array(result["evaluations"][at]["returns"][played.name])
                    scores = _reference(result, played).normalise(returns)
                    found.setdefault(played.env_id, {})[_luck(result)] = scores
        return found

    def references(self, *arms: str) -> dict[str, Reference]:
        """The 0 and the 1 of each environment on held-out levels, as these arms' cells have them."""
        return {
            played.env_id: _reference(result, played)
            for arm in arms
            for result in self.of(arm)
            for played in _played(result)
            if played.levels == "held-out"
        }

    def areas(self, arm: str) -> Scores:
        """The areas under the learning curves of an arm whose cells play one task each."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for result in self.of(arm):
            (played,) = _played(result)
            steps = [evaluation["steps"] for evaluation in result["evaluations"]]
            returns = np.array([one["returns"][played.name] for one in result["evaluations"]])
            area = areas(steps, returns, _reference(result, played))
            found.setdefault(played.env_id, {})[_luck(result)] = area
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

    def moments(self) -> list[float]:
        """The parts of the training after which gradients were measured, in every seed."""
        measured = self._measured()
        count = min((len(result["gradients"]) for result in measured), default=0)
        return [
            float(np.mean([result["gradients"][at]["steps"] / result["steps"] for result in measured]))
            for at in range(count)
        ]

    def deviations(self, estimator: str, at: int) -> list[np.ndarray]:
        """Squared deviations of the gradients of each seed, at the moment of that number."""
        return [np.array(one["deviations"]) for one in self._estimates(estimator, at)]

    def relative_deviations(self, estimator: str, at: int) -> list[np.ndarray] | None:
        """The same, over the mean gradient's square; None if that is lost in noise in any seed."""
        found = self._estimates(estimator, at)
        if any(one["mean_square"] <= 2 * one["mean_square_error"] for one in found):
            return None
        return [np.array(one["deviations"]) / one["mean_square"] for one in found]

    def _estimates(self, estimator: str, at: int) -> list[dict[str, Any]]:
        return [result["gradients"][at]["estimators"][estimator] for result in self._measured()]

    def _measured(self) -> list[dict[str, Any]]:
        return [result for result in self.of("recipe") if result["gradients"]]


def _played(result: dict[str, Any]) -> list[Played]:
    return [Played(**played) for played in result["cell"]["played"]]


def _reference(result: dict[str, Any], played: Played) -> Reference:
    return reference(played, result.get("references", {}))


def _luck(result: dict[str, Any]) -> str:
    """Whose training luck is in the scores: cells of one parent share its."""
    cell = result["cell"]
    return cell["parent"] or f"{cell['arm']}--{cell['of']}--{cell['seed']}"
