"""How many arcade steps a second, against EnvPool's Procgen?

    python benchmarks/arcade.py [--slots 64 256 1024] [--seconds 0.7] [--rounds 3] [--no-peers]

Every step of every slot returns a 64×64×3 frame; actions are random; both sides use all cores and
are stepped in lockstep, alternating within each round. Ours are all single-player games, the peer's
are four of Procgen's (easy). A ratio compares our median game (or our slowest) with their median
game, and of the rounds' ratios the median counts. EnvPool is installed from PyPI into
.cache/peers/envpool; its Procgen needs Qt 5 (as root on Debian: apt-get install libqt5gui5
libqt5core5a). The last line is the result as JSON,
also written to scores/arcade.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PEER = HERE.parent / ".cache" / "peers" / "envpool"
PEER_VERSION = "1.2.5"
PEER_GAMES = ("CoinrunEasy-v0", "BigfishEasy-v0", "MazeEasy-v0", "StarpilotEasy-v0")
MEDIAN_TARGETS = {64: 4.0, 1024: 10.0}
SLOWEST_TARGET, SCALING_TARGET = 5.0, 1.8


def games() -> list[str]:
    from universe2 import list_envs

    return [spec.id for spec in list_envs(family="arcade") if not spec.multi_agent]


def rate(step: Callable[[int], object], slots: int, seconds: float) -> float:
    """Steps per second of calling ``step`` with 0, 1, 2, … for a while."""
    for k in range(10):
        step(k)
    begin, calls = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        step(calls)
        calls += 1
    return calls * slots / (time.perf_counter() - begin)


def ours(env_id: str, slots: int, seconds: float) -> float:
    from universe2.core.spec import EnvConfig
    from universe2.runtimes import open_runtime

    runtime = open_runtime(env_id, slots, EnvConfig(autoreset="same_step"))
    everyone = np.arange(slots, dtype=np.int32)
    actions = np.random.default_rng(0).integers(0, int(runtime.action_space.n), (64, slots))  # type: ignore[attr-defined]
    runtime.reset(everyone, everyone)
    runtime.recv()

    def step(k: int) -> None:
        runtime.send(everyone, actions[k % 64])
        runtime.recv()

    result = rate(step, slots, seconds)
    runtime.close()
    return result


def theirs(env_id: str, slots: int, seconds: float) -> float:
    """Runs in the peer's own Python; see ``--peer-rate``."""
    import envpool  # type: ignore[import-not-found]

    env = envpool.make(
        env_id, env_type="gymnasium", num_envs=slots, num_threads=len(os.sched_getaffinity(0)), seed=0
    )
    actions = np.random.default_rng(0).integers(0, env.action_space.n, (64, slots))
    env.reset()
    return rate(lambda k: env.step(actions[k % 64]), slots, seconds)


def in_peer(env_id: str, slots: int, seconds: float) -> float:
    """``theirs``, in a process of the peer's virtual environment."""
    command = [str(PEER / "bin" / "python"), __file__, "--peer-rate", env_id, str(slots), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        sys.exit(
            f"EnvPool's {env_id} did not run; it needs libqt5gui5 and libqt5core5a:\n{done.stderr[-800:]}"
        )
    return float(done.stdout.splitlines()[-1])


def prepare_peer() -> None:
    if not (PEER / "bin" / "python").exists():
        venv.create(PEER, with_pip=True)
    python = str(PEER / "bin" / "python")
    found = subprocess.run([python, "-c", "import envpool"], capture_output=True, timeout=120)
    if found.returncode:
        command = [python, "-m", "pip", "install", "-q", f"envpool=={PEER_VERSION}"]
        subprocess.run(command, check=True, timeout=900)


def measure(slots: int, seconds: float, rounds: int, peers: bool) -> dict[str, Any]:
    """Medians per game over the rounds, and of the rounds' ratios: our median and our slowest game's."""
    own: dict[str, list[float]] = {name: [] for name in games()}
    peer: dict[str, list[float]] = {name: [] for name in PEER_GAMES if peers}
    ratios, slowest = [], []
    for number in range(rounds):
        # Theirs between ours, so that a slow spell of the machine hits both.
        turn = max(1, len(own) // len(PEER_GAMES))
        for i, mine in enumerate(own):
            own[mine].append(ours(mine, slots, seconds))
            if peers and i % turn == 0 and i // turn < len(PEER_GAMES):
                other = PEER_GAMES[i // turn]
                peer[other].append(in_peer(other, slots, seconds))
        if peers:
            theirs_now = statistics.median(v[number] for v in peer.values())
            ours_now = [v[number] for v in own.values()]
            ratios.append(statistics.median(ours_now) / theirs_now)
            slowest.append(min(ours_now) / theirs_now)
    middle = {name: round(statistics.median(values)) for name, values in {**own, **peer}.items()}
    return {
        "steps_per_second": middle,
        "ratio": round(statistics.median(ratios), 2) if ratios else None,
        "slowest_ratio": round(statistics.median(slowest), 2) if slowest else None,
    }


def scaling(slots: int, seconds: float, rounds: int) -> float:
    """Two threads against one: the median over games and rounds of the ratio of steps/s."""
    import numba

    ratios = []
    for _ in range(rounds):
        for name in games()[:: max(1, len(games()) // 5)]:
            numba.set_num_threads(1)
            one = ours(name, slots, seconds)
            numba.set_num_threads(2)
            ratios.append(ours(name, slots, seconds) / one)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    return round(statistics.median(ratios), 2)


def questions(results: dict[str, Any], scale: float | None) -> list[dict[str, Any]]:
    """The rows of the README's table."""
    rows = []
    for slots, result in results.items():
        rates = result["steps_per_second"]
        peer = statistics.median(rates[name] for name in PEER_GAMES)
        mine = [rates[name] for name in games()]
        target = MEDIAN_TARGETS.get(int(slots))
        asked = [("median", statistics.median(mine), result["ratio"], target)]
        if int(slots) == 1024:
            asked.append(("slowest", min(mine), result["slowest_ratio"], SLOWEST_TARGET))
        for which, rate_now, ratio, least in asked:
            rows.append(
                {
                    "question": f"arcade, {int(slots):,} slots of 64×64×3, {which} of {len(mine)} games, "
                    "steps/s, against EnvPool's Procgen (median)",
                    "ours": f"{rate_now:,.0f}",
                    "peer": f"{peer:,.0f}",
                    "ratio": ratio,
                    "target": f"≥ {least:g}" if least else "",
                    "met": bool(ratio >= least) if least else None,
                }
            )
    if scale is not None:
        rows.append(
            {
                "question": "arcade, 1,024 slots, two threads against one",
                "ours": "",
                "peer": "",
                "ratio": scale,
                "target": f"≥ {SCALING_TARGET:g}",
                "met": scale >= SCALING_TARGET,
            }
        )
    return rows


def table(results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(title="steps/s, a 64×64×3 frame each")
    shown.add_column("game")
    for slots in results:
        shown.add_column(f"{slots} slots", justify="right")
    for name in next(iter(results.values()))["steps_per_second"]:
        shown.add_row(name, *(f"{r['steps_per_second'][name]:,}" for r in results.values()))
    shown.add_row("ratio of the medians", *(str(r["ratio"]) for r in results.values()))
    Console().print(shown)


def main() -> None:
    if sys.argv[1:2] == ["--peer-rate"]:
        print(theirs(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
        return
    from universe2.agents.evaluate import hardware  # here: the peers' processes need none of it

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--seconds", type=float, default=0.7)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-peers", action="store_true")
    chosen = parser.parse_args()
    if not chosen.no_peers:
        prepare_peer()
    results = {str(n): measure(n, chosen.seconds, chosen.rounds, not chosen.no_peers) for n in chosen.slots}
    table(results)
    if chosen.no_peers:
        return
    import numba

    enough = len(os.sched_getaffinity(0)) >= 2
    asked = questions(results, scaling(1024, chosen.seconds, chosen.rounds) if enough else None)
    top = results[str(max(chosen.slots))]
    score = {
        "name": "arcade",
        "date": datetime.date.today().isoformat(),
        "machine": hardware(),
        "versions": {
            "python": platform.python_version(),
            "numba": numba.__version__,
            "envpool": PEER_VERSION,
        },
        "results": results,
        "ratio": top["ratio"],
        "questions": asked,
    }
    (HERE / "scores" / "arcade.json").write_text(json.dumps(score, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(score, ensure_ascii=False))


if __name__ == "__main__":
    main()
