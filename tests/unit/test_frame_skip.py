"""The option ``frame_skip``: one action is several steps of the game, and nothing of them is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from universe2.core.agents import agent_columns
from universe2.core.batch import Batch
from universe2.core.errors import UsageError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade import games
from universe2.envs.arcade.matches import matches
from universe2.runtimes.compiled import CompiledRuntime
from universe2.runtimes.match import MatchRuntime

SKIP = 3
GAMES, MATCHES = list(games()), list(matches())


def begun(spec: EnvSpec, skip: int, max_steps: int) -> CompiledRuntime:
    options = {"size": 32, "frame_skip": skip, "max_steps": max_steps}
    kind = MatchRuntime if spec.multi_agent else CompiledRuntime
    runtime = kind(spec, 1, EnvConfig(autoreset="disabled", options=options))
    runtime.reset([0], [5])
    runtime.recv()
    return runtime


def stepped(runtime: CompiledRuntime, action: Any) -> Batch:
    runtime.send([0], action)
    return runtime.recv()


def pictures(batch: Batch) -> list[np.ndarray]:
    return list(batch.obs.values()) if isinstance(batch.obs, dict) else [batch.obs]


@pytest.mark.parametrize("spec", [*GAMES, *MATCHES], ids=lambda spec: spec.name)
def test_an_action_holds_and_its_rewards_are_added(spec: EnvSpec) -> None:
    several, one = begun(spec, SKIP, 1000), begun(spec, 1, 1000)
    rng = np.random.default_rng(3)
    for number in range(1, 60):
        if spec.multi_agent:
            choices = len(several.match.actions)  # type: ignore[attr-defined]
            action = {agent: rng.integers(0, choices, 1) for agent in several.action_space}  # type: ignore[attr-defined]
        else:
            action = rng.integers(0, several.action_space.n, 1)  # type: ignore[attr-defined]
        found, parts = stepped(several, action), list[Batch]()
        while len(parts) < SKIP and not (parts and parts[-1].ended[0]):
            parts.append(stepped(one, action))
        last = parts[-1]
        assert found.step[0] == number
        assert found.reward[0] == sum(part.reward[0] for part in parts)
        assert (found.terminated[0], found.truncated[0]) == (last.terminated[0], last.truncated[0])
        for seen, expected in zip(pictures(found), pictures(last), strict=True):
            assert np.array_equal(seen, expected)
        if spec.multi_agent:
            rewards = [agent_columns(part).reward for part in parts]
            assert np.array_equal(agent_columns(found).reward, np.sum(rewards, axis=0))
        if found.ended[0]:
            assert found.info["outcome"].values[0] == last.info["outcome"].values[0]
            break


@pytest.mark.parametrize(("max_steps", "actions"), [(9, 3), (10, 4), (1, 1)])
def test_the_time_limit_counts_steps_of_the_game(max_steps: int, actions: int) -> None:
    runtime = begun(GAMES[0], SKIP, max_steps)
    ended = [bool(stepped(runtime, np.zeros(1, np.int64)).truncated[0]) for _ in range(actions)]
    assert ended == [False] * (actions - 1) + [True]


@pytest.mark.parametrize("skip", [0, 65])
def test_out_of_range_is_said(skip: int) -> None:
    with pytest.raises(UsageError, match=rf"option frame_skip must lie in 1\.\.64, got {skip}"):
        begun(GAMES[0], skip, 10)
