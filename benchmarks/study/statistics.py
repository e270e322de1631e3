"""What the study computes from returns: normalised scores, and IQMs with intervals over seeds and episodes.

*Scores* are task → one array per seed, of one number per episode. Intervals are percentile
intervals of a bootstrap in two stages, stratified by task: seeds are drawn anew within each task
and then episodes within each seed drawn, so training luck counts where there is more than one
seed. An episode of a learning curve is the same seed played at every point; its area is the mean
height of its curve. This file knows no arms and no questions.

Suffixes: B bootstrap draws, T tasks, S seeds, E episodes, P points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from universe2.agents.ranking import DRAWS, LEVEL, Interval, Reference, iqm

Scores = Mapping[str, Sequence[np.ndarray]]
_SEED = 20160427


def aggregate(scores: Scores) -> Interval:
    """IQM over tasks of the mean score."""
    return _interval(float(iqm(_points(scores))), iqm(_draws(scores, 0), axis=1))


def difference(ours: Scores, theirs: Scores) -> Interval:
    """IQM of ours less IQM of theirs, over the tasks that both have."""
    ours, theirs = common(ours, theirs)
    draws_B = iqm(_draws(ours, 1), axis=1) - iqm(_draws(theirs, 2), axis=1)
    return _interval(float(iqm(_points(ours)) - iqm(_points(theirs))), draws_B)


def ratio(ours: Scores, theirs: Scores) -> Interval | None:
    """IQM of ours over IQM of theirs; None if theirs can't be told from 0: then it means nothing."""
    ours, theirs = common(ours, theirs)
    under_B = iqm(_draws(theirs, 2), axis=1)
    if np.quantile(under_B, (1 - LEVEL) / 2) <= 0:
        return None
    draws_B = iqm(_draws(ours, 1), axis=1) / under_B
    return _interval(float(iqm(_points(ours)) / iqm(_points(theirs))), draws_B)


def mean_ratio(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Interval:
    """Sum of ours over sum of theirs, of positive numbers in pairs; one array per seed."""
    rng = np.random.default_rng(_SEED)
    draws = []
    for _ in range(DRAWS):
        seeds_S = rng.integers(0, len(ours), len(ours))
        picks = [rng.integers(0, len(ours[seed]), len(ours[seed])) for seed in seeds_S]
        over = sum(ours[seed][pick].sum() for seed, pick in zip(seeds_S, picks, strict=True))
        under = sum(theirs[seed][pick].sum() for seed, pick in zip(seeds_S, picks, strict=True))
        draws.append(over / under)
    point = sum(values.sum() for values in ours) / sum(values.sum() for values in theirs)
    return _interval(float(point), np.array(draws))


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
    return np.array([np.mean([values.mean() for values in seeds]) for seeds in scores.values()])


def _draws(scores: Scores, stream: int) -> np.ndarray:
    """(B, T): means of tasks."""
    if not scores:
        raise ValueError("no task has a score")
    rng = np.random.default_rng([_SEED, stream])
    columns = []
    for task, seeds in scores.items():
        if len({len(values) for values in seeds}) != 1:
            raise ValueError(f"{task}: seeds have different numbers of episodes")
        values_SE = np.stack(seeds)
        S, E = values_SE.shape
        seeds_BS1 = rng.integers(0, S, (DRAWS, S, 1))
        columns.append(values_SE[seeds_BS1, rng.integers(0, E, (DRAWS, S, E))].mean((1, 2)))
    return np.stack(columns, axis=1)


def _interval(point: float, draws_B: np.ndarray) -> Interval:
    low, high = np.quantile(draws_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(point, float(low), float(high))
