"""The study's cells and the runner: stopped, taken up again, children of parents."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import eventually

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from toy_pool import SIZE, Toy, ToyPool

from benchmarks.study import cell as study_cell
from benchmarks.study.plan import (
    Cell,
    Played,
)
from benchmarks.study.runner import run
from universe2.agents import train as train_module
from universe2.agents.checkpoint import read_checkpoint
from universe2.core.errors import TrainingError, UsageError

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
