"""Demonstrations: episodes as they happened, datasets that Minari opens, and cloning from them."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import minari
import numpy as np
import pytest
import torch
import typer
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from toy_pool import BLACK, Toy, ToyFault, ToyPool
from typer.testing import CliRunner

from universe2.agents import cloning, demonstrations
from universe2.agents.cloning import clone, segments_of
from universe2.agents.demonstrations import (
    Recording,
    live_choices,
    read_dataset,
    record,
    write_dataset,
)
from universe2.agents.learner import Learner, OptimParams
from universe2.agents.model import ModelConfig
from universe2.agents.text import TextTable
from universe2.core.errors import FaultError, UsageError
from universe2.core.registry import find
from universe2.core.screen import NVEC, screen_action_space, screen_observation_space
from universe2.core.spec import EnvConfig
from universe2.runtimes import open_runtime

SIZE = (32, 32)
RUNNER = "arcade/Runner-v0"
ACTIONS = screen_action_space()
OPTIONS = {"num_levels": 1, "max_steps": 40}


@pytest.fixture(scope="module")
def recordings():
    return record(RUNNER, 6, slots=3, screen_size=SIZE, options=OPTIONS)


def live(env_id):
    return find(env_id).spaces(EnvConfig(interface="screen")).action_mask


def test_recordings_are_what_happens_again_from_their_seeds(recordings):
    assert len(recordings) == 6
    config = EnvConfig(interface="screen", screen_size=SIZE, options=OPTIONS)
    runtime = open_runtime(RUNNER, 1, config)
    for recording in recordings:
        assert len(recording.screens) == len(recording.actions) + 1 == len(recording.rewards) + 1
        runtime.reset([0], [recording.seed])
        for t, action in enumerate(recording.actions):
            batch = runtime.recv()
            assert (batch.obs["screen"][0] == recording.screens[t]).all()
            runtime.send([0], action[None])
        batch = runtime.recv()
        final = batch.final_obs["screen"][0] if batch.final_obs is not None else batch.obs["screen"][0]
        assert (final == recording.screens[-1]).all()
        assert (batch.terminated[0], batch.truncated[0]) == (recording.terminated, recording.truncated)
        assert batch.reward[0] == recording.rewards[-1]
    runtime.close()


def test_minari_opens_the_dataset(recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    write_dataset("u2/runner-v0", RUNNER, recordings)
    dataset = minari.load_dataset("u2/runner-v0")
    assert dataset.total_episodes == 6
    assert dataset.total_steps == sum(len(r.actions) for r in recordings)
    assert dataset.action_space.nvec.tolist() == list(NVEC)
    episode = next(iter(dataset.iterate_episodes()))
    assert (episode.observations["screen"] == np.stack(recordings[0].screens)).all()
    again = read_dataset("u2/runner-v0")
    assert [r.rewards for r in again] == [r.rewards for r in recordings]
    assert [r.instructions for r in again] == [r.instructions for r in recordings]
    assert [(r.seed, r.terminated, r.truncated) for r in again] == [
        (r.seed, r.terminated, r.truncated) for r in recordings
    ]
    assert (live_choices("u2/runner-v0") == live(RUNNER)).all()
    with pytest.raises(UsageError, match="there is a dataset"):
        write_dataset("u2/runner-v0", RUNNER, recordings)
    with pytest.raises(UsageError, match="no Minari dataset u2/none-v0"):
        read_dataset("u2/none-v0")


def foreign_dataset(name, steps, observations, actions, space, action_space):
    """A dataset of somebody else's: one episode of so many steps, or no episode at all."""
    whole = EpisodeBuffer(
        observations=observations,
        actions=actions,
        rewards=[0.0] * steps,
        terminations=[False] * (steps - 1) + [True],
        truncations=[False] * steps,
    )
    minari.create_dataset_from_buffers(
        name,
        [whole] if steps else [],
        env=None,
        observation_space=space,
        action_space=action_space,
        algorithm_name="-",
        author="-",
        author_email="-",
        code_permalink="-",
        jpeg_encoding=False,
    )


@pytest.mark.filterwarnings("ignore::UserWarning")  # it would rather have an environment to evaluate on
def test_datasets_that_no_screen_was_recorded_in_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    arrays = spaces.Box(-1, 1, (3,), np.float32)
    numbers, screens = [np.zeros(3, np.float32)] * 3, [np.zeros((*SIZE, 3), np.uint8)] * 3
    one, screen = spaces.Discrete(2), {"screen": screens, "instruction": ["x"] * 3}
    foreign_dataset("foreign/array-v0", 2, numbers, [0, 1], arrays, one)
    part = spaces.Dict({"screen": spaces.Box(0, 255, (*SIZE, 3), np.uint8)})
    foreign_dataset("foreign/mute-v0", 2, {"screen": screens}, [np.zeros(5, int)] * 2, part, ACTIONS)
    foreign_dataset("foreign/pad-v0", 2, screen, [0, 1], screen_observation_space(SIZE), one)
    for name, space in (("array", "Box"), ("mute", "Dict"), ("pad", r"Discrete\(2\)")):
        told = rf"dataset foreign/{name}-v0 was not recorded through the screen interface: .*{space}"
        with pytest.raises(UsageError, match=told):
            read_dataset(f"foreign/{name}-v0")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_datasets_without_anything_to_learn_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    foreign_dataset("foreign/empty-v0", 0, [], [], screen_observation_space(SIZE), ACTIONS)
    cut = Recording(
        0, [np.zeros((*SIZE, 3), np.uint8)] * 2, ["x"] * 2, [np.zeros(5, int)], [0.0], False, True
    )
    write_dataset("u2/cut-v0", RUNNER, [cut])
    for name in ("foreign/empty-v0", "u2/cut-v0"):
        with pytest.raises(UsageError, match=f"dataset {name} holds no step to learn from"):
            cloning.main([name], tmp_path / "clone")
    assert not (tmp_path / "clone").exists()


def test_a_dataset_that_cannot_have_its_name_is_refused_before_anything_is_played(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setattr(demonstrations, "record", lambda *args, **options: pytest.fail("played"))
    for name in ("u2/runner", "u2/run ner-v0"):
        with pytest.raises(UsageError, match=f"'{name}' is no name for a Minari dataset.*u2/runner-v0"):
            demonstrations.main(RUNNER, name, episodes=2)


def test_segments_hold_every_step_once(recordings):
    texts, mask = TextTable(), live(RUNNER)
    for recording in recordings:
        segments = segments_of(recording, 0, 16, mask, texts)
        valid = np.concatenate([s.done["valid"] for s in segments])
        rewards = np.concatenate([s.done["reward"] for s in segments])[valid]
        left_out = 0 if recording.terminated else 1  # what a time limit cut
        assert rewards.tolist() == recording.rewards[: len(recording.rewards) - left_out]
        assert sum(s.done["terminated"].sum() for s in segments) == recording.terminated
        assert [bool(s.seen["first"].any()) for s in segments] == [True] + [False] * (len(segments) - 1)


def test_cloning_learns_what_was_done(recordings):
    torch.set_num_threads(1)
    texts, mask = TextTable(), live(RUNNER)
    learner = Learner(ModelConfig("patch", 4, 32, SIZE, text_dim=8), [RUNNER])
    segments = [s for r in recordings for s in segments_of(r, 0, 16, mask, texts)]
    for segment in segments:
        segment.state["hidden"] = learner.initial_state(1)["hidden"][0]
    found = []
    params = OptimParams(lr=1e-2)
    clone(learner, segments, texts, 40, 6, params, after_epoch=lambda epoch, metrics: found.append(metrics))
    learner.close()
    assert found[-1]["accuracy"] > found[0]["accuracy"]
    assert found[-1]["loss/cloning"] < 0.6 * found[0]["loss/cloning"]


def test_a_clone_leaves_alone_what_was_never_done():
    """A page's policy has every key, of which its solver presses none: that it must learn, too."""
    torch.set_num_threads(1)
    rng, texts, mask = np.random.default_rng(0), TextTable(), np.ones(sum(NVEC), bool)
    learner = Learner(ModelConfig("patch", 4, 32, SIZE, text_dim=8), ["a page"])
    segments = []
    for seed in range(16):
        screens = list(rng.integers(0, 255, (9, *SIZE, 3), np.uint8))
        actions = [np.array([0, 0, 5, 7, int(rng.integers(2))])] * 8
        page = Recording(seed, screens, ["click"] * 9, actions, [0.0] * 7 + [1.0], True, False)
        segments += segments_of(page, 0, 8, mask, texts)
    for segment in segments:
        segment.state["hidden"] = learner.initial_state(1)["hidden"][0]
    found = []
    tell = lambda epoch, metrics: found.append(metrics)  # noqa: E731
    clone(learner, segments, texts, 60, 8, OptimParams(lr=1e-2), after_epoch=tell)
    learner.close()
    # with one bit of chance in the button; of 64 unlearned keys alone there would be 4.2 nats
    assert found[-1]["loss/cloning"] < 1.0 < 4.0 < found[0]["loss/cloning"]


def test_the_command_records_under_options_and_the_dataset_tells_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    options = [f"--option={name}={value}" for name, value in OPTIONS.items()]
    command = [sys.executable, "-m", "universe2.agents.demonstrations", RUNNER, "u2/short-v0", "--episodes=2"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("u2/short-v0: 2 episodes"), done.stderr
    assert all(len(recording.actions) <= OPTIONS["max_steps"] for recording in read_dataset("u2/short-v0"))
    told = minari.load_dataset("u2/short-v0").storage.metadata["description"]
    assert str(OPTIONS) in told
    monkeypatch.setattr(demonstrations, "record", lambda *args, **options: pytest.fail("played"))
    with pytest.raises(UsageError, match="there is a dataset u2/short-v0 already"):
        demonstrations.main(RUNNER, "u2/short-v0", episodes=2)


def test_who_has_no_expert_is_refused():
    with pytest.raises(UsageError, match="has no expert"):
        record("atari/Pong-v0", 1)
    with pytest.raises(UsageError, match=r"0 of \d+ episodes of its expert scored 1000000.0 or more"):
        record(RUNNER, 1, slots=2, screen_size=SIZE, options=OPTIONS, least=1e6)


class Broken(Toy):
    """Breaks at its first step."""

    def step(self, action):
        raise ToyFault


class Shaky(Toy):
    """Breaks every other time."""

    count = 0

    def step(self, action):
        self.count += 1
        if self.count % 2:
            raise ToyFault
        return BLACK, 1.0, True, False


def play_toys(monkeypatch, toy, slots=4):
    """What is recorded now is of toys."""
    monkeypatch.setattr(demonstrations, "make_pool", lambda *args, **options: ToyPool({RUNNER: (toy, slots)}))


def test_an_environment_that_always_faults_is_given_up(monkeypatch):
    play_toys(monkeypatch, Broken)
    told = rf"{RUNNER}: faults cut 20 of 20 episodes of its expert.*; the last fault: toy broke"
    with pytest.raises(FaultError, match=told):
        record(RUNNER, 3, slots=4)


def test_episodes_that_faults_cut_are_left_out_and_counted(monkeypatch):
    play_toys(monkeypatch, Shaky)
    told = []
    found = record(RUNNER, 6, slots=4, after_batch=lambda tries: told.append((tries.kept, tries.faults)))
    assert [recording.rewards for recording in found] == [[1.0]] * 6
    assert told[-1] == (8, 8)
    with pytest.raises(UsageError, match=r"0 of 16 episodes of its expert scored 2 or more; .* 16 more"):
        record(RUNNER, 6, slots=4, least=2)


def test_what_had_ended_when_a_recording_was_interrupted_is_kept(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    play_toys(monkeypatch, Shaky)
    recv, calls = ToyPool.recv, []

    def interrupted(self, timeout=None):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return recv(self, timeout)

    monkeypatch.setattr(ToyPool, "recv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demonstrations.main(RUNNER, "u2/cut-v0", episodes=100, slots=4)
    assert 0 < len(read_dataset("u2/cut-v0")) < 100
    assert capsys.readouterr().out.startswith("u2/cut-v0: ")


def test_the_bar_counts_episodes_on_a_terminal_only(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    play_toys(monkeypatch, Shaky, slots=8)
    demonstrations.main(RUNNER, "u2/quiet-v0", episodes=6)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, as far as rich knows
    demonstrations.main(RUNNER, "u2/shown-v0", episodes=6)
    said = capsys.readouterr()
    assert re.search(rf"{RUNNER}.*6/6.*8 cut by faults", re.sub(r"\x1b\[[\d;?]*\w", "", said.err))
    assert said.out == "u2/shown-v0: 6 episodes, 6 steps, mean score 1.00\n"


@pytest.mark.browser
def test_a_web_solver_demonstrates():
    found = record("web/click-test-2-v0", 2, slots=1, least=1.0)
    assert [r.score for r in found] == [1.0, 1.0]
    assert all(screen.shape == (64, 64, 3) for screen in found[0].screens)
    assert "click" in found[0].instructions[0].lower()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["demonstrations", "atari/Pong-v0", "u2/x-v0"],
            'atari/Pong-v0 has no expert: it lacks the option "expert"',
        ),
        (["cloning", "u2/nothing-v0", "--out", "x"], "no Minari dataset u2/nothing-v0 here"),
        (["cloning", "u2/nothing-v0", "--out", "."], "--out . is a folder; name the file to write"),
    ],
)
def test_their_errors_are_a_line(arguments, told, tmp_path):
    module = f"universe2.agents.{arguments[0]}"
    environment = {**os.environ, "MINARI_DATASETS_PATH": str(tmp_path)}
    command = [sys.executable, "-m", module, *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith(f"universe2: {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (demonstrations.main, [RUNNER, "u2/x-v0", "--episodes=0"]),
        (cloning.main, ["u2/x-v0", "--out=x", "--epochs=0"]),
        (cloning.main, ["u2/x-v0", "--out=x", "--length=0"]),
    ],
)
def test_none_at_all_is_refused(main, arguments):
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "greater than or equal to 1" in done.output
