"""The whole way: episodes of an expert on a server, a clone of them, a training run that goes on from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import minari
import pytest
import torch
import typer
from command_line import run
from started_server import metric, start
from torch import Tensor
from typer.testing import CliRunner

from universe2.agents import cloning, demonstrations
from universe2.agents.checkpoint import read_checkpoint, under
from universe2.agents.learner import Learner
from universe2.agents.model import preset

CATCHER = "arcade/Catcher-v0"
DATASET = "u2/catcher-v0"
OPTIONS = {"num_levels": 1, "max_steps": 60}
SIZE = 32
CONFIG = """
total_steps = 300
screen_size = [32, 32]
rollout = 16
batch_steps = 128
minibatches = 2
epochs = 1
lr = 1e-5
init_from = "clone"
out_dir = "run"
[tasks."arcade/Catcher-v0"]
slots = 4
options = { num_levels = 1, max_steps = 60 }
"""


def ran(main: object, *arguments: str) -> str:
    """What a command of its own module says."""
    app = typer.Typer()
    app.command()(main)  # type: ignore[type-var]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def furthest(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference of two networks' weights."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def weights(path: Path) -> dict[str, Tensor]:
    return under(read_checkpoint(path)[0], "model.")


def fresh(seed: int) -> dict[str, Tensor]:
    """The weights that a clone, or a run, of this seed begins with if it begins anew."""
    learner = Learner(preset("nano", (SIZE, SIZE)), [CATCHER], seed)
    learner.close()
    return {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}


def test_a_server_demonstrates_a_clone_learns_and_a_run_goes_on_from_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    server = start()
    try:
        options = [f"--option={name}={value}" for name, value in OPTIONS.items()]
        sizes = ["--episodes=6", "--slots=3", f"--size={SIZE}", "--seed=5"]
        said = ran(demonstrations.main, CATCHER, DATASET, *sizes, *options, "--remote", server.address)
        dataset = minari.load_dataset(DATASET)
        assert dataset.total_episodes == 6
        assert said.startswith(f"{DATASET}: 6 episodes, {dataset.total_steps:,} steps, mean score ")
        assert metric(server, "steps_total") >= dataset.total_steps, "the server has played them"
        assert metric(server, "slots_taken") == 0
        episodes = list(dataset.iterate_episodes())
        assert all(e.observations["screen"].shape == (len(e) + 1, SIZE, SIZE, 3) for e in episodes)
        assert all(0 < len(e) <= OPTIONS["max_steps"] for e in episodes)
        assert sum(e.rewards.sum() for e in episodes) > 0
        assert len({e.actions.tobytes() for e in episodes}) == 6

        said = ran(cloning.main, DATASET, "--out=clone", "--epochs=6", "--seed=3")
        losses = [float(loss) for loss in re.findall(r"epoch \d of 6: .*loss/cloning (\S+)", said)]
        assert len(losses) == 6
        assert losses[-1] < 0.9 * losses[0]
        cloned = weights(Path("clone"))
        assert furthest(cloned, fresh(3)) > 1e-2

        Path("run.toml").write_text(CONFIG)
        assert run(monkeypatch, "train", "--config", "run.toml", "--remote", server.address) == 0
    finally:
        server.stop(1.0)
        torch.set_num_threads(threads)
    trained, updates = weights(Path("run/checkpoint")), read_checkpoint(Path("run/checkpoint"))[1]
    assert 300 <= updates["counts"]["steps"] < 1000
    # Adam's steps are about the learning rate's size: it has moved, and is still where it started
    assert 0 < furthest(trained, cloned) < 1e-5 * 5 * updates["optimizer_steps"] < 1e-2
    assert furthest(trained, fresh(0)) > 1e-2
