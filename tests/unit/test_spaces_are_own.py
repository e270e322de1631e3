"""No two environments share a Space object: each has a random generator of its own."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import universe2
from universe2.core.registry import find
from universe2.core.spec import EnvConfig, EnvSpec, Spaces
from universe2.testing import check_runtime
from universe2.testing.counting import CountingRuntime

SHARED = Spaces(
    spaces.Dict({"a": spaces.Box(0, 1, (2,)), "b": spaces.Tuple([spaces.Text(3), spaces.Discrete(2)])}),
    spaces.Sequence(spaces.Discrete(1000)),
    np.ones(209, bool),
)


def shared_spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    return SHARED


SPEC = EnvSpec(id="test/Shared-v0", runtime="process", entry="", spaces_from=f"{__name__}:shared_spaces")


def test_sampling_in_one_environment_leaves_the_other_alone() -> None:
    with (
        closing(universe2.make("gymnasium/CartPole-v1")) as a,
        closing(universe2.make("gymnasium/CartPole-v1")) as b,
    ):
        a.action_space.seed(0)
        alone = [a.action_space.sample() for _ in range(20)]
        a.action_space.seed(0)
        between = []
        for _ in range(20):
            b.action_space.sample()
            between.append(a.action_space.sample())
    assert between == alone


@pytest.mark.parametrize(
    ("env_id", "config"),
    [
        ("gymnasium/CartPole-v1", EnvConfig()),
        ("gymnasium/CartPole-v1", EnvConfig(interface="screen")),
        ("arcade/Runner-v0", EnvConfig(interface="screen")),
        ("arcade/Duel-v0", EnvConfig()),
        ("atari/Pong-v0", EnvConfig()),
    ],
)
def test_a_spec_gives_everyone_spaces_of_his_own(env_id: str, config: EnvConfig) -> None:
    spec = find(env_id)
    assert not _parts(spec.spaces(config)) & _parts(spec.spaces(config))
    assert spec.spaces(config).observation == spec.spaces(config).observation


def test_whatever_the_family_returns() -> None:
    one, other = SPEC.spaces(), SPEC.spaces()
    assert (one.observation, one.action) == (other.observation, other.action) == SHARED[:2]
    assert len(_parts(one)) == len(_parts(SHARED))
    assert not _parts(one) & _parts(other)
    assert not _parts(one) & _parts(SHARED)
    assert one.action_mask is not other.action_mask


def test_a_generator_that_the_family_has_used_is_not_handed_out_twice() -> None:
    SHARED.action.seed(5)
    one, other = SPEC.spaces(), SPEC.spaces()
    drawn = [[space.action.sample() for _ in range(50)] for space in (one, other)]
    assert drawn[0] != drawn[1]


def test_the_contract_suite_finds_shared_spaces(counting: EnvSpec) -> None:
    class Shares(CountingRuntime):
        def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
            super().__init__(spec, num_slots, config)
            self.action_space = action

    action = counting.spaces().action
    with pytest.raises(AssertionError, match=r"spaces are the runtimes own: two runtimes share action_space"):
        check_runtime(lambda slots, config: Shares(counting, slots, config))


def _parts(found: Spaces) -> set[int]:
    """The identities of all Space objects."""
    return {id(part) for space in (found.observation, found.action) for part in _all(space)}


def _all(space: gym.Space[Any]) -> list[gym.Space[Any]]:
    if isinstance(space, spaces.Dict):
        subs = list(space.spaces.values())
    elif isinstance(space, spaces.Tuple):
        subs = list(space.spaces)
    else:
        subs = [space.feature_space] if isinstance(space, spaces.Sequence) else []
    return [space, *(part for sub in subs for part in _all(sub))]
