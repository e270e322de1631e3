"""Seeds for environments that ignore ``reset(seed=…)`` and want them by a method of their own: NetHack's.

NLE and MiniHack have ``seed(core, disp, reseed)``; NetHackChallenge's raises, as it allows none.
"""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium as gym

_NETHACK = {"core", "disp", "reseed"}


def seeded(env: gym.Env) -> gym.Env:
    """``env``, or one around it whose resets hand their seed to that method."""
    method = getattr(env.unwrapped, "seed", None)
    if not inspect.ismethod(method) or not _NETHACK.issubset(inspect.signature(method).parameters):
        return env
    return _NetHackSeeds(env)


class _NetHackSeeds(gym.Wrapper):
    """Both of the game's generators get the seed, and it never takes a new one by itself."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self.env.unwrapped.seed(core=seed, disp=seed, reseed=False)  # type: ignore[attr-defined]
        return self.env.reset(seed=seed, options=options)
