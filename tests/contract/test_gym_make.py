"""gym.make and gym.make_vec find a game of each family by its id, here and on a server; both play alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import universe2  # registers the ids
from universe2.core.errors import UsageError
from universe2.core.registry import unregister
from universe2.core.spaces import leaf_values
from universe2.faces.env import RuntimeEnv
from universe2.faces.vector import RuntimeVectorEnv
from universe2.server import Server, ServerConfig

SEED, STEPS = 5, 3
BROWSERS = [pytest.mark.browser, pytest.mark.timeout(300)]
ONE_OF_EACH = [
    "arcade/Breakout-v0",
    "atari/Pong-v0",
    "gymnasium/CartPole-v1",
    pytest.param("web/click-test-2-v0", marks=BROWSERS),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = Server(ServerConfig(port=0))
    server.start()
    yield server.address
    server.stop(1.0)


def arrays(space: Any, value: Any) -> list[tuple[str, bytes]]:
    found = [np.asarray(leaf) for leaf in leaf_values(space, value)]
    return [(str(array.dtype), array.tobytes()) for array in found]


def played(env: gym.Env, actions: list[Any]) -> list[Any]:
    """All that an episode's first steps gave."""
    obs, info = env.reset(seed=SEED)
    seen = [(arrays(env.observation_space, obs), str(info))]
    for action in actions:
        obs, *outcome, info = env.step(action)
        told = [np.asarray(part).tolist() for part in outcome], str(info)
        seen.append((arrays(env.observation_space, obs), *told))
    env.close()
    return seen


@pytest.mark.parametrize("env_id", ONE_OF_EACH)
def test_one(env_id: str, server: str) -> None:
    here, there = gym.make(f"universe2:{env_id}"), gym.make(f"universe2:{env_id}", remote=server)
    assert isinstance(here.unwrapped, RuntimeEnv)
    assert here.spec is not None
    assert here.spec.id == env_id
    assert str(there.unwrapped) == f"<RuntimeEnv<{env_id}, interface=native, remote={server}>>"
    assert (here.observation_space, here.action_space) == (there.observation_space, there.action_space)
    here.action_space.seed(SEED)
    actions = [here.action_space.sample() for _ in range(STEPS)]
    assert played(here, actions) == played(there, actions)


@pytest.mark.parametrize("env_id", ONE_OF_EACH)
def test_a_vector(env_id: str, server: str) -> None:
    here = gym.make_vec(f"universe2:{env_id}", num_envs=2)
    there = gym.make_vec(f"universe2:{env_id}", num_envs=2, remotes=[server])
    assert isinstance(here.unwrapped, RuntimeVectorEnv)
    assert f"num_envs=2, interface=native, remote={server}" in str(there)
    here.action_space.seed(SEED)
    actions = [here.action_space.sample() for _ in range(STEPS)]
    assert played(here, actions) == played(there, actions)  # type: ignore[arg-type]


def test_what_is_registered_by_hand() -> None:
    spec = dataclasses.replace(universe2.find("arcade/Breakout-v0"), id="arcade/ByHand-v0")
    try:
        universe2.register(spec)
        env = gym.make("universe2:arcade/ByHand-v0")
        assert isinstance(env.unwrapped, RuntimeEnv)
        assert env.unwrapped.runtime.spec is spec
        with pytest.raises(UsageError, match="registered already"):
            universe2.register(spec)
    finally:
        unregister(spec.id)
        del gym.registry[spec.id]
