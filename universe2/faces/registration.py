"""Registers every id with Gymnasium, so that ``gym.make("universe2:<id>")`` finds it.

Provider modules are imported for their lists; no environment library is.
"""

from __future__ import annotations

import contextlib

import gymnasium as gym

from universe2.core.registry import list_envs

_ENV = "universe2.faces.make:make"
_VECTOR = "universe2.faces.make:make_vec"


def register_with_gymnasium() -> None:
    """Add all ids that Gymnasium doesn't have yet."""
    for spec in list_envs():
        with contextlib.suppress(gym.error.Error):
            # Gymnasium's ids hold one namespace: gymnasium/ALE/Pong-v5 is for universe2.make only.
            if spec.id not in gym.registry:
                gym.register(
                    spec.id, entry_point=_ENV, vector_entry_point=_VECTOR, kwargs={"env_id": spec.id}
                )
