"""Canonical: values written down so that equal ones give one text and different ones don't.

Plain data is written as JSON writes it: None, bool, int, float, str, lists, dicts with string keys. All else
is an object with the single key ``_MARK``; a caller's dict that has this key is itself marked, so never
mistaken for one.

Exact: plain data, whatever its size; dicts with any keys; bytes; sets, whatever their order; NumPy
arrays and numbers of any dtype; dataclasses. Not told apart: a list and a tuple; a subclass of a plain type,
such as np.float64 or an IntEnum, and what it holds. Anything else counts as its type and what it prints: as
exact as its ``__repr__``, and no more than that.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from typing import Any

import numpy as np

_MARK = "\0"


def canonical(value: Any) -> str:
    """The text. Raises ValueError if there is none: a value that holds itself, a number without end."""
    try:
        # for arrays within what prints itself
        with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
            return _text(_plain(value))
    except RecursionError:
        raise ValueError("it holds itself, or nests too deep") from None


def _text(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True)


def _plain(value: Any) -> Any:
    """The value as what JSON can write."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return _mapping(value)
    return {_MARK: [_kind(value), _content(value)]}


def _mapping(value: dict[Any, Any]) -> Any:
    if all(isinstance(key, str) for key in value) and _MARK not in value:
        return {key: _plain(item) for key, item in value.items()}
    pairs = [[_plain(key), _plain(item)] for key, item in value.items()]
    return {_MARK: ["dict", sorted(pairs, key=lambda pair: _text(pair[0]))]}


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _content(value: Any) -> Any:
    """What is in a value that JSON doesn't know."""
    if isinstance(value, bytes | bytearray):
        return value.hex()
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=_text)
    if type(value) is np.ndarray or isinstance(value, np.generic):
        return _array(np.asarray(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name, None)) for field in dataclasses.fields(value)}
    return repr(value)


def _array(array: np.ndarray) -> Any:
    """dtype, shape and content; the order of bytes doesn't count."""
    if array.dtype.hasobject or array.dtype.kind in "VT":  # bytes are addresses, or have gaps
        return [str(array.dtype), array.shape, _plain(array.tolist())]
    if array.dtype.char in "gG":  # so have the bytes of long doubles
        return [str(array.dtype), array.shape, [repr(number) for number in array.flat]]
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return [little.dtype.str, array.shape, hashlib.sha256(little.tobytes()).hexdigest()]
