"""Every action of every game does something of its own somewhere."""

from __future__ import annotations

import numpy as np
import pytest

from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade import games
from universe2.runtimes.compiled import CompiledRuntime

SLOTS, STEPS, EVERY = np.arange(32), 45, 9


@pytest.mark.parametrize("spec", list(games()), ids=lambda spec: spec.name)
def test_every_action_differs_from_all_others(spec: EnvSpec) -> None:
    """At some moment of a game of the heuristic's, each action leads to a picture that no other leads to."""
    runtime = CompiledRuntime(spec, len(SLOTS), EnvConfig(options={"size": 64}))
    choices = int(runtime.action_space.n)  # type: ignore[attr-defined]
    told_apart = np.eye(choices, dtype=bool)
    runtime.reset(SLOTS, SLOTS)
    runtime.recv()
    for k in range(STEPS):
        if k % EVERY == 0:
            saved = runtime.snapshot(SLOTS)
            after = []
            for action in range(choices):
                runtime.send(SLOTS, np.full(len(SLOTS), action))
                after.append(runtime.recv().obs.copy())
                runtime.restore(SLOTS, saved)
                runtime.recv()
            for a in range(choices):
                for b in range(a):
                    told_apart[a, b] = told_apart[b, a] = told_apart[a, b] or (after[a] != after[b]).any()
        runtime.send(SLOTS, runtime.heuristic(SLOTS))
        runtime.recv()
    assert told_apart.all(), f"actions {np.argwhere(~told_apart).tolist()} do the same"
