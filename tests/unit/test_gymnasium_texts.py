"""Texts in spaces that are not Gymnasium's: as values everywhere, and as the screen's instruction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from errands import ErrandSpace
from gymnasium import spaces

import universe2
from universe2.envs.gymnasium.texts import instructed, with_texts
from universe2.server import Server, ServerConfig
from universe2.testing import check_env

ERRANDS = "gymnasium/Errands-v0"


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gym.register("Errands-v0", entry_point="errands:Errands")
    yield
    del gym.registry["Errands-v0"]


def test_a_text_takes_the_place_of_a_space_that_nobody_knows() -> None:
    assert find_spaces() == (spaces.Text, spaces.Text, spaces.Discrete)
    with closing(universe2.make_vec(ERRANDS, 2)) as envs:
        seen, _ = envs.reset(seed=3)
        assert set(seen["told"]) <= {"get the ball", "get the key"}
        assert seen["told"] == seen["place"][0]


def find_spaces() -> tuple[type, ...]:
    with closing(universe2.make(ERRANDS)) as env:
        space: Any = env.observation_space
        return (type(space["told"]), *map(type, space["place"]))


def test_known_spaces_are_left_as_they_are() -> None:
    known = spaces.Dict({"a": spaces.Tuple([spaces.Discrete(2)]), "b": spaces.Text(4)})
    assert with_texts(known) is known
    assert isinstance(with_texts(ErrandSpace()), spaces.Text)


def test_the_contract_holds_here_and_through_a_server() -> None:
    server = Server(ServerConfig(port=0))
    server.start()
    try:
        assert "agrees with its reference" in check_env(ERRANDS, steps=20, remotes=[server.address]).passed
    finally:
        server.stop()


def test_the_errand_begins_the_screens_instruction() -> None:
    with closing(universe2.make(ERRANDS, interface="screen")) as env:
        told = {env.reset(seed=seed)[0]["instruction"] for seed in range(8)}
        told |= {env.step(np.zeros(5, np.int64))[0]["instruction"]}
        assert {text.split(" Actions")[0] for text in told} == {"get the ball", "get the key"}


def test_what_is_no_text_at_the_top_instructs_nobody() -> None:
    space = spaces.Dict({"a": spaces.Text(9), "b": spaces.Tuple([spaces.Text(9)]), "c": spaces.Text(9)})
    assert instructed(space, {"a": "go", "b": ("no",), "c": "on"}) == "go on"
    assert instructed(space, ("go",)) == instructed(spaces.Text(9), "go") == ""
