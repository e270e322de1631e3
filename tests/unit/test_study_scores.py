"""The study's arithmetic: scores, intervals, ratios, verdicts."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.study import statistics, verdicts
from benchmarks.study.gradients import spread
from benchmarks.study.plan import (
    Played,
)
from benchmarks.study.references import measure_references, reference
from universe2.agents.ranking import Interval, Reference
from universe2.core.errors import UsageError
from universe2.core.registry import find
from universe2.runtimes import compiled_driver


def alone(task, seeds):
    """Scores of networks that play one task each."""
    return {f"{task} {number}": np.asarray(values, float) for number, values in enumerate(seeds)}


def test_scores_are_aggregated_over_tasks_seeds_and_episodes():
    scores = {
        t: alone(t, [np.full(10, i + s) for s in (0.0, 1.0)])
        for t, i in zip("abcd", (0, 1, 2, 100), strict=True)
    }
    found = statistics.aggregate(scores)
    assert found.point == pytest.approx(2.0)  # of 0.5, 1.5, 2.5, 100.5 without the ends
    assert found.low == pytest.approx(1.5, abs=0.3)
    assert found.high == pytest.approx(2.5, abs=0.3)
    same = statistics.aggregate({"x/T-v0": alone("x", [np.full(10, 0.25)])})
    assert same == pytest.approx((0.25, 0.25, 0.25))


def test_chance_of_training_widens_the_interval():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(5, 20)) * 0.1
    seeds = [np.full(20, seed) + noise[i] for i, seed in enumerate((0.0, 0.2, 0.4, 0.6, 0.8))]
    wide = statistics.aggregate({"x": alone("x", seeds)})
    narrow = statistics.aggregate({"x": alone("x", [np.concatenate(seeds)])})
    assert wide.point == pytest.approx(narrow.point)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


TASKS = [f"x/T{i}-v0" for i in range(8)]


def played_by(networks, luck_TS, rng):
    """Scores about 0.5 and the lucks, of episodes that scatter by 0.1."""
    noise_TSE = 0.1 * rng.normal(size=(*luck_TS.shape, 4))
    return {
        task: {f"{networks(task)} {s}": 0.5 + luck + noise_TSE[t, s] for s, luck in enumerate(luck_TS[t])}
        for t, task in enumerate(TASKS)
    }


# nominal 95: so few seeds can't give it; if each task drew its own, shared seeds would give 45 and 56
@pytest.mark.parametrize(
    ("seeds", "shared", "least", "most"), [(3, True, 65, 85), (5, True, 75, 92), (5, False, 85, 100)]
)
def test_intervals_cover_the_truth_as_often_as_the_page_says(seeds, shared, least, most):
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        luck_TS = 0.2 * rng.normal(size=(1 if shared else len(TASKS), seeds))
        luck_TS = np.broadcast_to(luck_TS, (len(TASKS), seeds))
        found = statistics.aggregate(played_by((lambda task: "joint") if shared else str, luck_TS, rng))
        covered += found.low <= 0.5 <= found.high
    assert least <= covered <= most, covered


def test_the_same_networks_are_compared_in_pairs():
    rng = np.random.default_rng(2)
    luck_TS = np.broadcast_to(np.linspace(-1, 1, 5), (len(TASKS), 5))

    def width(ours, theirs):
        found = statistics.difference(played_by(ours, luck_TS, rng), played_by(theirs, luck_TS, rng))
        return found.high - found.low

    paired = width(lambda task: "joint", lambda task: "joint")
    assert paired < 0.3 * width(lambda task: "joint", lambda task: "other")
    assert paired < 0.3 * width(lambda task: "joint", str)


def test_ratios_and_differences():
    ours = {"x/T-v0": alone("ours", [[1.8, 2.2]]), "x/Only-v0": alone("ours", [[100.0, 100.0]])}
    theirs = {"x/T-v0": alone("theirs", [[1.0, 1.0]])}
    part = statistics.ratio(ours, theirs)
    assert part.point == pytest.approx(2.0)
    assert 1.8 <= part.low < part.high <= 2.2
    assert statistics.difference(ours, theirs).point == pytest.approx(1.0)
    assert statistics.ratio(ours, {"x/T-v0": alone("theirs", [[-1.0, 1.0]])}) is None
    with pytest.raises(ValueError, match="no task in common"):
        statistics.ratio(ours, {"x/Other-v0": alone("theirs", [np.ones(2)])})


@pytest.mark.parametrize("noise", [0.005, 0.05, 0.5])
def test_noise_is_no_part_of_the_mean_gradients_square(noise):
    torch.manual_seed(0)
    mean_W = 0.01 * torch.randn(2000)
    truth = float(mean_W.square().sum())
    found = [spread(mean_W + noise * torch.randn(16, 2000)) for _ in range(20)]
    squares = np.array([one["mean_square"] for one in found])
    assert abs(squares.mean() - truth) < 4 * squares.std() / len(found) ** 0.5
    errors = np.array([one["mean_square_error"] for one in found])
    assert 0.7 < errors.mean() / squares.std() < 2.5
    variance = np.mean([np.sum(one["deviations"]) / 15 for one in found])
    assert variance == pytest.approx(2000 * noise**2, rel=0.05)
    told = [one["mean_square"] > 2 * one["mean_square_error"] for one in found]
    assert all(told) if noise <= 0.05 else sum(told) < 5


@pytest.fixture
def plainly(monkeypatch):
    """Games as plain Python: nothing to compile."""
    monkeypatch.setenv("UNIVERSE2_DEBUG", "1")
    cached = (compiled_driver._drive_all, compiled_driver.drivers)
    for function in cached:  # another test may have compiled the same game
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def test_short_episodes_have_a_scale_of_their_own(plainly):
    options = {"max_steps": 100, "size": 8}
    short = Played(env_id="arcade/Catcher-v0", levels="held-out", episodes=1, options=options)
    whole = dataclasses.replace(short, options={"start_level": 200, "num_levels": 0})
    skipping = dataclasses.replace(short, levels="train", options={"frame_skip": 4})
    measured = measure_references((short, whole, skipping), episodes=4)
    assert list(measured) == [short.name, skipping.name]
    assert measured[short.name]["episodes"] == 4
    assert measured[skipping.name]["heuristic"] == find("arcade/Catcher-v0").reference["heuristic"]
    assert measured[skipping.name]["random"] != find("arcade/Catcher-v0").reference["random"]
    mine, registered = reference(short, measured), reference(whole, measured)
    assert mine.random < mine.reference < registered.reference / 2
    assert registered == Reference(*(find("arcade/Catcher-v0").reference[k] for k in ("random", "heuristic")))
    with pytest.raises(UsageError, match="none measured"):
        reference(short, {})


def test_the_area_is_the_mean_height_of_the_normalised_curve():
    returns_PE = np.array([[10.0, 10.0], [20.0, 10.0], [30.0, 10.0]])
    area_E = statistics.areas([0, 100, 400], returns_PE, Reference(10.0, 30.0))
    assert area_E == pytest.approx([(0.25 * 100 + 0.75 * 300) / 400, 0.0])


def test_the_ratio_of_variances_is_paired():
    theirs = [np.array([1.0, 100.0, 3.0]), np.array([5.0, 7.0, 11.0])]
    part = statistics.mean_ratio([3 * values for values in theirs], theirs)
    assert part == pytest.approx((3.0, 3.0, 3.0))


def test_a_loud_seed_counts_as_another():
    one, loud = np.array([1.0, 1.0]), np.array([1000.0, 1000.0])
    part = statistics.mean_ratio([4 * one, loud], [one, loud])
    assert part.point == pytest.approx(2.0)
    assert (part.low, part.high) == pytest.approx((1.0, 4.0))


def test_improvement_is_the_share_of_pairs_of_runs():
    ours = {"x/A-v0": alone("ours", [[3.0, 3.0], [1.0, 1.0]]), "x/B-v0": alone("other", [[5.0], [5.0]])}
    theirs = {"x/A-v0": alone("theirs", [[2.0, 2.0], [0.0, 0.0]]), "x/B-v0": alone("more", [[5.0], [5.0]])}
    won = statistics.improvement(ours, theirs)
    assert won.point == pytest.approx((0.75 + 0.5) / 2)  # 3 of 4 pairs; equal ones count half
    assert 0.25 <= won.low < won.point < won.high <= 0.75


def test_a_profile_falls_from_all_runs_to_none():
    scores = {"x/A-v0": alone("a", [[0.1], [0.3]]), "x/B-v0": alone("b", [[0.7], [0.7]])}
    found = statistics.profile(scores, [0.0, 0.2, 0.5, 0.9])
    assert [one.point for one in found] == [1.0, 0.75, 0.5, 0.0]
    assert found[1].low < 0.75 < found[1].high


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(0.8, 0.7, 0.89), "**Holds**"),
        (Interval(0.95, 0.91, 0.99), "**Does not hold**"),
        (Interval(0.95, 0.85, 1.1), "**Open**"),
    ],
)
def test_the_interval_decides_what_is_said(interval, said):
    told = verdicts.at_most(interval, 0.9)
    assert told.said.startswith(said)
    assert told.word == said.strip("*").lower()


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ([1.9, 2.1], [0.9, 1.0], "ratio"),
        ([0.5, 0.6], [-0.1, 0.1], "no ratio"),
        ([-0.5, -0.4], [-0.1, 0.1], "no ratio"),
    ],
)
def test_a_multiple_is_decided_by_a_difference(ours, theirs, said):
    scores = ({"x/T-v0": alone(name, [values])} for name, values in (("ours", ours), ("theirs", theirs)))
    told = verdicts.reaches(*scores, 1.5)
    assert told.said.startswith(said)
    assert told.word == ("holds" if ours[0] > 0 else "does not hold")
    assert f"**{told.word.capitalize()}**" in told.said
