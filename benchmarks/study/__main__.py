"""The study of docs/study.md: runs what is missing of it and writes the page anew.

    python -m benchmarks.study --plan              # the cells and how long they may take; runs nothing
    python -m benchmarks.study --quick             # a rehearsal of 20 minutes on two cores
    python -m benchmarks.study                     # all of it, at most 12 hours on two cores
    python -m benchmarks.study --quick --page      # the page alone, from the results that are there

May be stopped at any moment, also by kill -9, and called again. Results: benchmarks/scores/study/;
checkpoints, logs, episodes, and the pages of other plans than the full one: runs/study/.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.study.page import write_page
from benchmarks.study.plan import BUDGETS, Cell, cells, estimate
from benchmarks.study.runner import is_done, refuse_others, run
from universe2.core.errors import UsageError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def main(
    quick: Annotated[bool, typer.Option("--quick", help="The small plan.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Print the cells and run nothing.")] = False,
    page: Annotated[bool, typer.Option("--page", help="Write the page and run nothing.")] = False,
    hours: Annotated[float, typer.Option(help="Stop by then; what is left goes on next time.")] = 12.0,
    jobs: Annotated[int, typer.Option(help="Cells at the same time, on a core each.")] = 2,
    preset: Annotated[str, typer.Option(help="Sizes of the network: nano, micro, small or base.")] = "nano",
) -> None:
    """Run what is missing of the study, one process per cell, and write its page from the results.

    Of the full plan with the preset nano that is docs/study.md, of any other runs/study/<plan>/study.md.
    """
    budget = BUDGETS["quick" if quick else "full"]
    wanted = cells(budget, preset)
    name = budget.name if preset == "nano" else f"{budget.name}-{preset}"
    results, runs = HERE.parent / "scores" / "study" / name, ROOT / "runs" / "study" / name
    if plan:
        show(wanted, results, jobs)
    try:
        refuse_others(wanted, results, runs)
    except UsageError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    if plan:
        return
    failed = False
    if not page:

        def command(cell: Cell) -> list[str]:
            return [
                *(sys.executable, "-m", "benchmarks.study.cell", budget.name, cell.name),
                *("--preset", preset, "--runs", str(runs)),
                *("--result", str(results / f"{cell.name}.json")),
            ]

        outcome = run(wanted, results, runs, command, seconds=3600 * hours, jobs=jobs)
        typer.echo(f"{len(outcome.ran)} ran, {len(outcome.failed)} failed, {len(outcome.left)} are left")
        failed = bool(outcome.failed)
    flags = [*(["--quick"] if quick else []), *([f"--preset {preset}"] if preset != "nano" else [])]
    # the repository's page is of the plan that it was written about
    place = runs / "study.md" if flags else ROOT / "docs" / "study.md"
    path = write_page(place, budget, wanted, results, " ".join(flags))
    typer.echo(f"page: {path}")
    raise typer.Exit(1 if failed else 0)


def show(wanted: list[Cell], results: Path, jobs: int) -> None:
    """A line per arm and mix, and the sum."""
    lines: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in wanted:
        lines[cell.arm, cell.of].append(cell)
    for (arm, of), same in lines.items():
        there = sum(is_done(results, cell) for cell in same)
        seconds = sum(map(estimate, same))
        told = f"{arm:18} {of:28} {len(same)} seeds, {there} there"
        typer.echo(f"{told:66} {same[0].config['total_steps']:>10,} steps {seconds:8.0f} s")
    left = {cell.name: estimate(cell) for cell in wanted if not is_done(results, cell)}
    # a child waits for its parent, and a core can't be had twice
    longest = max((left[c.name] + left.get(c.parent, 0.0) for c in wanted if c.name in left), default=0.0)
    hours = max(sum(left.values()) / jobs, longest) / 3600
    typer.echo(f"{len(wanted)} cells; left: about {hours:.1f} hours with {jobs} jobs")


if __name__ == "__main__":
    typer.run(main)
