"""A run that ends goes on where it was; others start from its weights."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from toy_pool import Toy, ToyPool, ToyRuntime
from toy_run import BreaksOnce, Flaky, quiet, toy_config

from universe2.agents import train as train_module
from universe2.agents.checkpoint import read_checkpoint, write_checkpoint
from universe2.agents.checkpoint_policy import load
from universe2.agents.collect import Collector
from universe2.agents.config import TaskConfig, TrainConfig, from_table
from universe2.agents.learner import Learner
from universe2.agents.train import train
from universe2.core.errors import TrainingError, UnsupportedError, UsageError

open_pool = train_module._open_pool


@pytest.fixture
def config(tmp_path, monkeypatch):
    return toy_config(tmp_path, monkeypatch)


class Walk(Toy):
    """Up adds one to a random walk that ends at random; its colour shows where it is."""

    def reset(self):
        self.at = int(self.rng.integers(5))
        return (40 * self.at, 0, 0)

    def step(self, action):
        self.at = max(0, self.at + (1 if action[0] == 1 else -1))
        over = bool(self.rng.random() < 0.15)
        return (min(255, 40 * self.at), 0, 0), float(self.at), over and self.at % 2 == 0, over


class Killed(BaseException):
    """Nothing cleans up after it but what cleans up after a kill: nothing is saved."""


@pytest.mark.parametrize(
    ("limit", "told"),
    [({"total_steps": 600}, "the run has its 600 steps"), ({"seconds": 1e-3}, "the run has had its 0.001 s")],
)
def test_a_run_that_has_reached_its_limit_says_so_when_it_is_to_go_on(config, limit, told):
    path = train(config, console=quiet())
    before = path.stat().st_mtime_ns
    console = quiet()
    more = {"total_steps": 10_000, **limit}
    assert train(dataclasses.replace(config, **more), resume=True, console=console) == path
    assert f"nothing to do: {told}" in console.file.getvalue().replace("\n", " ")
    assert path.stat().st_mtime_ns == before


def test_a_run_that_was_killed_and_resumed_is_the_run_that_was_not(config, monkeypatch, tmp_path):
    """To the bit: weights, optimiser, random numbers, statistics, episodes, metrics."""
    toys = {"toys/Walk-v0": (Walk, 6), "toys/Flaky-v0": (Flaky, 4)}  # quotas are no multiple of these
    monkeypatch.setattr(train_module, "_open_pool", lambda config, ranks: ToyPool(toys, seed=1))
    tasks = tuple(TaskConfig(env_id=name, slots=slots) for name, (_, slots) in toys.items())
    lockstep = {**vars(config), "tasks": tasks, "lockstep": True, "epochs": 2, "total_steps": 1500}
    killed_and_resumed_is_whole(TrainConfig(**lockstep), monkeypatch, tmp_path)


@pytest.mark.parametrize("algorithm", ["ppo", "group"])
def test_of_a_game_too(algorithm, config, monkeypatch, tmp_path):
    """Whose states are all compared."""
    monkeypatch.setattr(train_module, "_open_pool", open_pool)
    tasks = (TaskConfig(env_id="arcade/Catcher-v0", slots=16, options={"max_steps": 20}),)
    settings = {"tasks": tasks, "lockstep": True, "algorithm": algorithm, "total_steps": 128 * 9}
    tensors = killed_and_resumed_is_whole(TrainConfig(**{**vars(config), **settings}), monkeypatch, tmp_path)
    assert tensors["extra.env.0.bytes"].numel() > 0


def killed_and_resumed_is_whole(config, monkeypatch, tmp_path):
    """Killed after the seventh update, resumed after the fourth."""
    whole = dataclasses.replace(config, out_dir=str(tmp_path / "whole"))
    broken = dataclasses.replace(config, out_dir=str(tmp_path / "broken"), checkpoint_seconds=0.0)
    train(whole, console=quiet())

    updates, tick = [], train_module.Progress.tick
    checkpoint = tmp_path / "broken" / "checkpoint"

    def stop_later(self):
        tick(self)
        updates.append(1)
        if len(updates) == 4:
            shutil.copy(checkpoint, tmp_path / "fourth")
        if len(updates) == 7:
            raise Killed

    monkeypatch.setattr(train_module.Progress, "tick", stop_later)
    with pytest.raises(Killed):
        train(broken, console=quiet())
    shutil.copy(tmp_path / "fourth", checkpoint)
    train(broken, resume=True, console=quiet())

    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    assert curve(tmp_path / "whole") == curve(tmp_path / "broken")
    return read_checkpoint(checkpoint)[0]


def assert_same_run(one, two):
    (tensors, meta), (others, other) = (read_checkpoint(folder / "checkpoint") for folder in (one, two))
    assert tensors.keys() == others.keys()
    toys = "toys/" in str(meta["tasks"])
    for name, value in tensors.items():
        if not (toys and name.endswith(".bytes")):  # pickles of equal toys may differ
            assert torch.equal(value, others[name]), name
    assert meta["extra"]["counters"] == other["extra"]["counters"]
    assert meta["task_square"] == other["task_square"]
    assert meta["optimizer_steps"] == other["optimizer_steps"]


def curve(folder):
    """The rows of metrics.jsonl, without what a clock says."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds", "steps_per_second")
    return [{k: v for k, v in row.items() if k not in timed and "time/" not in k} for row in rows]


@pytest.mark.parametrize("algorithm", ["ppo", "vtrace"])
def test_a_signal_while_collecting_loses_nothing(algorithm, config, monkeypatch, tmp_path):
    """Neither a batch of the run that was stopped and resumed, nor the last one of the run that was not."""
    toys = {"toys/Walk-v0": (Walk, 8)}
    monkeypatch.setattr(train_module, "_open_pool", lambda config, ranks: ToyPool(toys, seed=1))
    tasks = (TaskConfig(env_id="toys/Walk-v0", slots=8),)
    changes = {
        "tasks": tasks,
        "lockstep": True,
        "algorithm": algorithm,
        "batch_steps": 64,
        "total_steps": 320,
    }
    whole = TrainConfig(**{**vars(config), **changes, "out_dir": str(tmp_path / "whole")})
    broken = TrainConfig(**{**vars(whole), "out_dir": str(tmp_path / "broken")})
    _, meta = read_checkpoint(train(whole, console=quiet()))
    assert meta["optimizer_steps"] == 5 * whole.minibatches

    turns, pump = [], Collector.pump

    def interrupted(self, timeout):
        turns.append(1)
        if len(turns) == 20:  # of 8 turns to a segment
            os.kill(os.getpid(), signal.SIGTERM)
        return pump(self, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(Collector, "pump", interrupted)
        _, meta = read_checkpoint(train(broken, console=quiet()))
    assert 0 < meta["counts"]["steps"] < 320
    train(broken, resume=True, console=quiet())
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_what_no_checkpoint_can_hold_is_said_once(config, monkeypatch):
    def unsupported(collector):
        raise UnsupportedError("toys have no snapshots")

    monkeypatch.setattr(train_module, "in_progress", unsupported)
    often = TrainConfig(**{**vars(config), "lockstep": True, "checkpoint_seconds": 0.0})
    path = train(often, console=quiet())
    said = [line for line in path.with_name("train.log").read_text().splitlines() if "not saved" in line]
    assert len(said) == 1
    assert "toys have no snapshots" in said[0]


def test_a_slot_after_a_fault_costs_no_checkpoint(config, monkeypatch):
    """As a runtime of real environments does, the toys' has no state of a slot that had a fault."""
    whole = ToyRuntime.snapshot

    def snapshot(runtime, slots):
        for slot in slots[runtime.faulted[slots]]:
            raise UsageError(f"slot {slot} had a fault and has no state")
        return whole(runtime, slots)

    def pool(config, ranks):
        made = ToyPool({"toys/Flaky-v0": (BreaksOnce, 8)})
        made.toys[0][3].breaks_at = 8  # when the others have filled the quota: nothing restarts it
        return made

    monkeypatch.setattr(ToyRuntime, "snapshot", snapshot)
    monkeypatch.setattr(train_module, "_open_pool", pool)
    once = TrainConfig(**{**vars(config), "lockstep": True, "batch_steps": 16, "total_steps": 60})
    path = train(once, console=quiet())
    tensors, meta = read_checkpoint(path)
    assert meta["counts"]["steps"] == 63
    assert not any(name.startswith("extra.") for name in tensors)
    assert "slot 3 had a fault and has no state" in path.with_name("train.log").read_text()
    train(TrainConfig(**{**vars(once), "total_steps": 120}), resume=True, console=quiet())
    assert read_checkpoint(path)[1]["counts"]["steps"] > 120


def test_checkpoints_are_kept_by_policy(config, tmp_path):
    path = train(TrainConfig(**{**vars(config), "keep_every_steps": 250}), console=quiet())
    kept = sorted(p.name for p in path.parent.glob("checkpoint-*"))
    steps = [read_checkpoint(path.with_name(name))[1]["counts"]["steps"] for name in kept]
    assert [int(name.removeprefix("checkpoint-")) for name in kept] == steps
    assert [s // 250 for s in steps] == [1, 2]


def test_a_kill_before_a_checkpoint_was_kept_loses_none(config, monkeypatch):
    """Between the writing and the second name."""
    keeping = TrainConfig(**{**vars(config), "keep_every_steps": 250, "checkpoint_seconds": 0.0})

    def dies(run):
        if run._multiple() > run._kept:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(train_module.Run, "_keep", dies)
        with pytest.raises(Killed):
            train(keeping, console=quiet())
    path = Path(config.out_dir, "checkpoint")
    assert not list(path.parent.glob("checkpoint-*"))
    at = int(read_checkpoint(path)[1]["counts"]["steps"])
    train(keeping, resume=True, console=quiet())
    kept = sorted(int(name.name.removeprefix("checkpoint-")) for name in path.parent.glob("checkpoint-*"))
    assert [steps // 250 for steps in kept] == [1, 2]
    assert kept[0] == at


def test_checkpoints_are_kept_where_there_are_no_hard_links(config, monkeypatch):
    def refused(*names):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    path = train(TrainConfig(**{**vars(config), "keep_every_steps": 250}), console=quiet())
    kept = sorted(path.parent.glob("checkpoint-*"))
    assert len(kept) == 2
    assert all(read_checkpoint(name)[1]["counts"]["steps"] >= 250 for name in kept)


def test_a_full_disk_keeps_the_last_good_checkpoint(config, monkeypatch):
    path = train(config, console=quiet())
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("universe2.agents.checkpoint.os.fsync", full)
    with pytest.raises(TrainingError, match=r"cannot write .*No space left on device; the last good one"):
        write_checkpoint(path, {"x": torch.zeros(3)}, {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir() if ".tmp" in p.name] == []


def test_a_run_starts_from_the_weights_of_another(config, tmp_path):
    first = train(config, console=quiet())
    full = TrainConfig(**{**vars(config), "out_dir": str(tmp_path / "full"), "init_from": str(first)})
    changed = {"out_dir": str(tmp_path / "lora"), "lora_rank": 2, "lr": 0.05, "reconstruction_coef": 0.1}
    lora = TrainConfig(**{**vars(full), **changed})
    tensors, _ = read_checkpoint(first)
    tuned, _ = read_checkpoint(train(full, console=quiet()))
    adapted, _ = read_checkpoint(train(lora, console=quiet()))
    assert not torch.equal(tuned["model.mix.weight"], tensors["model.mix.weight"])
    frozen = "model.mix.parametrizations.weight.original"
    assert torch.equal(adapted[frozen], tensors["model.mix.weight"])
    assert torch.equal(adapted["model.encoder.conv.weight"], tensors["model.encoder.conv.weight"])
    assert adapted["model.mix.parametrizations.weight.0.b"].any()
    assert not torch.equal(adapted["model.policy.weight"], tensors["model.policy.weight"])
    assert f"adam.{frozen.removeprefix('model.')}.exp_avg" not in adapted
    assert "adam.picture.weight.exp_avg" in adapted, "a head that the trunk came without is trained"
    load(str(tmp_path / "lora"))  # it plays, too
    with pytest.raises(UsageError, match="lora_rank needs init_from"):
        TrainConfig(**{**vars(lora), "init_from": ""})


def test_a_run_starts_from_the_folder_of_another(config, tmp_path):
    first = train(config, console=quiet())
    changed = {"out_dir": str(tmp_path / "second"), "lr": 0.0, "init_from": str(first.parent)}
    before, _ = read_checkpoint(first)
    after, _ = read_checkpoint(train(TrainConfig(**{**vars(config), **changed}), console=quiet()))
    assert torch.equal(after["model.mix.weight"], before["model.mix.weight"])
    (tmp_path / "empty").mkdir()
    nothing = {**changed, "out_dir": str(tmp_path / "third"), "init_from": str(tmp_path / "empty")}
    with pytest.raises(TrainingError, match=r"no checkpoint at .*empty/checkpoint"):
        train(TrainConfig(**{**vars(config), **nothing}), console=quiet())


def test_a_run_begins_heads_of_another_anew(config, tmp_path):
    first = train(config, console=quiet())
    still = {"init_from": str(first), "lr": 0.0, "out_dir": str(tmp_path / "still")}
    kept, _ = read_checkpoint(first)
    unmoved, _ = read_checkpoint(
        train(TrainConfig(**{**vars(config), **still, "anew": ("value",)}), console=quiet())
    )
    different = {n for n in kept if n.startswith("model.") and not torch.equal(kept[n], unmoved[n])}
    assert different == {"model.value.weight", "model.value.bias"}
    with pytest.raises(UsageError, match=r"anew = \['values'\]: there are keys and value, but no 'values'"):
        TrainConfig(**{**vars(config), **still, "anew": ("values",)})
    with pytest.raises(UsageError, match="anew needs init_from"):
        TrainConfig(**{**vars(config), "anew": ("value",)})
    with pytest.raises(UsageError, match="anew must be a list of heads, got 'value'"):
        from_table({**config.to_json(), **still, "anew": "value"})


def test_a_run_with_mixed_encoders_resumes_and_plays(config, tmp_path):
    mixed = TrainConfig(**{**vars(config), "bases": 2})
    first = train(mixed, console=quiet())
    before, _ = read_checkpoint(first)
    learned = [
        name for name, base in before.items() if name.startswith("model.encoder.bases.") and base.any()
    ]
    assert learned
    longer = TrainConfig(**{**vars(mixed), "total_steps": 900})
    after, _ = read_checkpoint(train(longer, resume=True, console=quiet()))
    assert not any(torch.equal(after[name], before[name]) for name in learned)
    load(str(first.parent))
    plain = TrainConfig(**{**vars(config), "out_dir": str(tmp_path / "plain"), "init_from": str(first)})
    with pytest.raises(TrainingError, match="a network of other sizes"):
        train(plain, console=quiet())


def test_lockstep_resumes_with_its_own_rollout_only(config, monkeypatch):
    toys = {"toys/Walk-v0": (Walk, 8)}
    monkeypatch.setattr(train_module, "_open_pool", lambda config, ranks: ToyPool(toys))
    tasks = (TaskConfig(env_id="toys/Walk-v0", slots=8),)
    first = TrainConfig(**{**vars(config), "tasks": tasks, "lockstep": True, "total_steps": 128})
    train(first, console=quiet())
    other = {**vars(first), "rollout": 4, "total_steps": 512}
    saved = Path(first.out_dir, "checkpoint"), Path(first.out_dir, "config.json")
    before = [path.read_bytes() for path in saved]
    with pytest.raises(TrainingError, match=r"rollout = 4, but the checkpoint holds segments of 8"):
        train(TrainConfig(**other), resume=True, console=quiet())
    assert [path.read_bytes() for path in saved] == before, "what was refused must not replace it"
    train(TrainConfig(**{**other, "lockstep": False}), resume=True, console=quiet())


def test_steps_go_on_from_where_they_were_without_one_of_the_tasks(config, monkeypatch):
    both = {"toys/Flaky-v0": (Flaky, 8), "toys/Walk-v0": (Walk, 8)}
    tasks = tuple(TaskConfig(env_id=name, slots=8) for name in both)
    monkeypatch.setattr(train_module, "_open_pool", lambda config, ranks: ToyPool(both))
    first = TrainConfig(**{**vars(config), "tasks": tasks})
    path = train(first, console=quiet())
    _, before = read_checkpoint(path)
    rows = path.with_name("metrics.jsonl").read_text().splitlines()
    monkeypatch.setattr(train_module, "_open_pool", lambda config, ranks: ToyPool(dict([*both.items()][:1])))
    fewer = TrainConfig(**{**vars(first), "tasks": tasks[:1], "total_steps": 1000})
    _, after = read_checkpoint(train(fewer, resume=True, console=quiet()))
    told = {name: counts["steps"] for name, counts in after["extra"]["counters"].items()}
    assert told["toys/Walk-v0"] == before["extra"]["counters"]["toys/Walk-v0"]["steps"]
    assert after["counts"]["steps"] == sum(told.values()) >= 1000
    assert path.with_name("metrics.jsonl").read_text().splitlines()[: len(rows)] == rows
    _, last = read_checkpoint(train(fewer, resume=True, console=quiet()))
    assert last["counts"]["steps"] == after["counts"]["steps"], "it was at its end"


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), TrainingError),
        (RuntimeError("Connection closed by peer"), RuntimeError),
    ],
)
def test_whatever_ends_a_run_its_state_is_saved(config, monkeypatch, error, raised):
    def fail(*args):
        raise error

    place = "_write" if isinstance(error, OSError) else "_row"
    monkeypatch.setattr(f"universe2.agents.run_log.RunLog.{place}", fail)
    if raised is RuntimeError:  # the log's last lines fail with the run's own error: not what is tested
        monkeypatch.setattr(train_module.Run, "_end_log", lambda self, log: None)
    with pytest.raises(raised, match=r"No space left on device|Connection closed"):
        train(config, console=quiet())
    _, meta = read_checkpoint(Path(config.out_dir, "checkpoint"))
    assert meta["counts"]["steps"] > 0


def test_a_run_whose_loss_was_not_finite_is_saved_and_resumes(config, monkeypatch):
    class Poisonous(Toy):
        """Its reward of step 20 is infinite."""

        count = 0

        def step(self, action):
            self.count += 1
            return (0, 0, 0), float("inf") if self.count == 20 else 1.0, True, False

    (task,) = config.tasks
    monkeypatch.setattr(
        train_module, "_open_pool", lambda config, ranks: ToyPool({task.env_id: (Poisonous, 8)})
    )
    with pytest.raises(TrainingError, match="the loss is"):
        train(config, console=quiet())
    path = Path(config.out_dir, "checkpoint")
    tensors, meta = read_checkpoint(path)
    assert meta["counts"]["steps"] > 0 < meta["optimizer_steps"]
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    monkeypatch.setattr(train_module, "_open_pool", lambda config, ranks: ToyPool({task.env_id: (Flaky, 8)}))
    train(config, resume=True, console=quiet())
    assert read_checkpoint(path)[1]["optimizer_steps"] > meta["optimizer_steps"]


@pytest.mark.parametrize("ahead", [False, True], ids=["looks first", "steps ahead, as on a GPU"])
def test_a_gradient_that_is_not_finite_ends_the_run_and_keeps_sound_weights(config, monkeypatch, ahead):
    path = train(config, console=quiet())
    before = path.read_bytes()
    begin = Learner.__init__

    def begun(self, *arguments):
        begin(self, *arguments)
        self._ahead = ahead

    monkeypatch.setattr(Learner, "__init__", begun)

    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * float("nan")

    learn = Learner.forward_backward_custom

    def poisoned(self, batch, fn):
        def loss(network, b):
            value, metrics = fn(network, b)
            return Poison.apply(value), metrics

        return learn(self, batch, loss)

    def of_the_batch(self, batch, loss):
        return poisoned(self, batch, lambda network, b: loss(network(b.obs, b.state), b, self.scales))

    monkeypatch.setattr(Learner, "forward_backward", of_the_batch)
    longer = TrainConfig(**{**vars(config), "total_steps": 3000, "checkpoint_seconds": 0.0})
    with pytest.raises(
        TrainingError, match=r"the gradient is nan after \d+ optimiser steps.*The batch is in"
    ):
        train(longer, resume=True, console=quiet())
    assert (path.read_bytes() == before) == ahead, "the spoilt ones are not saved, sound ones are"
    tensors, _ = read_checkpoint(path)
    assert all(tensor.isfinite().all() for name, tensor in tensors.items() if name.startswith("model."))
    assert path.with_name("bad_batch.safetensors").is_file()
