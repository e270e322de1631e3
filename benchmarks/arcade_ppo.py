"""Does PPO learn the arcade from pixels, on two cores, in minutes? One short run for each game.

    python benchmarks/arcade_ppo.py [--steps 200000] [--games Snake Lander] [--out runs/arcade_ppo]
    python benchmarks/arcade_ppo.py --draw        # the table and the picture of what is stored

Each single-player game is trained alone: rewards only (no expert), 64×64×3 screens, easy levels
0–199, seed 1, the `nano` network; each of its --steps is an action that holds for four of the game's
(`frame_skip=4`, as is usual for Atari). Then it and random play are measured on levels that it never
saw. The agent may take its likelier actions more often than in training: of three temperatures it has
the one with which it did best on the levels that it was trained on. Random play is measured with the
frame skip and without, and the better of the two counts. A game is learned if the 95 % intervals of
the two mean returns don't overlap. What a game left in
--out is not run again if it was run with the same settings, so a run that was stopped goes on, and
two processes with halves of the games may fill one folder for a third that has only to read it. The
last line is the result as JSON, also written to scores/arcade_ppo.json if all games were played; the
curves go to docs/arcade-ppo.svg.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from universe2.agents.config import TaskConfig, TrainConfig
from universe2.agents.evaluate import Place, evaluate, hardware
from universe2.agents.evaluate_policy import Policy, load_policy
from universe2.agents.evaluate_suite import Suite, Task
from universe2.agents.ranking import mean_interval
from universe2.agents.report import read_metrics
from universe2.agents.report_svg import curve
from universe2.agents.train import train
from universe2.core.registry import find
from universe2.envs.arcade import games
from universe2.trace import EpisodeStore

HERE = Path(__file__).resolve().parent
SCORES = HERE / "scores" / "arcade_ppo.json"
PICTURE = HERE.parent / "docs" / "arcade-ppo.svg"
TRAIN_LEVELS, HELD_OUT = {"num_levels": 200}, {"start_level": 200}
TARGET = 15
FRAME_SKIP = {"frame_skip": 4}
TEMPERATURES = (1.0, 0.5, 0.25)
"""of the agent's actions, to choose from: a short training leaves much chance in them"""
CHOOSING = 64
"""episodes on the training levels for each of them"""
COLUMNS, CELL_WIDTH, CELL_HEIGHT = 4, 340, 230


def training(env_id: str, steps: int, folder: Path) -> TrainConfig:
    """How a game is learned."""
    return TrainConfig(
        tasks=(TaskConfig(env_id=env_id, slots=64, options=TRAIN_LEVELS | FRAME_SKIP),),
        out_dir=str(folder / "run"),
        total_steps=steps,
        seed=1,
        minibatches=8,
        rollout=16,
        lr=3e-3,
        lr_end=0.2,
        value_coef=0.25,
    )


def learn(env_id: str, steps: int, episodes: int, folder: Path) -> dict[str, Any]:
    """Train on one game, then measure the agent and random play; returns with intervals, and the curve."""
    shutil.rmtree(folder, ignore_errors=True)
    train(training(env_id, steps, folder))
    found: dict[str, Any] = {"steps": steps, "episodes": episodes}
    checkpoint = str(folder / "run" / "checkpoint")
    with EpisodeStore(folder / "episodes.sqlite") as store:

        def measured(policy: Policy, count: int, options: dict[str, int]) -> list[float]:
            """Mean return and its interval."""
            task = Task(name=env_id, env_id=env_id, episodes=count, options=options)
            result = evaluate(policy, Suite(name=env_id, tasks=(task,)), store, Place(slots=32))
            returns = np.array([episode.total for episode in store.episodes(result.run_id, whole=True)])
            return [round(value, 3) for value in mean_interval(returns)]

        agents = {t: load_policy(checkpoint, temperature=t) for t in TEMPERATURES}
        trained = {t: measured(agents[t], CHOOSING, TRAIN_LEVELS | FRAME_SKIP) for t in TEMPERATURES}
        best = max(TEMPERATURES, key=lambda t: trained[t][0])
        found["temperature"], found["train_levels"] = best, trained[best]
        found["agent"] = measured(agents[best], episodes, HELD_OUT | FRAME_SKIP)
        chances = [measured(load_policy("random"), episodes, HELD_OUT | skip) for skip in ({}, FRAME_SKIP)]
        found["random"] = max(chances)
    points = read_metrics(folder / "run" / "metrics.jsonl")[0].points
    found["curve"] = [[round(step), round(value, 3)] for step, value in points]
    return found


def play(env_id: str, steps: int, episodes: int, folder: Path) -> dict[str, Any]:
    """``learn``, unless a run with the same settings left its result in the folder."""
    path = folder / "result.json"
    settings = {"training": training(env_id, steps, folder).to_json(), "episodes": episodes}
    settings = json.loads(json.dumps(settings))
    left: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if left.get("settings") != settings:
        left = {"settings": settings, "found": learn(env_id, steps, episodes, folder)}
        path.write_text(json.dumps(left), "utf-8")
    return dict(left["found"])


def clear(row: dict[str, Any]) -> bool:
    """The agent's interval lies above random play's."""
    return bool(row["agent"][1] > row["random"][2])


def report(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    learned = sum(map(clear, rows.values()))
    table = Table("game", "random", "PPO", "expert", "apart")
    for env_id, row in rows.items():
        shown = ("{:.2f} [{:.2f}, {:.2f}]".format(*row[name]) for name in ("random", "agent"))
        table.add_row(env_id, *shown, f"{find(env_id).reference['heuristic']:g}", "yes" if clear(row) else "")
    Console().print(table)
    steps = max(row["steps"] for row in rows.values())
    question = {
        "question": f"games in which PPO clearly beats random play on new levels, after {steps:,} actions",
        "ours": f"{learned} of {len(rows)} games",
        "peer": "random play",
        "ratio": learned / len(rows),
        "target": f"{TARGET} of 20",
        "met": learned >= TARGET,
    }
    date = datetime.date.today().isoformat()
    return {"date": date, "machine": hardware(), "questions": [question], "games": rows}


def draw(rows: dict[str, dict[str, Any]]) -> str:
    """All learning curves in one picture, between random play and the scripted expert."""
    style = (files("universe2.agents") / "report.css").read_text("utf-8")
    lines = -(-len(rows) // COLUMNS)
    width, height = COLUMNS * CELL_WIDTH, lines * CELL_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">'
        f"<style>{style} text {{ font-family: sans-serif; fill: var(--ink); }}</style>"
        f'<rect width="{width}" height="{height}" fill="var(--paper)"/>'
    ]
    for i, (env_id, row) in enumerate(rows.items()):
        left, top = i % COLUMNS * CELL_WIDTH, i // COLUMNS * CELL_HEIGHT
        reference = find(env_id).reference
        levels = [("random", reference["random"]), ("expert", reference["heuristic"])]
        plot = curve([(step, value) for step, value in row["curve"]], levels, env_id, hue=i % 6)
        place = f'<svg x="{left}" y="{top + 26}" width="{CELL_WIDTH}" height="190"'
        mean = row["agent"][0]
        title = f"{env_id.removeprefix('arcade/').removesuffix('-v0')}: {mean:g} on new levels"
        parts.append(f'<text x="{left + 44}" y="{top + 22}" font-size="15">{escape(title)}</text>')
        parts.append(plot.replace("<svg", place, 1))
    return "".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=200_000, help="actions of training, for each game")
    parser.add_argument("--episodes", type=int, default=200, help="of each evaluation")
    parser.add_argument("--games", nargs="*", help="only these, such as Snake")
    parser.add_argument("--out", type=Path, default=Path("runs/arcade_ppo"))
    parser.add_argument("--draw", action="store_true", help="train nothing")
    args = parser.parse_args()
    if args.draw and not SCORES.exists():
        parser.error(f"nothing to draw: no {SCORES}; a run of all games writes it")
    wanted = [spec.id for spec in games() if not spec.multi_agent]
    if args.games:
        wanted = [f"arcade/{name}-v0" for name in args.games]
    if args.draw:
        measured = json.loads(SCORES.read_text("utf-8"))["games"]
        rows = {env_id: row for env_id, row in measured.items() if env_id in wanted}
    else:
        rows = {
            env_id: play(env_id, args.steps, args.episodes, args.out / env_id.partition("/")[2])
            for env_id in wanted
        }
    result = report(rows)
    if not args.games:
        PICTURE.write_text(draw(rows), "utf-8")
    if not args.games and not args.draw:
        SCORES.write_text(json.dumps(result) + "\n", "utf-8")
    print(json.dumps(result["questions"]))


if __name__ == "__main__":
    main()
