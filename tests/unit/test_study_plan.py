"""The study's plans: what every cell trains on, and how long."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.study.plan import (
    BASES,
    BUDGETS,
    FRAME_SKIP,
    JOINT_BASES,
    MINIBATCH,
    MIXED_MINIBATCH,
    RECIPE,
    TUNED,
    cells,
    estimate,
)
from universe2.agents.config import from_table
from universe2.core.registry import find


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
    mixed = {cell.arm: cell.config["bases"] for cell in cells(budget) if cell.config.get("bases")}
    assert mixed == {"joint": JOINT_BASES, "pretrained": BASES, "fine-tuned": BASES, "adapters": BASES}
    (plain,) = (c for c in cells(budget) if c.arm == "one encoder")
    (joint,) = (c for c in cells(budget) if c.arm == "joint" and c.seed == 0)
    batch = plain.config["batch_steps"]
    assert plain.config["minibatches"] == 2 * batch // MINIBATCH
    mixed = {"bases": JOINT_BASES, "minibatches": batch // MIXED_MINIBATCH}
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


def test_every_point_of_a_curve_is_reached(budget):
    """An update may not be longer than the way from one to the next."""
    for cell in cells(budget):
        config = cell.config
        if every := config.get("keep_every_steps"):
            ends = range(
                config["batch_steps"], config["total_steps"] + config["batch_steps"], config["batch_steps"]
            )
            reached = {end // every for end in ends} - {0}
            assert len(reached) == config["total_steps"] // every, cell.name


def test_the_plans_are_of_the_size_they_say():
    quick, full = (sum(map(estimate, cells(BUDGETS[name]))) / 2 for name in ("quick", "full"))
    assert quick <= 20 * 60
    assert full <= 12 * 3600
    full_seeds = {(c.arm, c.of): c.seed for c in cells(BUDGETS["full"])}
    assert full_seeds.pop(("one encoder", "all")) == 0  # what the bases are compared with, no question itself
    assert min(full_seeds.values()) >= 2  # 3 seeds
    assert full_seeds["specialist", "arcade/Maze-v0"] == 4
    assert len(BUDGETS["full"].pages) >= 20
