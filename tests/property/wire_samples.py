"""Strategies and samples for what goes over the wire: spaces, values, and damage to messages."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st

SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
INTS = st.sampled_from(["uint8", "int8", "uint16", "int16", "int32", "int64"])
FLOATS = st.sampled_from(["float16", "float32", "float64"])


@st.composite
def boxes(draw: Any) -> spaces.Box:
    shape, seed = draw(SHAPES), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    if draw(st.booleans()):
        dtype = np.dtype(draw(INTS))
        low = rng.integers(0, 50, shape).astype(dtype)
        return spaces.Box(low, low + rng.integers(0, 50, shape).astype(dtype), shape, dtype.type)
    kind = np.dtype(draw(FLOATS))
    low = rng.normal(size=shape).astype(kind)
    low = np.where(rng.random(shape) < 0.2, -np.inf, low).astype(kind)
    high = np.where(rng.random(shape) < 0.2, np.inf, np.maximum(low, 0) + 1).astype(kind)
    return spaces.Box(low, high, shape, kind.type)


CHARSETS = st.sampled_from(["abc", "äß€😀 \n", "0"])
LEAVES = st.one_of(
    boxes(),
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 9), st.integers(-5, 5)),
    st.builds(lambda n: spaces.Discrete(n, dtype=np.uint8), st.integers(1, 9)),
    st.builds(
        lambda nvec, start, dtype: spaces.MultiDiscrete(nvec, start=[start] * len(nvec), dtype=dtype),
        st.lists(st.integers(1, 9), min_size=1, max_size=3),
        st.integers(0, 5),
        st.sampled_from([np.int64, np.int32]),
    ),
    st.builds(lambda: spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]))),
    st.builds(spaces.MultiBinary, st.one_of(st.integers(1, 4), st.just([2, 3]))),
    st.builds(
        lambda least, more, chars: spaces.Text(least + more, min_length=least, charset=chars),
        st.integers(0, 3),
        st.integers(1, 8),
        CHARSETS,
    ),
)
SPACES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.text("abcé", min_size=1, max_size=4), inner, min_size=1, max_size=3).map(
            lambda d: spaces.Dict(list(d.items()))
        ),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
        st.lists(inner, min_size=1, max_size=3).map(spaces.OneOf),
        st.builds(lambda sub: spaces.Sequence(sub), inner),
        st.builds(lambda sub: spaces.Sequence(sub, stack=True), LEAVES),
        st.builds(spaces.Graph, LEAVES, st.one_of(st.none(), LEAVES)),
    ),
    max_leaves=5,
)


CELLS = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**80), 2**80),
        st.floats(),
        st.text(st.characters(exclude_categories=("Cs",))),
        st.binary(max_size=20),
        st.floats(width=32).map(np.float32),
        st.integers(-128, 127).map(np.int8),
        st.booleans().map(np.bool_),
        st.lists(st.integers(0, 255), max_size=5).map(lambda v: np.array(v, np.uint8)),
        st.lists(st.text("aé😀", max_size=3), min_size=1, max_size=3).map(np.array),
        st.floats().map(np.array),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text("ab", max_size=2), st.integers(0, 5)), inner, max_size=3),
    ),
    max_leaves=6,
)


RICH = spaces.Dict(
    {
        "box": spaces.Box(0, 255, (2, 2), np.uint8),
        "text": spaces.Text(9, min_length=0),
        "many": spaces.Sequence(spaces.Tuple([spaces.Discrete(3), spaces.Text(4)])),
        "graph": spaces.Graph(spaces.Box(-1, 1, (2,)), spaces.Discrete(3)),
        "one": spaces.OneOf([spaces.Discrete(2), spaces.Sequence(spaces.Tuple([]))]),
    }
)


def mutated(message: bytes, rng: random.Random) -> bytes:
    """A few bytes replaced, lost, added or with a bit turned."""
    data = bytearray(message)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[place] = rng.randrange(256)
            case 1:
                del data[place : place + rng.randint(1, 9)]
            case 2:
                data[place:place] = rng.randbytes(rng.randint(1, 9))
            case _:
                data[place] ^= 1 << rng.randrange(8)
        data = data or bytearray(b"\0")
    return bytes(data)
