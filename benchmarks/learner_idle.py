"""Does the learner wait for data? One trainer and two servers, all on this machine's cores.

    python benchmarks/learner_idle.py [--seconds 90]

Two ``universe2 serve`` in processes of their own, the trainer as ``universe2 train`` makes it, with the
default network for two cores; nothing has cores of its own. Three times: with four arcade games; with a web
task beside them, whose browsers are some hundred times slower; and with one game beside three web tasks.
Idle is all time in which the learner computes no gradient, whatever the reason, as the run's own
metrics.jsonl tells it every two seconds, without the first ``WARM_UP_S``, when servers compile. Writes
scores/learner_idle.json.
"""

from __future__ import annotations

import json
import platform
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from universe2.agents.config import TaskConfig, TrainConfig
from universe2.agents.evaluate import hardware
from universe2.agents.train import train
from universe2.client.local_server import local_server

SCORES = Path(__file__).resolve().parent / "scores" / "learner_idle.json"
GAMES = ("arcade/Breakout-v0", "arcade/Invaders-v0", "arcade/Runner-v0", "arcade/Tower-v0")
PAGE = "web/click-dialog-v0"
MORE_PAGES = ("web/click-test-2-v0", "web/focus-text-2-v0")
GAME_SLOTS, PAGE_SLOTS = 32, 4
WARM_UP_S = 15.0
MOST_IDLE = 0.05


def main(seconds: Annotated[float, typer.Option(help="Of each of the three trainings.")] = 90.0) -> None:
    """Train, print what was found, write scores/learner_idle.json."""
    if seconds < 2 * WARM_UP_S:
        raise typer.BadParameter(
            f"at least {2 * WARM_UP_S:g} seconds, got {seconds:g}: {WARM_UP_S:g} of them don't count"
        )
    games = dict.fromkeys(GAMES, GAME_SLOTS)
    pages = dict.fromkeys((PAGE, *MORE_PAGES), PAGE_SLOTS)
    found = {
        "four arcade games": profile(games, seconds),
        f"four arcade games beside {PAGE}": profile({**games, PAGE: PAGE_SLOTS}, seconds),
        "one arcade game beside three web tasks": profile({GAMES[0]: GAME_SLOTS, **pages}, seconds),
    }
    result = summary(found)
    SCORES.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


def profile(slots: dict[str, int], seconds: float) -> dict[str, float]:
    """Share of the time by activity, as ``Stopwatch`` names them, and training steps a second."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        serve = ("--slots", str(sum(slots.values())), "--families", "arcade,web")
        servers = [stack.enter_context(local_server(*serve, log=folder / f"{i}.log")) for i in range(2)]
        config = TrainConfig(
            tasks=tuple(TaskConfig(env_id=env_id, slots=count) for env_id, count in slots.items()),
            out_dir=str(folder / "run"),
            seconds=seconds,
            remotes=tuple(server.address for server in servers),
        )
        train(config)
        lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for line in lines if "time/learner_idle" in (row := json.loads(line))]
    return mean_shares(rows)


def mean_shares(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Means over the time that the rows tell of, each from the row before it, after ``WARM_UP_S``."""
    ends = np.array([row["seconds"] for row in rows])
    lengths, late = np.diff(ends), ends[:-1] >= WARM_UP_S
    names = sorted(name for name in rows[-1] if name.startswith("time/") or name == "steps_per_second")
    return {
        name.removeprefix("time/"): float(
            np.average([row.get(name, 0.0) for row in rows[1:]], weights=lengths * late)
        )
        for name in names
    }


def summary(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """The scores file's content."""
    return {
        "name": "learner_idle",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": hardware(),
        "versions": {"torch": version("torch"), "python": platform.python_version()},
        "results": {
            what: {name: round(share, 4) for name, share in one.items()} for what, one in found.items()
        },
        "questions": [
            {
                "question": f"Time in which the learner waits, two servers on its cores, {what}, at most",
                "ours": f"{one['learner_idle']:.3f}",
                "peer": f"{MOST_IDLE:g}",
                "ratio": one["learner_idle"] / MOST_IDLE,
                "target": "≤ 1",
                "met": one["learner_idle"] <= MOST_IDLE,
            }
            for what, one in found.items()
        ],
    }


if __name__ == "__main__":
    typer.run(main)
