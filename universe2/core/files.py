"""Files that people write (settings, suites, tokens): errors name the file and what is wrong with it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from universe2.core.errors import UsageError


def read_text(path: Path, what: str) -> str:
    """The text of ``path``, which is ``what``. Raises UsageError if it can't be read or isn't UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UsageError(
            f"the {what} {path} is not text in UTF-8 (byte {error.start} is 0x{byte:02x}); "
            "is it another file, or saved in another encoding?"
        ) from None


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables in ``path``. Raises UsageError if it can't be read or isn't TOML."""
    try:
        return tomllib.loads(read_text(path, what))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the {what} {path} is not TOML: {error}") from None


KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
    "list": ((list,), "a list"),
    "table": ((Mapping,), "a table"),
}
"""kind of a setting → its types, and how to say it"""


def is_a(value: Any, kind: str) -> bool:
    """Is ``value`` of that kind? A truth value is no number."""
    types, _ = KINDS[kind]
    return isinstance(value, types) and (kind == "bool" or not isinstance(value, bool))


def checked(name: str, value: Any, kind: str) -> Any:
    """``value``, or UsageError if it is not of that ``kind``, one of KINDS."""
    if not is_a(value, kind):
        raise UsageError(f"{name} must be {KINDS[kind][1]}, got {value!r}")
    return value
