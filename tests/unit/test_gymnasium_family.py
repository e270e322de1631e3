"""The Gymnasium family: what is listed, what resolves, the screen interface."""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence

import universe2
from universe2.core.errors import FaultError, InterfaceError, UnknownEnvError, UsageError
from universe2.core.registry import find, list_envs
from universe2.core.screen import ARROWS, KEYS
from universe2.core.spec import EnvConfig
from universe2.envs.gymnasium import draw_without_a_display
from universe2.envs.gymnasium.screen import ScreenEnv, native_actions
from universe2.envs.gymnasium.seeds import seeded
from universe2.testing import check_env

SCREEN = EnvConfig(interface="screen")


def press(arrow: str = "none", key: str = "none", x: int = 0, y: int = 0) -> np.ndarray:
    return np.array([ARROWS.index(arrow), KEYS.index(key), x, y, 0])


def acting(space: Any, actions: Any = None) -> gym.Env:
    """An environment of which nothing but its actions is known."""
    env = gym.Env()
    env.action_space, env.actions = space, actions  # type: ignore[attr-defined]
    return env


def test_listing_is_truthful() -> None:
    specs = {spec.name: spec for spec in list_envs("gymnasium")}
    assert {"CartPole", "Taxi", "LunarLander", "Ant"} <= set(specs)
    assert not any("-v2" in spec.id and "mujoco" in spec.description for spec in specs.values())
    assert "gymnasium/Ant-v3" not in {spec.id for spec in list_envs("gymnasium")}
    assert "gymnasium[mujoco]" in specs["Ant"].requires[0].install
    assert "gymnasium[box2d]" in specs["LunarLander"].requires[0].install
    assert specs["CartPole"].runnable


def test_whatever_is_registered_resolves() -> None:
    with pytest.raises(UnknownEnvError):
        find("gymnasium/Mine-v0")
    gym.register("Mine-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=9)
    try:
        assert find("gymnasium/Mine-v0").spaces().action == spaces.Discrete(2)
    finally:
        del gym.registry["Mine-v0"]


def test_known_directions_and_spare_keys() -> None:
    spec = find("gymnasium/Taxi-v4")
    to_native, live, words = native_actions(acting(spaces.Discrete(6)), spec)
    assert [to_native(press(a)) for a in ("down", "up", "right", "left")] == [0, 1, 2, 3]
    assert to_native(press(key="Space")) == 4
    assert to_native(press(key="Enter")) == 5
    assert to_native(press()) == 0
    assert live.keys == ("Space", "Enter")
    assert "Space" in words


Turns = IntEnum("Turns", ["left", "right", "forward", "turn_left", "pickup"], start=0)


def test_an_environment_that_names_its_actions_has_arrows_and_says_what_they_do() -> None:
    spec = find("gymnasium/Blackjack-v1")
    to_native, _, words = native_actions(acting(spaces.Discrete(5), Turns), spec)
    assert [to_native(press(a)) for a in ("left", "right", "up")] == [0, 1, 2]
    assert [to_native(press(key=k)) for k in ("Space", "Enter")] == [3, 4]
    assert "left (left), right (right), up (forward), Space (turn_left), Enter (pickup)." in words
    for fewer in (spaces.Discrete(4), spaces.Discrete(6)):  # the names are of something else
        assert native_actions(acting(fewer, Turns), spec)[2] == native_actions(acting(fewer), spec)[2]


def test_more_actions_than_keys() -> None:
    with pytest.raises(InterfaceError, match="99 actions are more than the keys"):
        native_actions(acting(spaces.Discrete(99)), find("gymnasium/Blackjack-v1"))


def test_unknown_discrete_gets_a_key_each() -> None:
    spec = find("gymnasium/Blackjack-v1")
    to_native, _, _ = native_actions(acting(spaces.Discrete(12, start=3)), spec)
    assert [to_native(press(key=k)) for k in ("0", "1", "9", "a", "b")] == [3, 4, 12, 13, 14]


def test_box_follows_the_pointer() -> None:
    to_native, live, _ = native_actions(acting(spaces.Box(-2, 2, (2,))), find("gymnasium/Pendulum-v1"))
    low, high = to_native(press(x=0, y=63))
    assert (low, high) == (pytest.approx(-2 + 4 * 0.5 / 64), pytest.approx(2 - 4 * 0.5 / 64))
    assert live.pointer


@pytest.mark.parametrize(
    "space", [spaces.Box(-1, 1, (3,)), spaces.Box(-np.inf, np.inf, (1,)), spaces.MultiBinary(3)]
)
def test_actions_that_no_key_can_express(space: Any) -> None:
    with pytest.raises(InterfaceError, match="can't express"):
        native_actions(acting(space), find("gymnasium/Pendulum-v1"))


@pytest.mark.parametrize(
    ("environment", "installed", "library", "expected"),
    [
        ({}, True, "libEGL.so.1", "egl"),
        ({}, True, None, None),
        ({}, False, "libEGL.so.1", None),
        ({"DISPLAY": ":0"}, True, "libEGL.so.1", None),
        ({"MUJOCO_GL": "osmesa"}, True, "libEGL.so.1", "osmesa"),
    ],
)
def test_mujoco_draws_without_a_display(
    monkeypatch: pytest.MonkeyPatch, environment: Any, installed: bool, library: Any, expected: Any
) -> None:
    monkeypatch.setattr("os.environ", dict(environment))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: installed or None)
    monkeypatch.setattr("universe2.envs.gymnasium._egl", lambda: library)
    draw_without_a_display()
    assert os.environ.get("MUJOCO_GL") == expected


def test_a_seed_reaches_an_environment_that_takes_it_by_a_method_of_its_own() -> None:
    class Dungeon(gym.Env):
        taken: Any = None

        def seed(self, core: Any = None, disp: Any = None, reseed: bool = True, lgen: Any = None) -> None:
            self.taken = (core, disp, reseed)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return self.taken, {}

    env = seeded(Dungeon())
    assert env.reset(seed=7)[0] == (7, 7, False)
    assert env.reset()[0] == (7, 7, False)  # on from there
    plain = gym.Env()
    assert seeded(plain) is plain


def test_no_pictures_no_screen() -> None:
    class Blind(gym.Env):
        observation_space = action_space = spaces.Discrete(2)

    with pytest.raises(InterfaceError, match="can't render"):
        ScreenEnv(Blind(), find("gymnasium/CartPole-v1"), (64, 64))


@pytest.mark.parametrize("picture", [None, np.zeros((64, 64, 3)), np.zeros((64, 64), np.uint8)])
def test_a_screen_that_is_no_picture_is_a_fault(picture: Any) -> None:
    """Of the screen's own size, an array of another dtype became a screen unseen."""

    class Odd(gym.Env):
        render_mode = "rgb_array"
        observation_space = spaces.Discrete(1)
        action_space = spaces.Discrete(2)

        def reset(self, **kwargs: Any) -> Any:
            return 0, {}

        def render(self) -> Any:
            return picture

    env = ScreenEnv(Odd(), find("gymnasium/CartPole-v1"), (64, 64))
    with pytest.raises(FaultError, match=r"render\(\) gave"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_episode_steps", value) for value in (-1, True, 2.5, "9", None)]
    + [("make_kwargs", value) for value in ("sutton_barto_reward", [1], {1: 2}, {"no_such_argument": 1})]
    + [("make_kwargs", {"max_episode_steps": 5})],
)
def test_wrong_options(name: str, value: object) -> None:
    with pytest.raises(UsageError) as refused:
        find("gymnasium/CartPole-v1").spaces(EnvConfig(options={name: value}))
    assert str(refused.value).startswith(f"gymnasium/CartPole-v1: option {name} ")
    assert repr(value) in str(refused.value)


def test_what_is_wrong_without_options_is_not_laid_on_them() -> None:
    gym.register("Mine-v0", entry_point=lambda: [][0])
    try:
        with pytest.raises(IndexError):
            find("gymnasium/Mine-v0").spaces()
        config = EnvConfig(interface="screen", options={"make_kwargs": {"render_mode": None}})
        with pytest.raises(InterfaceError, match="no screen interface"):
            find("gymnasium/CartPole-v1").spaces(config)
    finally:
        del gym.registry["Mine-v0"]


def test_infos_of_vectors_are_gymnasium_s_own() -> None:
    """With what the episodes came to, which RecordEpisodeStatistics tells in a dict."""
    counted = gym.wrappers.RecordEpisodeStatistics.wrapper_spec()
    place = "gymnasium.envs.classic_control:CartPoleEnv"
    gym.register("Mine-v0", entry_point=place, additional_wrappers=(counted,))
    try:
        ours = universe2.make_vec("gymnasium/Mine-v0", 3)
        theirs = gym.make_vec("Mine-v0", 3, "sync")
    finally:
        del gym.registry["Mine-v0"]
    ours.reset(seed=[0, 1, 5])
    theirs.reset(seed=[0, 1, 5])
    ends = set()
    for _ in range(12):
        infos, expected = ours.step([1, 1, 0])[-1], theirs.step(np.array([1, 1, 0]))[-1]
        assert infos.keys() == expected.keys()
        for found in [infos["episode"], expected["episode"]] if infos else []:
            del found["t"]  # of the clock
        assert data_equivalence(infos, expected)
        ends.add(tuple(infos.get("_episode", ())))
    assert len(ends) > 2, "all ended at once"
    ours.close()
    theirs.close()


@pytest.mark.slow
@pytest.mark.parametrize("interface", ["native", "screen"])
@pytest.mark.parametrize("env_id", [spec.id for spec in list_envs("gymnasium") if spec.runnable])
def test_every_runnable_id_keeps_the_contract(env_id: str, interface: Any) -> None:
    try:
        find(env_id).spaces(EnvConfig(interface=interface))
    except InterfaceError as error:
        pytest.skip(str(error))
    check_env(env_id, interface=interface)
