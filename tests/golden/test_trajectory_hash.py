"""The hash's definition, redone here by hand and pinned: changing either breaks stored episodes."""

from __future__ import annotations

import struct
from hashlib import blake2b

import numpy as np
from gymnasium import spaces

from universe2.trace import TrajectoryHash

OBSERVATION = spaces.Dict({"b": spaces.Box(0, 255, (2, 2), np.uint8), "a": spaces.Text(9, charset="xé")})
ACTION = spaces.MultiDiscrete([3, 4])


def _b(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _episode() -> TrajectoryHash:
    chain = TrajectoryHash(OBSERVATION, ACTION)
    chain.reset({"b": np.arange(4, dtype=np.uint8).reshape(2, 2), "a": "xé"})
    chain.step(np.array([2, 1]), -0.5, False, True, {"b": np.full((2, 2), 7, np.uint8), "a": ""})
    return chain


def test_definition_by_hand() -> None:
    # Dict spaces sort their keys: "a" comes before "b".
    first = struct.pack("<Q", 3) + "xé".encode() + bytes([0, 1, 2, 3])
    second = struct.pack("<Q", 0) + bytes([7] * 4)
    t = _b(_b(b"universe2.trajectory.1") + b"R" + first)
    t = _b(t + b"S" + struct.pack("<qqdB", 2, 1, -0.5, 2) + second)
    o = _b(_b(_b(b"universe2.observations.1") + first) + second)
    chain = _episode()
    assert (chain.digest, chain.observations_digest) == (t.hex(), o.hex())


def test_pinned_value() -> None:
    chain = _episode()
    assert chain.steps == 1
    assert chain.digest == "57ec35f724818892d280ebd4fd28e7b7"
    assert chain.observations_digest == "4c542907d3b4ccd1ed4ff42e22212a19"


def test_reset_forgets() -> None:
    chain = _episode()
    again = chain.digest
    chain.reset({"b": np.arange(4, dtype=np.uint8).reshape(2, 2), "a": "xé"})
    assert chain.digest != again
    chain.step(np.array([2, 1]), -0.5, False, True, {"b": np.full((2, 2), 7, np.uint8), "a": ""})
    assert chain.digest == again


def test_every_part_counts() -> None:
    obs = {"b": np.zeros((2, 2), np.uint8), "a": "x"}
    base = ([2, 1], 1.0, False, False, obs)
    changes = [
        ([2, 0], 1.0, False, False, obs),
        ([2, 1], 1.5, False, False, obs),
        ([2, 1], 1.0, True, False, obs),
        ([2, 1], 1.0, False, True, obs),
        ([2, 1], 1.0, False, False, {**obs, "a": ""}),
    ]
    digests = set()
    for action, reward, terminated, truncated, after in [base, *changes]:
        chain = TrajectoryHash(OBSERVATION, ACTION)
        chain.reset(obs)
        chain.step(np.array(action), reward, terminated, truncated, after)
        digests.add(chain.digest)
    assert len(digests) == len(changes) + 1
