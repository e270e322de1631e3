"""A whole run on toys: its files, its display, signals, algorithms of one's own."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import signal
import sys
import threading
from collections import deque
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_pool import Toy, ToyPool
from toy_run import quiet, toy_config

from universe2.agents import train as train_module
from universe2.agents.checkpoint import read_checkpoint
from universe2.agents.config import TrainConfig, from_table
from universe2.agents.run_log import _by_task, task_numbers, task_rows
from universe2.agents.train import train
from universe2.core.errors import TrainingError, UsageError


class Poisonous(Toy):
    def step(self, action):
        return (0, 0, 0), float("inf"), True, False


@pytest.fixture
def config(tmp_path, monkeypatch):
    return toy_config(tmp_path, monkeypatch)


def test_a_run_leaves_its_files_and_resumes(config, tmp_path):
    path = train(config, console=quiet())
    assert path == tmp_path / "run" / "checkpoint"
    _, meta = read_checkpoint(path)
    assert 600 <= meta["counts"]["steps"] < 900
    assert from_table(meta["extra"]["config"]) == config
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scores = [row for row in rows if row.get("task") == "toys/Flaky-v0"]
    assert scores[-1]["return_mean"] > 0
    assert scores[-1]["faults"] > 0
    assert scores[-1]["steps"] == meta["counts"]["steps"]
    assert any({"value_error", "entropy", "off_policy", "policy_lag"} <= row.keys() for row in scores)
    whole = [row for row in rows if "loss/total" in row]
    assert whole
    assert not any("Flaky" in name for row in whole for name in row)
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))
    text = (tmp_path / "run" / "train.log").read_text()
    named = re.findall(r"fault \(ENVIRONMENT\) in toys/Flaky-v0, slots \[(.*)\]: toy broke", text)
    assert sum(len(slots.split(",")) for slots in named) == scores[-1]["faults"]

    with pytest.raises(UsageError, match="continue that run with --resume"):
        train(config, console=quiet())
    longer = TrainConfig(**{**vars(config), "total_steps": 1200})
    train(longer, resume=True, console=quiet())
    _, after = read_checkpoint(path)
    assert 1200 <= after["counts"]["steps"] < 1500
    assert after["optimizer_steps"] > meta["optimizer_steps"]


def test_a_damaged_log_is_named_and_not_lost(config, tmp_path):
    train(config, console=quiet())
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text(path.read_text() + "gibberish\n")
    with pytest.raises(TrainingError, match=r"metrics.jsonl, line \d+, is not a row .*'gibberish'"):
        train(dataclasses.replace(config, total_steps=1200), resume=True, console=quiet())
    assert path.read_text().endswith("gibberish\n")
    assert not [thread for thread in threading.enumerate() if "sampler" in thread.name]


def test_a_line_that_was_cut_off_is_forgotten(config, tmp_path):
    """A kill or a full disk in the midst of it; the row comes again."""
    train(config, console=quiet())
    path = tmp_path / "run" / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + '{"steps": 3, "ret')
    train(dataclasses.replace(config, total_steps=1200), resume=True, console=quiet())
    assert path.read_text().startswith(whole)
    assert all(json.loads(line)["steps"] for line in path.read_text().splitlines())


class Board:
    """Weights & Biases, as far as a run calls it."""

    def __init__(self):
        self.begun, self.rows, self.finished = [], [], 0

    def init(self, **given):
        self.begun.append(given)
        return self

    def log(self, row, step):
        self.rows.append((step, row))

    def finish(self):
        self.finished += 1


def test_a_resumed_run_goes_on_in_the_same_weights_and_biases_run(config, monkeypatch):
    board = Board()
    monkeypatch.setitem(sys.modules, "wandb", board)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "wandb")
    train(config, console=quiet())
    assert not board.begun, "without WANDB_MODE it is not wanted"
    monkeypatch.setenv("WANDB_MODE", "offline")
    for steps in (1200, 1800):
        train(dataclasses.replace(config, total_steps=steps), resume=True, console=quiet())
    first, second = board.begun
    assert first["id"] == second["id"]
    assert first["resume"] == "allow"
    assert board.finished == 2
    assert [step for step, _ in board.rows] == sorted(step for step, _ in board.rows)
    assert all({"return/toys/Flaky-v0", "loss/policy"} <= row.keys() for _, row in board.rows[:1])


def test_a_signal_saves_and_stops(config, monkeypatch):
    calls = []

    def tick(self):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(train_module.Progress, "tick", tick)
    before = signal.getsignal(signal.SIGTERM)
    path = train(TrainConfig(**{**vars(config), "total_steps": 10**9}), console=quiet())
    assert len(calls) <= 3
    assert read_checkpoint(path)[1]["optimizer_steps"] >= 4
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_poisonous_reward_stops_with_the_batch_saved(config, monkeypatch, tmp_path):
    monkeypatch.setattr(
        train_module, "_open_pool", lambda config, ranks: ToyPool({"toys/Flaky-v0": (Poisonous, 8)})
    )
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf).*bad_batch.safetensors"):
        train(config, console=quiet())
    tensors, _ = read_checkpoint(tmp_path / "run" / "bad_batch.safetensors")
    assert tensors["transitions.reward"].isinf().any()


def test_a_full_disk_does_not_hide_what_ended_the_run(config, monkeypatch):
    monkeypatch.setattr(
        train_module, "_open_pool", lambda config, ranks: ToyPool({"toys/Flaky-v0": (Poisonous, 8)})
    )
    replace = os.replace

    def full(part, path):
        if "bad_batch" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(part, path)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf).*The batch is lost: .*No space left"):
        train(config, console=quiet())


def test_nothing_to_resume(config):
    with pytest.raises(UsageError, match="nothing to resume"):
        train(config, resume=True, console=quiet())


@pytest.mark.parametrize("each_is_logged", [True, False])
def test_no_moment_of_a_run_is_told_twice(config, monkeypatch, each_is_logged):
    monkeypatch.setattr(train_module, "_LOG_S", 0.0 if each_is_logged else 1e9)
    path = train(TrainConfig(**{**vars(config), "lockstep": True}), console=quiet())
    rows = [json.loads(line) for line in path.with_name("metrics.jsonl").read_text().splitlines()]
    steps = [row["steps"] for row in rows if "task" in row]
    assert len(steps) == len(set(steps)) >= 1
    assert steps[-1] == read_checkpoint(path)[1]["counts"]["steps"], "the last word is told in any case"


def test_the_display_may_read_while_episodes_end():
    """rich draws on a thread of its own; a deque that grows while it is iterated raises RuntimeError."""
    recent = deque(maxlen=100)

    class EndsAnother:
        """While its score is read the collector's thread has its turn."""

        length = 1

        @property
        def score(self):
            recent.append(EndsAnother())
            return 1.0

    recent.extend(EndsAnother() for _ in range(3))
    counts = {"steps": [0], "episode_count": [3], "faults": [0], "dropped": [0]}
    collector = SimpleNamespace(tasks=["a"], episodes=[recent], **counts)
    (row,) = task_rows(collector.tasks, task_numbers(collector))
    assert row["return_mean"] == 1.0


def test_a_run_without_anything_to_imitate_says_so(config):
    path = train(TrainConfig(**{**vars(config), "imitation_coef": 5.0}), console=quiet())
    said = [line for line in path.with_name("train.log").read_text().splitlines() if "imitate" in line]
    assert len(said) == 1
    assert "no task told what its expert would do" in said[0]


def test_unknown_algorithms_are_named(config):
    with pytest.raises(UsageError, match="algorithm = 'pop': it must be one of ppo, vtrace"):
        TrainConfig(**{**vars(config), "algorithm": "pop"})


OWN = """
calls = []
not_a_function = 3

def train(learner, collector, config, part_done, after_update):
    while part_done() < 1:
        calls.append(len(collector.collect(lambda: part_done() >= 1)))
        learner.counts["own"] = sum(calls)
        after_update({"mine": 2.5})

def of_two(learner, collector): ...
"""


def test_an_algorithm_may_be_a_function_of_ones_own(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_algorithm.py").write_text(OWN)
    path = train(TrainConfig(**{**vars(config), "algorithm": "own_algorithm:train"}), console=quiet())
    assert sum(sys.modules["own_algorithm"].calls) > 0
    _, meta = read_checkpoint(path)
    assert meta["counts"]["steps"] >= 600
    assert from_table(meta["extra"]["config"]).algorithm == "own_algorithm:train"
    rows = [json.loads(line) for line in path.with_name("metrics.jsonl").read_text().splitlines()]
    assert any(row.get("mine") == 2.5 for row in rows)
    assert meta["counts"]["own"] == sum(sys.modules["own_algorithm"].calls), "it is saved with the rest"


def own_rows(config, tmp_path, monkeypatch, metrics):
    """The rows of a run that tells these."""
    monkeypatch.chdir(tmp_path)
    Path("own_metrics.py").write_text("import numpy\nimport torch\n" + OWN.replace('{"mine": 2.5}', metrics))
    sys.modules.pop("own_metrics", None)
    path = train(TrainConfig(**{**vars(config), "algorithm": "own_metrics:train"}), console=quiet())
    return [json.loads(line) for line in path.with_name("metrics.jsonl").read_text().splitlines()]


def test_a_metric_may_be_a_tensor_and_replaces_no_number_of_the_row(config, tmp_path, monkeypatch):
    told = '{"a": numpy.float32(2), "b": torch.tensor(3.0), "steps": 1e9, "task_steps/toys/Flaky-v0": 1e9}'
    rows = own_rows(config, tmp_path, monkeypatch, told)
    assert any(row.get("a") == 2.0 and row.get("b") == 3.0 for row in rows)
    assert all(max(row["steps"], row.get("task_steps", 0)) < 1000 for row in rows)


def test_a_metric_that_is_no_number_is_named(config, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"after_update is told mine = \[1\]: a metric is a number"):
        own_rows(config, tmp_path, monkeypatch, '{"mine": [1]}')


def test_one_tasks_name_may_be_the_tail_of_anothers():
    metrics = {"entropy/B-v0": 1.0, "entropy/a/B-v0": 2.0, "loss/total": 3.0}
    for tasks in (["B-v0", "a/B-v0"], ["a/B-v0", "B-v0"]):
        whole, of_task = _by_task(tasks, metrics)
        assert whole == {"loss/total": 3.0}
        assert of_task == {"B-v0": {"entropy": 1.0}, "a/B-v0": {"entropy": 2.0}}


def test_a_resume_that_is_refused_leaves_the_log_as_it_is(config, monkeypatch, tmp_path):
    path = train(config, console=quiet()).with_name("metrics.jsonl")
    path.write_text(path.read_text() + '{"steps": 1000000}\n')  # from after the checkpoint
    before = path.read_text()

    def refuse(self, saved):
        raise TrainingError("not like this")

    longer = dataclasses.replace(config, total_steps=1200)
    with monkeypatch.context() as patch:
        patch.setattr(train_module.Run, "_start", refuse)
        with pytest.raises(TrainingError, match="not like this"):
            train(longer, resume=True, console=quiet())
    assert path.read_text() == before
    assert "not like this" in path.with_name("train.log").read_text()
    train(longer, resume=True, console=quiet())
    assert "1000000" not in path.read_text()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such_module_x:train", "can't be loaded: ModuleNotFoundError.*looked in"),
        ("own_algorithm:nothing", "can't be loaded: AttributeError"),
        ("own_algorithm:not_a_function", "must be a function of \\(learner, .*3 is not a callable"),
        ("own_algorithm:of_two", "must be a function of \\(learner, .*too many positional"),
    ],
)
def test_an_algorithm_that_is_none_is_refused_before_anything_is_opened(
    config, tmp_path, monkeypatch, name, told
):
    monkeypatch.chdir(tmp_path)
    Path("own_algorithm.py").write_text(OWN)
    monkeypatch.setattr(train_module, "_open_pool", lambda config, ranks: pytest.fail("opened"))
    with pytest.raises(UsageError, match=f"algorithm = '{name}': .*{told}"):
        train(TrainConfig(**{**vars(config), "algorithm": name}), console=quiet())
    assert not Path(config.out_dir).exists()
