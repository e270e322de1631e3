"""Pinned trajectories of the matches: compiled and as plain Python, these hold on every machine.

A change of a match's rules or looks changes its hash: give it a new version, or pin anew with
``python tests/golden/test_match_trajectories.py``.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from universe2.core.agents import agent_columns
from universe2.core.registry import find
from universe2.core.spec import EnvConfig
from universe2.runtimes.match import MatchRuntime

PINNED = {
    "arcade/Carry-v0": "be76bf9740a66ef6685e12ced196897d",
    "arcade/Cycles-v0": "7aabc5bac06134479d334eb7c897cdd8",
    "arcade/Duel-v0": "8c711b8eb688713d8d81007fd2b99380",
    "arcade/Flags-v0": "1d17f0374558ce241588ab4db545070a",
    "arcade/Rally-v0": "b9feb770f4ef5c8524f76556fcf09c39",
    "arcade/Sumo-v0": "d0604d7d0d281038804029f8883f6827",
}


def trajectory(env_id: str) -> str:
    """A digest of 80 steps of two slots: pictures, and what everybody gets.

    The first player does as the heuristic says, the others what comes next.
    """
    runtime = MatchRuntime(
        find(env_id), 2, EnvConfig(autoreset="same_step", options={"size": 16, "max_steps": 70})
    )
    slots = np.arange(2)
    runtime.reset(slots, [1, 2])
    sums = hashlib.sha256()
    for k in range(80):
        batch = runtime.recv()
        for agent in runtime.agents:
            sums.update(batch.obs[agent].tobytes())
        for column in (*agent_columns(batch), batch.seed):
            sums.update(column.tobytes())
        actions = (k // np.array([4, 7]))[:, None] + 3 * np.arange(len(runtime.agents))
        actions %= len(runtime.match.actions)
        chosen = {agent: actions[:, p] for p, agent in enumerate(runtime.agents)}
        runtime.send(slots, {**chosen, "player_0": runtime.heuristic(slots)["player_0"]})
    runtime.recv()
    runtime.close()
    return sums.hexdigest()[:32]


@pytest.mark.parametrize("env_id", PINNED)
def test_trajectory_is_the_pinned_one(env_id: str) -> None:
    assert trajectory(env_id) == PINNED[env_id]


@pytest.mark.slow
def test_plain_python_plays_the_same() -> None:
    environment = {**os.environ, "UNIVERSE2_DEBUG": "1"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == PINNED


if __name__ == "__main__":
    print(json.dumps({env_id: trajectory(env_id) for env_id in PINNED}, indent=4))
