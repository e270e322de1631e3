"""The live display of a training run: a table on a terminal, a line now and then elsewhere. And bars, for
jobs that count what is done."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Protocol

import rich.progress
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_LINE_S = 10.0


def bars(console: Console, transient: bool = False) -> rich.progress.Progress:
    """For jobs that count: what, how far, how many of how many, the field ``said``, for how long."""
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[said]}"),
        rich.progress.TimeElapsedColumn(),
        console=console,
        transient=transient,
    )


def reason(fault_text: str) -> str:
    """The last line of what a fault said: of a traceback, the exception."""
    return (fault_text.strip().splitlines() or ["no reason given"])[-1]


class RunView(Protocol):
    """What the display reads, from another thread."""

    def part_done(self) -> float: ...
    def headline(self) -> str: ...
    def rows(self) -> list[dict[str, Any]]: ...


class Progress:
    """Shows a ``RunView`` while the context lasts."""

    def __init__(self, view: RunView, console: Console | None = None) -> None:
        self._view = view
        self._console = console or Console(stderr=True)
        self._live = Live(get_renderable=self._display, console=self._console, refresh_per_second=2)
        self._last_line = time.monotonic()

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
        else:
            self._console.print(Text(self._view.headline()))
            self._console.print(self._table())

    def tick(self) -> None:
        """Without a terminal: a line, if the last one is a while ago."""
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= _LINE_S:
            self._last_line = now
            scores = "  ".join(f"{row['task']} {_number(row['return_mean'])}" for row in self._view.rows())
            self._console.print(f"{self._view.headline()} · {scores}", soft_wrap=True, highlight=False)

    def _display(self) -> Group:
        bar = ProgressBar(total=1.0, completed=min(self._view.part_done(), 1.0), width=60)
        return Group(Text(self._view.headline()), bar, self._table())

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("task")
        for name in ("steps", "episodes", "return", "length", "faults"):
            table.add_column(name, justify="right")
        for row in self._view.rows():
            faults = Text(str(row["faults"]), style="yellow" if row["faults"] else "dim")
            table.add_row(
                row["task"],
                f"{row['task_steps']:,}",
                f"{row['episodes']:,}",
                Text(_number(row["return_mean"]), style="bold"),
                _number(row["length_mean"]),
                faults,
            )
        return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
