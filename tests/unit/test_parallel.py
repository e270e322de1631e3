"""RuntimeParallelEnv: PettingZoo's rules for agents that come and go, here and through a server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv

import universe2
from universe2.cli.play_match import AgainstScripted
from universe2.core.errors import FaultError, InterfaceError, InvalidActionError, UsageError
from universe2.core.registry import register, unregister
from universe2.core.spec import EnvConfig
from universe2.envs.pettingzoo import make as make_here
from universe2.envs.pettingzoo import resolve
from universe2.envs.pettingzoo.adapter import AgentsEnv
from universe2.faces.parallel import RuntimeParallelEnv
from universe2.runtimes.process import ProcessRuntime
from universe2.server import Server, ServerConfig
from universe2.testing import check_env, check_runtime

sys.path.insert(0, str(Path(__file__).parent))

import several_agents


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    register(several_agents.SPEC)
    server = Server(ServerConfig(port=0, slots=128))
    server.start()
    yield server.address
    server.stop(grace=1.0)
    unregister(several_agents.SPEC.id)


def ones(env: RuntimeParallelEnv) -> dict[str, int]:
    return dict.fromkeys(env.agents, 1)


@pytest.mark.parametrize("far", [False, True], ids=["here", "served"])
def test_agents_join_and_leave(address: str, far: bool) -> None:
    env = universe2.make_parallel("testing/Shifts-v0", remote=address if far else None)
    assert env.possible_agents == ["early", "late", "whole"]
    obs, infos = env.reset(seed=9)
    assert env.agents == ["early", "whole"]
    assert infos["whole"]["seed"] == 9
    assert {agent: seen.tolist() for agent, seen in obs.items()} == {"early": [0, 2], "whole": [0, 2]}
    env.step(ones(env))
    obs, rewards, terminated, truncated, infos = env.step(ones(env))
    assert env.agents == ["whole"]
    assert terminated == {"early": True, "whole": False}
    assert truncated == {"early": False, "whole": False}
    assert rewards == {"early": 5.0, "whole": 5.0}
    assert obs["early"].tolist() == [2, 4]  # its final one
    assert infos == {"early": {"own": "early"}, "whole": {"own": "whole"}}
    obs, rewards, *_ = env.step(ones(env))
    assert sorted(obs) == sorted(rewards) == sorted(env.agents) == ["late", "whole"]
    env.step(ones(env))
    obs, _, terminated, truncated, _ = env.step({"whole": 2, "late": 1})
    assert env.agents == []
    assert truncated == {"late": True, "whole": True}
    assert not any(terminated.values())
    assert obs["whole"].tolist() == [5, 8]
    with pytest.raises(UsageError, match="reset first"):
        env.step({})
    _, infos = env.reset()
    assert infos["whole"]["seed"] != 9
    env.close()


@pytest.mark.slow
def test_joining_and_leaving_keep_the_contract(address: str) -> None:
    report = check_env("testing/Shifts-v0", remotes=[address], steps=14)
    assert "agents get what is theirs" in report.passed
    assert "pettingzoo says so too" in report.passed
    assert "agrees with its reference" in report.passed


def test_actions_are_for_those_who_play(address: str) -> None:
    env = universe2.make_parallel("testing/Shifts-v0")
    env.reset(seed=1)
    for wrong in ({"early": 1}, {"early": 1, "whole": 1, "late": 1}):
        with pytest.raises(InvalidActionError, match="expected one for each of"):
            env.step(wrong)
    with pytest.raises(InvalidActionError, match=r"action\['whole'\]"):
        env.step({"early": 1, "whole": 7})
    assert env.step(ones(env))[0]["whole"].tolist() == [1, 2]
    env.close()


def test_an_agents_flag_that_is_none_is_refused() -> None:
    class Vague(several_agents.Shifts):
        def step(self, actions: Any) -> Any:
            obs, rewards, left, cut, infos = super().step(actions)
            return obs, rewards, {**left, "whole": "no"}, cut, infos

    env = AgentsEnv(Vague())
    env.reset(seed=1)
    with pytest.raises(ValueError, match="terminated of agent 'whole' must be True or False, got 'no'"):
        env.step({"early": 1, "whole": 1})


@pytest.mark.parametrize("on_fault", ["raise", "truncate"])
def test_a_fault_is_never_a_reward(on_fault: Any) -> None:
    options = {"make_kwargs": {"broken_at": 2}}
    config = EnvConfig(autoreset="disabled", options=options)
    env = RuntimeParallelEnv(ProcessRuntime(several_agents.SPEC, 1, config), on_fault=on_fault)
    env.reset(seed=1)
    env.step(ones(env))
    if on_fault == "raise":
        with pytest.raises(FaultError, match="broken as asked"):
            env.step(ones(env))
    else:
        _, rewards, terminated, truncated, infos = env.step(ones(env))
        assert all(np.isnan(reward) for reward in rewards.values())
        assert (set(terminated.values()), set(truncated.values())) == ({False}, {True})
        assert "broken as asked" in infos["whole"]["fault"]
    assert env.agents == []
    env.reset()
    assert env.agents == ["early", "whole"]
    env.close()


def test_faces_for_one_agent_say_what_to_use_instead() -> None:
    for make in (gym.make, gym.make_vec):
        with pytest.raises(UsageError, match=r"universe2\.make_parallel\('arcade/Rally-v0'\)"):
            make("universe2:arcade/Rally-v0")
    with pytest.raises(UsageError, match="has several agents"):
        universe2.make_pool({"arcade/Rally-v0": 2})
    with pytest.raises(UsageError, match=r"use universe2\.make\('gymnasium/CartPole-v1'\)"):
        universe2.make_parallel("gymnasium/CartPole-v1")


def test_a_match_looks_the_same_from_afar(address: str) -> None:
    """Screen interface, four players, until riders are out: every value, here and through a server."""
    asked: Any = {"interface": "screen", "screen_size": (16, 16), "render_mode": "rgb_array"}
    envs = [universe2.make_parallel("arcade/Cycles-v0", remote=where, **asked) for where in (None, address)]
    assert envs[0].action_mask is not None
    starts = [env.reset(seed=4) for env in envs]
    assert str(starts[0]) == str(starts[1])
    rng = np.random.default_rng(0)
    while envs[0].agents:
        arrows = rng.integers(0, 5, len(envs[0].agents))
        actions = {agent: [arrow, 0, 0, 0, 0] for agent, arrow in zip(envs[0].agents, arrows, strict=True)}
        here, there = (env.step(actions) for env in envs)
        assert here[1:] == there[1:]
        for agent, seen in here[0].items():
            assert np.array_equal(seen["screen"], there[0][agent]["screen"])
        assert envs[0].agents == envs[1].agents
    assert np.array_equal(envs[0].render(), envs[1].render())
    for env in envs:
        env.close()


def test_a_person_plays_against_scripted_players(address: str) -> None:
    env = AgainstScripted(universe2.make_parallel("arcade/Cycles-v0", interface="screen", expert=1))
    obs, info = env.reset(seed=1)
    assert obs["screen"].shape == (64, 64, 3)
    assert info["seed"] == 1
    steps, ended = 0, False
    while not ended:
        obs, reward, terminated, truncated, _ = env.step([0, 0, 0, 0, 0])
        steps, ended = steps + 1, terminated or truncated
    assert reward < 0, "who never turns hits something, and pays the others"
    assert 0 < steps < 32
    env.close()
    with pytest.raises(UsageError, match="no scripted players"):
        AgainstScripted(universe2.make_parallel("testing/Shifts-v0")).reset(seed=1)


def test_pettingzoo_ids_are_found_and_say_what_they_need() -> None:
    assert resolve("pettingzoo/nope-v0") is None
    spec = resolve("pettingzoo/butterfly/cooperative_pong-v6")
    assert spec is not None
    assert spec.multi_agent
    with pytest.raises(InterfaceError, match="no screen interface"):
        spec.spaces(EnvConfig(interface="screen"))
    for wrong in ("max_cycles", {"no_such_argument": 1}):
        with pytest.raises(
            UsageError, match=r"cooperative_pong-v6: option make_kwargs .*(max_cycles|no_such_arg)"
        ):
            spec.spaces(EnvConfig(options={"make_kwargs": wrong}))


@pytest.mark.parametrize("anew", [False, True])
def test_environments_of_pettingzoo_draw_unless_told_otherwise(anew: bool) -> None:
    spec = resolve("pettingzoo/classic/rps-v2")
    assert spec is not None
    env = make_here(**spec.kwargs, anew=anew)
    for seed in (0, 1):  # a warning would be an error
        env.reset(seed=seed)
        assert env.render().shape[2] == 3  # type: ignore[union-attr]
    env.close()
    assert make_here(**spec.kwargs, make_kwargs={"render_mode": None}).render_mode is None
    assert make_here(several_agents.Shifts).render_mode is None


def test_pictures_of_pettingzoo_s_come_at_its_own_pace() -> None:
    env = universe2.make_parallel("pettingzoo/classic/rps-v2", render_mode="rgb_array", render_size=(40, 60))
    assert env.metadata["render_fps"] == 2
    env.reset(seed=0)
    assert env.render().shape == (40, 60, 3)  # type: ignore[union-attr]
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["butterfly/cooperative_pong-v6", "butterfly/knights_archers_zombies-v11"])
def test_environments_of_pettingzoo_keep_the_contract(name: str) -> None:
    spec = resolve(f"pettingzoo/{name}")
    assert spec is not None
    config = EnvConfig(options={"make_kwargs": {"max_cycles": 15}})
    report = check_runtime(lambda slots, config: ProcessRuntime(spec, slots, config), config, steps=20)
    assert "agents get what is theirs" in report.passed


def test_agents_that_share_a_space_sample_apart() -> None:
    """Or samples here would not be those of the same space on a server."""
    shared = spaces.Discrete(1000)

    class Crowd(ParallelEnv):
        possible_agents = tuple("abcd")

        def observation_space(self, agent: str) -> Any:
            return shared

        def action_space(self, agent: str) -> Any:
            return shared

    env = AgentsEnv(Crowd())
    for space in (env.observation_space, env.action_space):
        apart = spaces.Dict({agent: spaces.Discrete(1000) for agent in "abcd"})
        space.seed(3)
        apart.seed(3)
        assert space.sample() == apart.sample()
