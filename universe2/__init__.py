"""universe2: every game and every web task behind one interface, lockstep and deterministic.

    import gymnasium as gym, universe2
    env = gym.make("universe2:arcade/Breakout-v0")

Importing this registers every id with Gymnasium and starts nothing; what is heavy is imported
at first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from universe2.faces.registration import register_with_gymnasium

if TYPE_CHECKING:
    from universe2.core import errors as errors
    from universe2.core.errors import Universe2Error as Universe2Error
    from universe2.core.registry import find as find
    from universe2.core.registry import list_envs as list_envs
    from universe2.core.screen import sample_mask as sample_mask
    from universe2.core.spec import EnvConfig as EnvConfig
    from universe2.core.spec import EnvSpec as EnvSpec
    from universe2.faces.make import make as make
    from universe2.faces.make import make_parallel as make_parallel
    from universe2.faces.make import make_pool as make_pool
    from universe2.faces.make import make_vec as make_vec
    from universe2.faces.make import open_runtime as open_runtime
    from universe2.faces.registration import register as register

__version__ = "0.1.0"

_HOMES = {
    "Universe2Error": "universe2.core.errors",
    "errors": "universe2.core",
    "find": "universe2.core.registry",
    "list_envs": "universe2.core.registry",
    "register": "universe2.faces.registration",
    "EnvConfig": "universe2.core.spec",
    "EnvSpec": "universe2.core.spec",
    "make": "universe2.faces.make",
    "make_parallel": "universe2.faces.make",
    "make_pool": "universe2.faces.make",
    "make_vec": "universe2.faces.make",
    "open_runtime": "universe2.faces.make",
    "sample_mask": "universe2.core.screen",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'universe2' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_with_gymnasium()
