"""What Gymnasium's own tools, and who knows them, expect of an environment: windows, masks, names, copies."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import universe2
from universe2.core.batch import Batch, info_columns
from universe2.core.errors import InvalidActionError, UsageError
from universe2.core.spec import EnvConfig
from universe2.faces.env import RuntimeEnv
from universe2.faces.pool import Pool
from universe2.testing.counting import COUNTING, CountingRuntime

BREAKOUT = "arcade/Breakout-v0"


def test_gymnasium_collects_pictures() -> None:
    env = gym.make(f"universe2:{BREAKOUT}", render_mode="rgb_array_list")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    pictures: Any = env.render()
    assert [picture.shape for picture in pictures] == [(64, 64, 3)] * 2
    env.close()


def test_gymnasium_opens_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygame", exc_type=ImportError)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with pytest.warns(UserWarning, match="HumanRendering wrapper is being applied"):
        env = gym.make(f"universe2:{BREAKOUT}", render_mode="human")
    assert isinstance(env, gym.wrappers.HumanRendering)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert env.screen_size == (64, 64)
    env.close()


def test_pictures_have_the_size_that_was_asked_for() -> None:
    asked: Any = {"render_mode": "rgb_array", "render_size": [32, 48]}
    for env in (universe2.make(BREAKOUT, **asked), gym.make(f"universe2:{BREAKOUT}", **asked)):
        env.reset(seed=0)
        picture: Any = env.render()
        assert picture.shape == (32, 48, 3)
        env.close()
    envs = universe2.make_vec(BREAKOUT, 2, **asked)
    envs.reset(seed=0)
    assert [picture.shape for picture in envs.render() or ()] == [(32, 48, 3)] * 2
    envs.close()
    match = universe2.make_parallel("arcade/Duel-v0", **asked)
    match.reset(seed=0)
    assert match.render().shape == (32, 48, 3)  # type: ignore[union-attr]
    match.close()


def test_a_film_s_frames_come_in_the_size_and_at_the_speed_asked_for() -> None:
    """RecordVideo itself needs moviepy; this is what it does with frames."""
    made = universe2.make(BREAKOUT, render_mode="rgb_array", render_size=(128, 96))
    env = gym.wrappers.RenderCollection(made)
    env.reset(seed=0)
    for _ in range(3):
        env.step(0)
    frames: Any = env.render()
    assert [frame.shape for frame in frames] == [(128, 96, 3)] * 4
    assert env.metadata["render_fps"] == 15
    env.close()


@pytest.mark.parametrize("face", ["make", "make_vec", "make_parallel"])
def test_a_wrong_render_size_is_refused(face: str) -> None:
    make, env_id = getattr(universe2, face), "arcade/Duel-v0" if face == "make_parallel" else BREAKOUT
    with pytest.raises(UsageError, match=r'render_size=\(64, 64\) has no effect .* render_mode="rgb_array"'):
        make(env_id, render_size=(64, 64))
    for wrong in ((4, 64), 64, "ab", (64, 64, 3)):
        with pytest.raises(UsageError, match=r"render_size must be \(height, width\), each 8 to 2048"):
            make(env_id, render_mode="rgb_array", render_size=wrong)


@pytest.mark.parametrize(
    ("env_id", "fps"), [("gymnasium/CartPole-v1", 50), ("gymnasium/Taxi-v4", 4), (BREAKOUT, 15)]
)
def test_pictures_are_shown_as_fast_as_the_environment_says(env_id: str, fps: float) -> None:
    for face in (universe2.make, universe2.make_vec):
        env: Any = face(env_id)
        assert env.metadata["render_fps"] == fps
        env.close()
    assert universe2.find("web/click-test-v0").spaces(EnvConfig(options={"step_ms": 40})).render_fps == 25
    assert RuntimeEnv.metadata["render_fps"] == 15


def test_a_refused_render_mode_names_what_does_it() -> None:
    for make in (universe2.make, universe2.make_vec):
        with pytest.raises(
            UsageError, match=r"None or \"rgb_array\", got 'human'.*HumanRendering.*`universe2 play"
        ):
            make(BREAKOUT, render_mode="human")
    with pytest.raises(UsageError, match=r"got 'rgb_array_list'.*RenderCollection"):
        universe2.make(BREAKOUT, render_mode="rgb_array_list")
    with pytest.raises(UsageError, match=r"got \[\]$"):
        universe2.make(BREAKOUT, render_mode=[])  # type: ignore[arg-type]


def several(face: str) -> Any:
    made = {
        "env": lambda: universe2.make(BREAKOUT),
        "wrapped": lambda: gym.make(f"universe2:{BREAKOUT}"),
        "vector": lambda: universe2.make_vec(BREAKOUT, 2),
        "parallel": lambda: universe2.make_parallel("arcade/Duel-v0"),
        "pool": lambda: universe2.make_pool({BREAKOUT: 2}),
    }
    return made[face]()


@pytest.mark.parametrize("face", ["env", "wrapped", "vector", "parallel", "pool"])
def test_copying_a_face_says_what_to_do_instead(face: str) -> None:
    env = several(face)
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        if (face, copying) == ("wrapped", copy.copy):
            continue  # Gymnasium's wrapper is copied, and shares the environment
        with pytest.raises(UsageError, match=r"can't be copied or pickled.*snapshot.*restore") as refused:
            copying(env)
        assert "arcade/" in str(refused.value)
    env.close()


def test_what_copying_is_told_to_do_instead_does_it() -> None:
    env = universe2.make(BREAKOUT)
    env.reset(seed=3)
    (state,) = env.runtime.snapshot([0])
    there = [env.step(action) for action in (1, 2, 0)]
    env.runtime.restore([0], [state])
    env.runtime.recv()
    again = [env.step(action) for action in (1, 2, 0)]
    assert [(obs.tolist(), *rest) for obs, *rest in there] == [(obs.tolist(), *rest) for obs, *rest in again]
    env.close()


def test_the_specs_of_environments_can_be_copied() -> None:
    for env in (universe2.make(BREAKOUT, difficulty="hard"), gym.make(f"universe2:{BREAKOUT}")):
        assert copy.deepcopy(env.spec) == env.spec
        assert pickle.loads(pickle.dumps(env.spec)) == env.spec
        env.close()


def test_the_action_mask_is_one_that_spaces_sample_with() -> None:
    env = universe2.make(BREAKOUT, interface="screen")
    mask = universe2.sample_mask(env.action_mask)
    env.action_space.seed(0)
    seen = np.array([env.action_space.sample(mask=mask) for _ in range(50)])
    assert env.action_mask is not None
    for column, live in zip(seen.T, np.split(env.action_mask, np.cumsum([9, 64, 64, 64])), strict=True):
        assert live[column].all()
    env.close()
    envs = universe2.make_vec(BREAKOUT, 3, interface="screen")
    live_mask = universe2.sample_mask(envs.action_mask)
    actions = np.stack([envs.single_action_space.sample(mask=live_mask) for _ in range(3)])
    assert envs.action_space.contains(actions)
    envs.close()


def test_without_a_mask_everything_is_sampled() -> None:
    env = universe2.make(BREAKOUT)
    assert universe2.sample_mask(env.action_mask) is None
    assert env.action_space.contains(env.action_space.sample(mask=universe2.sample_mask(env.action_mask)))
    env.close()
    with pytest.raises(UsageError, match=r"bool \(209,\).*got .* of shape \(3,\)"):
        universe2.sample_mask(np.ones(3, bool))


def test_an_environment_says_who_it_is(counting: object) -> None:
    env = universe2.make(BREAKOUT, interface="screen", difficulty="hard")
    assert str(env) == repr(env) == f"<RuntimeEnv<{BREAKOUT}, interface=screen>>"
    assert str(gym.wrappers.ClipReward(env, 0, 1)) == f"<ClipReward{env}>"
    env.close()
    envs = universe2.make_vec(BREAKOUT, 2)
    assert str(envs) == f"<RuntimeVectorEnv<{BREAKOUT}, num_envs=2, interface=native>>"
    envs.close()
    match = universe2.make_parallel("arcade/Duel-v0")
    assert str(match) == "<RuntimeParallelEnv<arcade/Duel-v0, interface=native>>"
    match.close()
    with universe2.make_pool({BREAKOUT: 2, "arcade/Maze-v0": 1}) as pool:
        assert str(pool) == f"<Pool<{BREAKOUT}: 2, arcade/Maze-v0: 1, interface=screen>>"
    many = Pool([("testing/Counting-v0", CountingRuntime(COUNTING, 1, EnvConfig())) for _ in range(9)])
    assert str(many).count("testing/Counting-v0: 1") == 4
    assert "and 5 more" in str(many)
    many.close()


def test_an_environment_has_a_spec_that_makes_another() -> None:
    made = universe2.make(BREAKOUT, interface="screen", screen_size=(32, 48), difficulty="hard")
    assert made.spec is not None
    assert made.spec.id == BREAKOUT
    again = gym.make(made.spec)
    assert again.observation_space == made.observation_space
    assert again.unwrapped.runtime.config == made.runtime.config  # type: ignore[attr-defined]
    again.close()
    made.close()


def test_gymnasium_sets_its_own_spec() -> None:
    env = gym.make(f"universe2:{BREAKOUT}", difficulty="hard")
    assert env.unwrapped.spec is not None
    assert env.unwrapped.spec.kwargs == {"env_id": BREAKOUT, "difficulty": "hard"}
    env.close()


def test_an_id_that_gymnasium_does_not_know_has_no_spec(counting: object) -> None:
    env = universe2.make("testing/Counting-v0")
    assert env.spec is None
    assert "testing/Counting-v0" in str(env)


def test_gymnasium_s_checker_makes_others_from_the_spec() -> None:
    env = universe2.make(BREAKOUT, render_mode="rgb_array", difficulty="hard")
    check_env(env)
    env.close()


@pytest.mark.parametrize("mode", ["same_step", "SameStep", AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("name", ["autoreset", "autoreset_mode"])
def test_autoreset_has_gymnasium_s_name_too(name: str, mode: Any) -> None:
    asked: Any = {name: mode}
    for envs in (universe2.make_vec(BREAKOUT, 2, **asked), gym.make_vec(f"universe2:{BREAKOUT}", 2, **asked)):
        assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
        envs.close()


def test_a_wrong_autoreset_is_refused() -> None:
    with pytest.raises(UsageError, match="autoreset= or autoreset_mode=, not both"):
        universe2.make_vec(BREAKOUT, 2, autoreset="disabled", autoreset_mode="same_step")
    with pytest.raises(UsageError, match=r"autoreset must be .*got 'sometimes'"):
        universe2.make_vec(BREAKOUT, 2, autoreset_mode="sometimes")


@pytest.mark.parametrize("count", [2.0, "2", None])
def test_a_number_of_environments_is_a_whole_one(count: Any) -> None:
    with pytest.raises(UsageError, match=r"num_envs must be a whole number, got "):
        gym.make_vec(f"universe2:{BREAKOUT}", num_envs=count)
    with pytest.raises(UsageError, match=r"num_slots must be a whole number, got "):
        universe2.open_runtime(BREAKOUT, count)
    with pytest.raises(UsageError, match=r"slots\['arcade/Breakout-v0'\] must be a whole number, got "):
        universe2.make_pool({BREAKOUT: count})
    with pytest.raises(UsageError, match="num_envs must be a whole number"):
        universe2.make_vec(BREAKOUT, count, remotes="nowhere:1")
    envs = universe2.make_vec(BREAKOUT, np.int64(2))  # type: ignore[arg-type]
    assert type(envs.num_envs) is int
    envs.close()


def test_actions_of_several_are_a_mapping() -> None:
    env = universe2.make_parallel("arcade/Duel-v0")
    env.reset(seed=0)
    for wrong in (0, [0, 0], None):
        with pytest.raises(InvalidActionError, match=r"actions: expected one for each of .*, got "):
            env.step(wrong)  # type: ignore[arg-type]
    env.close()


def test_infos_hold_plain_numbers() -> None:
    env = universe2.make(BREAKOUT, expert=1)
    _, info = env.reset(seed=np.int64(5))  # type: ignore[arg-type]
    assert json.loads(json.dumps(info)) == info
    assert info["seed"] == 5
    assert type(info["level"]) is int
    info = env.step(info["expert"])[4]
    assert json.loads(json.dumps(info)) == info
    env.close()
    match = universe2.make_parallel("arcade/Duel-v0", expert=1)
    _, infos = match.reset(seed=np.int64(5))  # type: ignore[arg-type]
    assert json.loads(json.dumps(infos)) == infos
    *_, infos = match.step({agent: infos[agent]["expert"] for agent in match.agents})
    assert json.loads(json.dumps(infos)) == infos
    match.close()


def test_what_is_no_number_stays_as_it_is_in_infos() -> None:
    told = {
        "where": np.arange(2),
        "done": np.True_,
        "when": np.datetime64(5, "ns"),
        "far": np.float32(0.5),
        "zero": np.array(3),
    }

    class Telling(CountingRuntime):
        def recv(self, timeout: float | None = None) -> Batch:
            batch = super().recv(timeout)
            batch.info = info_columns([told])
            return batch

    info = RuntimeEnv(Telling(COUNTING, 1, EnvConfig(autoreset="disabled"))).reset(seed=0)[1]
    assert isinstance(info["where"], np.ndarray)
    assert info["done"] is True
    assert info["when"] == told["when"]
    assert [type(info[key]) for key in ("when", "far", "zero")] == [np.datetime64, float, int]
