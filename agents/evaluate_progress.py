"""The progress display of an evaluation: one bar per task, with the mean return so far."""

from __future__ import annotations

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from universe2.agents.evaluate_suite import Suite, Task
from universe2.agents.progress import bars, reason
from universe2.trace import StoredEpisode


class SuiteProgress:
    """A context manager; ``episode`` is an observer for ``evaluate``."""

    def __init__(self, suite: Suite, console: Console) -> None:
        self.whole = 0
        self._returns: dict[str, list[float]] = {task.name: [] for task in suite.tasks}
        self._cut = dict.fromkeys(self._returns, 0)
        self.faults: dict[str, str] = {}
        """task → the last line of what its latest fault said"""
        self._progress = bars(console)
        self._bars = {
            task.name: self._progress.add_task(task.name, total=task.episodes, said="", start=False)
            for task in suite.tasks
        }

    def __enter__(self) -> SuiteProgress:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """The bars stay as they are, if there is anything to see. May be called twice."""
        self._progress.live.transient = not any([*self._returns.values(), *self._cut.values()])
        self._progress.stop()

    def episode(self, task: Task, episode: StoredEpisode) -> None:
        """One more episode of ``task`` ended, or was cut."""
        bar, returns = self._bars[task.name], self._returns[task.name]
        if not returns and not self._cut[task.name]:
            self._progress.start_task(bar)
        if episode.fault:
            self._cut[task.name] += 1
            self.faults[task.name] = reason(episode.fault_text)
        else:
            self.whole += 1
            returns.append(episode.total)
        said = f"return {math.fsum(returns) / len(returns):.2f}" if returns else ""
        if self._cut[task.name]:
            said += f", {self._cut[task.name]} cut"
        self._progress.update(bar, completed=len(returns), said=said)

    def summary(self) -> Table:
        """What was played, one row per task."""
        table = Table(header_style="bold")
        for column in ("task", "episodes", "mean return", "cut by faults"):
            table.add_column(column, justify="left" if column == "task" else "right")
        for name, returns in self._returns.items():
            mean = f"{math.fsum(returns) / len(returns):.2f}" if returns else "–"
            table.add_row(escape(name), str(len(returns)), mean, str(self._cut[name]))
        return table
