"""What a store's columns hold: fields of its dataclasses as SQLite can keep them, and back, checked.

It doesn't know the tables.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import numpy as np

from universe2.core.errors import UsageError, in_utf8

_MAX_INFO_ITEMS = 64
_JSON = {"suite_content", "references", "versions", "hardware", "config", "info"}
COLUMNS = {"references": "reference_scores", "total": "return"}
"""field → its column, where that has another name"""
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bytes": (bytes,),
    "int": (int,),
    "bool": (int,),
    "Fault": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
}
"""type of a field → what SQLite gives for it. A column's type binds nobody: SQLite keeps a text as a REAL."""


def read_row(kind: type, row: tuple[Any, ...], where: str) -> dict[str, Any]:
    """The fields of dataclass ``kind``. Raises UsageError, which says ``where``, if one can't be read."""
    return {f.name: read_field(f.name, str(f.type), v, where) for f, v in zip(fields(kind), row, strict=True)}


def read_field(name: str, kind: str, value: Any, where: str) -> Any:
    """What a column holds, as a field of type ``kind``. Raises UsageError if it can't be one."""
    column = COLUMNS.get(name, name)
    if name not in _JSON:
        if not isinstance(value, _KINDS[kind]):
            raise UsageError(f"{where}: {column} is {value!r:.80}, not of type {kind}; was the file edited?")
        return value
    try:
        content = json.loads(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {column} is not JSON ({error}); was the file edited?") from None
    if not isinstance(content, dict):
        raise UsageError(f"{where}: {column} is {content!r:.80}, not a table; was the file edited?")
    return content


def written(name: str, value: Any) -> Any:
    """What the column of a field holds. Raises UsageError for what can't be kept."""
    if name in _JSON:
        try:
            return as_json(value)
        except ValueError as error:
            raise UsageError(f"{name} can't be stored as JSON: {error}") from None
    if isinstance(value, float) and math.isnan(value):
        raise UsageError(f"{COLUMNS.get(name, name)} is NaN and can't be stored; was a reward no number?")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise UsageError(
            f"{name} has {value.bit_length()} bits, but a store holds whole numbers of at most 63, and a sign"
        )
    return in_utf8(value) if isinstance(value, str) else value


def as_json(value: Any) -> str:
    """Raises ValueError for what JSON has no words for."""
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False)


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it: NumPy numbers as numbers, large arrays by shape, NaN as text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        small = value.size <= _MAX_INFO_ITEMS
        return _plain(value.tolist()) if small else f"<{value.dtype} array {value.shape}>"
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)
