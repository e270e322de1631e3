"""What the compiler says of a game that it can't compile, in words for the game's author.

Numba's own text goes through all callers; here it is one line, with the place in the game's file.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, cast

from numba.core import errors, ir, types

from universe2.core.errors import Universe2Error, UsageError
from universe2.runtimes.compiled_build import Function

# Numba's types for these are wrong or missing.
_Place: Any = ir.Loc
_Record: Any = types.Record

_MENTIONED = re.compile(r'File "([^"\n]+)", line (\d+)')
_INNERMOST = re.compile(r"<function (\w+)_[0-9a-f]{16} at ")
_NOISE = ("Failed in nopython", "During:", "File ", "There are", "Return of:", ">>>", "-", "*")


@contextlib.contextmanager
def explained(functions: Mapping[str, Function], returns: Mapping[str, str]) -> Iterator[None]:
    """Turns what compiling ``functions`` and their callees raises into a UsageError.

    ``returns`` says in words what they must return, of those whose results the loops make use of.
    """
    try:
        yield
    except (Universe2Error, OSError, MemoryError):
        raise
    except Exception as error:  # a misspelt field is a KeyError from deep within Numba
        whose = {name: cast(FunctionType, function) for name, function in functions.items()}
        raise UsageError(
            f"the game can't be compiled: {_complaint(error, whose, returns)}. "
            "UNIVERSE2_DEBUG=1 plays it as plain Python"
        ) from error


def _complaint(error: Exception, whose: Mapping[str, FunctionType], returns: Mapping[str, str]) -> str:
    """What is wrong, and where."""
    reason, authors = _reason(error), list(whose.values())
    place = _statement(error, authors)
    inner = _innermost(error, authors)
    if place or inner or not isinstance(error, errors.TypingError):
        return f"{reason}, at {place or _head(inner or authors[0])}"
    # Of a loop around the game: there only what one function returned can have a wrong type.
    name, function = next((name, one) for name, one in whose.items() if name in returns)
    return (
        f"{function.__name__} must return {returns[name]} ({reason}), at {_head(function)}. "
        "Of a game for one player universe2.testing.games.check_game names the line"
    )


def _reason(error: Exception) -> str:
    """In one line."""
    if isinstance(error, KeyError) and any(isinstance(one, _Record) for one in _selves(error)):
        return f"the state has no field {error}"
    if not isinstance(error, errors.NumbaError):
        return f"{type(error).__name__}: {error}"
    lines = [line.strip() for line in str(error).splitlines()]
    reason = next((line for line in lines if line and not line.startswith(_NOISE)), type(error).__name__)
    call = next((line.removeprefix(">>>") for line in lines if line.startswith(">>>")), "")
    return reason + call if reason.endswith("signature:") else reason


def _statement(error: Exception, whose: list[FunctionType]) -> str:
    """The file and line, if they are known."""
    files = {Path(function.__code__.co_filename).resolve() for function in whose}
    constraint = next(
        (one.loc for one in _selves(error) if isinstance(getattr(one, "loc", None), _Place)), None
    )
    places = [] if constraint is None else [(constraint.filename, constraint.line)]
    for name, line in [*places, *_MENTIONED.findall(str(error))]:
        if Path(name).resolve() in files:
            return f"{Path(name).resolve()}:{line}"
    return ""


def _innermost(error: Exception, whose: list[FunctionType]) -> FunctionType | None:
    """The first of the functions that the error came through."""
    names = _INNERMOST.findall(str(error))
    return next((one for name in names for one in whose if one.__name__ == name), None)


def _head(function: FunctionType) -> str:
    """The file and line at which it begins."""
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno} ({function.__name__})"


def _selves(error: Exception) -> Iterator[Any]:
    """The objects whose methods the error went through, innermost first."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        yield frame.f_locals.get("self")
