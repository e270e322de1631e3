"""Actions that every runtime must refuse, as far as its space has any."""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.core.agents import agents_of
from universe2.core.runtime import Runtime
from universe2.core.spaces import FIXED, empty, leaves


def wrong_actions(runtime: Runtime) -> list[tuple[str, Any, str]]:
    """(what is wrong, action for two slots, how the refusal must name them), as far as the space allows."""
    space, both = runtime.action_space, "slots [0, 1]"
    wrong: list[tuple[str, Any, str]] = [("a wrong type", object(), both)]
    if isinstance(space, FIXED):
        good = empty(space, 2)
        wrong.append(("a row too few", good[:1], both))
        wrong.append(("a wrong shape", np.zeros((2, 3, 5, 7), good.dtype), both))
        if np.dtype(space.dtype).kind in "iu":
            wrong.append(("a fractional number", good.astype(np.float64) + 0.5, both))
            high = good.astype(np.int64)
            high[1] = 10**6
            wrong.append(("a value out of range", high, "slot 1"))
        else:
            bad = good.copy()
            bad[1] = np.nan
            wrong.append(("a NaN", bad, "slot 1"))
    else:
        wrong.append((f"nothing for {[path for path, _ in leaves(space)]}", (), both))
    if runtime.spec.multi_agent:
        first, good = agents_of(space)[0], empty(space, 2)
        others = {agent: value for agent, value in good.items() if agent != first}
        wrong.append((f"nothing for {first}", others, both))
        wrong.append(("one agent too many", {**good, "stranger": good[first]}, both))
    return wrong
