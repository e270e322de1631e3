"""Runs the cells whose results are not there yet, each in a process of its own, and stops in time.

A cell begins when its parent has ended; ``jobs`` of them run at the same time. When the time is
over no cell begins any more, and those under way are told to stop; they go on next time. A cell
that fails is named and the others go on. This file doesn't know what a cell does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.study.plan import Cell
from universe2.core.errors import UsageError

_POLL_S = 0.2
_STOP_S = 120.0

Command = Callable[[Cell], Sequence[str]]


@dataclass
class Outcome:
    """What a call of ``run`` did, by the cells' names."""

    ran: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """stopped, not begun, or waiting for one that failed"""


def result_path(results: Path, cell: Cell) -> Path:
    return results / f"{cell.name}.json"


def is_done(results: Path, cell: Cell) -> bool:
    """Its result is there. ``refuse_others`` says whether that is of this plan."""
    return result_path(results, cell).is_file()


def refuse_others(cells: Sequence[Cell], results: Path, runs: Path) -> None:
    """Raises UsageError, with their paths, if results or runs of these names are of another plan's cells."""
    others = []
    for cell in cells:
        path = result_path(results, cell)
        if path.is_file() and json.loads(path.read_text("utf-8"))["cell"] != cell.content():
            others.append(path)
        note = _note(cell, runs)
        begun = any((note.parent / name).exists() for name in ("start", "checkpoint"))
        if begun and not (note.is_file() and json.loads(note.read_text("utf-8")) == cell.content()):
            others.append(note.parent)
    if others:
        raise UsageError(
            "these are of a plan that differs from the present one; move them away to run their cells anew:\n"
            + "\n".join(f"  {path}" for path in others)
        )


def run(
    cells: Sequence[Cell],
    results: Path,
    runs: Path,
    command: Command,
    *,
    seconds: float = float("inf"),
    jobs: int = 1,
    tell: Callable[[str], None] = print,
) -> Outcome:
    """Bring as many cells to their end as ``seconds`` allow. ``command`` makes a cell's command line.

    Raises UsageError before anything runs if results or runs are of another plan.
    A parent whose result is there but whose checkpoint in ``runs`` isn't is run again if a child
    needs it. KeyboardInterrupt stops the cells under way and is raised again.
    """
    refuse_others(cells, results, runs)
    waiting = _missing(cells, results, runs)
    running: dict[str, tuple[Cell, subprocess.Popen[bytes], float]] = {}
    outcome, began = Outcome(), time.monotonic()
    total = len(waiting)
    for cell in waiting:  # a parent that is run again isn't done until it is
        result_path(results, cell).unlink(missing_ok=True)
    tell(f"{len(cells) - total} of {len(cells)} cells are there, {total} to run")
    try:
        while (waiting or running) and time.monotonic() - began < seconds:
            while len(running) < jobs and (cell := _next(waiting, running)):
                waiting.remove(cell)
                running[cell.name] = (cell, _start(cell, runs, command), time.monotonic())
            if not running:
                break
            for cell, process, since in list(running.values()):
                if process.poll() is not None:
                    del running[cell.name]
                    if process.returncode == 0 and is_done(results, cell):
                        outcome.ran.append(cell.name)
                        took = time.monotonic() - since
                        tell(f"[{len(outcome.ran)}/{total}] {cell.name}: {took:.0f} s")
                    else:
                        outcome.failed.append(cell.name)
                        waiting = [w for w in waiting if w.parent != cell.name]
                        tell(f"FAILED ({process.returncode}) {cell.name}: see {_log(cell, runs)}")
            time.sleep(_POLL_S)
    finally:
        _stop([process for _, process, _ in running.values()])
    done = {*outcome.ran, *outcome.failed}
    outcome.left = [cell.name for cell in _missing(cells, results, runs) if cell.name not in done]
    return outcome


def _missing(cells: Sequence[Cell], results: Path, runs: Path) -> list[Cell]:
    needed = [cell for cell in cells if not is_done(results, cell)]
    parents = {cell.parent for cell in needed if cell.parent}
    return [
        cell
        for cell in cells
        if cell in needed or (cell.name in parents and not (runs / cell.name / "checkpoint").exists())
    ]


def _next(waiting: Sequence[Cell], running: dict[str, object]) -> Cell | None:
    """The first whose parent isn't still to come."""
    to_come = {cell.name for cell in waiting} | set(running)
    return next((cell for cell in waiting if cell.parent not in to_come), None)


def _log(cell: Cell, runs: Path) -> Path:
    return runs / cell.name / "cell.log"


def _note(cell: Cell, runs: Path) -> Path:
    """What the cell was when it began."""
    return runs / cell.name / "cell.json"


def _start(cell: Cell, runs: Path, command: Command) -> subprocess.Popen[bytes]:
    """One core each: a cell on several would wait for itself, and its speed depend on its neighbours'."""
    log = _log(cell, runs)
    log.parent.mkdir(parents=True, exist_ok=True)
    _note(cell, runs).write_text(json.dumps(cell.content()), encoding="utf-8")
    with log.open("ab") as file:
        return subprocess.Popen(
            list(command(cell)),
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C reaches the runner alone, which tells the cells
        )


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask, wait, and then insist."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _STOP_S
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
