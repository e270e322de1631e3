"""What the study computes from returns: normalised scores, and IQMs with intervals over seeds and episodes.

*Scores* are task → whose training luck it is → one number per episode. The same luck may be in
several tasks' scores: one network plays them all, or their networks come from one parent.
Intervals are percentile intervals of a bootstrap in two stages, stratified by task: first seeds
are drawn anew, once for all tasks and scores that the same lucks are in, and for each task on its
own otherwise; then episodes within each seed drawn. So scores of the same networks are compared
in pairs, and training luck counts where there is more than one seed. With three seeds such
intervals are too narrow: see the test of their coverage. An episode of a learning curve is the
same seed played at every point; its area is the mean height of its curve. This file knows no arms
and no questions.

Suffixes: B bootstrap draws, T tasks, S seeds, E episodes, P points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from universe2.agents.ranking import DRAWS, LEVEL, Interval, Reference, iqm

Scores = Mapping[str, Mapping[str, np.ndarray]]
_SEED = 20160427


def aggregate(scores: Scores) -> Interval:
    """IQM over tasks of the mean score."""
    return _interval(float(iqm(_points(scores))), iqm(_Draws().of(scores), axis=1))


def difference(ours: Scores, theirs: Scores, times: float = 1.0) -> Interval:
    """IQM of ours less ``times`` that of theirs, over the tasks that both have.

    Above 0 where the ratio is above ``times``, but it means something also where theirs can't be told from 0.
    """
    ours, theirs = common(ours, theirs)
    draws = _Draws()
    draws_B = iqm(draws.of(ours), axis=1) - times * iqm(draws.of(theirs), axis=1)
    return _interval(float(iqm(_points(ours)) - times * iqm(_points(theirs))), draws_B)


def ratio(ours: Scores, theirs: Scores) -> Interval | None:
    """IQM of ours over IQM of theirs; None if theirs can't be told from 0: then it means nothing."""
    ours, theirs = common(ours, theirs)
    draws = _Draws()
    over_B, under_B = iqm(draws.of(ours), axis=1), iqm(draws.of(theirs), axis=1)
    if np.quantile(under_B, (1 - LEVEL) / 2) <= 0:
        return None
    above_B = under_B > 0  # all but one in forty at most
    return _interval(float(iqm(_points(ours)) / iqm(_points(theirs))), over_B[above_B] / under_B[above_B])


def mean_ratio(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Interval:
    """Sum of ours over sum of theirs, of positive numbers in pairs, one array per seed: the geometric mean.

    So that a seed whose numbers are large counts no more than another.
    """
    rng = np.random.default_rng(_SEED)
    draws = []
    for _ in range(DRAWS):
        seeds_S = rng.integers(0, len(ours), len(ours))
        picks = [rng.integers(0, len(ours[seed]), len(ours[seed])) for seed in seeds_S]
        pairs = zip(seeds_S, picks, strict=True)
        draws.append(np.mean([np.log(ours[s][pick].sum() / theirs[s][pick].sum()) for s, pick in pairs]))
    point = np.mean([np.log(one.sum() / other.sum()) for one, other in zip(ours, theirs, strict=True)])
    return _interval(float(np.exp(point)), np.exp(draws))


def improvement(ours: Scores, theirs: Scores) -> Interval:
    """Probability that a run of ours scores more than one of theirs, the mean over the tasks of both.

    A run's score is its mean over episodes; equal ones count half (Agarwal et al., 2021).
    """
    ours, theirs = common(ours, theirs)
    draws = _Draws()
    points, draws_BT = [], []
    for task in ours:
        points.append(_wins(_run_means(ours[task])[None], _run_means(theirs[task])[None]).item())
        draws_BT.append(_wins(draws.runs(task, ours[task]), draws.runs(task, theirs[task])))
    return _interval(float(np.mean(points)), np.mean(draws_BT, axis=0))


def profile(scores: Scores, heights: Sequence[float]) -> list[Interval]:
    """At each height the share of runs, of all tasks, that score more; every task counts alike."""
    draws = _Draws()
    runs_BS = [draws.runs(task, lucks) for task, lucks in scores.items()]
    found = []
    for height in heights:
        point = np.mean([(_run_means(lucks) > height).mean() for lucks in scores.values()])
        draws_B = np.mean([(runs > height).mean(axis=1) for runs in runs_BS], axis=0)
        found.append(_interval(float(point), draws_B))
    return found


def _run_means(lucks: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.array([lucks[name].mean() for name in sorted(lucks)])


def _wins(ours_BS: np.ndarray, theirs_BS: np.ndarray) -> np.ndarray:
    """(B,): the share of pairs of which ours is more."""
    won: np.ndarray = (np.sign(ours_BS[:, :, None] - theirs_BS[:, None, :]) / 2 + 0.5).mean((1, 2))
    return won


def common(ours: Scores, theirs: Scores) -> tuple[Scores, Scores]:
    """Both without the tasks that the other lacks. Raises ValueError if none is left."""
    tasks = [task for task in ours if task in theirs]
    if not tasks:
        raise ValueError(f"no task in common: {list(ours)}, {list(theirs)}")
    return {task: ours[task] for task in tasks}, {task: theirs[task] for task in tasks}


def areas(steps_P: Sequence[float], returns_PE: np.ndarray, reference: Reference) -> np.ndarray:
    """(E,): the mean height of each episode's curve of normalised scores, by the trapezoid rule."""
    scores_PE = reference.normalise(returns_PE)
    steps = np.asarray(steps_P, np.float64)
    return np.trapezoid(scores_PE, steps, axis=0) / (steps[-1] - steps[0])


def _points(scores: Scores) -> np.ndarray:
    return np.array([np.mean([values.mean() for values in lucks.values()]) for lucks in scores.values()])


class _Draws:
    """One bootstrap: the same lucks are drawn alike wherever they occur, episodes never."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(_SEED)
        self.seeds: dict[tuple[str, ...], np.ndarray] = {}

    def of(self, scores: Scores) -> np.ndarray:
        """(B, T): means of tasks."""
        if not scores:
            raise ValueError("no task has a score")
        return np.stack([self.runs(task, lucks).mean(axis=1) for task, lucks in scores.items()], axis=1)

    def runs(self, task: str, lucks: Mapping[str, np.ndarray]) -> np.ndarray:
        """(B, S): means of a task's runs."""
        names = tuple(sorted(lucks))
        if len({len(lucks[name]) for name in names}) != 1:
            raise ValueError(f"{task}: seeds have different numbers of episodes")
        values_SE = np.stack([lucks[name] for name in names])
        S, E = values_SE.shape
        if names not in self.seeds:
            self.seeds[names] = self.rng.integers(0, S, (DRAWS, S, 1))
        means_BS: np.ndarray = values_SE[self.seeds[names], self.rng.integers(0, E, (DRAWS, S, E))].mean(2)
        return means_BS


def _interval(point: float, draws_B: np.ndarray) -> Interval:
    low, high = np.quantile(draws_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(point, float(low), float(high))
