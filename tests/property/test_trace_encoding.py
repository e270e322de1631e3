"""Canonical bytes: decode(encode(x)) == x for every kind of space, and nothing is left over."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence
from hypothesis import given, settings
from hypothesis import strategies as st

from universe2.core.errors import ProtocolError
from universe2.trace.encoding import decode, encode

BOX = spaces.Box(-1, 1, (2, 3), np.float32)
SPACES: dict[str, spaces.Space[Any]] = {
    "box": BOX,
    "box-scalar": spaces.Box(0, 9, (), np.int16),
    "discrete": spaces.Discrete(5, start=-2),
    "multi-discrete": spaces.MultiDiscrete([[2, 3], [4, 5]]),
    "multi-binary": spaces.MultiBinary([2, 3]),
    "text": spaces.Text(20, min_length=0, charset="aé\n"),
    "dict": spaces.Dict({"z": BOX, "a": spaces.Tuple((spaces.Discrete(3), spaces.Text(5)))}),
    "sequence": spaces.Sequence(spaces.Dict({"x": BOX, "t": spaces.Discrete(4)})),
    "sequence-stacked": spaces.Sequence(spaces.Dict({"x": BOX, "t": spaces.Discrete(4)}), stack=True),
    "graph": spaces.Graph(BOX, spaces.Discrete(4)),
    "graph-no-edges": spaces.Graph(spaces.Discrete(3), None),
    "one-of": spaces.OneOf((BOX, spaces.Text(4))),
}


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=20, deadline=None)
def test_round_trip(name: str, seed: int) -> None:
    space = SPACES[name]
    space.seed(seed)
    value = space.sample()
    data = encode(space, value)
    again, used = decode(space, data + b"rest")
    assert used == len(data)
    assert space.contains(again)
    assert encode(space, again) == data
    if name != "box-scalar":  # sampled as a NumPy scalar, read as a 0-d array
        assert data_equivalence(value, again)


def test_cut_bytes_are_refused() -> None:
    with pytest.raises(ProtocolError, match="cut short"):
        decode(BOX, b"123")


@pytest.mark.parametrize(
    ("space", "data", "complaint"),
    [
        (SPACES["one-of"], (5).to_bytes(8, "little"), "choice 5 of 2"),
        (SPACES["text"], (1).to_bytes(8, "little") + b"\xff", "not UTF-8"),
        (SPACES["graph-no-edges"], bytes(16) + b"\1", "edges, which the space doesn't have"),
        (SPACES["graph"], b"\xff" * 17, "cut short"),
        (spaces.Sequence(spaces.Tuple([])), b"\xff" * 8, "cut short"),
    ],
)
def test_damaged_bytes_are_refused(space: spaces.Space[Any], data: bytes, complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        decode(space, data)


def test_a_stacked_sequence_may_be_empty() -> None:
    again, used = decode(SPACES["sequence-stacked"], bytes(8))
    assert used == 8
    assert encode(SPACES["sequence-stacked"], again) == bytes(8)


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**31 - 1), place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
@settings(max_examples=50, deadline=None)
def test_a_damaged_byte_gives_a_value_or_a_refusal(name: str, seed: int, place: float, byte: int) -> None:
    space = SPACES[name]
    space.seed(seed)
    data = bytearray(encode(space, space.sample()))
    data[int(place * len(data))] = byte
    with contextlib.suppress(ProtocolError):
        decode(space, bytes(data))
