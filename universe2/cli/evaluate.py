"""``universe2 evaluate``: play a suite and store every episode, or verify what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from universe2.agents.evaluate import Place
    from universe2.agents.evaluate_replay import Finding
    from universe2.agents.evaluate_suite import Suite


def command(
    ctx: typer.Context,
    policy: Annotated[
        str | None,
        typer.Argument(help="`random`, a checkpoint's path, or `module:function` returning a Policy."),
    ] = None,
    suite: Annotated[
        str, typer.Option(help="A suite that comes along (arcade-heldout, demo), or a TOML file.")
    ] = "arcade-heldout",
    name: Annotated[str, typer.Option(help="The name in the ranking; default: the policy's own.")] = "",
    episodes: Annotated[
        int | None, typer.Option(help="Play this many of each task (which makes it another suite).", min=1)
    ] = None,
    slots: Annotated[int, typer.Option(help="How many environments play at the same time.", min=1)] = 16,
    remote: Annotated[
        list[str] | None, typer.Option(help="host:port of a server; repeat it for several.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds the servers' token.", dir_okay=False)
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for servers that are full.", min=0)] = 90.0,
    db: Annotated[Path, typer.Option(help="The episode store: one SQLite file, made if need be.")] = Path(
        "runs/episodes.sqlite"
    ),
    seed: Annotated[int, typer.Option(help="For the policy's own randomness.", min=0)] = 0,
    temperature: Annotated[
        float,
        typer.Option(help="For checkpoints: below 1 likely actions come more often; 0: only the likeliest."),
    ] = 1.0,
    interface: Annotated[
        str, typer.Option(help="For `random` only: screen or native. Other policies say it themselves.")
    ] = "screen",
    skip_missing: Annotated[
        bool,
        typer.Option(
            "--skip-missing", help="Leave out tasks that can't run there (which makes it another suite)."
        ),
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option(help="Replay the episodes of this store instead, and compare.", dir_okay=False),
    ] = None,
) -> None:
    """Play a policy on a suite of tasks and store every episode in an SQLite file.

    A suite fixes the environments, their options and the seed of each episode; every seed is
    played to its end. Stored are the return, the length, every action and hashes of every
    observation, the versions and the hardware. Episodes that a fault cut are stored as such,
    tried again, and count in no score. Ctrl-C keeps what has finished. The exit code is 1 if any
    episode is missing in the end: out of time, or cut by faults at every try.

    With --verify, no policy plays: the stored actions are stepped again and everything must come
    out the same, to the bit. Runs for which it does are marked replay-verified, until something in
    them changes; a store that can't be written is replayed, too, and keeps its marks. The mark is
    the file's own: whoever gives you a store may have written it, so verify what you were given
    yourself.

    Examples:

        universe2 evaluate random --suite demo
        universe2 evaluate runs/agent/checkpoint --suite arcade-heldout
        universe2 evaluate my_bot:make --suite suite.toml --remote node7:15900
        universe2 evaluate --verify runs/episodes.sqlite
        universe2 leaderboard runs/episodes.sqlite
    """
    from universe2.agents.evaluate import Place
    from universe2.agents.evaluate_suite import load_suite
    from universe2.core.errors import Universe2Error, UsageError
    from universe2.core.shell import option, was_given
    from universe2.faces.make import token_from

    place = Place(slots=slots, remotes=remote or None, token=token_from(token_file), wait=wait)
    for parameter in ("wait", "token_file"):
        if was_given(ctx, parameter) and not remote:
            raise UsageError(f"{option(parameter)} has an effect with --remote only")
    if verify is not None:
        playing = (
            "policy",
            "suite",
            "name",
            "episodes",
            "db",
            "seed",
            "temperature",
            "interface",
            "skip_missing",
        )
        if given := [name for name in playing if was_given(ctx, name)]:
            told = ", ".join("the policy" if name == "policy" else option(name) for name in given)
            raise UsageError(f"--verify replays what is stored; leave {told} out")
        if failed := verify_store(verify, place)[0]:
            raise Universe2Error(failed)
        return
    if policy is None:
        raise UsageError("name a policy: `random`, a checkpoint's path, or `module:function`")
    if policy != "random" and was_given(ctx, "interface"):
        raise UsageError(f"--interface is for `random`; {policy} says itself what it plays through")
    if interface not in ("screen", "native"):
        raise UsageError(f"--interface must be screen or native, got {interface!r}")
    chosen = load_suite(suite)
    _play(
        policy,
        chosen if episodes is None else chosen.with_episodes(episodes),
        place,
        db,
        name=name,
        seed=seed,
        interface=interface,
        temperature=temperature,
        skip_missing=skip_missing,
    )


def _play(
    policy: str,
    suite: Suite,
    place: Place,
    db: Path,
    *,
    name: str,
    seed: int,
    interface: str,
    temperature: float,
    skip_missing: bool,
) -> None:
    import shlex
    import sys

    from rich.console import Console
    from rich.markup import escape

    from universe2.agents.evaluate import evaluate
    from universe2.agents.evaluate_policy import load_policy
    from universe2.agents.evaluate_progress import SuiteProgress
    from universe2.core.errors import Universe2Error
    from universe2.trace import EpisodeStore

    console = Console()
    loaded = load_policy(policy, "native" if interface == "native" else "screen", temperature)
    with EpisodeStore(db) as store, SuiteProgress(suite, console) as progress:
        try:
            result = evaluate(
                loaded,
                suite,
                store,
                place,
                name=name,
                seed=seed,
                skip_missing=skip_missing,
                observer=progress.episode,
                command=shlex.join(["universe2", *sys.argv[1:]]),
            )
        except KeyboardInterrupt:
            progress.stop()
            console.print(f"Interrupted; what had finished is in {db}.", markup=False)
            raise
    for text in result.skipped:
        console.print(f"[yellow]skipped[/] {escape(text)}", highlight=False)
    console.print(progress.summary())
    for task, text in progress.faults.items():
        console.print(f"{task}: latest fault: {text}", style="yellow", highlight=False, markup=False)
    stored = f"{progress.whole} episodes stored in {db}. Rank them: universe2 leaderboard {db}"
    console.print(stored, markup=False)
    if result.outcome != "finished":
        raise Universe2Error(result.outcome)


def verify_store(path: Path, place: Place) -> tuple[str, dict[int, Finding]]:
    """Replay all runs of a store and say of each what came of it.

    Returns what failed, in a sentence, and the findings of the runs that could be read.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    from universe2.agents.evaluate_replay import verify
    from universe2.core.errors import UsageError
    from universe2.trace import EpisodeStore

    console = Console()
    findings: dict[int, Finding] = {}
    unread: list[str] = []
    with EpisodeStore(path, must_exist=True) as store:
        runs = [number for number in store.run_ids() if store.whole(number)]
        if not runs:
            raise UsageError(f"{path} holds no whole episode")
        for number in track(runs, "replaying", console=console, transient=True):
            try:
                found, name = verify(store, number, place), store.run(number).name
                findings[number] = found
            except UsageError as error:  # the next run may be sound
                unread.append(str(error))
                console.print(f"run {number}: [red]can't be verified[/]", highlight=False)
                continue
            bad = [verdict for verdict in found.verdicts if verdict.problem]
            state = f"[red]{len(bad)} differ or can't be replayed[/]" if bad else f"[green]{found.tier}[/]"
            said = f"run {number} {escape(name)}: {len(found.verdicts)} episodes, {state}"
            console.print(said, highlight=False)
    verdicts = [verdict for found in findings.values() for verdict in found.verdicts]
    bad = [verdict for verdict in verdicts if verdict.problem]
    for text in [*unread, *(f"{v.task} seed {v.seed}: {v.problem}" for v in bad[:10])]:
        console.print(f"  {text}", highlight=False, markup=False)
    if kept := next((found.unmarked for found in findings.values() if found.unmarked), ""):
        console.print(f"  the file keeps the marks it had: {kept}", highlight=False, markup=False)
    failed = [f"{len(bad)} of {len(verdicts)} episodes did not come out the same"] if bad else []
    failed += [f"{len(unread)} of {len(runs)} runs can't be verified"] if unread else []
    return "; ".join(failed), findings
