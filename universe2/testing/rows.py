"""What every row that comes out of a runtime must hold, in whichever check it is played."""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.core.batch import Batch
from universe2.core.runtime import Runtime
from universe2.core.spaces import leaf_values, leaves, unstack


def check_rows(runtime: Runtime, batch: Batch) -> None:
    """Raise AssertionError for the first row with a fault, or with anything that its spaces don't allow."""
    for row, text in batch.fault_text.items():
        raise AssertionError(f"{_where(batch, row)}: a fault: {text}")
    assert not batch.fault.any(), f"slots {batch.slots[batch.fault > 0].tolist()}: faults without a text"
    _check_columns(batch)
    for row, obs in enumerate(unstack(runtime.observation_space, batch.obs, len(batch))):
        _check_observation(runtime, obs, batch, row, "observation")
    if finals := batch.final_rows.tolist():
        last = unstack(runtime.observation_space, batch.final_obs, len(finals))
        for row, obs in zip(finals, last, strict=True):
            _check_observation(runtime, obs, batch, row, "final observation")


def _check_columns(batch: Batch) -> None:
    assert batch.reward.dtype == np.float64, f"reward has dtype {batch.reward.dtype}, not float64"
    for name in ("terminated", "truncated"):
        dtype = getattr(batch, name).dtype
        assert dtype == np.bool_, f"{name} has dtype {dtype}, not bool"
    for row in np.flatnonzero(~np.isfinite(batch.reward)).tolist():
        raise AssertionError(
            f"{_where(batch, row)}: the reward is {batch.reward[row]}; nothing can be learned from it, "
            "and a mean over it is lost: does the environment divide by zero?"
        )
    odd = [key for key in (*batch.info, *batch.final_info) if not isinstance(key, str)]
    assert not odd, f"slots {batch.slots.tolist()}: info has the keys {odd}, which are not strings"


def _check_observation(runtime: Runtime, obs: Any, batch: Batch, row: int, what: str) -> None:
    space = runtime.observation_space
    for (path, leaf), value in zip(leaves(space), leaf_values(space, obs), strict=True):
        assert leaf.contains(value), (
            f"{_where(batch, row)}: {what}{path} is {value!r:.200}, which is not in {leaf}"
        )


def _where(batch: Batch, row: int) -> str:
    return f"slot {batch.slots[row]}, step {batch.step[row]} (seed {batch.seed[row]})"
