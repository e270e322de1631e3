"""What a Gymnasium environment's ``reset`` and ``step`` return, and words for what returns something else.

Environments of old Gym return less: an observation alone, four values a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.core.errors import FaultError
from universe2.core.spec import EnvSpec

RESET = ("observation", "info")
STEP = ("observation", "reward", "terminated", "truncated", "info")


def checked(found: Any, method: str, values: tuple[str, ...], spec: EnvSpec) -> tuple[Any, ...]:
    """``found``, which ``method`` returned. Raises FaultError if it isn't so many ``values``."""
    if isinstance(found, (tuple, list)) and len(found) == len(values):
        return tuple(found)
    raise FaultError(
        f"{spec.id}: {method}() returned {_in_words(found)}; "
        f"Gymnasium's returns {len(values)} values: {', '.join(values)}"
    )


def _in_words(found: Any) -> str:
    if isinstance(found, (tuple, list)):
        return f"{len(found)} values"
    if isinstance(found, np.ndarray):
        return f"an array of {found.dtype}, {found.shape}"
    return repr(found)[:100]
