"""Batched values of Gymnasium spaces: allocate, stack, select rows, check actions.

The batched form is Gymnasium's own (``gymnasium.vector.utils``): an array with a leading
axis for Box, Discrete, MultiDiscrete and MultiBinary; a dict or tuple of batched values for
Dict and Tuple; a tuple of n values for Text, Sequence, Graph and OneOf, whose values differ
in size. This file doesn't know how values travel (see ``universe2.wire``).

Suffixes: N rows of a batch, K slots of one call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

from universe2.core.errors import InvalidActionError

FIXED = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def empty(space: spaces.Space[Any], count: int) -> Any:
    """``count`` rows of zeros (for variable-size spaces: a tuple of the smallest values)."""
    if isinstance(space, spaces.Dict):
        return {key: empty(sub, count) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(empty(sub, count) for sub in space.spaces)
    if isinstance(space, FIXED):
        return np.zeros((count, *(space.shape or ())), dtype=space.dtype)
    return create_empty_array(space, n=count, fn=np.zeros)


def stack(space: spaces.Space[Any], values: Sequence[Any]) -> Any:
    """Single values, in order, as one batched value."""
    if isinstance(space, spaces.Dict):
        return {key: stack(sub, [v[key] for v in values]) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(stack(sub, [v[i] for v in values]) for i, sub in enumerate(space.spaces))
    if isinstance(space, FIXED):
        out = empty(space, len(values))
        return concatenate(space, values, out) if len(values) else out
    return tuple(values)


def unstack(space: spaces.Space[Any], batched: Any, count: int) -> list[Any]:
    """The ``count`` single values of a batched one."""
    if isinstance(space, spaces.Dict):
        parts = {key: unstack(sub, batched[key], count) for key, sub in space.spaces.items()}
        return [{key: values[row] for key, values in parts.items()} for row in range(count)]
    if isinstance(space, spaces.Tuple):
        columns = [unstack(sub, batched[i], count) for i, sub in enumerate(space.spaces)]
        return [tuple(column[row] for column in columns) for row in range(count)]
    return list(batched)


def take(space: spaces.Space[Any], batched: Any, rows: Any) -> Any:
    """Some rows of a batched value. A slice gives views of arrays, an index array copies."""
    if isinstance(space, spaces.Dict):
        return {key: take(sub, batched[key], rows) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(take(sub, batched[i], rows) for i, sub in enumerate(space.spaces))
    if isinstance(space, FIXED):
        return batched[rows]
    if isinstance(rows, slice):
        return tuple(batched[rows])
    return tuple(batched[int(r)] for r in rows)


def as_rows(slots_K: np.ndarray) -> Any:
    """A slice if the slots are neighbours in order, so that indexing gives a view; else themselves."""
    count = len(slots_K)
    if count and int(slots_K[-1]) - int(slots_K[0]) == count - 1 and bool((np.diff(slots_K) == 1).all()):
        return slice(int(slots_K[0]), int(slots_K[-1]) + 1)
    return slots_K


def put(space: spaces.Space[Any], target: Any, rows: Any, source: Any) -> Any:
    """``target`` with ``rows`` replaced by ``source``; arrays are written in place."""
    if isinstance(space, spaces.Dict):
        return {k: put(s, target[k], rows, source[k]) for k, s in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        subs = enumerate(space.spaces)
        return tuple(put(s, target[i], rows, source[i]) for i, s in subs)
    if isinstance(space, FIXED):
        target[rows] = source
        return target
    merged = list(target)
    for row, value in zip(np.arange(len(merged))[rows], source, strict=True):
        merged[int(row)] = value
    return tuple(merged)


def copied(space: spaces.Space[Any], batched: Any) -> Any:
    """A batched value that shares no array memory with the one given."""
    if isinstance(space, spaces.Dict):
        return {key: copied(sub, batched[key]) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(copied(sub, batched[i]) for i, sub in enumerate(space.spaces))
    if isinstance(space, FIXED):
        return np.array(batched)
    return tuple(batched)


def leaves(space: spaces.Space[Any], path: str = "") -> Iterator[tuple[str, spaces.Space[Any]]]:
    """(path, space) of everything that is neither Dict nor Tuple, in a fixed order."""
    if isinstance(space, spaces.Dict):
        for key, sub in space.spaces.items():
            yield from leaves(sub, f"{path}/{key}")
    elif isinstance(space, spaces.Tuple):
        for i, sub in enumerate(space.spaces):
            yield from leaves(sub, f"{path}/{i}")
    else:
        yield path, space


def leaf_values(space: spaces.Space[Any], batched: Any) -> Iterator[Any]:
    """The (batched or single) values of ``leaves(space)``, in the same order."""
    if isinstance(space, spaces.Dict):
        for key, sub in space.spaces.items():
            yield from leaf_values(sub, batched[key])
    elif isinstance(space, spaces.Tuple):
        for i, sub in enumerate(space.spaces):
            yield from leaf_values(sub, batched[i])
    else:
        yield batched


def from_leaves(space: spaces.Space[Any], values: Iterable[Any]) -> Any:
    """The inverse of ``leaf_values``: a (batched or single) value from those of its leaves."""
    return _from_leaves(space, iter(values))


def _from_leaves(space: spaces.Space[Any], values: Iterator[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _from_leaves(sub, values) for key, sub in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_from_leaves(sub, values) for sub in space.spaces)
    return next(values)


def check_actions(space: spaces.Space[Any], actions: Any, slots: np.ndarray) -> Any:
    """``actions`` (batched, one row per slot) in the space's dtypes.

    Raises InvalidActionError, which names the first offending slot, what was expected and
    what was received. Floats outside a Box's bounds are refused, not clipped: clipping in
    silence hides a policy's fault.
    """
    return _check(space, actions, slots, "action")


def _check(space: spaces.Space[Any], actions: Any, slots: np.ndarray, where: str) -> Any:
    if isinstance(space, spaces.Dict):
        if not isinstance(actions, Mapping) or set(actions) != set(space.spaces):
            given = sorted(actions, key=str) if isinstance(actions, Mapping) else type(actions).__name__
            wanted = f"a dict of {sorted(space.spaces)}"
            raise InvalidActionError(f"{where} for slots {_span(slots)}: expected {wanted}, received {given}")
        return {k: _check(s, actions[k], slots, f"{where}[{k!r}]") for k, s in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        if not isinstance(actions, (tuple, list)) or len(actions) != len(space.spaces):
            raise InvalidActionError(
                f"{where} for slots {_span(slots)}: expected a tuple of {len(space.spaces)} batched parts, "
                f"received {shown(actions)}"
            )
        subs = enumerate(space.spaces)
        return tuple(_check(s, actions[i], slots, f"{where}[{i}]") for i, s in subs)
    if isinstance(space, FIXED):
        return _check_array(space, actions, slots, where)
    if not isinstance(actions, Iterable):
        raise InvalidActionError(
            f"{where} for slots {_span(slots)}: expected values of {space}, received {shown(actions)}"
        )
    values = tuple(actions)
    if len(values) != len(slots):
        raise InvalidActionError(
            f"{where} for slots {_span(slots)}: expected {len(slots)} values, received {len(values)}"
        )
    for slot, value in zip(slots, values, strict=True):
        if not space.contains(value):
            raise InvalidActionError(f"slot {slot}: {where}: expected {space}, received {shown(value)}")
    return values


def _check_array(space: Any, actions: Any, slots: np.ndarray, where: str) -> np.ndarray:
    try:
        array = np.asarray(actions)
    except ValueError as error:
        raise InvalidActionError(
            f"{where} for slots {_span(slots)}: expected an array for {space}, received none: {error}"
        ) from None
    shape = (len(slots), *(space.shape or ()))
    if array.shape != shape:
        raise InvalidActionError(
            f"{where} for slots {_span(slots)}: expected shape {shape} for {space}, "
            f"received shape {array.shape}"
        )
    wanted = np.dtype(space.dtype)
    discrete = wanted.kind in "iu"
    if array.dtype.kind not in ("iu" if discrete else "iuf") or array.dtype.kind == "b":
        if not (array.dtype.kind == "b" and isinstance(space, (spaces.Box, spaces.MultiBinary))):
            raise InvalidActionError(
                f"{where} for slots {_span(slots)}: expected dtype {wanted} for {space}, "
                f"received {array.dtype}"
            )
    low, high = _bounds(space)
    inside = (array >= low) & (array <= high)
    if not discrete:
        with np.errstate(over="ignore"):
            cast = array.astype(wanted)
        inside = (cast >= low) & (cast <= high)
    if np.count_nonzero(inside) != inside.size:  # of few booleans ``all`` takes several times as long
        rows = inside.reshape(len(slots), -1).all(axis=1)
        row = int(np.argmin(rows))
        raise InvalidActionError(
            f"slot {slots[row]}: {where}: expected {space}, received {shown(array[row])}"
        )
    return array.astype(wanted, copy=False)


def _bounds(space: Any) -> tuple[Any, Any]:
    if isinstance(space, spaces.Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, spaces.MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    if isinstance(space, spaces.MultiBinary):
        return 0, 1
    return space.low, space.high


def _span(slots: np.ndarray) -> str:
    return str(slots.tolist()) if len(slots) <= 4 else f"{slots[0]}…{slots[-1]} ({len(slots)} of them)"


def shown(value: Any) -> str:
    """A value in an error: at most 120 characters."""
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "…"
