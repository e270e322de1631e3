"""The ``universe2`` command: one verb, one file in this folder.

A verb module defines ``command``, a function whose docstring is the help; what it needs it
imports inside. Errors of universe2 become one line on stderr and an exit code.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Annotated

import typer

from universe2 import __version__
from universe2.core.errors import UsageError
from universe2.core.shell import errors_in_a_line, look_here

VERBS = ("serve", "envs", "doctor", "train", "evaluate", "leaderboard", "play")

app = typer.Typer(
    name="universe2",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"universe2 {__version__}")
        raise typer.Exit


@app.callback()
def _all_verbs(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Import it first: it registers environments. Repeat for several.",
        ),
    ] = None,
) -> None:
    """Every game and every web task behind one interface."""
    for name in imports or ():
        _import(name)


def _import(name: str) -> None:
    """Raises UsageError if there is no such module, here or installed."""
    here = look_here()
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"--import {name}: {error}; looked in {here} and in what is installed") from error


def _add_verbs() -> None:
    for verb in VERBS:
        command = importlib.import_module(f"universe2.cli.{verb}").command
        app.command(verb, help=_flowing(command.__doc__))(command)


def _flowing(text: str) -> str:
    """``text`` with every paragraph in one line, for the terminal to wrap, but for what is indented."""
    lines: list[str] = []
    for line in inspect.cleandoc(text).split("\n"):
        joins = lines and lines[-1] and not lines[-1].startswith(" ") and line and not line.startswith(" ")
        lines[-1:] = [f"{lines[-1]} {line}"] if joins else [*lines[-1:], line]
    return "\n".join(lines)


def main() -> None:
    """Entry point of the console script. Exits as ``errors_in_a_line`` says."""
    _add_verbs()
    with errors_in_a_line():
        app()


__all__ = ["app", "main"]
