"""How many arcade frames a second on one GPU, left in its memory?

    python benchmarks/arcade_cuda.py [--slots 16384] [--seconds 3] [--games arcade/Breakout-v0 …]

Needs a CUDA device and `pip install "universe2[cuda]"`. Every step of every slot draws a 64×64×3
frame; actions are random. Writes scores/arcade_cuda.json, and prints it as its last line.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
TARGET = 10e6


def rate(env_id: str, slots: int, seconds: float) -> tuple[float, float]:
    """Frames a second, and the seconds until the first batch (compiling included)."""
    from universe2 import EnvConfig, open_runtime

    begin = time.perf_counter()
    runtime = open_runtime(env_id, slots, EnvConfig(autoreset="same_step"), device="cuda")
    everyone = np.arange(slots, dtype=np.int32)
    actions = np.random.default_rng(0).integers(0, int(runtime.action_space.n), (64, slots))  # type: ignore[attr-defined]
    runtime.reset(everyone, everyone)
    runtime.recv()
    started = time.perf_counter() - begin
    for k in range(10):
        runtime.send(everyone, actions[k])
        runtime.recv()
    begin, calls = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:  # recv waits for rewards, hence for the kernels
        runtime.send(everyone, actions[calls % 64])
        runtime.recv()
        calls += 1
    result = calls * slots / (time.perf_counter() - begin)
    runtime.close()
    return result, started


def main() -> None:
    from universe2 import list_envs

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slots", type=int, default=16384)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--games", nargs="+", default=None)
    chosen = parser.parse_args()
    from numba import cuda

    if not cuda.is_available():
        sys.exit("no CUDA device here: this benchmark needs one")
    table = Table("game", "frames/s", "s to start", title=f"{chosen.slots:,} slots")
    rates = {}
    for env_id in chosen.games or [s.id for s in list_envs(family="arcade") if not s.multi_agent]:
        rates[env_id], started = rate(env_id, chosen.slots, chosen.seconds)
        table.add_row(env_id, f"{rates[env_id]:,.0f}", f"{started:.1f}")
    Console().print(table)
    median = statistics.median(rates.values())
    score = {
        "name": "arcade_cuda",
        "date": datetime.date.today().isoformat(),
        "machine": {"gpu": cuda.get_current_device().name.decode()},
        "results": {name: round(value) for name, value in rates.items()},
        "questions": [
            {
                "question": f"arcade on one GPU, {chosen.slots:,} slots of 64×64×3, median game, frames/s",
                "ours": f"{median:,.0f}",
                "peer": "",
                "ratio": round(median / TARGET, 2),
                "target": "≥ 10 million frames/s",
                "met": median >= TARGET,
            }
        ],
    }
    (HERE / "scores" / "arcade_cuda.json").write_text(json.dumps(score, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(score, ensure_ascii=False))


if __name__ == "__main__":
    main()
