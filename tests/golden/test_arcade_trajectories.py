"""Pinned trajectories: rules and pictures are integers, so these hold on every machine.

A change of a game's rules or looks changes its hash: give the game a new version, or pin anew.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from universe2.core.registry import find
from universe2.core.spec import EnvConfig
from universe2.runtimes import open_runtime

PINNED = {
    "arcade/Breakout-v0": "934a578041bd635f50fd683ea6e297c4",
    "arcade/Cannon-v0": "45f8ed493c2c1e3a395d01ae8e66868b",
    "arcade/Catcher-v0": "984597afe050e550c43c7e7887b6aba2",
    "arcade/Climber-v0": "024add1d70ee81554a0699d60d4a3f51",
    "arcade/Crates-v0": "bbe5c93c387f4118c62d307f5136e854",
    "arcade/Crossing-v0": "0a134b9830598367d311ba6c30d70f57",
    "arcade/Digger-v0": "3826cae06054ffb713e61783190ca339",
    "arcade/Dodger-v0": "22e823ebcc477bf77f2bb458ff1f8d4f",
    "arcade/Forager-v0": "8fe589518092aaa43b1c774488d9a18c",
    "arcade/Invaders-v0": "0dc4293c6f923e193dcd4d4cfb9655ea",
    "arcade/Keys-v0": "6d02b6557ae6df4ab78ac20d90d5ebc7",
    "arcade/Lander-v0": "9a068c651f68349f240362115e52e027",
    "arcade/Maze-v0": "60b1ea0b75677b3e56f0f9023f8064cc",
    "arcade/Memory-v0": "307137a33f890adc7cc95dedc03b2d45",
    "arcade/Merge-v0": "3f130b1b054bc1150da7c06d01612340",
    "arcade/Racer-v0": "3caab30d32e087f0c474ce51d61f4057",
    "arcade/Runner-v0": "bf9fda3661a9ac0d55777e28772e2e8f",
    "arcade/Snake-v0": "8c21b62a13fbdb66d00100c7be410bf5",
    "arcade/Stealth-v0": "4e5db9709c32a1e2065a14c93e66970a",
    "arcade/Tower-v0": "47d8757925d065ac16bbdfb1818d9038",
}


def trajectory(env_id: str) -> str:
    """A digest of 300 steps of three slots, frames, rewards and endings."""
    runtime = open_runtime(find(env_id), 3, EnvConfig(autoreset="same_step"))
    slots = np.arange(3)
    runtime.reset(slots, [1, 2, 3])
    sums = hashlib.sha256(runtime.recv().obs.tobytes())
    for k in range(300):
        actions = (k // np.array([4, 7, 11])) % int(runtime.action_space.n)  # type: ignore[attr-defined]
        runtime.send(slots, actions)
        batch = runtime.recv()
        for part in (batch.obs, batch.reward, batch.terminated, batch.truncated, batch.seed):
            sums.update(part.tobytes())
    runtime.close()
    return sums.hexdigest()[:32]


@pytest.mark.parametrize("env_id", PINNED)
def test_trajectory_is_the_pinned_one(env_id: str) -> None:
    assert trajectory(env_id) == PINNED[env_id]
