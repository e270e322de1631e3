"""The arcade's matches: how often the heuristic beats random players, and how fast they are.

    python benchmarks/matches.py [--episodes 256] [--only Duel,Rally]

Held-out levels. Win rate: the share of episodes that the heuristic's side wins, draws divided evenly,
against random players in all other seats (Carry: mean return of two, of nobody but random players
beside it). Self-play: how often player 0 wins with the heuristic in every seat. Speed: time of
one core for the step and the draw of one view at 64 pixels, 1,024 slots. Writes scores/matches.json.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from universe2.agents.evaluate import hardware
from universe2.core.agents import agent_columns
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade import HELD_OUT_LEVELS
from universe2.envs.arcade.matches import matches
from universe2.runtimes.match import MatchRuntime

HERE = Path(__file__).resolve().parent
COUNTS = {"Cycles": (2, 3, 4), "Flags": (2, 4), "Sumo": (2, 3, 4)}


def expert_seats(spec: EnvSpec, episodes: int, players: int) -> np.ndarray:
    """bool (episodes, players): one seat of each match, all in turn; of Flags a team."""
    seat = np.arange(episodes)[:, None] % players
    agents = np.arange(players)[None]
    return agents % 2 == seat % 2 if spec.name == "Flags" else agents == seat


def play(spec: EnvSpec, players: int, expert_NP: np.ndarray) -> np.ndarray:
    """float64 (episodes, players): returns, with the heuristic where ``expert_NP`` says so."""
    episodes = len(expert_NP)
    options = {**HELD_OUT_LEVELS, "players": players, "size": 8}
    runtime = MatchRuntime(spec, episodes, EnvConfig(autoreset="disabled", options=options))
    rng, live = np.random.default_rng(0), np.arange(episodes, dtype=np.int32)
    returns_NP = np.zeros(expert_NP.shape)
    runtime.reset(live, live)
    runtime.recv()
    while len(live):
        chosen = rng.integers(0, len(runtime.match.actions), (len(live), players))
        if expert_NP.any():
            advice = np.stack(list(runtime.heuristic(live).values()), axis=1)
            chosen = np.where(expert_NP[live], advice, chosen)
        runtime.send(live, {agent: chosen[:, p] for p, agent in enumerate(runtime.agents)})
        batch = runtime.recv()
        returns_NP[live] += agent_columns(batch).reward
        live = live[~batch.ended]
    runtime.close()
    return returns_NP


def shares(returns_NP: np.ndarray) -> np.ndarray:
    """float64 (episodes, players): who won, a draw divided among those who are equal."""
    best_NP = returns_NP == returns_NP.max(axis=1, keepdims=True)
    found: np.ndarray = best_NP / best_NP.sum(axis=1, keepdims=True)
    return found


def view_us(spec: EnvSpec, players: int, slots: int = 1024, seconds: float = 2.0) -> float:
    """Microseconds of one core for one view of one step."""
    config = EnvConfig(autoreset="same_step", options={"players": players})
    runtime = MatchRuntime(spec, slots, config)
    every, rng = np.arange(slots), np.random.default_rng(0)
    runtime.reset(every, every)
    runtime.recv()
    count, busy = 0, 0.0
    while busy < seconds:
        chosen = rng.integers(0, len(runtime.match.actions), (players, slots))
        actions = dict(zip(runtime.agents, chosen, strict=True))
        began = time.process_time()
        runtime.send(every, actions)
        runtime.recv()
        busy += time.process_time() - began
        count += 1
    runtime.close()
    return 1e6 * busy / (count * slots * players)


def measure(spec: EnvSpec, players: int, episodes: int) -> dict[str, Any]:
    seats_NP = expert_seats(spec, episodes, players)
    mixed_NP, both_NP = play(spec, players, seats_NP), play(spec, players, np.ones_like(seats_NP))
    result: dict[str, Any] = {"view_us": round(view_us(spec, players), 2)}
    if spec.name == "Carry":
        alone = play(spec, players, np.zeros_like(seats_NP))
        result |= {"random": round(float(alone.mean()), 2), "heuristic": round(float(both_NP.mean()), 2)}
        return result
    sides = 2 if spec.name == "Flags" else players
    result["chance"] = round(1 / sides, 2)
    result["heuristic_against_random"] = round(float((shares(mixed_NP) * seats_NP).sum(axis=1).mean()), 3)
    result["self_play_player_0"] = round(float(shares(both_NP)[:, 0].mean() * players / sides), 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--only", default="")
    chosen = parser.parse_args()
    shown = Table("match", "players", "heuristic against random", "self-play, player 0", "µs a view")
    path = HERE / "scores" / "matches.json"
    results: dict[str, Any] = json.loads(path.read_text())["results"] if chosen.only and path.exists() else {}
    for spec in matches():
        if chosen.only and spec.name not in chosen.only.split(","):
            continue
        for players in COUNTS.get(spec.name, (2,)):
            found = measure(spec, players, chosen.episodes)
            results[f"{spec.name}, {players} players"] = found
            against = found.get(
                "heuristic_against_random", f"{found.get('random')} → {found.get('heuristic')}"
            )
            fair = str(found.get("self_play_player_0", ""))
            shown.add_row(spec.name, str(players), str(against), fair, str(found["view_us"]))
    Console().print(shown)
    score = {"name": "matches", "date": date.today().isoformat(), "machine": hardware(), "results": results}
    path.write_text(json.dumps({**score, "questions": []}, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(results, ensure_ascii=False))


if __name__ == "__main__":
    main()
