"""The examples in docs/training.md run, and do what the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import universe2
from universe2.agents import player
from universe2.agents.checkpoint import read_checkpoint
from universe2.agents.config import TaskConfig, TrainConfig
from universe2.agents.learner import Learner
from universe2.agents.model import preset
from universe2.agents.train import train
from universe2.core.errors import InterfaceError, UsageError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
BLOCKS = [part.split("```")[0] for part in PAGE.read_text(encoding="utf-8").split("```python\n")[1:]]
PLAYING = next(block for block in BLOCKS if 'player("runs/first"' in block)
ALGORITHM = next(block for block in BLOCKS if "def dagger" in block)
SCRIPT = next(block for block in BLOCKS if "def train(" in block)


def shortened(block: str) -> str:
    """The example with few updates: what it learns takes minutes."""
    assert "32, 60\n" in block
    return block.replace("32, 60\n", "8, 10\n")


def test_an_algorithm_of_ones_own_trains_and_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(shortened(ALGORITHM), names)
    assert capsys.readouterr().out.startswith("10 ")
    _, meta = read_checkpoint(tmp_path / "runs" / "mine" / "checkpoint")
    assert meta["optimizer_steps"] == 40
    assert names["metrics"].result().keys() == {"loss/total", "entropy"}


def test_the_same_algorithm_is_a_training_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = ALGORITHM[: ALGORITHM.index("pool = ")] + SCRIPT
    Path("mine.py").write_text(script, encoding="utf-8")
    task = TaskConfig(env_id="arcade/Catcher-v0", slots=8)
    config = TrainConfig(
        tasks=(task,),
        out_dir="runs/own",
        algorithm="mine:train",
        total_steps=600,
        rollout=16,
        batch_steps=128,
    )
    _, meta = read_checkpoint(train(config, console=Console(quiet=True)))
    assert meta["optimizer_steps"] >= 2


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of an untrained agent, there where the example looks for it."""
    monkeypatch.chdir(tmp_path)
    learner = Learner(preset("nano"), ["a"])
    learner.save_state("runs/first/checkpoint").result()
    learner.close()
    return "runs/first"


def test_what_was_trained_plays_in_a_loop(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(PLAYING, {})
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "seed 0",
        "seed 1",
        "seed 2",
    ]


def actions(policy: str, env: Any, seed: int = 0) -> list[list[int]]:
    act = player(policy, env, seed=seed)
    reward, done = None, []
    obs, _ = env.reset(seed=3)
    for _ in range(12):
        done.append(act(obs, reward))
        assert env.action_space.contains(done[-1])
        obs, reward, _, _, _ = env.step(done[-1])
    return [np.asarray(action).tolist() for action in done]


def test_a_player_is_a_function_of_its_seed(run: str) -> None:
    env = universe2.make("arcade/Catcher-v0", interface="screen")
    assert actions(run, env) == actions(run, env) != actions(run, env, seed=1)
    assert actions("random", env) == actions("random", env)


def test_a_player_says_what_its_environment_lacks(run: str) -> None:
    native = universe2.make("arcade/Catcher-v0")
    with pytest.raises(InterfaceError, match=r'no action_mask.*make\(id, interface="screen"'):
        player(run, native)
    large = universe2.make("arcade/Catcher-v0", interface="screen", screen_size=(96, 96))
    with pytest.raises(InterfaceError, match=r"screens of \(96, 96\), the policy sees \(64, 64\)"):
        player(run, large)
    with pytest.raises(UsageError, match=r"one gymnasium.Env, got RuntimeVectorEnv"):
        player(run, universe2.make_vec("arcade/Catcher-v0", 2))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no policy 'runs/none'"):
        player("runs/none", native)
