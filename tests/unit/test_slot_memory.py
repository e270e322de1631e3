"""SlotMemory takes what an observation's dtype can hold, and names what it can't."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from universe2.runtimes.shared import SlotMemory

SPACE = spaces.Dict(
    {
        "bytes": spaces.Box(0, 255, (3,), np.uint8),
        "small": spaces.Box(-128, 127, (2, 2), np.int8),
        "big": spaces.Box(0, 2**63, (), np.uint64),
        "choice": spaces.Discrete(5, start=-2),
        "flags": spaces.MultiBinary(2),
        "half": spaces.Box(-np.inf, np.inf, (2,), np.float16),
        "real": spaces.Box(-np.inf, np.inf, (2,), np.float32),
    }
)
GOOD: dict[str, Any] = {
    "bytes": [0, 44, 255],
    "small": np.array([[-128, 127], [0, 1]], np.int64),
    "big": 7,
    "choice": np.int32(-2),
    "flags": np.array([True, False]),
    "half": [1, -2],
    "real": np.array([0.1, np.inf]),
}


@pytest.fixture
def memory() -> Iterator[SlotMemory]:
    made = SlotMemory(SPACE, 2, 1, with_final=False)
    yield made
    made.close()


def written(memory: SlotMemory, **parts: Any) -> dict[str, Any]:
    """What slot 1 holds of an observation with these parts in place of good ones."""
    memory.write(memory.current, 1, {**GOOD, **parts})
    assert not any(np.any(array[0]) for array in memory.current if array is not None)
    return {name: memory.current[i][1] for i, name in enumerate(SPACE.spaces)}  # type: ignore[index]


def test_numbers_that_fit_are_kept_whatever_their_dtype(memory: SlotMemory) -> None:
    found = written(memory)
    for name, value in found.items():
        wanted = np.asarray(GOOD[name]).astype(value.dtype)
        assert np.array_equal(value, wanted), name
    assert np.isnan(written(memory, real=np.array([np.nan, 0.0]))["real"][0])
    assert written(memory, real=np.array([2**53 + 1, 2]))["real"][0] == np.float32(2**53)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("bytes", [-1, 256, 300], "dtype int64 with the value -1 at [0], which uint8 can't hold"),
        ("bytes", np.array([0, 1, 256], np.uint16), "dtype uint16 with the value 256 at [2], which uint8"),
        ("bytes", np.array([1, 2, -3], np.int8), "dtype int8 with the value -3 at [2], which uint8"),
        ("small", [[0, 0], [128, 0]], "the value 128 at [1, 0], which int8"),
        ("big", -1, "the value -1 at [], which uint64"),
        ("choice", np.uint64(2**64 - 1), "the value 18446744073709551615 at [], which int64"),
        ("flags", [0, 256], "the value 256 at [1], which int8"),
        ("half", [0.0, -1e6], "dtype float64 with the value -1000000.0 at [1], which float16"),
        ("half", [0, 100_000], "dtype int64 with the value 100000 at [1], which float16"),
        ("real", [1e39, 0.0], "the value 1e+39 at [0], which float32"),
        ("bytes", [0.0, np.nan, 1.0], "shape (3,) and dtype float64: [0.0, nan, 1.0]"),
        ("choice", 1.5, "dtype float64: [1.5]"),
        ("real", ["1", "2"], "dtype <U1: [1, 2]"),
        ("real", [1j, 0], "dtype complex128"),
        ("real", [None, 1.0], "dtype object: [None, 1.0]"),
        ("bytes", [0, 0], "shape (2,)"),
    ],
)
def test_numbers_that_do_not_fit_are_named(memory: SlotMemory, name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match="the environment returned") as refused:
        written(memory, **{name: value})
    assert str(refused.value).startswith(f"observation/{name}: expected {SPACE[name]}")
    assert words in str(refused.value)
