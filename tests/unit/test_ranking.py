"""Ranking maths against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from universe2.agents import ranking
from universe2.agents.ranking import Interval, Reference
from universe2.core.registry import find


def test_normalise() -> None:
    reference = ranking.reference_of({"random": 10.0, "heuristic": 30.0})
    assert reference == Reference(10.0, 30.0)
    assert reference.normalise(np.array([10.0, 30.0, 20.0, 50.0])).tolist() == [0.0, 1.0, 0.5, 2.0]


def test_a_human_player_is_a_reference_too() -> None:
    reference = ranking.reference_of(find("atari/Pong-v0").reference)
    assert reference is not None
    assert reference.normalise(np.array([-20.7, 14.6])).tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("scores", [{}, {"random": 1.0}, {"random": 1.0, "heuristic": 1.0}])
def test_no_reference(scores: dict[str, float]) -> None:
    assert ranking.reference_of(scores) is None


def test_iqm() -> None:
    # Eight values: two cut at each end, (3 + 4 + 5 + 6) / 4.
    assert ranking.iqm(np.array([100.0, 3, 4, -50, 1, 6, 5, 7])) == 4.5
    # Three values: a quarter of three rounds down to none.
    assert ranking.iqm(np.array([0.0, 1.0, 5.0])) == 2.0
    assert ranking.iqm(np.array([[1.0, 3.0], [2.0, 4.0]]), axis=1).tolist() == [2.0, 3.0]


def test_mean_interval() -> None:
    assert ranking.mean_interval(np.full(10, 3.0)) == (3.0, 3.0, 3.0)
    single = ranking.mean_interval(np.array([2.0]))
    assert single.point == 2.0
    assert np.isnan([single.low, single.high]).all()
    # Normal theory: the half-width for 400 values of deviation 1 is 1.96 / 20 = 0.098.
    values = np.random.default_rng(0).normal(size=400)
    values = (values - values.mean()) / values.std()
    found = ranking.mean_interval(values)
    assert found.low == pytest.approx(-0.098, abs=0.01)
    assert found.high == pytest.approx(0.098, abs=0.01)


def test_of_few_episodes_intervals_are_wider() -> None:
    # Phi(t_0.025(n - 1) sqrt(n / (n - 1))) is 0.00096 for five values, 0.0245 for 500.
    for count, tail in ((5, 0.00096), (500, 0.0245)):
        values = np.random.default_rng(count).normal(size=count)
        means_B = ranking.bootstrap_means(values, np.random.default_rng(1))
        low, high = np.quantile(means_B, [tail, 1 - tail])
        found = ranking.mean_interval(values, seed=1)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.005)


@pytest.mark.parametrize(("episodes", "tasks"), [(4, 1), (5, 1), (10, 1), (3, 4), (5, 4)])
def test_intervals_cover_the_truth_and_equals_share_a_rank(episodes: int, tasks: int) -> None:
    rng = np.random.default_rng(3)
    covered, apart, repeats = 0, 0, 300
    for i in range(repeats):
        pair = [
            ranking.iqm_interval([rng.normal(size=episodes) for _ in range(tasks)], seed=2 * i + j)
            for j in range(2)
        ]
        covered += pair[0].low <= 0 <= pair[0].high
        apart += len(set(ranking.shared_ranks(pair))) > 1
    assert covered / repeats > 0.85
    assert apart / repeats < 0.05


def test_the_mean_of_equal_returns_has_no_interval() -> None:
    reference = Reference(0.0, 10.0)
    score = ranking.task_score("x/A-v0", [3.0, 3.0, 3.0], 3, 0, reference)
    assert score.normalised is not None
    for interval, point in ((score.raw, 3.0), (score.normalised, 0.3)):
        assert interval.point == pytest.approx(point)
        assert not interval.known
    found = ranking.rank("tiny", "00", {"equal": ("self-reported", [score])})
    assert found.entries[0].score == pytest.approx(
        (0.3, 0.3, 0.3)
    )  # an aggregate has its interval all the same


def test_iqm_interval_is_stratified() -> None:
    # No spread within tasks, much between them: a stratified bootstrap sees no uncertainty.
    scores = [np.full(20, value) for value in (0.0, 0.2, 0.4, 9.0)]
    assert ranking.iqm_interval(scores) == pytest.approx((0.3, 0.3, 0.3))


def test_probability_of_improvement() -> None:
    # Pairs: 1>0, 1>0, 1<2 | 3>0, 3>0, 3>2 -> 5 of 6; second task: all tie -> 1/2.
    ours = [np.array([1.0, 3.0]), np.array([1.0, 1.0])]
    theirs = [np.array([0.0, 0.0, 2.0]), np.array([1.0, 1.0])]
    found = ranking.probability_of_improvement(ours, theirs)
    assert found.point == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert found.low < found.point < found.high
    assert ranking.probability_of_improvement(ours[1:], theirs[1:]) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("intervals", "ranks"),
    [
        ([(0.0, 1.0), (2.0, 3.0)], [2, 1]),
        ([(0.0, 1.0), (0.5, 3.0)], [1, 1]),
        ([(0.0, 1.0), (1.0, 3.0)], [1, 1]),  # touching is overlapping
        ([(0.0, 1.2), (1.0, 2.2), (2.0, 3.0)], [1, 1, 1]),  # a chain
        ([(0.0, 1.0), (5.0, 6.0), (5.5, 7.0), (0.5, 2.0), (-3.0, -2.0)], [3, 1, 1, 3, 5]),
        ([(0.0, 10.0), (1.0, 2.0), (4.0, 5.0)], [1, 1, 1]),  # one that contains the others
    ],
)
def test_shared_ranks(intervals: list[tuple[float, float]], ranks: list[int]) -> None:
    found = ranking.shared_ranks([Interval((low + high) / 2, low, high) for low, high in intervals])
    assert found == ranks


def test_incomplete_entries_and_tasks_without_reference() -> None:
    reference = Reference(0.0, 10.0)

    def scores(a: list[float], b: list[float]) -> list[ranking.TaskScore]:
        return [
            ranking.task_score("x/A-v0", a, 3, 0, reference),
            ranking.task_score("x/B-v0", b, 3, 1, None),
        ]

    found = ranking.rank(
        "tiny",
        "00",
        {
            "short": ("self-reported", scores([9.0, 9.0], [1.0, 1.0, 1.0])),
            "lazy": ("self-reported", scores([9.0, 9.0, 9.0], [])),
            "weak": ("self-reported", scores([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])),
            "good": ("replay-verified", scores([5.0, 5.0, 8.0], [7.0, 7.0, 7.0])),
        },
        baseline="weak",
    )
    assert found.unscored == ["x/B-v0"]
    assert [(e.name, e.rank, e.shared) for e in found.entries] == [
        ("good", 1, False),
        ("weak", 2, False),
        ("lazy", None, False),
        ("short", None, False),
    ]
    good, weak, lazy, short = found.entries
    assert good.score is not None
    assert good.score.point == pytest.approx(0.6)
    assert good.tasks["x/B-v0"].raw.point == 7.0
    assert good.tasks["x/B-v0"].normalised is None
    assert good.improvement == pytest.approx((1.0, 1.0, 1.0))
    assert weak.improvement is None
    for incomplete in (lazy, short):  # lazy skipped what is not in the score
        assert incomplete.score is None
        assert incomplete.improvement is None


def test_a_single_episode_of_a_task_gives_no_interval_and_no_rank() -> None:
    reference = Reference(0.0, 10.0)

    def scores(a: list[float], b: list[float]) -> list[ranking.TaskScore]:
        return [ranking.task_score(name, r, len(r), 0, reference) for name, r in (("A", a), ("B", b))]

    entries = {
        "once": ("self-reported", scores([9.0, 9.0], [8.0])),
        "often": ("self-reported", scores([1.0, 2.0, 1.0], [2.0, 2.0, 3.0])),
    }
    found = ranking.rank("tiny", "00", entries, baseline="often")
    assert [(e.name, e.rank, e.shared) for e in found.entries] == [("often", 1, False), ("once", None, False)]
    often, once = found.entries
    assert often.score is not None
    assert often.score.known
    for interval, point in ((once.score, 0.85), (once.improvement, 1.0)):
        assert interval is not None
        assert interval.point == pytest.approx(point)
        assert np.isnan([interval.low, interval.high]).all()


def test_a_reference_below_random_keeps_the_interval_in_order() -> None:
    score = ranking.task_score("x/A-v0", [1.0, 2.0, 3.0], 3, 0, Reference(10.0, 0.0))
    assert score.normalised is not None
    assert score.normalised.low < score.normalised.point < score.normalised.high


@pytest.mark.parametrize(
    ("intervals", "who"),
    [
        ({"a": (3.0, 2.0, 4.2), "b": (2.2, 0.8, 3.8), "c": (2.2, 0.8, 3.8)}, ""),
        ({"a": (3.0, 2.0, 4.2), "b": (2.2, 0.8, 3.8), "c": (1.0, 0.5, 1.9)}, "ab"),
        ({"a": (3.0, 2.0, 4.0), "b": (1.5, 1.0, 2.0), "c": (0.5, 0.0, 1.5)}, "ab"),
        ({"a": (9.0, 8.0, 10.0), "b": (2.0, 1.0, 3.0)}, "a"),
        ({"a": (9.0, 8.0, 10.0)}, ""),
        ({"a": (0.5, np.nan, np.nan), "b": (2.0, 1.5, 3.0), "c": (1.0, 1.0, 1.0)}, "b"),
        ({"a": (9.0, np.nan, np.nan), "b": (2.0, 1.5, 3.0), "c": (1.0, 1.0, 1.0)}, ""),
        ({"a": (9.0, np.nan, np.nan), "b": (np.nan, np.nan, np.nan)}, ""),
        ({}, ""),
    ],
)
def test_leaders_can_not_be_told_apart(intervals: dict[str, tuple[float, float, float]], who: str) -> None:
    assert ranking.leaders({name: Interval(*one) for name, one in intervals.items()}) == set(who)
