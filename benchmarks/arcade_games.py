"""What does each arcade game cost: microseconds a step, and seconds to compile?

    python benchmarks/arcade_games.py [--games Maze Stealth …] [--slots 1024] [--seconds 0.5] [--no-compile]

One core, 64×64×3 frames, random actions, steady state: the 20 games for one player. A step is what a
caller waits for: rules, drawing, packing the frame, the beginnings of new episodes, and Python. "draw" is
drawing and packing, "rules" is the rest. Compiling is timed in a process of its own with an empty
cache, less the time to start such a process. Writes
scores/arcade_games.json (unless only some games were asked for), from which tables.py makes
docs/arcade-games.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
STEP_TARGET_US, COMPILE_TARGET_S = 4.0, 75.0

COMPILE = """
import sys, time
import universe2.runtimes.compiled
from universe2.runtimes import open_runtime
begin = time.perf_counter()
for env_id in sys.argv[1:]:
    runtime = open_runtime(env_id, 1)
    runtime.reset([0], [0])
    runtime.recv()
    runtime.heuristic([0])
print(time.perf_counter() - begin)
"""


def median_us(call: Callable[[], object], slots: int, seconds: float) -> float:
    """Microseconds a slot."""
    times, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6 / slots


def cost(env_id: str, slots: int, seconds: float) -> dict[str, float]:
    """Microseconds a slot: a step, and of it drawing and the rest."""
    from universe2.core.registry import find
    from universe2.core.spec import EnvConfig
    from universe2.runtimes.compiled import CompiledRuntime
    from universe2.runtimes.compiled_driver import DRAW

    runtime = CompiledRuntime(find(env_id), slots, EnvConfig(autoreset="same_step"))
    everyone = np.arange(slots, dtype=np.int32)
    actions = np.random.default_rng(0).integers(0, len(runtime.game.actions), (64, slots))
    runtime.reset(everyone, everyone)
    runtime.recv()
    number = 0

    def step() -> None:
        nonlocal number
        runtime.send(everyone, actions[number % 64])
        runtime.recv()
        number += 1

    for _ in range(200):
        step()
    whole = median_us(step, slots, seconds)
    task, zeros = np.full(slots, DRAW), np.zeros(slots, np.int64)
    draw = median_us(lambda: runtime._drive(everyone, task, zeros, zeros, zeros), slots, seconds / 2)
    runtime.close()
    return {"step_us": round(whole, 2), "draw_us": round(draw, 2), "rules_us": round(whole - draw, 2)}


def compile_seconds(env_ids: list[str]) -> float:
    """Seconds in one process with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", COMPILE, *env_ids],
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
            capture_output=True, text=True, check=True, timeout=600,
        )  # fmt: skip
    return round(float(done.stdout), 1)


def compile_all() -> float:
    """Wall seconds until ``universe2 doctor --compile`` has all games and matches, with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "universe2", "doctor", "--compile"],
            env={**os.environ, "NUMBA_CACHE_DIR": folder}, check=True, timeout=900, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return round(time.perf_counter() - begin, 1)


def questions(games: dict[str, dict[str, Any]], everything: float) -> list[dict[str, Any]]:
    """The rows of the README's table."""
    slowest = max(games, key=lambda name: games[name]["step_us"])
    us = games[slowest]["step_us"]
    return [
        {
            "question": f"arcade, slowest of {len(games)} games ({slowest}), one core, 64×64×3, µs a step",
            "ours": f"{us:.2f}",
            "peer": f"{STEP_TARGET_US:g} to reach",
            "ratio": round(STEP_TARGET_US / us, 2),
            "target": "≥ 1",
            "met": us <= STEP_TARGET_US,
        },
        {
            "question": "arcade, all games and matches compiled anew, s",
            "ours": f"{everything:.0f}",
            "peer": f"{COMPILE_TARGET_S:g} to reach",
            "ratio": round(COMPILE_TARGET_S / everything, 2),
            "target": "≥ 1",
            "met": everything <= COMPILE_TARGET_S,
        },
    ]


def main() -> None:
    from universe2.agents.evaluate import hardware
    from universe2.core.registry import list_envs

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--games", nargs="+", default=None)
    parser.add_argument("--slots", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--no-compile", action="store_true")
    chosen = parser.parse_args()
    specs = {spec.name: spec for spec in list_envs(family="arcade") if not spec.multi_agent}
    shown = Table("game", "µs a step", "drawing", "rules", "s to compile", title=f"{chosen.slots:,} slots")
    games: dict[str, dict[str, Any]] = {}
    for name in chosen.games or specs:
        spec = specs[name]
        found: dict[str, Any] = cost(spec.id, chosen.slots, chosen.seconds)
        found["compile_s"] = None if chosen.no_compile else compile_seconds([spec.id])
        games[name] = found
        row = (found["step_us"], found["draw_us"], found["rules_us"], found["compile_s"] or "")
        shown.add_row(name, *map(str, row))
    Console().print(shown)
    if chosen.games or chosen.no_compile:
        return
    score = {
        "name": "arcade_games",
        "date": datetime.date.today().isoformat(),
        "machine": {**hardware(), "cores": 1},
        "games": games,
        "questions": questions(games, compile_all()),
    }
    (HERE / "scores" / "arcade_games.json").write_text(json.dumps(score, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(score, ensure_ascii=False))


if __name__ == "__main__":
    main()
