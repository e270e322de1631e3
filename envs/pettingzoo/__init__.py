"""The PettingZoo family: whatever parallel environment is registered with PettingZoo, as ``pettingzoo/<id>``.

``resolve`` finds anything registered at the moment of asking: what PettingZoo brings itself, such as
``pettingzoo/butterfly/cooperative_pong-v6``, and a user's own; ``known`` lists it. Neither starts one.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import gymnasium as gym
from pettingzoo import EnvSpec as ZooSpec
from pettingzoo import ParallelEnv, parallel_registry
from pettingzoo import make as make_parallel
from pettingzoo.env_registry.exceptions import FailedToImport

from universe2.core.errors import InterfaceError, MissingDependencyError
from universe2.core.spec import EnvConfig, EnvSpec, Requirement, Spaces
from universe2.envs.gymnasium import blaming_make_kwargs, fps_of
from universe2.envs.pettingzoo.adapter import AgentsEnv

PREFIX = "pettingzoo/"
_PYGAME = Requirement("pygame", "pip install pygame")
_NEEDS = {
    "pettingzoo.atari": (
        _PYGAME,
        Requirement("multi_agent_ale_py", 'pip install "pettingzoo[atari]"'),
        Requirement(
            "Atari cartridges", "pip install autorom && AutoROM", "universe2.envs.pettingzoo:has_cartridges"
        ),
    ),
    "pettingzoo.butterfly": (_PYGAME,),
    "pettingzoo.butterfly.pistonball": (
        _PYGAME,
        Requirement("pymunk", 'pip install "pettingzoo[butterfly]"'),
    ),
    "pettingzoo.classic": (_PYGAME,),
    "pettingzoo.sisl": (_PYGAME, Requirement("scipy", 'pip install "pettingzoo[sisl]"')),
    "pettingzoo.sisl.multiwalker": (_PYGAME, Requirement("Box2D", 'pip install "pettingzoo[sisl]"')),
}
"""Where an environment's code lies → what it needs; the longest that fits counts."""
_KEEPS_ITS_PAST = frozenset({"butterfly/knights_archers_zombies-v11"})
"""Whose reset leaves some of the episode before, so that the seed alone would not decide: made anew."""


def resolve(env_id: str) -> EnvSpec | None:
    """The spec of ``pettingzoo/<id>`` for any parallel environment that is registered with PettingZoo now."""
    spec = parallel_registry.get(env_id.removeprefix(PREFIX))
    return None if spec is None else _spec(spec)


def known() -> list[EnvSpec]:
    """Every parallel environment that is registered with PettingZoo now."""
    return [_spec(spec) for spec in parallel_registry.values()]


resolve.known = known  # type: ignore[attr-defined]  # for the registry, see there


def has_cartridges() -> bool:
    """Whether AutoROM has put Atari's cartridges where PettingZoo looks for them."""
    found = importlib.util.find_spec("multi_agent_ale_py")
    folders = [] if found is None else found.submodule_search_locations or []
    return any(next(Path(folder).glob("[rR][oO][mM]*/**/*.bin"), None) for folder in folders)


def _spec(spec: ZooSpec) -> EnvSpec:
    code = spec.entry_point.partition(":")[0] if isinstance(spec.entry_point, str) else ""
    fitting = [place for place in _NEEDS if f"{code}.".startswith(f"{place}.")]
    return EnvSpec(
        id=f"{PREFIX}{spec.id}",
        runtime="process",
        entry="universe2.envs.pettingzoo:make",
        spaces_from="universe2.envs.pettingzoo:spaces",
        kwargs={"creator": spec, **({"anew": True} if spec.id in _KEEPS_ITS_PAST else {})},
        options={"make_kwargs": None},
        requires=_NEEDS[max(fitting, key=len)] if fitting else (),
        description=f"PettingZoo's {spec.id}.",
        multi_agent=True,
    )


def make(creator: Any, make_kwargs: Any = None, anew: bool = False) -> gym.Env:
    """The environment of PettingZoo's spec (or of a class), as one that steps all agents at once.

    ``make_kwargs`` are its own; without a ``render_mode`` among them it draws to arrays if it can. With
    ``anew`` each episode has an environment of its own.
    """
    kwargs = dict(make_kwargs or {})

    def one() -> ParallelEnv:
        if isinstance(creator, ZooSpec):
            return make_parallel("parallel", creator, **kwargs)
        return creator(**kwargs)

    try:
        env = one()
        if "render_mode" not in kwargs and _draws_if_asked(env):  # which only an environment can tell
            env.close()
            kwargs["render_mode"] = "rgb_array"
            env = one()
        return AgentsEnv(env, one if anew else None)
    except FailedToImport as error:
        raise MissingDependencyError(str(error)) from error


def _draws_if_asked(env: ParallelEnv) -> bool:
    """Was it made without a render mode, and does it have the one for arrays?"""
    modes = (getattr(env, "metadata", None) or {}).get("render_modes", [])
    return "rgb_array" in modes and getattr(env, "render_mode", "unknown") is None


def spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    """The spaces of an environment made here for a moment."""
    if config.interface == "screen":
        raise InterfaceError(f"{spec.id} has no screen interface: what each agent sees is its own affair")
    options = spec.resolve(config.options)
    with blaming_make_kwargs(spec, options["make_kwargs"]):
        env = make(**spec.kwargs, **options)
    try:
        return Spaces(env.observation_space, env.action_space, render_fps=fps_of(env))
    finally:
        env.close()
