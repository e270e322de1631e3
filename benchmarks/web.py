"""How many steps a second do web tasks make, with a screenshot at every step and resets included?

    python benchmarks/web.py [--seconds 12] [--rounds 3] [--slots 8]

universe2 with ``slots`` slots against MiniWoB++'s own Selenium environment, alone (as its package
offers it) and as one process per core. Both click at random points of the same tasks, in turn,
a round each; medians are compared. Resets are timed apart, on one slot that plays ten steps between
them. The peer is installed from PyPI into .cache/peers/miniwob and needs Debian's ``chromium`` and
``chromium-driver``. The last line is the result as JSON, also written to scores/web.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
import venv
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from universe2.core.screen import BUTTONS
from universe2.core.seeding import next_seed
from universe2.core.spec import EnvConfig
from universe2.runtimes import open_runtime

HERE = Path(__file__).resolve().parent
PEER = HERE.parent / ".cache" / "peers" / "miniwob"
TASKS = ("click-checkboxes", "enter-text", "use-slider")
TARGET = 20.0
RESET_MS = 15.0


def main(
    seconds: Annotated[float, typer.Option(help="Length of a measurement, in seconds.")] = 12.0,
    rounds: Annotated[int, typer.Option(help="Rounds, each over all tasks.")] = 3,
    slots: Annotated[int, typer.Option(help="universe2's slots (browsers).")] = 8,
) -> None:
    """Measure, print a table, write scores/web.json."""
    python = peer_python()
    cores = os.cpu_count() or 1
    rates: dict[str, list[float]] = {"universe2": [], "selenium, 1 process": [], "selenium, all cores": []}
    for turn in range(rounds):
        for task in TASKS:
            rates["universe2"].append(ours(task, slots, seconds))
            rates["selenium, 1 process"].append(peer(python, task, 1, seconds))
            rates["selenium, all cores"].append(peer(python, task, cores, seconds))
            print(
                turn, task, *(f"{name}: {values[-1]:.1f}" for name, values in rates.items()), file=sys.stderr
            )
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = paired(rates, "selenium, 1 process")
    all_cores = paired(rates, "selenium, all cores")
    table = Table("Who", "steps/s (median)", "universe2 is")
    table.add_row(f"universe2, {slots} slots", f"{medians['universe2']:.1f}", "")
    table.add_row("selenium, 1 process", f"{medians['selenium, 1 process']:.1f}", f"{ratio:.1f} ×")
    table.add_row(
        f"selenium, {cores} processes", f"{medians['selenium, all cores']:.1f}", f"{all_cores:.1f} ×"
    )
    Console().print(table)
    result = summary(medians, ratio, all_cores, slots, cores)
    resets = statistics.median(ms for task in TASKS for ms in reset_ms(task))
    result["results"]["reset, median ms"] = resets
    result["questions"].append(
        {
            "question": "Reset of a web task as its caller sees it, steady state, median",
            "ours": f"{resets:.1f} ms",
            "peer": "–",
            "ratio": resets / RESET_MS,
            "target": f"≤ {RESET_MS:g} ms",
            "met": resets <= RESET_MS,
        }
    )
    (HERE / "scores" / "web.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


def paired(rates: dict[str, list[float]], peer_name: str) -> float:
    """The median of the ratios of neighbouring measurements: noise of the machine hits both."""
    pairs = zip(rates["universe2"], rates[peer_name], strict=True)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def summary(
    medians: dict[str, float], ratio: float, all_cores: float, slots: int, cores: int
) -> dict[str, Any]:
    return {
        "name": "web",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {"cpu": cpu_name(), "cores": cores},
        "versions": {
            "universe2": version("universe2"),
            "miniwob": "1.1.0",
            "python": platform.python_version(),
        },
        "results": {**medians, "slots": slots, "ratio to all cores": all_cores},
        "ratio": ratio,
        "target": TARGET,
        "met": ratio >= TARGET,
        "questions": [
            question("MiniWoB++'s own Selenium environment", medians, "selenium, 1 process", ratio),
            question(f"{cores} processes of it", medians, "selenium, all cores", all_cores),
        ],
    }


def question(whom: str, medians: dict[str, float], peer_name: str, ratio: float) -> dict[str, Any]:
    return {
        "question": f"Web tasks with a screenshot per step, against {whom}, steps/s",
        "ours": f"{medians['universe2']:.0f}",
        "peer": f"{medians[peer_name]:.1f}",
        "ratio": ratio,
        "target": f"≥ {TARGET:g}×",
        "met": ratio >= TARGET,
    }


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


def peer(python: Path, task: str, processes: int, seconds: float) -> float:
    """Steps per second of ``processes`` Selenium environments together."""
    script = HERE / "peers" / "miniwob_selenium.py"
    browser = {"MINIWOB_CHROME_BINARY": "/usr/bin/chromium", "MINIWOB_CHROMEDRIVER": "/usr/bin/chromedriver"}
    running = [
        subprocess.Popen(
            [str(python), str(script), task, str(seconds), str(1000 * number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **browser},
        )
        for number in range(processes)
    ]
    rate = 0.0
    for process in running:
        out, _ = process.communicate(timeout=seconds + 120)
        if process.returncode:
            raise RuntimeError(f"the peer failed; are chromium and chromium-driver installed? ({script})")
        told = json.loads(out.splitlines()[-1])
        rate += told["steps"] / told["seconds"]
    return rate


def peer_python() -> Path:
    """The Python of the peer's virtual environment, which is made if it isn't there."""
    python = PEER / "bin" / "python"
    if not python.exists():
        venv.create(PEER, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "miniwob==1.1.0"], check=True, timeout=600)
    return python


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    typer.run(main)
