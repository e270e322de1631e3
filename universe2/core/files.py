"""Files that people write (settings, suites, tokens): errors name the file and what is wrong with it."""

from __future__ import annotations

import tomllib
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
