"""Different options have different hashes, equal ones the same, and plain ones those that they always had."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from universe2.core.canonical import canonical
from universe2.core.errors import UsageError
from universe2.core.registry import find
from universe2.core.spec import EnvConfig, EnvSpec

SPEC = EnvSpec(
    id="a/B-v0",
    runtime="process",
    entry="x:y",
    spaces_from="x:z",
    options={"flag": False, "count": 4, "chance": 0.25, "kind": "easy", "free": None, "many": []},
)


def hashed(free: Any) -> str:
    return SPEC.hash(EnvConfig(options={"free": free}))


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({}, "99ff6f9e7199a66f"),
        ({"flag": True, "count": -7, "chance": 1e-9, "kind": "é\ud800"}, "710064e2d102e5f0"),
        ({"free": {"b": [1, 2.0, None, True, "x"], "a": {"z": (1, (2,))}}}, "630b4d2ba0084065"),
        ({"free": [float("nan"), float("inf"), -0.0, 10**30], "many": (1, 2)}, "8c663a13c4cba9bc"),
    ],
)
def test_plain_options_have_the_hash_that_they_always_had(options: dict[str, Any], known: str) -> None:
    assert SPEC.hash(EnvConfig(options=options)) == known


def changed(array: np.ndarray, at: int, to: Any) -> np.ndarray:
    found = array.copy()
    found[at] = to
    return found


@dataclasses.dataclass
class Level:
    cells: Any
    name: str = dataclasses.field(default="", repr=False)


class Colour(enum.Enum):
    RED = "red"


ROW = np.zeros(5000)
MIXED = np.array([(1, 2.0), (3, 4.0)], [("a", "i1"), ("b", "f8")])
DIFFERENT: list[Any] = [
    {0: 1},
    {"0": 1},
    {0.0: 1},
    {None: 1},
    {"None": 1},
    {"null": 1},
    {(0, 1): 1},
    {0: 1, "0": 1},
    {0: 1, "0": 2},
    {"\0": ["dict", []]},
    {"\0": ["builtins.bytes", "61"]},
    b"a",
    bytearray(b"a"),
    "b'a'",
    "61",
    1,
    1.0,
    True,
    "1",
    np.int64(1),
    np.int8(1),
    np.float32(1),
    np.array(1),
    np.array([1]),
    1j,
    ROW,
    ROW.astype(np.float32),
    ROW.reshape(50, 100),
    changed(ROW, 2500, 1.0),
    changed(ROW, 2500, 1e-12),
    [ROW],
    {"x": [changed(ROW, 2500, 2.0)]},
    str(ROW),
    np.array(["a", "b"]),
    np.array([b"a", b"b"]),
    np.array(["a", "b"], object),
    np.array([ROW, None], object),
    np.array([changed(ROW, 2500, 1.0), None], object),
    MIXED,
    changed(MIXED, 1, (3, 5.0)),
    np.void(b"ab"),
    np.datetime64("2026-01-01"),
    np.arange(2, dtype=np.longdouble),
    {"a", "b"},
    frozenset({"a", "b"}),
    {"a", "c"},
    Level(ROW),
    Level(changed(ROW, 2500, 1.0)),
    Level(ROW, "other"),
    Path("x"),
    "x",
    Colour.RED,
    "Colour.RED",
    Level,
    spaces.Discrete(3),
    spaces.Discrete(4),
    range(3),
]


def test_different_options_have_different_hashes() -> None:
    for (i, one), (j, other) in itertools.combinations(enumerate(map(hashed, DIFFERENT)), 2):
        assert one != other, (DIFFERENT[i], DIFFERENT[j])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({0: "a", 1: "b"}, {1: "b", 0: "a"}),
        ({"a": 1, 2: {3: 4, "b": 5}}, {2: {"b": 5, 3: 4}, "a": 1}),
        (ROW.astype("<f8"), ROW.astype(">f8")),
        (ROW, np.zeros(10000)[::2]),
        ((1, [2]), [1, (2,)]),
        (np.float64(0.1), 0.1),
        (MIXED, MIXED.copy()),
        (np.arange(3, dtype=np.longdouble), np.arange(3, dtype=np.longdouble)),
    ],
)
def test_equal_options_have_one_hash(one: Any, other: Any) -> None:
    assert hashed(one) == hashed(other)


def test_sets_of_strings_have_one_hash_in_every_process() -> None:
    code = "from universe2.core.canonical import canonical; print(canonical({str(n) for n in range(50)}))"
    command = [sys.executable, "-c", code]
    texts = {
        subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert texts == {canonical({str(n) for n in range(50)}).encode() + b"\n"}


def test_what_holds_itself_has_no_hash() -> None:
    holder: list[Any] = []
    holder.append(holder)
    with pytest.raises(UsageError, match="have no hash: it holds itself"):
        hashed(holder)
    with pytest.raises(UsageError, match="have no hash"):
        hashed(10**5000)


class Sized(gym.Env):
    """As many observations as ``table`` has ones in its middle."""

    action_space = spaces.Discrete(2)

    def __init__(self, table: Any) -> None:
        middle = table[2500] if isinstance(table, np.ndarray) else table
        self.observation_space = spaces.Discrete(int(middle) + 2)


def test_spaces_are_not_those_of_other_large_arguments() -> None:
    gym.register("Sized-v0", entry_point=Sized)
    try:
        sizes = [
            find("gymnasium/Sized-v0")
            .spaces(EnvConfig(options={"make_kwargs": {"table": table}}))
            .observation.n
            for table in (ROW, changed(ROW, 2500, 5.0), 3)
        ]
    finally:
        del gym.registry["Sized-v0"]
    assert sizes == [2, 7, 5]
