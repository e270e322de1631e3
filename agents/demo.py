"""The main job, whole: two servers, one network trained on all their tasks, a ranking, a report.

    python -m universe2.agents.demo            # what `make demo` runs
    python -m universe2.agents.demo --seconds 60

It runs the commands that a user would and prints them. What can't run here (no browser, no
ale-py) is left out of the mix, in so many words. It doesn't set anything up.
"""

from __future__ import annotations

import contextlib
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule

from universe2.core.errors import ServerLostError

CONFIG = Path(__file__).parent / "configs" / "demo.toml"
_START_S = 60.0  # longest wait for a server to say that it is ready
_STOP_S = 20.0
console = Console()


def main(
    seconds: Annotated[int, typer.Option(help="How long to train.")] = 180,
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, logs, episodes and report.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Train one agent over two environment servers, rank it against random play, write a report."""
    began = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    db, report, checkpoint = out / "episodes.sqlite", out / "report.html", out / "checkpoint"
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(environment_server(out / f"server{i}.log")) for i in (1, 2)]
        remotes = [part for server in servers for part in ("--remote", server)]
        limits = ["--seconds", str(seconds), "--out-dir", str(out)]
        universe2("train", "--config", str(CONFIG), *limits, "--skip-missing", *remotes)
        store = ["--suite", "demo", "--db", str(db), "--skip-missing", *remotes]
        universe2("evaluate", "random", *store)
        universe2("evaluate", str(checkpoint), "--name", "demo agent", *store)
        outputs = ["--html", str(report), "--markdown", str(out / "ranking.md")]
        clips = ["--metrics", str(out / "metrics.jsonl"), "--clip", str(checkpoint)]
        universe2("leaderboard", str(db), *outputs, *clips, *remotes)
    console.print(f"done in {time.monotonic() - began:.0f} s: [bold]{report}[/bold]", highlight=False)


def universe2(*arguments: str) -> None:
    """Run one command of universe2, visibly; if it fails, so does the demo."""
    console.print(Rule(f"[bold]universe2 {' '.join(arguments)}", align="left"))
    done = subprocess.run([sys.executable, "-m", "universe2", *arguments], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


@contextlib.contextmanager
def environment_server(log: Path) -> Iterator[str]:
    """A server in a process of its own; its address."""
    argv = [sys.executable, "-m", "universe2", "serve", "--port", "0", "--slots", "256"]
    with log.open("w") as stderr:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            address = _address(process, log)
            console.print(f"environment server {address} (pid {process.pid}, log {log})", highlight=False)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 1.0)[0]:
            line = process.stdout.readline()
            if found := re.search(r"serving on (\S+:\d+)", line):
                return found[1]
            if not line:
                break
    raise ServerLostError(f"the environment server did not start; see {log}")


if __name__ == "__main__":
    typer.run(main)
