"""How many steps a second do web tasks make, with a screenshot at every step and resets included?

    python benchmarks/web.py [--seconds 12] [--rounds 3] [--slots 8] [--without BrowserGym]

universe2 with ``slots`` slots against MiniWoB++'s own Selenium environment and BrowserGym's, each alone
(as its package offers it) and as one process per core. All click at random points of the same tasks,
in turn, a round each; medians are compared. Resets are timed apart, on one slot that plays ten steps
between them. The peers are installed from PyPI into .cache/peers/ and need Debian's ``chromium`` and
``chromium-driver``; a peer that can't run here is named with the reason and left out. The last line
is the result as JSON, also written to scores/web.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from web_peers import PEERS, Peer, PeerError

from universe2.agents.evaluate import hardware
from universe2.core.screen import BUTTONS
from universe2.core.seeding import next_seed
from universe2.core.spec import EnvConfig
from universe2.runtimes import open_runtime

SCORES = Path(__file__).resolve().parent / "scores" / "web.json"
TASKS = ("click-checkboxes", "enter-text", "use-slider")
RESET_MS = 15.0


class Rival(NamedTuple):
    """A peer, as so many processes."""

    peer: Peer
    processes: int

    @property
    def name(self) -> str:
        return self.peer.name if self.processes == 1 else f"{self.processes} processes of {self.peer.name}"


def main(
    seconds: Annotated[float, typer.Option(help="Length of a measurement, in seconds.")] = 12.0,
    rounds: Annotated[int, typer.Option(help="Rounds, each over all tasks.")] = 3,
    slots: Annotated[int, typer.Option(help="universe2's slots (browsers).")] = 8,
    without: Annotated[
        list[str] | None, typer.Option(help=f"A peer to leave out: {' or '.join(PEERS)}.")
    ] = None,
) -> None:
    """Measure, print a table, write scores/web.json."""
    if unknown := set(without or []) - set(PEERS):
        raise typer.BadParameter(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    left_out = dict.fromkeys(without or [], "not asked for")
    rivals = usable(left_out)
    ours_R: list[float] = []
    theirs: dict[Rival, list[float]] = {rival: [] for rival in rivals}
    for turn in range(rounds):
        for task in TASKS:
            ours_R.append(ours(task, slots, seconds))
            for rival in rivals:
                theirs[rival].append(rival.peer.rate(task, rival.processes, seconds))
            found = [f"{rival.name}: {rates[-1]:.1f}" for rival, rates in theirs.items()]
            print(turn, task, f"universe2: {ours_R[-1]:.1f}", *found, sep=", ", file=sys.stderr)
    resets = statistics.median(ms for task in TASKS for ms in reset_ms(task))
    result = summary(ours_R, theirs, slots, resets, left_out)
    show(result)
    SCORES.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


def usable(left_out: dict[str, str]) -> list[Rival]:
    """The peers that run here, alone and as one process per core; why others don't goes to ``left_out``."""
    rivals = []
    for name, peer in PEERS.items():
        if name in left_out:
            continue
        try:
            peer.rate(TASKS[0], 1, 2.0)
        except PeerError as error:
            left_out[name] = str(error)
            print(f"{name} can't be measured here: {error}", file=sys.stderr)
            continue
        rivals += [Rival(peer, processes) for processes in sorted({1, os.cpu_count() or 1})]
    return rivals


def summary(
    ours_R: list[float],
    theirs: Mapping[Rival, list[float]],
    slots: int,
    resets: float,
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    medians = {rival.name: statistics.median(rates) for rival, rates in theirs.items()}
    questions = [question(rival, ours_R, rates) for rival, rates in theirs.items()]
    questions.append(
        {
            "question": "Reset of a web task as its caller sees it, steady state, median",
            "ours": f"{resets:.1f} ms",
            "peer": "–",
            "ratio": resets / RESET_MS,
            "target": f"≤ {RESET_MS:g} ms",
            "met": resets <= RESET_MS,
        }
    )
    peers = {rival.peer.name: ", ".join(rival.peer.packages) for rival in theirs}
    return {
        "name": "web",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": hardware(),
        "versions": {"universe2": version("universe2"), "python": platform.python_version(), **peers},
        "results": {
            "universe2": statistics.median(ours_R),
            **medians,
            "slots": slots,
            "reset, median ms": resets,
            "left out": dict(left_out),
        },
        "questions": questions,
    }


def question(rival: Rival, ours_R: list[float], theirs_R: list[float]) -> dict[str, Any]:
    """The ratio is the median of those of neighbouring measurements: noise of the machine hits both."""
    ratio = statistics.median(mine / other for mine, other in zip(ours_R, theirs_R, strict=True))
    return {
        "question": f"Web tasks with a screenshot per step, against {rival.name}, steps/s",
        "ours": f"{statistics.median(ours_R):.0f}",
        "peer": f"{statistics.median(theirs_R):.1f}",
        "ratio": ratio,
        "target": f"≥ {rival.peer.target:g}×",
        "met": ratio >= rival.peer.target,
    }


def show(result: Mapping[str, Any]) -> None:
    table = Table("Question", "universe2", "peer", "ratio", "to reach")
    for row in result["questions"]:
        table.add_row(row["question"], row["ours"], row["peer"], f"{row['ratio']:.2f}", row["target"])
    Console().print(table)


def ours(task: str, slots: int, seconds: float) -> float:
    """Steps per second of universe2 over all slots; each is sent its next action when it is ready."""
    runtime = open_runtime(f"web/{task}-v0", slots, EnvConfig(autoreset="same_step"))
    rng = np.random.default_rng(0)

    def clicks(count: int) -> np.ndarray:
        actions = np.zeros((count, 5), np.int64)
        actions[:, 2:4] = rng.integers(0, 64, (count, 2))
        actions[:, 4] = BUTTONS.index("click")
        return actions

    try:
        runtime.reset(range(slots), range(slots))
        ready = 0
        while ready < slots:
            ready += len(runtime.recv())
        runtime.send(range(slots), clicks(slots))
        steps, started = 0, time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            batch = runtime.recv()
            if batch.fault.any():
                raise RuntimeError(str(batch.fault_text))
            steps += len(batch)
            runtime.send(batch.slots, clicks(len(batch)))
    finally:
        runtime.close()
    return steps / spent


def reset_ms(task: str, resets: int = 20) -> list[float]:
    """How long each of ``resets`` resets took, in ms; the next episode's page had ten steps to load."""
    runtime = open_runtime(f"web/{task}-v0", 1, EnvConfig(autoreset="disabled"))
    spent, seed = [], 0
    try:
        runtime.reset([0], [seed])
        runtime.recv()
        for _ in range(resets):
            for _ in range(10):
                runtime.send([0], np.zeros((1, 5), np.int64))
                runtime.recv()
            seed = next_seed(seed)
            started = time.perf_counter()
            runtime.reset([0], [seed])
            runtime.recv()
            spent.append(1000 * (time.perf_counter() - started))
    finally:
        runtime.close()
    return spent


if __name__ == "__main__":
    typer.run(main)
