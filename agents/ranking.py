"""Ranking: from the returns of whole episodes to normalised scores, intervals and ranks.

What is computed, and from whom: scores are normalised per task, (R − random) / (reference −
random); an entry's aggregate is the interquartile mean (IQM) over its tasks' mean scores, with a
percentile interval from the stratified bootstrap: episodes are drawn anew within each task
(Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", 2021;
there the strata's members are training runs, here they are episodes of one policy, so the
intervals say nothing about training luck). As the bootstrap of few episodes is too narrow, the
percentiles lie further out, by Student's t and the fewest episodes of a task (the expanded
percentile interval of Hesterberg, "What Teachers Should Know About the Bootstrap", 2015). Entries
whose intervals overlap are not ranked against each other: they share a rank. A single episode of a
task has no spread that could be seen: no interval, and so no rank; nor has the mean of a task an
interval if all its returns are equal. This file doesn't know files or databases.

Suffixes: B bootstrap draws, T tasks, N and M episodes of one task.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

DRAWS = 2000
LEVEL = 0.95
_SEED = 20160427  # Any fixed number: the same episodes give the same table.


class Interval(NamedTuple):
    """A point estimate with its bootstrap interval; ``low`` and ``high`` are NaN if there is none."""

    point: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """There is an interval, not the point alone."""
        return not (np.isnan(self.low) or np.isnan(self.high))


FEW_EPISODES = 50
"""of random play: a reference that rests on fewer is marked wherever scores are shown"""


class Reference(NamedTuple):
    """The two scores of a task that become 0 and 1."""

    random: float
    reference: float
    episodes: int | None = None
    """that the mean of random play is over; None where nobody noted it"""

    @property
    def uncertain(self) -> bool:
        """Its zero is known to rest on few episodes."""
        return self.episodes is not None and self.episodes < FEW_EPISODES

    def normalise(self, returns_N: np.ndarray) -> np.ndarray:
        """(R − random) / (reference − random)."""
        return (np.asarray(returns_N, np.float64) - self.random) / (self.reference - self.random)


def reference_of(scores: Mapping[str, float]) -> Reference | None:
    """From an EnvSpec's ``reference``; None if it lacks one of the two or they are equal."""
    random, player = scores.get("random"), scores.get("heuristic", scores.get("human"))
    if random is None or player is None or random == player:
        return None
    episodes = int(scores["episodes"]) if "episodes" in scores else None
    return Reference(float(random), float(player), episodes)


def iqm(scores: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean of the middle half: a quarter (rounded down) of the values is cut at each end."""
    trimmed: np.ndarray = np.asarray(stats.trim_mean(scores, 0.25, axis=axis))
    return trimmed


def bootstrap_means(values_N: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float64 (B,): means of DRAWS samples of N values, drawn with replacement."""
    values = np.asarray(values_N, np.float64)
    picks_BN = rng.integers(0, len(values), (DRAWS, len(values)))
    means_B: np.ndarray = values[picks_BN].mean(axis=1)
    return means_B


def mean_interval(values_N: np.ndarray, seed: int = _SEED) -> Interval:
    """The mean with its percentile bootstrap interval; one value has no interval (NaN)."""
    values = np.asarray(values_N, np.float64)
    if len(values) < 2:
        return Interval(float(values.mean()), np.nan, np.nan)
    means_B = bootstrap_means(values, np.random.default_rng(seed))
    return _interval(float(values.mean()), means_B, len(values))


def iqm_interval(scores: Sequence[np.ndarray], seed: int = _SEED) -> Interval:
    """IQM over tasks of mean scores (one array of episodes' scores per task), stratified bootstrap.

    No interval (NaN) if a task has a single episode.
    """
    rng = np.random.default_rng(seed)
    means_T = np.array([np.mean(task_N) for task_N in scores])
    if not _have_spread(scores):
        return Interval(float(iqm(means_T)), np.nan, np.nan)
    means_BT = np.stack([bootstrap_means(task_N, rng) for task_N in scores], axis=1)
    return _interval(float(iqm(means_T)), iqm(means_BT, axis=1), min(map(len, scores)))


def probability_of_improvement(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], seed: int = _SEED
) -> Interval:
    """Mean over tasks of P(our episode beats theirs), a tie counting half, with its interval.

    ``ours`` and ``theirs`` hold one array of episodes' returns per task, in the same order. No
    interval (NaN) if either has a single episode of a task.
    """
    if len(ours) != len(theirs) or not ours:
        raise ValueError(f"both entries need the same tasks, at least one: got {len(ours)}, {len(theirs)}")
    rng = np.random.default_rng(seed)
    points, draws = [], []
    for ours_N, theirs_M in zip(ours, theirs, strict=True):
        wins_NM = np.sign(np.subtract.outer(ours_N, theirs_M)) / 2 + 0.5
        n, m = wins_NM.shape
        ours_BN = rng.multinomial(n, np.full(n, 1 / n), DRAWS) / n
        theirs_BM = rng.multinomial(m, np.full(m, 1 / m), DRAWS) / m
        points.append(wins_NM.mean())
        draws.append(((ours_BN @ wins_NM) * theirs_BM).sum(axis=1))
    if not _have_spread([*ours, *theirs]):
        return Interval(float(np.mean(points)), np.nan, np.nan)
    return _interval(float(np.mean(points)), np.mean(draws, axis=0), min(map(len, [*ours, *theirs])))


def _have_spread(samples: Sequence[np.ndarray]) -> bool:
    return all(len(sample_N) >= 2 for sample_N in samples)


def shared_ranks(intervals: Sequence[Interval]) -> list[int]:
    """The rank of each entry, 1 for the best.

    Entries whose intervals overlap share a rank, and so do entries that a chain of overlaps
    joins: nobody is ranked above someone from whom they can't be told apart.
    """
    order = sorted(range(len(intervals)), key=lambda i: -intervals[i].high)
    ranks = [0] * len(intervals)
    rank, floor = 0, np.inf  # floor: the lowest low of the group so far
    for place, i in enumerate(order, 1):
        if intervals[i].high < floor:
            rank = place
        floor = intervals[i].low if rank == place else min(floor, intervals[i].low)
        ranks[i] = rank
    return ranks


def leaders(intervals: Mapping[str, Interval]) -> set[str]:
    """The one of the highest point and all whose intervals overlap its; nobody if that is everybody.

    Those without an interval can't be compared: they neither lead nor count, and where one of them has the
    highest point nobody leads.
    """
    known = {name: interval for name, interval in intervals.items() if interval.known}
    played = [interval for interval in intervals.values() if not np.isnan(interval.point)]
    best = max(played, key=lambda interval: interval.point, default=None)
    if best is None or not best.known:
        return set()
    first = {name for name, one in known.items() if one.low <= best.high and best.low <= one.high}
    return first if len(first) < len(known) else set()


def _interval(point: float, draws_B: np.ndarray, episodes: int) -> Interval:
    """``episodes``: the fewest of any sample that was drawn from, 2 or more."""
    # Hesterberg 2015: a bootstrap of n values is too narrow by sqrt((n - 1) / n), and as a normal is to a t.
    wide = stats.t.ppf((1 - LEVEL) / 2, episodes - 1) * np.sqrt(episodes / (episodes - 1))
    tail = stats.norm.cdf(wide)
    low, high = np.quantile(draws_B, [tail, 1 - tail])
    return Interval(point, float(low), float(high))


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """One entry on one task."""

    task: str
    returns: np.ndarray
    """float64 (N,): of whole episodes only"""
    wanted: int
    """episodes that the suite asks for"""
    cut: int
    """episodes that faults cut; they are in no score"""
    raw: Interval
    """mean return; NaN if there is no whole episode, and no interval if all returns are equal: from no spread
    at all none can be told"""
    reference: Reference | None
    normalised: Interval | None
    """None if the task has no reference"""

    @property
    def complete(self) -> bool:
        """Every seed was played to its end."""
        return len(self.returns) == self.wanted


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a ranking."""

    name: str
    tier: str
    """"self-reported", "replay-verified", or "differs": a replay came out otherwise"""
    tasks: dict[str, TaskScore]
    score: Interval | None
    """IQM over the tasks that have a reference; None unless every task is complete, those without one too"""
    rank: int | None
    """None if there is no score, one without an interval, one that is known to be untrue, or one that can't
    be compared"""
    shared: bool
    """another entry has the same rank"""
    improvement: Interval | None
    """probability of improvement over ``Ranking.baseline``, over all tasks; None unless both have completed
    every one"""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The entries of one suite, best first; unranked ones at the end."""

    suite: str
    suite_hash: str
    tasks: list[str]
    unscored: list[str]
    """tasks without a reference: shown raw, left out of the aggregate"""
    baseline: str | None
    """the entry that ``improvement`` compares with"""
    entries: list[Entry]


def task_score(
    task: str, returns: Sequence[float], wanted: int, cut: int, reference: Reference | None
) -> TaskScore:
    """The score of one entry on one task."""
    returns_N = np.asarray(returns, np.float64)
    empty = Interval(np.nan, np.nan, np.nan)
    raw = mean_interval(returns_N) if len(returns_N) else empty
    if len(returns_N) and (returns_N == returns_N[0]).all():
        raw = raw._replace(low=np.nan, high=np.nan)
    normalised = None
    if reference is not None:
        normalised = Interval(*(float(reference.normalise(np.array(value))) for value in raw))
    return TaskScore(
        task=task,
        returns=returns_N,
        wanted=wanted,
        cut=cut,
        raw=raw,
        reference=reference,
        normalised=_ordered(normalised),
    )


def _ordered(interval: Interval | None) -> Interval | None:
    """A reference below random turns an interval around."""
    if interval is not None and interval.low > interval.high:
        return Interval(interval.point, interval.high, interval.low)
    return interval


def rank(
    suite: str,
    suite_hash: str,
    entries: Mapping[str, tuple[str, Sequence[TaskScore]]],
    baseline: str | None = None,
    apart: Collection[str] = (),
) -> Ranking:
    """``entries``: name → (tier, its task scores, one for each task of the suite, in its order).

    Those ``apart`` can't be compared with the others: they have scores, but no rank.
    """
    first = next(iter(entries.values()))[1]
    tasks = [score.task for score in first]
    unscored = [score.task for score in first if score.reference is None]
    scores = {name: _aggregate(found) for name, (_, found) in entries.items()}
    known = {
        name: score
        for name, score in scores.items()
        if score is not None and score.known and entries[name][0] != "differs" and name not in apart
    }
    ranks = dict(zip(known, shared_ranks(list(known.values())), strict=True))
    lines = [
        Entry(
            name=name,
            tier=tier,
            tasks={score.task: score for score in found},
            score=scores[name],
            rank=ranks.get(name),
            shared=name in ranks and list(ranks.values()).count(ranks[name]) > 1,
            improvement=_improvement(found, entries[baseline][1])
            if baseline is not None and name != baseline and not {name, baseline} & set(apart)
            else None,
        )
        for name, (tier, found) in entries.items()
    ]
    lines.sort(key=_place)
    return Ranking(
        suite=suite,
        suite_hash=suite_hash,
        tasks=tasks,
        unscored=unscored,
        baseline=baseline,
        entries=lines,
    )


def _place(entry: Entry) -> tuple[bool, bool, float, str]:
    point = 0.0 if entry.score is None else entry.score.point
    return entry.rank is None, entry.score is None, -point, entry.name


def _aggregate(found: Sequence[TaskScore]) -> Interval | None:
    counted = [score for score in found if score.reference is not None]
    if not counted or not all(score.complete for score in found):
        return None
    return iqm_interval([score.reference.normalise(score.returns) for score in counted if score.reference])


def _improvement(ours: Sequence[TaskScore], theirs: Sequence[TaskScore]) -> Interval | None:
    if not all(score.complete for score in (*ours, *theirs)):
        return None
    return probability_of_improvement([score.returns for score in ours], [score.returns for score in theirs])
