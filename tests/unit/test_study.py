"""The study's harness: its plans, what a restart runs, its statistics, and what its page says."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from waiting import eventually

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from toy_pool import SIZE, Toy, ToyPool

from benchmarks.study import cell as study_cell
from benchmarks.study import statistics, verdicts
from benchmarks.study.gradients import spread
from benchmarks.study.page import write_page
from benchmarks.study.plan import (
    BASES,
    BUDGETS,
    FRAME_SKIP,
    MINIBATCH,
    MIXED_MINIBATCH,
    RECIPE,
    TUNED,
    Cell,
    Played,
    cells,
    estimate,
)
from benchmarks.study.references import measure_references, reference
from benchmarks.study.results import Results
from benchmarks.study.runner import run
from universe2.agents import train as train_module
from universe2.agents.checkpoint import read_checkpoint
from universe2.agents.config import from_table
from universe2.agents.ranking import Interval, Reference
from universe2.core.errors import TrainingError, UsageError
from universe2.core.registry import find
from universe2.runtimes import compiled_driver


@pytest.fixture(params=list(BUDGETS))
def budget(request):
    return BUDGETS[request.param]


def test_every_cell_is_a_training_run_that_can_be_asked_for(budget):
    names = set()
    for cell in cells(budget):
        assert cell.name not in names, "a name is a file"
        names.add(cell.name)
        assert cell.parent in {"", *names}, "parents come first"
        config = from_table({**cell.config, "out_dir": "x", "init_from": "y", "seed": cell.seed})
        assert config.lockstep
        assert {p.env_id for p in cell.played} <= {task.env_id for task in config.tasks}
        for task in config.tasks:
            assert {"random", "heuristic"} <= set(find(task.env_id).reference)
            find(task.env_id).resolve(task.options)


def test_a_task_gets_as_many_steps_in_the_mix_as_alone(budget):
    alone = {c.of: c.config["total_steps"] for c in cells(budget) if c.arm == "specialist"}
    joint = next(c for c in cells(budget) if c.arm == "joint")
    config = from_table({**joint.config, "out_dir": "x"})
    per_segment = config.total_steps / sum(config.quota())
    for task, quota in zip(config.tasks, config.quota(), strict=True):
        assert quota * per_segment == pytest.approx(alone[task.env_id], rel=0.01)


def test_what_is_held_out_is_never_trained_on_before(budget):
    held_out = {c.of for c in cells(budget) if c.arm == "scratch"}
    assert len(held_out) == len(budget.held_out_games) + len(budget.held_out_pages)
    for cell in cells(budget):
        if cell.arm == "pretrained":
            assert not held_out & set(cell.config["tasks"])


def test_what_is_tuned_keeps_what_pages_and_games_share(budget):
    tuned = {"arcade": (RECIPE["lr"], ["keys", "value"]), "web": (1e-3, None)}
    arms = set()
    for cell in cells(budget):
        found = cell.config["lr"], cell.config.get("anew")
        assert found == (tuned[cell.of.partition("/")[0]] if cell.parent else (RECIPE["lr"], None)), cell.name
        arms |= {cell.arm} if cell.parent else set()
    assert arms == {"fine-tuned", "adapters"}


def test_encoders_are_mixed_where_one_network_plays_many_tasks_and_in_what_comes_of_it(budget):
    mixed = {cell.arm for cell in cells(budget) if cell.config.get("bases")}
    assert mixed == {"joint", "pretrained", "fine-tuned", "adapters"}
    (plain,) = (c for c in cells(budget) if c.arm == "one encoder")
    (joint,) = (c for c in cells(budget) if c.arm == "joint" and c.seed == 0)
    batch = plain.config["batch_steps"]
    assert plain.config["minibatches"] == 2 * batch // MINIBATCH
    mixed = {"bases": BASES, "minibatches": batch // MIXED_MINIBATCH}
    assert {**plain.config, **mixed} == joint.config
    assert plain.played == joint.played


def test_players_are_imitated_where_it_is_not_reinforcement_that_is_asked_about(budget):
    for cell in cells(budget):
        shown = {name for name, task in cell.config["tasks"].items() if "expert" in task.get("options", {})}
        imitating = cell.arm in ("specialist", "joint", "one encoder", "pretrained")
        wanted = set(cell.config["tasks"]) if imitating else set()
        assert shown == wanted, cell.name


def test_a_game_is_played_with_its_frame_skip_everywhere(budget):
    for cell in cells(budget):
        for played in cell.played:
            skip = FRAME_SKIP.get(played.env_id[len("arcade/") : -len("-v0")])
            task = cell.config["tasks"][played.env_id]
            for options in (task["options"], played.options):
                assert options.get("frame_skip") == skip, cell.name


def test_a_change_of_the_parent_is_one_of_its_children(monkeypatch):
    def contents():
        return {cell.name: cell.content() for cell in cells(BUDGETS["quick"])}

    before = contents()
    assert before == contents()
    monkeypatch.setitem(TUNED, "web", {"lr": 2e-3})
    for name, content in contents().items():
        assert (content != before[name]) == (content["config"]["lr"] == 2e-3), name
    monkeypatch.undo()
    other = dataclasses.replace(BUDGETS["quick"], steps=32_001)
    assert {cell.arm for cell in cells(other) if cell.content() != before[cell.name]} == {
        *("joint", "one encoder", "pretrained", "fine-tuned", "adapters", "specialist")
    }


def test_the_plans_are_of_the_size_they_say():
    quick, full = (sum(map(estimate, cells(BUDGETS[name]))) / 2 for name in ("quick", "full"))
    assert quick <= 20 * 60
    assert full <= 12 * 3600
    full_seeds = {(c.arm, c.of): c.seed for c in cells(BUDGETS["full"])}
    assert full_seeds.pop(("one encoder", "all")) == 0  # what the bases are compared with, no question itself
    assert min(full_seeds.values()) >= 2  # 3 seeds
    assert full_seeds["specialist", "arcade/Maze-v0"] == 4
    assert len(BUDGETS["full"].pages) >= 20


CELLS = [
    Cell(arm="a", of="x/Y-v0", seed=0, config={}, played=()),
    Cell(arm="a", of="x/Y-v0", seed=1, config={}, played=()),
    Cell(arm="b", of="x/Y-v0", seed=0, config={}, played=(), parent="a--x.Y-v0--1"),
    Cell(arm="c", of="x/Y-v0", seed=0, config={}, played=()),
]
WORKER = """
import json, pathlib, sys, time
result, content, runs, seconds = sys.argv[1:]
cell = json.loads(content)
time.sleep(float(seconds))
with open(runs + "/calls", "a") as calls:
    calls.write(cell["arm"] + str(cell["seed"]) + " ")
if cell["parent"]:
    assert (pathlib.Path(runs) / cell["parent"] / "checkpoint").exists()
folder = pathlib.Path(result).parent
folder.mkdir(exist_ok=True)
(pathlib.Path(runs) / pathlib.Path(result).stem / "checkpoint").touch()
if seconds != "0.001":
    pathlib.Path(result).write_text(json.dumps({"cell": cell}))
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "runs").mkdir()
    return tmp_path / "results", tmp_path / "runs"


def command(place, seconds=lambda cell: 0.0):
    def make(cell):
        result = str(place[0] / f"{cell.name}.json")
        content = json.dumps(cell.content())
        return [sys.executable, "-S", "-c", WORKER, result, content, str(place[1]), str(seconds(cell))]

    return make


def calls(place):
    return (place[1] / "calls").read_text().split()


def quiet(line):
    pass


def test_a_restart_runs_the_rest_alone(place):
    slow = command(place, lambda cell: 60.0 if cell.arm == "c" else 0.0)
    began = time.monotonic()
    outcome = run(CELLS, *place, slow, seconds=5, jobs=2, tell=quiet)
    assert time.monotonic() - began < 30, "what is under way is stopped"
    assert outcome.failed == []
    assert outcome.left == ["c--x.Y-v0--0"]
    assert sorted(calls(place)) == ["a0", "a1", "b0"]
    (place[1] / "calls").unlink()
    outcome = run(CELLS, *place, command(place), tell=quiet)
    assert outcome.ran == ["c--x.Y-v0--0"]
    assert outcome.left == []
    assert calls(place) == ["c0"]
    assert run(CELLS, *place, command(place), tell=quiet).ran == []


def test_a_parent_without_a_checkpoint_is_run_again_for_its_child(place):
    run(CELLS[:2], *place, command(place), tell=quiet)
    for folder in place[1].glob("a--*"):
        (folder / "checkpoint").unlink()
    (place[1] / "calls").unlink()
    assert run(CELLS[:3], *place, command(place), tell=quiet).failed == []
    assert calls(place) == ["a1", "b0"]  # a0 has no child


def test_a_failure_is_named_and_costs_nobody_but_the_children(place):
    said = []
    fails = command(place, lambda cell: 0.001 if (cell.arm, cell.seed) == ("a", 1) else 0.0)
    outcome = run(CELLS, *place, fails, tell=said.append)
    assert outcome.failed == ["a--x.Y-v0--1"]
    assert outcome.left == ["b--x.Y-v0--0"]
    assert len(outcome.ran) == 2
    assert any("FAILED (0) a--x.Y-v0--1: see" in line for line in said)


def test_results_of_another_plan_are_refused(place):
    run(CELLS[:1], *place, command(place), tell=quiet)
    other = dataclasses.replace(CELLS[0], config={"lr": 1.0})
    with pytest.raises(UsageError, match="differs from the present") as refused:
        run([other], *place, command(place), tell=quiet)
    assert str(place[0] / "a--x.Y-v0--0.json") in str(refused.value)
    assert str(place[1] / "a--x.Y-v0--0") in str(refused.value)
    # the result alone isn't enough: training would go on from the other plan's weights
    (place[0] / "a--x.Y-v0--0.json").unlink()
    with pytest.raises(UsageError, match="differs from the present"):
        run([other], *place, command(place), tell=quiet)
    (place[1] / "a--x.Y-v0--0" / "checkpoint").unlink()
    assert run([other], *place, command(place), tell=quiet).ran == ["a--x.Y-v0--0"]


class Quick(Toy):
    def step(self, action):
        return (0, 0, 0), float(action[0] == 1), True, False


@pytest.fixture
def toy_cell(monkeypatch):
    """A cell on a toy, whose evaluations are made up."""
    toys = {"toys/Quick-v0": (Quick, 8)}
    monkeypatch.setattr(train_module, "_open_pool", lambda config, ranks: ToyPool(toys))
    monkeypatch.setattr(
        study_cell, "play", lambda checkpoint, cell, folder: {"toys/Quick-v0 held-out": [1.0]}
    )
    config = {
        "preset": "nano",
        "screen_size": SIZE,
        "lockstep": True,
        "rollout": 8,
        "batch_steps": 64,
        "minibatches": 2,
        "epochs": 1,
        "total_steps": 320,
        "keep_every_steps": 100,
        "tasks": {"toys/Quick-v0": {"slots": 8}},
    }
    played = Played(env_id="toys/Quick-v0", levels="held-out", episodes=1)
    return Cell(arm="a", of="toys/Quick-v0", seed=3, config=config, played=(played,), curve=True)


def test_a_cell_is_stopped_and_goes_on(toy_cell, tmp_path, monkeypatch):
    path = tmp_path / "result.json"

    def tick(self):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(train_module.Progress, "tick", tick)
        assert not study_cell.run(toy_cell, tmp_path / "stopped", path)
    assert not path.exists()
    assert study_cell.run(toy_cell, tmp_path / "stopped", path)
    stopped = json.loads(path.read_text())
    assert study_cell.run(toy_cell, tmp_path / "straight", path)
    straight = json.loads(path.read_text())
    assert stopped["evaluations"] == straight["evaluations"]
    assert [one["steps"] for one in straight["evaluations"]] == [0, 128, 256, 320]
    first, second = (
        read_checkpoint(tmp_path / name / toy_cell.name / "checkpoint")[0] for name in ("stopped", "straight")
    )
    assert all((first[name] == second[name]).all() for name in first)


def test_a_child_starts_from_its_parent(toy_cell, tmp_path):
    child = dataclasses.replace(toy_cell, arm="b", parent=toy_cell.name)
    with pytest.raises(TrainingError, match="has no checkpoint"):
        study_cell.run(child, tmp_path, tmp_path / "b.json")
    assert study_cell.run(toy_cell, tmp_path, tmp_path / "a.json")
    assert study_cell.run(child, tmp_path, tmp_path / "b.json")
    assert not (tmp_path / child.name / "start").exists()


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


def result(cell, height, mean_error=0.1):
    """What a cell might have found: every task's score about ``height``, along a curve from 0."""
    parts = np.linspace(0, 1, 4) if cell.curve else [1.0]
    steps = cell.config["total_steps"]
    own = {played.name: {"random": 7.0, "heuristic": 11.0, "episodes": 512} for played in cell.played}
    own = {played.name: own[played.name] for played in cell.played if played.own_scale}

    def returns(part):
        found = {}
        for played in cell.played:
            scale = reference(played, own)
            scores = height * part + np.linspace(-0.05, 0.05, played.episodes)
            found[played.name] = list(scale.random + scores * (scale.reference - scale.random))
        return found

    gradients = {
        name: {
            "deviations": list(size * np.linspace(0.9, 1.1, 8)),
            "mean_square": 1.0,
            "mean_square_error": mean_error,
        }
        for name, size in {"nothing": 4.0, "group": 2.0, "critic": 1.0, "GAE": 0.5}.items()
    }
    return {
        "cell": cell.content(),
        "references": own,
        "evaluations": [{"steps": int(p * steps), "returns": returns(p)} for p in parts if cell.played],
        "gradients": [{"steps": steps, "estimators": gradients}] if cell.gradients else [],
        "steps": steps,
        "seconds": 10.0,
        "core_seconds": 10.0,
        "versions": {"universe2": "0.1.0"},
        "hardware": {"cpu": "abacus", "cores": 2},
    }


HEIGHTS = {"joint": 0.6, "one encoder": 0.2, "scratch": 0.1, "fine-tuned": 0.6, "no critic": 0.3}


def write_results(folder, heights, skip=(), mean_error=0.1):
    folder.mkdir()
    for cell in cells(BUDGETS["quick"]):
        if cell.arm not in skip:
            found = result(cell, heights.get(cell.arm, 0.5), mean_error)
            (folder / f"{cell.name}.json").write_text(json.dumps(found))


def the_page(tmp_path):
    """The text, and its sections by title."""
    budget = BUDGETS["quick"]
    path = write_page(tmp_path / "study.md", budget, cells(budget), tmp_path / "results", "--quick")
    text = path.read_text()
    return text, {part.split("\n")[0].split(". ")[-1]: part for part in text.split("\n## ")[1:]}


def test_the_page_says_what_the_results_say(tmp_path):
    write_results(tmp_path / "results", HEIGHTS)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "of-results-that-are-gone.svg").touch()
    text, sections = the_page(tmp_path)
    assert "`python -m benchmarks.study --quick`" in text
    answers = text.partition("<!-- answers -->\n")[2].partition("\n<!-- /answers -->")[0].split("\n")
    words = [line.rpartition(" | ")[2].removesuffix(" |") for line in answers[2:]]
    kinds = {"holds": 8, "worse than the recipe": 1, "can't be told apart": 2, "less variance": 4}
    assert {word: words.count(word) for word in words} == kinds
    assert "cells are missing" not in text
    assert sections["Joint training"].count("**Holds**") == 3
    assert sections["Joint training"].count("one encoder for all (1 seed): 0.2") == 3
    assert sections["Joint training"].count("the mixed ones better than that, by 0.4") == 3
    assert sections["Levels"].count("**Holds**") == 2
    assert sections["Transfer"].count("**Holds**") == 3
    assert "no critic: 0.3" in sections["What matters"]
    assert "Breakout 7.00 and 11.00, Forager 7.00 and 11.00, over 512 episodes" in sections["What matters"]
    assert sections["What matters"].count("worse than the recipe") == 1
    assert "critic / group baseline: 0.5" in sections["The critic and the gradient's variance"]
    assert sections["The critic and the gradient's variance"].count("less variance") == 4
    names = ("ablations", "critic", "joint", "levels", "specialists", "transfer")
    assert sorted(path.stem for path in (tmp_path / "study").iterdir()) == list(names)
    for name in names:
        assert f"(study/{name}.svg)" in text
        assert ElementTree.parse(tmp_path / "study" / f"{name}.svg").getroot().tag.endswith("svg")


def test_opposite_results_make_the_opposite_page(tmp_path):
    write_results(tmp_path / "results", {"joint": 0.2, "scratch": 0.6, "fine-tuned": 0.1, "no critic": 0.9})
    _, sections = the_page(tmp_path)
    assert sections["Joint training"].count("**Does not hold**") == 3
    assert sections["Joint training"].count("worse than that") == 3
    assert sections["Transfer"].count("**Does not hold**") == 3
    assert "better than the recipe" in sections["What matters"]


def test_what_is_missing_is_said(tmp_path):
    write_results(tmp_path / "results", HEIGHTS, skip=("joint", "fine-tuned"))
    text, _ = the_page(tmp_path)
    assert "cells are missing" in text
    assert text.count("Not run yet.") == 2  # joint and transfer


def test_a_mean_gradient_in_noise_is_not_divided_by(tmp_path):
    write_results(tmp_path / "results", HEIGHTS, mean_error=0.6)
    _, sections = the_page(tmp_path)
    variance = sections["The critic and the gradient's variance"]
    assert "GAE / critic, relative to the mean: can't be told" in variance
    assert variance.count("less variance") == 3


def test_scores_know_whose_luck_is_in_them(tmp_path):
    write_results(tmp_path / "results", HEIGHTS)
    found = Results(cells(BUDGETS["quick"]), tmp_path / "results")
    lucks = {arm: [set(one) for one in found.scores(arm).values()] for arm in ("joint", "specialist")}
    assert lucks["joint"] == [{"joint--all--0"}] * 7
    assert len(set.union(*lucks["specialist"])) == 4 * 2 + 3
    areas = {
        arm: set.union(*(set(one) for one in found.areas(arm).values())) for arm in ("adapters", "fine-tuned")
    }
    assert areas["adapters"] == areas["fine-tuned"] == {"pretrained--the rest--0"}


def test_stopping_the_runner_stops_its_cells(tmp_path):
    mark = tmp_path / "pid"
    worker = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w')); time.sleep(60)"
    source = (
        "import signal, sys; from pathlib import Path; from benchmarks.study.plan import Cell\n"
        # a job in the background of a shell ignores it, and so do its children
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from benchmarks.study.runner import run\n"
        "cell = Cell(arm='a', of='x/Y-v0', seed=0, config={}, played=())\n"
        f"run([cell], Path({str(tmp_path)!r}), Path({str(tmp_path)!r}), "
        f"lambda c: [sys.executable, '-S', '-c', {worker!r}, {str(mark)!r}])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", source], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL
    )
    assert eventually(lambda: mark.exists() and mark.read_text(), 60.0)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
