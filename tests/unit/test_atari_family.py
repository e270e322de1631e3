"""Atari: the list, the rules around the console, and episodes that are functions of their seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

ale_py = pytest.importorskip("ale_py")

from universe2.core.errors import UsageError  # noqa: E402
from universe2.core.registry import find, list_envs  # noqa: E402
from universe2.core.screen import ARROWS, KEYS  # noqa: E402
from universe2.core.spec import EnvConfig  # noqa: E402
from universe2.envs.atari import GAMES, KEYBOARD, OPTIONS  # noqa: E402
from universe2.envs.atari.console import Console  # noqa: E402
from universe2.envs.atari.game import AtariGame  # noqa: E402
from universe2.runtimes.process import make_env  # noqa: E402

RULES = {name: value for name, value in OPTIONS.items() if name not in ("grayscale", "stack", "size")}


def console(rom: str = "breakout", **rules: Any) -> Console:
    return Console(rom, rgb=False, **{**RULES, **rules})


def trajectory(one: Console, seed: int, steps: int = 200) -> list[Any]:
    frames = [one.reset(seed).tobytes()]
    for action in np.random.default_rng(1).integers(len(one.actions), size=steps).tolist():
        frame, outcome = one.step(action)
        frames.append((frame.tobytes(), outcome, one.info()["lives"]))
        if outcome.terminated or outcome.truncated:
            break
    return frames


def test_every_cartridge_of_the_package_is_listed() -> None:
    found = {path.stem for path in (Path(ale_py.__file__).parent / "roms").glob("*.bin")}
    assert set(GAMES) == found - {"combat", "joust", "maze_craze", "warlords"}
    assert {"atari/MsPacman-v0", "atari/Pong-v0"} <= {spec.id for spec in list_envs("atari")}


def test_keyboard_is_in_the_order_of_the_action_set() -> None:
    assert list(KEYBOARD) == [action.name for action in console().actions]


def test_an_episode_is_a_function_of_its_seed() -> None:
    one, other = console(noop_max=10), console(noop_max=10)
    first = trajectory(one, 5)
    assert trajectory(other, 8) != first
    assert trajectory(other, 5) == first, "another console, after another episode"
    assert trajectory(one, 5) == first, "the same console again"
    assert trajectory(one, 2**62 + 1) != first


def test_start_is_that_of_a_freshly_loaded_cartridge() -> None:
    """Restoring the saved state is the same as loading the cartridge and resetting the game."""
    ours = console("ms_pacman", sticky=0.0, frameskip=1)
    trajectory(ours, 3)
    ours.reset(4)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 99)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(str(ale_py.roms.get_rom_path("ms_pacman")))
    ale.reset_game()
    for action in np.random.default_rng(2).integers(18, size=300).tolist():
        frame, outcome = ours.step(action)
        assert outcome.reward == ale.act(ours.actions[action])
        assert np.array_equal(frame, ale.getScreenGrayscale())


def test_sticky_actions_stick_as_often_as_they_should() -> None:
    one = console("pong", sticky=0.25)
    one.reset(0)
    shown: list[Any] = []
    act = one._ale.act
    one._ale = type("Spy", (), {"__getattr__": lambda _, name: getattr(ale, name)})()
    ale = console("pong")._ale
    one._ale.act = lambda action: (shown.append(action), act(action))[1]
    for step in range(500):
        one.step(step % 2)  # every step wants another action than the one before
    firsts = [a != one.actions[i % 2] for i, a in enumerate(shown[::4])]
    assert 0.20 < np.mean(firsts) < 0.30
    seconds = [a != one.actions[i % 2] for i, a in enumerate(shown[1::4])]
    assert 0.03 < np.mean(seconds) < 0.10  # 0.25 squared: stuck twice in a row


def test_frame_limit_truncates_and_does_not_terminate() -> None:
    one = console(max_frames=10)
    one.reset(0)
    outcomes = [one.step(0)[1] for _ in range(3)]
    assert [outcome.truncated for outcome in outcomes] == [False, False, True]
    assert not outcomes[-1].terminated


def test_episodic_life_ends_with_the_first_life() -> None:
    one = console(episodic_life=True, sticky=0.0, fire_reset=True)
    one.reset(0)
    for _ in range(500):
        _, outcome = one.step(1)
        if outcome.terminated:
            break
    assert outcome.terminated
    assert one.info()["lives"] == 4


def test_observation_shapes_follow_the_options() -> None:
    for options in ({"size": 64, "stack": 2}, {"grayscale": False}, {"full_action_space": False}):
        spec = find("atari/Pong-v0")
        declared = spec.spaces(EnvConfig(options=options))
        env = AtariGame(**spec.kwargs, **spec.resolve(options))
        obs, _ = env.reset(seed=1)
        assert declared.observation == env.observation_space
        assert declared.action == env.action_space
        assert declared.observation.contains(obs)
        assert env.render().shape == (210, 160, 3)


def test_the_screen_is_rgb_and_the_keyboard_the_joystick() -> None:
    spec, config = find("atari/MsPacman-v0"), EnvConfig(interface="screen", screen_size=(40, 50))
    env = make_env(spec, config)
    declared = spec.spaces(config)
    obs, _ = env.reset(seed=1)
    assert declared.observation.contains(obs)
    assert obs["screen"].shape == (40, 50, 3)
    assert len({tuple(pixel) for pixel in obs["screen"].reshape(-1, 3)}) > 10
    shown: list[int] = []
    env._console.step = lambda index: (shown.append(index), Console.step(env._console, index))[1]  # type: ignore[attr-defined]
    for arrow in range(len(ARROWS)):
        for key in ("none", "Space"):
            env.step(np.array([arrow, KEYS.index(key), 0, 0, 0]))
    names = list(KEYBOARD)
    assert [names[index] for index in shown[:4]] == ["NOOP", "FIRE", "UP", "UPFIRE"]
    assert sorted(shown) == list(range(18))


@pytest.mark.parametrize("options", [{"sticky": 1.5}, {"frameskip": 0}, {"size": 2.5}, {"stack": True}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        find("atari/Pong-v0").spaces(EnvConfig(options=options))
