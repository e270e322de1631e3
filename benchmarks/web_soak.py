"""Does a server full of browsers stay up, does every slot get on, and does its memory stay where it is?

    python benchmarks/web_soak.py [--steps 200000] [--slots 32] [--minutes 0]

``universe2 serve`` with ``slots`` browser slots, shared among tasks of different kinds, is played over
gRPC with random actions until ``steps`` steps were taken (or ``minutes`` have passed, if given). Memory is
the proportional set size of the server and everything it started, read every few seconds; the growth
compares the median of the last quarter of the run with that of the quarter after the first, which is
the warm-up. Every fault is listed with its text. Writes scores/web_soak.json.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from universe2.agents.evaluate import hardware
from universe2.client.local_server import local_server
from universe2.core.screen import NVEC
from universe2.faces.make import make_pool
from universe2.faces.pool import Pool
from universe2.runtimes.process_tree import process_tree, proportional_megabytes

SCORES = Path(__file__).resolve().parent / "scores" / "web_soak.json"
TASKS = ("web/click-checkboxes-v0", "web/use-autocomplete-v0", "web/choose-date-v0", "web/choose-list-v0")
SAMPLE_SECONDS = 5.0
WAIT_SECONDS = 120.0
"""longest wait for any slot to get on"""
MOST_GROWTH = 10.0
"""percent"""
LEAST_SHARE = 0.5
"""of the mean number of steps of a task's slots, what the slowest of them must have taken"""


def main(
    steps: Annotated[int, typer.Option(help="Steps in all.")] = 200_000,
    slots: Annotated[int, typer.Option(help="Browser slots; a multiple of four.")] = 32,
    minutes: Annotated[float, typer.Option(help="End after so many minutes; 0: only by steps.")] = 0.0,
) -> None:
    """Play, print what was found, write scores/web_soak.json."""
    if slots < len(TASKS) or slots % len(TASKS):
        raise typer.BadParameter(f"slots must be a multiple of {len(TASKS)}, got {slots}")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        with local_server("--slots", str(slots), "--families", "web", log=log) as server:
            watch = MemoryWatch(server.process.pid)
            each = {task: slots // len(TASKS) for task in TASKS}
            with watch, make_pool(each, remotes=[server.address], interface="native") as pool:
                played = play(pool, steps, minutes * 60 or float("inf"), watch)
            alive = server.process.poll() is None
    result = summary(played, watch, slots, alive)
    SCORES.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


class Played:
    """What became of the slots so far."""

    def __init__(self, pool: Pool) -> None:
        self.steps_MN = [np.zeros(member.num_slots, np.int64) for member in pool.members]
        self.faults: Counter[str] = Counter()
        self.longest_wait = 0.0
        self.seconds = 0.0

    @property
    def steps(self) -> int:
        return int(sum(steps_N.sum() for steps_N in self.steps_MN))


def play(pool: Pool, steps: int, seconds: float, watch: MemoryWatch) -> Played:
    """Random actions on all slots, each as soon as it is ready. Raises DeadlineError if none is for long."""
    rng, played = np.random.default_rng(0), Played(pool)
    pool.reset(seed=0)
    began = said = time.monotonic()
    last_MN = [np.full(member.num_slots, began) for member in pool.members]
    while played.steps < steps and played.seconds < seconds:
        index, batch = pool.recv(WAIT_SECONDS)
        now = time.monotonic()
        played.longest_wait = max(played.longest_wait, float((now - last_MN[index][batch.slots]).max()))
        last_MN[index][batch.slots] = now
        played.faults.update(text.splitlines()[-1] for text in batch.fault_text.values())
        played.steps_MN[index][batch.slots] += batch.fault == 0
        pool.send(index, batch.slots, rng.integers(0, NVEC, (len(batch), len(NVEC))))
        played.seconds = now - began
        if now - said > 60:
            said = now
            rate = played.steps / played.seconds
            print(
                f"{played.steps} steps, {rate:.0f}/s, {watch.megabytes[-1]:.0f} MB, "
                f"{played.faults.total()} faults",
                file=sys.stderr,
            )
    return played


class MemoryWatch:
    """Samples the memory of a process and its descendants, in MB, until the block ends."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.megabytes = [proportional_megabytes(process_tree(pid))]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.megabytes.append(proportional_megabytes(process_tree(self._pid)))

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(WAIT_SECONDS)

    def growth(self) -> float:
        """Percent by which the last quarter's median is above that of the quarter after the first."""
        quarter = len(self.megabytes) // 4
        if quarter < 2:
            raise RuntimeError(f"the run was too short: {len(self.megabytes)} samples of memory")
        before = statistics.median(self.megabytes[quarter : 2 * quarter])
        return 100.0 * (statistics.median(self.megabytes[-quarter:]) / before - 1.0)


def summary(played: Played, watch: MemoryWatch, slots: int, alive: bool) -> dict[str, Any]:
    growth = watch.growth()
    share = min(float(steps_N.min() / max(steps_N.mean(), 1.0)) for steps_N in played.steps_MN)
    faults = played.faults.total()
    after = f"{played.steps:,} steps of {slots} browser slots behind one server"
    return {
        "name": "web_soak",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": hardware(),
        "versions": {"universe2": version("universe2"), "python": platform.python_version()},
        "results": {
            "steps": played.steps,
            "seconds": played.seconds,
            "steps/s": played.steps / played.seconds,
            "server up at the end": alive,
            "longest wait of a slot, s": played.longest_wait,
            "steps of each slot": {
                task: steps_N.tolist() for task, steps_N in zip(TASKS, played.steps_MN, strict=True)
            },
            "memory, MB": [round(value) for value in watch.megabytes],
            "faults": dict(played.faults),
        },
        "questions": [
            {
                "question": f"{after}: growth of memory after warm-up, %, at most",
                "ours": f"{growth:.1f}",
                "peer": f"{MOST_GROWTH:g}",
                "ratio": growth / MOST_GROWTH,
                "target": "≤ 1",
                "met": growth <= MOST_GROWTH,
            },
            {
                "question": f"{after}: steps of the slowest slot against the mean of its task",
                "ours": f"{share:.2f}",
                "peer": "–",
                "ratio": share,
                "target": f"≥ {LEAST_SHARE:g}",
                "met": alive and share >= LEAST_SHARE,
            },
            {
                "question": f"{after}: faults",
                "ours": str(faults),
                "peer": "–",
                "ratio": float(faults),
                "target": "0",
                "met": faults == 0,
            },
        ],
    }


if __name__ == "__main__":
    typer.run(main)
