"""The main job, whole: two servers, one network trained on all their tasks, a ranking, a report.

    python -m universe2.agents.demo            # what `make demo` runs
    python -m universe2.agents.demo --seconds 60

It runs the commands that a user would and prints them. What can't run here (no browser, no
ale-py) is left out of the mix, in so many words. It doesn't set anything up.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule

from universe2.client.local_server import local_server
from universe2.core.errors import UsageError
from universe2.core.shell import errors_in_a_line

CONFIG = Path(__file__).parent / "configs" / "demo.toml"
COOL = ("--temperature", "0.25")
"""A short training leaves much chance in the actions; the likelier ones are the better ones."""
_FIRST = "server1.log"
"""the first file that a demo writes, and so the sign of one"""
console = Console()


def main(
    seconds: Annotated[int, typer.Option(help="How long to train.")] = 180,
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, logs, episodes and report.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Train one agent over two environment servers, rank it against random play, write a report."""
    began = time.monotonic()
    _make_empty(out)
    db, report, checkpoint = out / "episodes.sqlite", out / "report.html", out / "checkpoint"
    with contextlib.ExitStack() as stack:
        remotes: list[str] = []
        for log in (out / _FIRST, out / "server2.log"):
            server = stack.enter_context(local_server("--slots", "256", log=log))
            told = f"environment server {server.address} (pid {server.process.pid}, log {log})"
            console.print(told, highlight=False)
            remotes += ["--remote", server.address]
        limits = ["--seconds", str(seconds), "--out-dir", str(out)]
        universe2("train", "--config", str(CONFIG), *limits, "--skip-missing", *remotes)
        store = ["--suite", "demo", "--db", str(db), "--skip-missing", *remotes]
        universe2("evaluate", "random", *store)
        universe2("evaluate", str(checkpoint), "--name", "demo agent", *COOL, *store)
        outputs = ["--html", str(report), "--markdown", str(out / "ranking.md")]
        clips = ["--metrics", str(out / "metrics.jsonl"), "--clip", str(checkpoint)]
        universe2("leaderboard", str(db), *outputs, *clips, *COOL, *remotes)
    console.print(f"done in {time.monotonic() - began:.0f} s: [bold]{report}[/bold]", highlight=False)


def _make_empty(out: Path) -> None:
    """An earlier demo is deleted, nothing else."""
    if out.exists() and not (out / _FIRST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out} holds something else than a demo: choose a new folder, or delete it yourself"
        )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)


def universe2(*arguments: str) -> None:
    """Run one command of universe2, visibly; if it fails, so does the demo."""
    console.print(Rule(f"[bold]universe2 {' '.join(arguments)}", align="left"))
    done = subprocess.run([sys.executable, "-m", "universe2", *arguments], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    with errors_in_a_line():
        typer.run(main)
