"""``universe2 train``: train one network on a mix of tasks, local or remote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from universe2.agents.config import TaskConfig, TrainConfig


def command(
    config: Annotated[
        Path, typer.Option("--config", help="A TOML file: tasks, limits, sizes.", dir_okay=False)
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the config's out_dir.")
    ] = False,
    remote: Annotated[
        list[str] | None, typer.Option(help="host:port of a server; repeat it for several.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds the servers' token.", dir_okay=False)
    ] = None,
    wait: Annotated[
        float | None, typer.Option(help="Seconds to wait for servers that are full [90].", min=0)
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Time limit of the whole run, --resume included, instead of the config's."),
    ] = None,
    out_dir: Annotated[Path | None, typer.Option(help="Instead of the config's.", file_okay=False)] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out tasks that can't run there, and say so.")
    ] = False,
) -> None:
    r"""Train one network on several environments at once, through the screen interface.

    The config names the tasks and how many slots each has:

        seconds = 240
        out_dir = "runs/first"
        \[tasks."arcade/Breakout-v0"]
        slots = 32
        options = { num_levels = 200 }

    Every task gets its share of the learner, a slow one as far as it keeps up. Left in out_dir: checkpoint,
    config.json, metrics.jsonl, TensorBoard events, and train.log, which names every fault.
    Ctrl-C saves and stops; --resume goes on from there.
    """
    import dataclasses

    from universe2.agents.config import load_config
    from universe2.agents.distributed import leads
    from universe2.agents.train import train

    given = {
        "remotes": remote or None,
        "token_file": None if token_file is None else str(token_file),
        "wait": wait,
        "seconds": seconds,
        "out_dir": None if out_dir is None else str(out_dir),
    }
    chosen = load_config(config, **{key: value for key, value in given.items() if value is not None})
    if skip_missing:
        chosen = dataclasses.replace(chosen, tasks=runnable(chosen))
    path = train(chosen, resume)
    if leads():  # other ranks have written nothing
        typer.echo(f"checkpoint: {path}")


def runnable(config: TrainConfig) -> tuple[TaskConfig, ...]:
    """The tasks that can run on the config's servers, or here without any; says what the others lack."""
    from universe2.core.errors import MissingDependencyError

    kept = []
    for task in config.tasks:
        try:
            _check_runnable(task, config)
        except MissingDependencyError as error:
            typer.echo(f"left out: {error}", err=True)
        else:
            kept.append(task)
    return tuple(kept)


def _check_runnable(task: TaskConfig, config: TrainConfig) -> None:
    import universe2
    from universe2.core.registry import find
    from universe2.core.spec import EnvConfig
    from universe2.faces.make import token_from

    if not config.remotes:
        find(task.env_id).check_runnable()
        return
    asked = EnvConfig(interface="screen", screen_size=config.screen_size, options=task.options)
    token = token_from(config.token_file)
    universe2.open_runtime(
        task.env_id, 1, asked, remotes=config.remotes, token=token, wait=config.wait
    ).close()
