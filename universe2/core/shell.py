"""What commands have in common: environments' options as they are typed, and how a command ends.

An error of universe2 is one line on stderr and an exit code, not a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from universe2.core.errors import Universe2Error, UnknownEnvError, UsageError


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """Exits 2 for wrong usage, 1 for what failed, 130 for Ctrl-C."""
    try:
        yield
    except Universe2Error as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        print(f"universe2: {error}{notes}", file=sys.stderr)
        sys.exit(2 if isinstance(error, (UsageError, UnknownEnvError)) else 1)
    except KeyboardInterrupt:
        print("universe2: interrupted", file=sys.stderr)
        sys.exit(130)


def typed_options(given: Sequence[str]) -> dict[str, Any]:
    """``name=value`` each; a value is a TOML value if it can be, else a string. Raises UsageError."""
    import tomllib  # commands that take no options start without it

    found: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not name or not equals:
            raise UsageError(f"--option takes name=value, got {one!r}")
        try:
            found[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = text
    return found


def was_given(ctx: Any, name: str) -> bool:
    """Did the command line of Typer's context say this parameter, or is it its default?"""
    return ctx.get_parameter_source(name).name == "COMMANDLINE"


def option(name: str) -> str:
    """A parameter's name as it is typed: ``skip_missing`` → ``--skip-missing``."""
    return f"--{name.replace('_', '-')}"


def look_here() -> str:
    """Modules in the folder that a command is called from can be imported, which a console script's path
    lacks. Returns that folder."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return here
