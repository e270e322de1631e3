"""The PettingZoo family: whatever parallel environment is registered with PettingZoo, as ``pettingzoo/<id>``.

``resolve`` finds anything registered at the moment of asking: what PettingZoo brings itself, such as
``pettingzoo/butterfly/cooperative_pong-v6``, and a user's own. Finding starts no environment.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from pettingzoo import EnvSpec as ZooSpec
from pettingzoo import make as make_parallel
from pettingzoo import parallel_registry
from pettingzoo.env_registry.exceptions import FailedToImport

from universe2.core.errors import InterfaceError, MissingDependencyError
from universe2.core.spec import EnvConfig, EnvSpec, Spaces
from universe2.envs.gymnasium import blaming_make_kwargs
from universe2.envs.pettingzoo.adapter import AgentsEnv

PREFIX = "pettingzoo/"


def resolve(env_id: str) -> EnvSpec | None:
    """The spec of ``pettingzoo/<id>`` for any parallel environment that is registered with PettingZoo now."""
    zoo_id = env_id.removeprefix(PREFIX)
    spec = parallel_registry.get(zoo_id)
    if spec is None:
        return None
    return EnvSpec(
        id=env_id,
        runtime="process",
        entry="universe2.envs.pettingzoo:make",
        spaces_from="universe2.envs.pettingzoo:spaces",
        kwargs={"creator": spec},
        options={"make_kwargs": None},
        description=f"PettingZoo's {zoo_id}.",
        multi_agent=True,
    )


def make(creator: Any, make_kwargs: Any = None) -> gym.Env:
    """The environment of PettingZoo's spec (or of a class), as one that steps all agents at once.

    ``make_kwargs`` are its own, such as ``{"render_mode": "rgb_array"}``.
    """
    kwargs = make_kwargs or {}
    try:
        if isinstance(creator, ZooSpec):
            return AgentsEnv(make_parallel("parallel", creator, **kwargs))
        return AgentsEnv(creator(**kwargs))
    except FailedToImport as error:
        raise MissingDependencyError(str(error)) from error


def spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    """The spaces of an environment made here for a moment."""
    if config.interface == "screen":
        raise InterfaceError(f"{spec.id} has no screen interface: what each agent sees is its own affair")
    options = spec.resolve(config.options)
    with blaming_make_kwargs(spec, options["make_kwargs"]):
        env = make(**spec.kwargs, **options)
    try:
        return Spaces(env.observation_space, env.action_space)
    finally:
        env.close()
