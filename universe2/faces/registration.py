"""Registers every id with Gymnasium, so that ``gym.make("universe2:<id>")`` finds it.

Provider modules are imported for their lists; no environment library is.
"""

from __future__ import annotations

import contextlib

import gymnasium as gym

from universe2.core import registry
from universe2.core.registry import list_envs
from universe2.core.spec import EnvSpec

_ENV = "universe2.faces.make:make"
_VECTOR = "universe2.faces.make:make_vec"


def register_with_gymnasium() -> None:
    """Add all ids that Gymnasium doesn't have yet."""
    for spec in list_envs():
        _tell_gymnasium(spec)


def register(spec: EnvSpec) -> EnvSpec:
    """Add one spec for this process (a notebook's own environment, a test's), with Gymnasium too.

    Raises UsageError if its id is taken.
    """
    registry.register(spec)
    _tell_gymnasium(spec)
    return spec


def _tell_gymnasium(spec: EnvSpec) -> None:
    with contextlib.suppress(gym.error.Error):
        # Gymnasium's ids hold one namespace: gymnasium/ALE/Pong-v5 is for universe2.make only.
        if spec.id not in gym.registry:
            gym.register(spec.id, entry_point=_ENV, vector_entry_point=_VECTOR, kwargs={"env_id": spec.id})
