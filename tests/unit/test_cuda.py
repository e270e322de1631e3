"""Games on CUDA, without a device: every one becomes PTX, and in Numba's simulator plays as on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from universe2.core.spec import load
from universe2.envs.arcade import specs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GAMES = [spec for spec in specs() if spec.runtime == "compiled"]

PROGRAM = """
import hashlib, sys
import numpy as np
from universe2 import EnvConfig, open_runtime

options = {"size": 8, "frame_skip": 2, "max_steps": 6, "num_levels": 5}
config = EnvConfig(autoreset="same_step", options=options)
runtime = open_runtime(sys.argv[1], 3, config, device=sys.argv[2])
host = lambda frames: frames if sys.argv[2] == "cpu" else frames.copy_to_host()
sums = hashlib.sha256()
runtime.reset([0, 1, 2], [5, 6, 7])
sums.update(host(runtime.recv().obs).tobytes())
for k in range(4):
    slots = np.array([0, 1, 2] if k else [0, 2], np.int32)
    runtime.send(slots, (slots + k) % runtime.action_space.n)
    batch = runtime.recv()
    sums.update(host(batch.obs).tobytes() + batch.reward.tobytes() + batch.truncated.tobytes())
    if len(batch.final_rows):
        sums.update(host(batch.final_obs).tobytes() + batch.final_rows.tobytes())
before = runtime.snapshot([1])
sums.update(before[0] + runtime.render([1], (16, 16))[0].tobytes() + runtime.heuristic([0, 1, 2]).tobytes())
runtime.restore([2], before)
sums.update(host(runtime.recv().obs).tobytes())
print(sums.hexdigest())
"""


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize("spec", GAMES, ids=lambda spec: spec.id)
def test_every_game_becomes_ptx(spec, capability) -> None:
    pytest.importorskip("numba_cuda", reason='pip install "universe2[cuda]"')
    from universe2.runtimes.compiled_cuda import ptx

    text = ptx(load(spec.entry), capability)
    assert f".target sm_{capability[0]}{capability[1]}" in text
    assert ".visible .entry" in text


@pytest.mark.parametrize("spec", GAMES, ids=lambda spec: spec.id)
def test_the_simulator_plays_as_the_cpu_does(spec) -> None:
    def played(device: str) -> str:
        environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1" if device == "cuda" else "0"}
        command = [sys.executable, "-c", PROGRAM, spec.id, device]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert played("cuda") == played("cpu")


RAISING = """
import dataclasses
import numpy as np
import test_games_that_raise as trip
from universe2.core.spec import EnvConfig
from universe2.envs.arcade import game_spec
from universe2.runtimes.cuda import CudaRuntime

def shown(frames):
    return frames.copy_to_host().max(axis=(1, 2, 3)).tolist()

spec = dataclasses.replace(game_spec("Trip-v0", "", "", 100, 0.0, 1.0), entry="test_games_that_raise:GAME")
config = EnvConfig(autoreset="same_step", options={"size": 8, "num_levels": 2})
runtime = CudaRuntime(spec, 3, config)
runtime.reset([0, 1, 2], [trip.seed_of(0, trip.CURSED, 0), trip.SOUND, trip.SOUND])
runtime.recv()
for actions in ([trip.END, trip.TRIP, trip.STILL], [trip.STILL] * 3, [trip.STILL] * 3):
    runtime.send([0, 1, 2], np.array(actions))
    batch = runtime.recv()
    print(batch.fault.tolist(), batch.reward.tolist(), batch.terminated.tolist(), shown(batch.obs))
    for text in batch.fault_text.values():
        print(text)
"""


def test_a_game_that_raises_is_a_fault_and_no_reward() -> None:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    environment["PYTHONPATH"] = f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-c", RAISING]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "[0, 1, 0] [3.0, nan, 1.0] [True, False, False] [60, 0, 60]"
    assert "in the step of slot 1" in lines[1]
    assert 'device="cpu"' in lines[2]
    assert lines[3] == "[1, 0, 0] [nan, 0.0, 1.0] [False, False, False] [0, 50, 70]"
    assert "in the reset of slot 0" in lines[4]
    assert lines[6] == "[0, 0, 0] [0.0, 1.0, 1.0] [False, False, False] [50, 60, 80]"
