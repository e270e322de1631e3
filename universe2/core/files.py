"""Files that people write (settings, suites, tokens, keys): errors name the file and what is wrong."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from universe2.core.errors import UsageError


def read_bytes(path: Path, what: str) -> bytes:
    """What is in ``path``, which is ``what``. Raises UsageError if it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}") from None


def read_token(path: str | Path) -> str:
    """A server's token: the only line of the file, of 16 characters or more. Raises UsageError."""
    token = read_bytes(Path(path), "token file").decode(errors="replace").strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"the token in {path} must be one line of at least 16 printable ASCII characters")
    return token


def read_text(path: Path, what: str) -> str:
    """The text of ``path``, which is ``what``. Raises UsageError if it can't be read or isn't UTF-8."""
    content = read_bytes(path, what)
    try:
        return content.decode()
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


def hint(name: str, known: Collection[str]) -> str:
    """`` Did you mean …?`` if one of the ``known`` is close to ``name``, otherwise nothing."""
    close = get_close_matches(name, list(known), 1)
    return f" Did you mean {close[0]!r}?" if close else ""


def check_keys(table: Mapping[str, Any], known: Collection[str], where: str, needed: str = "") -> None:
    """Raise UsageError if ``table`` has a key that isn't known, or lacks one of the ``needed`` (words)."""
    for key in table:
        if key not in known:
            raise UsageError(f"{where} has no key {key!r}.{hint(key, known)} Keys: {', '.join(known)}")
    if missing := [key for key in needed.split() if key not in table]:
        raise UsageError(f"{where}: {', '.join(missing)} is missing")


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
