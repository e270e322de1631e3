"""Rows of a batch that can't be written: which, why, and the batch with faults in their place.

It is asked only when writing the whole batch has failed. What is cheap to check, runtimes check where
it arises; this is for what they let through.

Suffixes: N rows of the batch, K of them that can't be written, M rows with a final observation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.batch import Batch, Column, Fault, InfoColumns
from universe2.core.spaces import copied, empty, put, take
from universe2.wire.columns import write_values
from universe2.wire.infos import write_infos


def unwritable_rows(batch: Batch, space: spaces.Space[Any]) -> dict[int, str]:
    """Row → what of it can't be written, and why."""
    found: dict[int, str] = {}
    for row in range(len(batch)):
        for what, write in _parts(batch, space, row):
            try:
                write()
            except Exception as error:  # noqa: BLE001  whatever a foreign object does when it is written
                found[row] = f"the environment's {what} can't be sent: {type(error).__name__}: {error}"
                break
    return found


def with_faults(batch: Batch, space: spaces.Space[Any], texts: dict[int, str]) -> Batch:
    """``batch`` with a fault of the environment in the rows of ``texts``; the others are as they were."""
    rows_K = np.array(sorted(texts), np.int64)
    well_N = np.ones(len(batch), bool)
    well_N[rows_K] = False
    kept_M = np.flatnonzero(well_N[batch.final_rows])
    return dataclasses.replace(
        batch,
        obs=put(space, copied(space, batch.obs), rows_K, empty(space, len(rows_K))),
        reward=np.where(well_N, batch.reward, np.nan),
        terminated=batch.terminated & well_N,
        truncated=batch.truncated & well_N,
        fault=np.where(well_N | (batch.fault != 0), batch.fault, Fault.ENVIRONMENT.value).astype(np.uint8),
        fault_text={**texts, **batch.fault_text},
        info=_kept(batch.info, well_N),
        final_rows=batch.final_rows[kept_M],
        final_obs=take(space, batch.final_obs, kept_M) if len(kept_M) else None,
        final_info=_some(batch.final_info, kept_M),
    )


def _parts(batch: Batch, space: spaces.Space[Any], row: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a row consists of: (its name, what writes it)."""
    yield "observation", partial(_write_row, space, batch.obs, row)
    yield from _cells("info", batch.info, row)
    for final in np.flatnonzero(batch.final_rows == row).tolist():
        yield "final observation", partial(_write_row, space, batch.final_obs, final)
        yield from _cells("final info", batch.final_info, final)


def _cells(what: str, columns: InfoColumns, row: int) -> Iterator[tuple[str, Callable[[], object]]]:
    for key, column in _some(columns, np.array([row])).items():
        yield f"{what} {key!r}", partial(write_infos, {key: column}, [])


def _write_row(space: spaces.Space[Any], batched: Any, row: int) -> None:
    write_values(space, take(space, batched, [row]), [])


def _some(columns: InfoColumns, rows: np.ndarray) -> InfoColumns:
    return {
        key: Column(values[rows], mask[rows]) for key, (values, mask) in columns.items() if mask[rows].any()
    }


def _kept(columns: InfoColumns, well_N: np.ndarray) -> InfoColumns:
    """The columns without what they say of the other rows."""
    return {
        key: Column(values, mask & well_N) for key, (values, mask) in columns.items() if (mask & well_N).any()
    }
