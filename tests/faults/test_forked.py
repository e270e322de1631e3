"""A process forked from one whose games were stepped on several threads: as Linux does by default."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
import numpy as np
import universe2

def played(envs):
    envs.reset(seed=5)
    for _ in range(3):
        obs, *_ = envs.step(envs.action_space.sample() * 0)
    return obs.tobytes() if hasattr(obs, "tobytes") else obs["screen"].tobytes()

{body}
pid = os.fork()
if pid == 0:
    child = {child}
    os.write(write, b"same" if played(child) == before else b"other")
    os._exit(0)
_, status = os.waitpid(pid, 0)
print(status, os.read(read, 100).decode() if status == 0 else "")
print(played(envs) == before)
"""


@pytest.mark.parametrize("child", ["envs", "universe2.make_vec('arcade/Breakout-v0', 64)"])
def test_a_forked_process_plays_the_same_games(child: str) -> None:
    """GNU's OpenMP ended it without a word, and whoever waited for its answer waited for ever."""
    body = (
        "read, write = os.pipe()\nenvs = universe2.make_vec('arcade/Breakout-v0', 64)\nbefore = played(envs)"
    )
    code = PROGRAM.format(body=body, child=child)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.stdout.split() == ["0", "same", "True"], done.stdout + done.stderr
