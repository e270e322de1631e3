"""``universe2 leaderboard``: rank what `universe2 evaluate` stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from universe2.agents.ranking import Reference, TaskScore
    from universe2.agents.ranking_runs import SuiteRanking


def command(
    ctx: typer.Context,
    db: Annotated[
        list[Path] | None, typer.Argument(help="Episode stores; default: runs/episodes.sqlite.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a report here: one HTML file that needs nothing else.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables here, as Markdown.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all numbers here, as JSON.")] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(help="A training run's metrics.jsonl: learning curves for the HTML report."),
    ] = None,
    clip: Annotated[
        str | None,
        typer.Option(
            help="A policy (as for `evaluate`) to film on each task, beside random, for the report."
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Of a checkpoint that is filmed, as for `evaluate`.")
    ] = 1.0,
    verify: Annotated[
        bool, typer.Option("--verify", help="Replay all episodes first, as `evaluate --verify` does.")
    ] = False,
    remote: Annotated[
        list[str] | None,
        typer.Option(help="host:port where episodes are replayed and clips filmed; default: here."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds that server's token.", dir_okay=False)
    ] = None,
) -> None:
    """Rank the policies in one or more episode stores.

    The score is the interquartile mean (IQM), over the suite's tasks, of normalised mean returns:
    0 is random play, 1 the reference player of each environment. The interval beside it is a 95 %
    stratified bootstrap over episodes. Policies whose intervals overlap share a rank (2=): the
    data can't tell them apart. Tasks without a reference are shown raw and are not in the score.
    Episodes that faults cut count nowhere, and a policy that has not played all episodes, or a
    single one of some task, has no rank. Each suite gets a table of its own.

    "checked" is what the file says of itself, and no longer if the run's episodes, name, policy or
    beginning were changed since. To know it, use --verify: stored actions are stepped again, and a
    run that comes out otherwise "differs" and has no rank (and the exit code is 1). Only what was
    replayed then counts, whatever the files say. Who chose the actions no replay shows.

    Examples:

        universe2 leaderboard
        universe2 leaderboard mine.sqlite theirs.sqlite --markdown ranking.md
        universe2 leaderboard --html report.html --clip runs/demo/checkpoint
    """
    import json

    from rich.console import Console

    from universe2.agents.evaluate import Place
    from universe2.agents.ranking_runs import notes, ranking_json, ranking_markdown, read_rankings
    from universe2.cli.evaluate import verify_store
    from universe2.core.errors import Universe2Error
    from universe2.faces.make import token_from

    _refuse_what_has_no_effect(ctx)
    place = Place(remotes=remote or None, token=token_from(token_file))
    console = Console()
    stores = db or [Path("runs/episodes.sqlite")]
    checked = {path: verify_store(path, place) for path in stores} if verify else {}
    found = {path: findings for path, (_, findings) in checked.items()}
    suites = read_rankings(stores, replayed=found if verify else None)
    told: set[str] = set()
    for suite in suites:
        console.print(_ranking_table(suite))
        for entry in suite.ranking.entries:
            if (outcome := suite.runs[entry.name].outcome) != "finished":
                console.print(f"{entry.name}: {outcome}", highlight=False, markup=False)
        console.print(_task_table(suite, console))
        for note in notes(suite):
            if note not in told:  # some hold for several suites
                console.print(note, style="dim", highlight=False, markup=False)
                told.add(note)
    if markdown is not None:
        _write(markdown, "\n".join(ranking_markdown(suite) for suite in suites))
    if json_file is not None:
        _write(json_file, json.dumps([ranking_json(suite) for suite in suites], indent=1) + "\n")
    if html is not None:
        from universe2.agents.report import read_metrics, render_report
        from universe2.agents.report_clips import film

        clips = {}
        if clip is not None:
            clips = film(clip, suites[0], place, console, temperature)
        curves = [] if metrics is None else read_metrics(metrics)
        _write(html, render_report(suites, curves, clips))
    for path in (markdown, json_file, html):
        if path is not None:
            console.print(f"wrote {path}", highlight=False, markup=False)
    if differ := [f"{path}: {text}" for path, (text, _) in checked.items() if text]:
        raise Universe2Error("; ".join(differ))


def _refuse_what_has_no_effect(ctx: typer.Context) -> None:
    """Clips and curves are parts of the report; the rest says how and where is filmed and replayed."""
    from universe2.core.errors import UsageError
    from universe2.core.shell import option, was_given

    needed: dict[str, tuple[str, ...]] = {"clip": ("html",), "metrics": ("html",), "temperature": ("clip",)}
    needed |= dict.fromkeys(("remote", "token_file"), ("clip", "verify"))
    for name, others in needed.items():
        if was_given(ctx, name) and not any(was_given(ctx, other) for other in others):
            raise UsageError(f"{option(name)} has an effect with {' or '.join(map(option, others))} only")


def _ranking_table(suite: SuiteRanking) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from universe2.agents.ranking_runs import rank_text, show

    # names are whatever somebody called a policy or a suite, not markup
    title = escape(f"{suite.ranking.suite} ({suite.ranking.suite_hash})")
    table = Table(title=title, header_style="bold")
    for column in ("rank", "policy", "score (IQM)\n[95 %]", "P(better\nthan random)", "checked"):
        # a name may take several lines; a number or a mark that is cut says nothing, or something else
        table.add_column(column, no_wrap=column != "policy", overflow="fold")
    for entry in suite.ranking.entries:
        style = "bold" if entry.rank == 1 else ""
        rank, name = rank_text(entry.rank, entry.shared), escape(entry.name)
        checked = f"[red]{entry.tier}[/]" if entry.tier == "differs" else entry.tier
        table.add_row(rank, name, show(entry.score), show(entry.improvement), checked, style=style)
    return table


def _task_table(suite: SuiteRanking, console: Console) -> Table:
    """A column for each policy; where that is too wide for the terminal, a row for each."""
    from rich.measure import Measurement

    wide = _wide_task_table(suite)
    endless = console.options.update(width=10_000)
    fits = Measurement.get(console, endless, wide).maximum <= console.width
    return wide if fits else _narrow_task_table(suite)


def _wide_task_table(suite: SuiteRanking) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from universe2.agents.ranking_runs import show

    entries = suite.ranking.entries
    table = Table(title=f"{_RETURN} · normalised", header_style="bold")
    for column in ("task", *(escape(entry.name) for entry in entries), "random … reference"):
        table.add_column(column, no_wrap=True)
    for task in suite.ranking.tasks:
        cells = []
        for entry in entries:
            normalised = _normalised(entry.tasks[task])
            cells.append(show(entry.tasks[task].raw) + (f" · {normalised}" if normalised else ""))
        table.add_row(escape(task), *cells, _scale(entries[0].tasks[task].reference) or "not in the score")
    return table


def _narrow_task_table(suite: SuiteRanking) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from universe2.agents.ranking_runs import show

    table = Table(header_style="bold")
    table.add_column("task", overflow="fold")
    table.add_column("policy", overflow="fold")
    table.add_column(_RETURN, no_wrap=True)
    table.add_column("normalised", no_wrap=True)
    for task in suite.ranking.tasks:
        scale = _scale(suite.ranking.entries[0].tasks[task].reference)
        for i, entry in enumerate(suite.ranking.entries):
            score = entry.tasks[task]
            name = escape(task) if i == 0 else ""
            table.add_row(name, escape(entry.name), show(score.raw), _normalised(score))
        table.add_row("", "scale", scale or "–", "0 … 1" if scale else "–", style="dim", end_section=True)
    return table


_RETURN = "mean return [95 %]"


def _normalised(score: TaskScore) -> str:
    from universe2.agents.ranking_runs import show

    known = score.normalised is not None and len(score.returns)
    return show(score.normalised).split(" ")[0] if known else ""


def _scale(reference: Reference | None) -> str:
    """The returns that count 0 and 1; empty if the task has none."""
    return "" if reference is None else f"{reference.random:g} … {reference.reference:g}"


def _write(path: Path, text: str) -> None:
    from universe2.core.errors import UsageError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"can't write {path}: {error}") from None
