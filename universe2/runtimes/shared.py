"""SlotMemory: anonymous memory that holds the fixed-size observation leaves of every slot.

The memory is an anonymous file (``core.shareable``) that both sides inherit by descriptor. It has
no name, so nothing is left behind whichever process dies first, and however. This file doesn't know
processes or episodes.

Suffixes: S all slots of a runtime.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.shareable import DATA_AT, open_region
from universe2.core.spaces import FIXED, leaf_values, leaves

_ALIGN = 64
_TAKES = {"b": "biu", "i": "biu", "u": "biu", "f": "biuf"}
"""Kinds of dtypes: a leaf's → those that an environment may return for it."""
_Shape = tuple[tuple[int, ...], Any] | None


class SlotMemory:
    """One array (S, *shape) per fixed-size leaf, in the order of ``leaves(space)``.

    ``current`` holds the observations, ``final`` those that ended an episode (empty unless
    ``with_final``); a leaf of variable size has None in its place. ``progress`` is int64
    (num_workers,), counted up by a worker for each slot it is done with; ``resetting`` is bool
    (S,), set by a worker when it resets a slot within a step ("same_step").
    """

    def __init__(
        self, space: spaces.Space[Any], num_slots: int, num_workers: int, with_final: bool, fd: int = -1
    ) -> None:
        shapes: list[_Shape] = [
            ((num_slots, *(leaf.shape or ())), leaf.dtype) if isinstance(leaf, FIXED) else None
            for _, leaf in leaves(space)
        ]
        plan: list[_Shape] = [((num_workers,), np.dtype(np.int64)), ((num_slots,), np.dtype(np.bool_))]
        plan += [*shapes, *(shapes if with_final else [])]
        sizes = [0 if p is None else int(np.prod(p[0])) * np.dtype(p[1]).itemsize for p in plan]
        starts = np.concatenate([[0], np.cumsum([-(-size // _ALIGN) * _ALIGN for size in sizes])])
        starts += DATA_AT
        self._map, self.fd = open_region(int(starts[-1])) if fd < 0 else (mmap.mmap(fd, int(starts[-1])), fd)
        arrays: list[np.ndarray | None] = [
            None
            if p is None
            else np.frombuffer(self._map, p[1], int(np.prod(p[0])), int(start)).reshape(p[0])
            for p, start in zip(plan, starts[:-1], strict=True)
        ]
        progress, resetting, *observations = arrays
        assert progress is not None
        assert resetting is not None
        self.space = space
        self.progress = progress
        self.resetting = resetting
        self.current = observations[: len(shapes)]
        self.final = observations[len(shapes) :]

    def write(self, arrays: list[np.ndarray | None], slot: int, value: Any) -> list[Any]:
        """Store one observation; returns the values of its variable-size leaves, in order.

        Raises TypeError or ValueError, which name the leaf, if the shape is wrong, a number can't be held
        by the leaf's dtype (floats may be rounded), or a text is none. The space's bounds are not looked
        at, nor are other leaves of variable size.
        """
        loose = []
        parts = zip(leaves(self.space), arrays, leaf_values(self.space, value), strict=True)
        for (path, space), array, part in parts:
            if array is None:
                if isinstance(space, spaces.Text):
                    _check_text(path, part)
                loose.append(part)
                continue
            given = np.asarray(part)
            if given.shape != array.shape[1:] or given.dtype.kind not in _TAKES[array.dtype.kind]:
                raise ValueError(
                    f"observation{path}: expected {space}, the environment returned "
                    f"shape {given.shape} and dtype {given.dtype}: {_shown(given)}"
                )
            if given.dtype == array.dtype:
                array[slot] = given
            elif (lost := _cast(given, array[slot, ...])) is not None:
                raise ValueError(
                    f"observation{path}: expected {space}, the environment returned dtype {given.dtype} "
                    f"with the value {given[lost]} at {list(lost)}, which {array.dtype} can't hold"
                )
        return loose

    def clear(self, slot: int) -> None:
        """Zero a slot's current observation."""
        for array in self.current:
            if array is not None:
                array[slot] = 0

    def close(self) -> None:
        """Start no more workers with it. It ends with the last of its arrays."""
        self.fd = -1


def _check_text(path: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"observation{path}: expected a text, the environment returned {value!r:.80}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"observation{path}: the text can't be encoded: {error}") from None


def _cast(given: np.ndarray, into: np.ndarray) -> tuple[int, ...] | None:
    """Write; returns where a number became another one, beyond the rounding of floats, or None."""
    if into.dtype.kind != "f":
        into[...] = given
        lost = into != given
    else:
        try:
            with np.errstate(over="raise"):
                into[...] = given
            return None
        except FloatingPointError:
            with np.errstate(over="ignore"):
                into[...] = given
            lost = np.isinf(into) & np.isfinite(given)
    return tuple(np.argwhere(lost)[0].tolist()) if lost.any() else None


def _shown(given: np.ndarray) -> str:
    first = ", ".join(map(str, given.flat[:3].tolist()))
    return f"[{first}, …]" if given.size > 3 else f"[{first}]"
