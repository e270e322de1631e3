"""The arcade games' reference scores: mean returns of random play and of the heuristics.

    python benchmarks/reference_scores.py [--episodes 512] [--games Maze Stealth …]

Held-out levels, native interface, slot i plays the one episode of seed i. Prints a table, beside
it what the specs say, and as its last line the result as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from universe2.core.batch import Batch
from universe2.core.errors import FaultError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade import HELD_OUT_LEVELS, games
from universe2.runtimes.compiled import CompiledRuntime


def play(
    spec: EnvSpec, policy: str, episodes: int, options: Mapping[str, Any] = HELD_OUT_LEVELS
) -> tuple[np.ndarray, Counter[str]]:
    """Returns float64 (episodes,) and how the episodes ended."""
    runtime = CompiledRuntime(spec, episodes, EnvConfig(autoreset="disabled", options=options))
    rng, choices = np.random.default_rng(0), len(runtime.game.actions)
    live = np.arange(episodes, dtype=np.int32)
    returns, outcomes = np.zeros(episodes), Counter[str]()
    runtime.reset(live, live)
    raise_faults(runtime.recv())
    while len(live):
        actions = runtime.heuristic(live) if policy == "heuristic" else rng.integers(0, choices, len(live))
        runtime.send(live, actions)
        raise_faults(batch := runtime.recv())
        returns[live] += batch.reward
        if batch.ended.any():
            outcomes.update(batch.info["outcome"].values[batch.ended])
        live = live[~batch.ended]
    runtime.close()
    return returns, outcomes


def raise_faults(batch: Batch) -> None:
    if batch.fault.any():
        raise FaultError(next(iter(batch.fault_text.values())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--episodes", type=int, default=512)
    parser.add_argument("--games", nargs="+", choices=[spec.name for spec in games()], metavar="GAME")
    chosen = parser.parse_args()
    episodes = chosen.episodes
    shown = Table("game", "policy", "mean ± standard error", "in the spec", "endings")
    scores: dict[str, dict[str, float]] = {}
    for spec in games():
        if chosen.games and spec.name not in chosen.games:
            continue
        scores[spec.id] = {}
        for policy in ("random", "heuristic"):
            returns, outcomes = play(spec, policy, episodes)
            mean, error = float(returns.mean()), float(returns.std() / episodes**0.5)
            scores[spec.id][policy] = round(mean, 2)
            endings = ", ".join(f"{name} {count / episodes:.0%}" for name, count in outcomes.most_common())
            shown.add_row(spec.id, policy, f"{mean:.2f} ± {error:.2f}", str(spec.reference[policy]), endings)
    Console().print(shown)
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
