"""How many Atari steps a second, against ale-py's own C++ vector?

    python benchmarks/atari.py [--slots 32 64] [--seconds 2] [--rounds 5] [--games Pong …]

Both sides run in this process over all cores with the same settings: 84×84 gray, four frames
stacked, four frames per step, sticky actions with probability 0.25, all eighteen actions,
random ones. They are stepped in lockstep and alternate round by round; of the rounds' ratios the
median counts. Once with whole games, of which few end meanwhile, and once with episodes of at
most 400 frames, which all end together. Besides time on the clock it reports processor time per
step, which other programs on the machine disturb less. The last line is the result as JSON, also written to
scores/atari.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
GAMES = {"Pong": "pong", "Breakout": "breakout", "MsPacman": "ms_pacman"}
TARGET = 1.0
SHORT = 400
"""Frames of an episode, where episodes are to end."""


def actions(slots: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 18, (64, slots))


class Ours:
    def __init__(self, game: str, slots: int, frames: int) -> None:
        from universe2.core.spec import EnvConfig
        from universe2.runtimes import open_runtime

        begin = time.perf_counter()
        config = EnvConfig(autoreset="next_step", options={"max_frames": frames})
        self._runtime = open_runtime(f"atari/{game}-v0", slots, config)
        self._slots, self._actions = np.arange(slots, dtype=np.int32), actions(slots)
        self._runtime.reset(self._slots, self._slots)
        self._runtime.recv(600.0)
        self.start = time.perf_counter() - begin
        self.close = self._runtime.close

    def step(self, k: int) -> None:
        self._runtime.send(self._slots, self._actions[k % 64])
        batch = self._runtime.recv()
        assert len(batch) == len(self._slots)
        assert not batch.fault.any()


class Theirs:
    def __init__(self, game: str, slots: int, frames: int) -> None:
        from ale_py.vector_env import AtariVectorEnv

        begin = time.perf_counter()
        self._env = AtariVectorEnv(
            GAMES[game],
            slots,
            max_num_frames_per_episode=frames,
            repeat_action_probability=0.25,
            full_action_space=True,
            noop_max=0,
            reward_clipping=False,
            use_fire_reset=False,
        )
        self._actions = actions(slots)
        self._env.reset(seed=0)
        self.start = time.perf_counter() - begin
        self.close = self._env.close

    def step(self, k: int) -> None:
        self._env.step(self._actions[k % 64])


def rates(step: Callable[[int], None], slots: int, seconds: float) -> tuple[float, float]:
    """(steps per second, microseconds of processor time per step)."""
    clock, processor, calls = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - clock < seconds:
        step(calls)
        calls += 1
    elapsed, busy = time.perf_counter() - clock, time.process_time() - processor
    return calls * slots / elapsed, busy / (calls * slots) * 1e6


def measure(game: str, slots: int, frames: int, seconds: float, rounds: int) -> dict[str, Any]:
    ours, theirs = Ours(game, slots, frames), Theirs(game, slots, frames)
    for k in range(5):
        ours.step(k)
        theirs.step(k)
    found = []
    for number in range(rounds):
        pair = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        found.append({type(side): rates(side.step, slots, seconds) for side in pair})
    ours.close()
    theirs.close()
    mine, other = ([row[side] for row in found] for side in (Ours, Theirs))
    middle = [[statistics.median(v[i] for v in side) for i in (0, 1)] for side in (mine, other)]
    return {
        "steps_per_second": [round(side[0]) for side in middle],
        "cpu_us_per_step": [round(side[1], 1) for side in middle],
        "start_s": [round(ours.start, 2), round(theirs.start, 2)],
        "ratio": round(statistics.median(a[0] / b[0] for a, b in zip(mine, other, strict=True)), 3),
        "cpu_ratio": round(statistics.median(b[1] / a[1] for a, b in zip(mine, other, strict=True)), 3),
    }


def question(name: str, results: dict[str, Any]) -> dict[str, Any]:
    """The median over the games."""
    ratio = statistics.median(r["ratio"] for r in results.values())
    rate = [statistics.median(r["steps_per_second"][side] for r in results.values()) for side in (0, 1)]
    return {
        "question": f"Atari, {name}, steps/s, against ale-py's C++ vector",
        "ours": f"{rate[0]:,.0f}",
        "peer": f"{rate[1]:,.0f}",
        "ratio": round(ratio, 3),
        "target": f"≥ {TARGET:g}",
        "met": bool(ratio >= TARGET),
    }


def show(results: dict[str, dict[str, Any]]) -> None:
    table = Table(title="ours / ale-py's vector")
    for title in ("", "game", "steps/s", "ratio", "CPU µs/step", "CPU ratio", "start s"):
        table.add_column(title, justify="right")
    for name, games in results.items():
        for game, r in games.items():
            pairs = [
                " / ".join(map(str, r[key])) for key in ("steps_per_second", "cpu_us_per_step", "start_s")
            ]
            table.add_row(name, game, pairs[0], str(r["ratio"]), pairs[1], str(r["cpu_ratio"]), pairs[2])
    Console().print(table)


def main() -> None:
    from universe2.agents.evaluate import hardware

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
    chosen = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    for slots in chosen.slots:
        for name, frames in (("whole games", 108_000), ("short episodes", SHORT)):
            results[f"{slots} slots, {name}"] = {
                game: measure(game, slots, frames, chosen.seconds, chosen.rounds) for game in chosen.games
            }
    show(results)
    import ale_py

    questions = [question(name, games) for name, games in results.items()]
    score = {
        "name": "atari",
        "date": datetime.date.today().isoformat(),
        "machine": hardware(),
        "versions": {"python": platform.python_version(), "ale-py": ale_py.__version__},
        "results": results,
        "ratio": questions[-1]["ratio"],
        "target": TARGET,
        "met": all(q["met"] for q in questions),
        "questions": questions,
    }
    (HERE / "scores" / "atari.json").write_text(json.dumps(score, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(score, ensure_ascii=False))


if __name__ == "__main__":
    main()
