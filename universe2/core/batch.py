"""Batch: what a runtime returns, as columns over the slots that are ready.

Suffixes: N rows (slots in this batch), M rows with a final observation (M ≤ N).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from universe2.core.errors import InvalidActionError, InvalidSeedError, UnsupportedError


class Fault(IntEnum):
    """Who is to blame for a row that carries no transition."""

    NONE = 0
    ENVIRONMENT = 1
    """The environment's own code raised; the message is its traceback."""
    INFRASTRUCTURE = 2
    """A worker, browser, server or connection died or missed its deadline."""
    USER = 3
    """The request was wrong, which only the environment could find: its step raised InvalidActionError,
    or its reset InvalidSeedError. The episode is over, as after any fault."""


def blame(error: Exception) -> Fault:
    """Who is to blame for what an environment's own code raised."""
    wrong = isinstance(error, (InvalidActionError, InvalidSeedError))
    return Fault.USER if wrong else Fault.ENVIRONMENT


def checked_reward(reward: Any) -> float:
    """``reward`` as a float. Raises ValueError for what is none, and for NaN: that says of a row that it has
    a fault.
    """
    try:
        number = float(reward)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the reward must be one number, got {reward!r:.100}") from None
    if math.isnan(number):
        raise ValueError(
            f"the reward is {reward!r}, which says of a step that it is a fault; "
            "did the environment compute it of infinities, or by dividing by zero?"
        )
    return number


def checked_flag(name: str, flag: Any) -> bool:
    """``flag``, called ``name``, as a bool: True or False, 1 or 0, or an array of one of them.

    Raises ValueError for anything else: any text, "no" too, would pass for True, and None for False.
    """
    if flag is True or flag is False:
        return flag
    try:
        value = flag.item()  # of NumPy's scalars, and of arrays of one, whoever made them
    except (AttributeError, TypeError, ValueError, RuntimeError):
        value = flag
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise ValueError(
        f"{name} must be True or False, got {flag!r:.100}; does the environment return its values in another "
        "order, or text or None in the place of a flag?"
    )


class Column(NamedTuple):
    """One info key over the rows of a batch: ``values[i]`` counts where ``mask[i]``."""

    values: np.ndarray
    mask: np.ndarray


InfoColumns = dict[str, Column]


@dataclass(slots=True)
class Batch:
    """Transitions of the slots that are ready.

    A row is the outcome of one ``send`` or ``reset`` of one slot. ``step == 0`` marks the first
    observation of an episode: its reward is 0.0 by definition and there was no action.

    Arrays may be views of the runtime's buffers. They stay valid until the next ``send`` or
    ``reset`` of any slot in the batch.

    Under ``autoreset="same_step"`` a row whose episode ended carries that transition's reward,
    flags, episode, step and seed, while ``obs`` is the first observation of the next episode;
    the observation that ended the episode is in ``final_obs``, its info in ``final_info``.
    """

    slots: np.ndarray
    """int32 (N,)"""
    obs: Any
    """batched value of the observation space, N rows; zeros where ``fault`` is set"""
    reward: np.ndarray
    """float64 (N,); NaN where ``fault`` is set, never an invented 0"""
    terminated: np.ndarray
    """bool (N,)"""
    truncated: np.ndarray
    """bool (N,)"""
    episode: np.ndarray
    """int64 (N,): how many episodes the slot began before this one"""
    step: np.ndarray
    """int64 (N,): transitions of the episode so far; 0 for a reset"""
    seed: np.ndarray
    """int64 (N,): the seed of the episode"""
    fault: np.ndarray
    """uint8 (N,): a Fault"""
    fault_text: dict[int, str] = field(default_factory=dict)
    """row → what happened, for rows whose fault is set"""
    info: InfoColumns = field(default_factory=dict)
    final_rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    """int32 (M,): the rows that ``final_obs`` and ``final_info`` belong to"""
    final_obs: Any = None
    """batched value, M rows; None if M is 0"""
    final_info: InfoColumns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def ended(self) -> np.ndarray:
        """bool (N,): terminated or truncated."""
        return self.terminated | self.truncated


def fault_batch(
    slots_K: np.ndarray,
    obs: Any,
    episode_K: np.ndarray,
    step_K: np.ndarray,
    seed_K: np.ndarray,
    texts: Sequence[str],
) -> Batch:
    """Infrastructure faults in the place of results that nobody has: reward NaN, and why, row by row."""
    count = len(slots_K)
    return Batch(
        slots=slots_K,
        obs=obs,
        reward=np.full(count, np.nan),
        terminated=np.zeros(count, bool),
        truncated=np.zeros(count, bool),
        episode=episode_K,
        step=step_K,
        seed=seed_K,
        fault=np.full(count, Fault.INFRASTRUCTURE, np.uint8),
        fault_text=dict(enumerate(texts)),
    )


def check_info(info: Mapping[str, Any]) -> None:
    """Raise UnsupportedError unless it is a dict whose keys can name columns, here and on the wire."""
    if not isinstance(info, (dict, Mapping)):  # of a dict the first is told in no time
        raise UnsupportedError(f"info must be a dict, got {info!r:.100}")
    for key in info:
        if not isinstance(key, str) or (not key.isascii() and key.encode(errors="ignore").decode() != key):
            raise UnsupportedError(f"info has the key {key!r}; keys must be texts that UTF-8 can express")


def info_columns(infos: Sequence[Mapping[str, Any]]) -> InfoColumns:
    """One dict per row → columns with presence masks.

    Numbers and equal-shaped arrays of one dtype become plain arrays, anything else an object array.
    Python's numbers come out as NumPy's in either case: what a row says doesn't depend on the others.
    """
    keys = dict.fromkeys(key for info in infos for key in info)
    return {key: _column([info.get(key, _ABSENT) for info in infos]) for key in keys}


def info_rows(columns: InfoColumns, count: int) -> list[dict[str, Any]]:
    """The inverse of ``info_columns``."""
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, (values, mask) in columns.items():
        for row in np.flatnonzero(mask):
            rows[row][key] = values[row]
    return rows


_ABSENT = object()


def _column(cells: list[Any]) -> Column:
    mask = np.array([cell is not _ABSENT for cell in cells])
    present = [cell for cell in cells if cell is not _ABSENT]
    values: np.ndarray
    if all(isinstance(c, (bool, int, float, np.generic, np.ndarray)) for c in present):
        arrays = [np.asarray(c) for c in present]
        first = arrays[0]
        same = all(a.shape == first.shape and a.dtype == first.dtype for a in arrays)
        if same and first.dtype.kind in "biuf":
            values = np.zeros((len(cells), *first.shape), first.dtype)
            values[mask] = np.stack(arrays)
            return Column(values, mask)
    values = np.full(len(cells), None, dtype=object)
    for row, cell in enumerate(cells):
        if cell is not _ABSENT:
            values[row] = np.asarray(cell)[()] if isinstance(cell, (bool, int, float)) else cell
    return Column(values, mask)
