"""The Gymnasium family: whatever is registered with Gymnasium, as ``gymnasium/<its id>``.

``specs`` lists what Gymnasium brings itself; ``resolve`` finds anything else that is
registered at the moment of asking, such as ``gymnasium/ALE/Pong-v5`` after ``import ale_py``,
or a user's own. Listing starts no environment.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import math
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from ctypes.util import find_library
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec as GymSpec

from universe2.core.canonical import canonical
from universe2.core.errors import MissingDependencyError, Universe2Error, UsageError
from universe2.core.screen import screen_action_space, screen_observation_space
from universe2.core.spec import FPS, EnvConfig, EnvSpec, Requirement, Spaces
from universe2.envs.gymnasium.seeds import seeded
from universe2.envs.gymnasium.texts import with_texts

_IMPORTING = threading.RLock()
_OWN = "gymnasium.envs."
_NEEDS = {
    "gymnasium.envs.box2d": (Requirement("Box2D", 'pip install "gymnasium[box2d]"'),),
    "gymnasium.envs.mujoco": (Requirement("mujoco", 'pip install "gymnasium[mujoco]"'),),
    "gymnasium.envs.phys2d": (Requirement("jax", 'pip install "gymnasium[jax]"'),),
    "gymnasium.envs.tabular": (Requirement("jax", 'pip install "gymnasium[jax]"'),),
}
"""Where an environment's code lies → what it needs. Pygame is needed for pictures only."""


def specs() -> list[EnvSpec]:
    """Everything that Gymnasium registers itself and that could be made to run.

    Left out are ids that only raise an error: MuJoCo's v2 and v3, and the adapters to old Gym.
    """
    own = (spec for spec in gym.registry.values() if _code(spec).startswith(_OWN))
    return [_spec(spec) for spec in own]


def resolve(env_id: str) -> EnvSpec | None:
    """The spec of ``gymnasium/<id>`` for any id that is registered with Gymnasium now."""
    gym_id = env_id.removeprefix("gymnasium/")
    spec = gym.registry.get(gym_id)
    if spec is None or _code(spec).startswith("universe2."):  # our own ids are registered there too
        return None
    return _spec(spec)


def make(gym_spec: GymSpec, max_episode_steps: int = 0, make_kwargs: Any = None) -> gym.Env:
    """The environment, rendering to arrays if it can, with its time limit (0 means its own)."""
    draw_without_a_display()
    kwargs = {**_render(gym_spec), **(make_kwargs or {})}
    with warnings.catch_warnings():
        # That a newer version exists is no news to someone who asked for this one.
        warnings.simplefilter("ignore", DeprecationWarning)
        env: gym.Env = gym.make(
            gym_spec, max_episode_steps=max_episode_steps or None, disable_env_checker=True, **kwargs
        )
    if (space := with_texts(env.observation_space)) is not env.observation_space:
        env.observation_space = space
    return seeded(env)


def draw_without_a_display() -> None:
    """Let MuJoCo draw through EGL where there is no display, such as on a server: it would look for one.

    Does nothing where ``MUJOCO_GL`` is set, or without libEGL, where MuJoCo could not even be imported then.
    """
    shown = {"MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"}.intersection(os.environ)
    if sys.platform == "linux" and not shown and importlib.util.find_spec("mujoco") and _egl():
        os.environ["MUJOCO_GL"] = "egl"


@functools.cache  # to look for it can take a compiler's start
def _egl() -> str | None:
    return find_library("EGL")


def spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    """The spaces of an environment made here for a moment, or the screen's."""
    options = spec.resolve(config.options)
    spec.check_ranges(options, {"max_episode_steps": (0, 2**63 - 1)})
    if config.interface == "screen" and importlib.util.find_spec("pygame") is None:
        raise MissingDependencyError(f"{spec.id} needs pygame to draw (get it with: pip install pygame)")
    with blaming_make_kwargs(spec, options["make_kwargs"]):
        return _probed(_Probe(spec, config.interface, config.screen_size, options))


@contextlib.contextmanager
def blaming_make_kwargs(spec: EnvSpec, make_kwargs: Any) -> Iterator[None]:
    """UsageError if they are no keyword arguments, or if they are not what the environment takes.

    What they should be only the environment knows: one that can't be made with any is its own fault,
    and raises what it raises.
    """
    if make_kwargs is None:
        yield
        return
    if not isinstance(make_kwargs, dict) or not all(isinstance(name, str) for name in make_kwargs):
        raise UsageError(
            f"{spec.id}: option make_kwargs must be a dict of keyword arguments, got {make_kwargs!r}"
        )
    try:
        yield
    except Universe2Error:
        raise
    except (TypeError, ValueError, LookupError) as error:
        raise UsageError(f"{spec.id}: option make_kwargs is {make_kwargs!r}: {error}") from error


class _Probe:
    """A cache key: what spaces depend on."""

    def __init__(self, spec: EnvSpec, interface: str, size: tuple[int, int], options: dict[str, Any]) -> None:
        self.spec, self.interface, self.size, self.options = spec, interface, size, options
        shape = size if interface == "screen" else None
        # by repr too, which cuts long arrays but tells tuples from lists
        given = (spec.kwargs, options)
        self._key = (spec.id, interface, shape, canonical(given), repr(given))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Probe) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


@functools.lru_cache(256)
def _probed(probe: _Probe) -> Spaces:
    from universe2.envs.gymnasium.screen import ScreenEnv

    env = make(**probe.spec.kwargs, **probe.options)
    try:
        if probe.interface == "screen":
            live = ScreenEnv(env, probe.spec, probe.size).map.action_mask()
            return Spaces(screen_observation_space(probe.size), screen_action_space(), live, fps_of(env))
        return Spaces(env.observation_space, env.action_space, render_fps=fps_of(env))
    finally:
        env.close()


def fps_of(env: gym.Env) -> float:
    """The pictures per second that the environment is meant to be shown at, or the usual number."""
    fps = (env.metadata or {}).get("render_fps")
    return fps if isinstance(fps, (int, float)) and 0 < fps < math.inf else FPS


def _spec(spec: GymSpec) -> EnvSpec:
    package = _code(spec).rpartition(".")[0]
    return EnvSpec(
        id=f"gymnasium/{spec.id}",
        runtime="process",
        entry="universe2.envs.gymnasium:make",
        spaces_from="universe2.envs.gymnasium:spaces",
        kwargs={"gym_spec": spec},
        options={"max_episode_steps": 0, "make_kwargs": None},
        requires=_NEEDS.get(package, ()),
        description=f"Gymnasium's {spec.id}.",
    )


def _code(spec: GymSpec) -> str:
    """The module that holds the environment; empty for one that is made by a function."""
    return spec.entry_point.partition(":")[0] if isinstance(spec.entry_point, str) else ""


def _render(spec: GymSpec) -> dict[str, str]:
    """``render_mode="rgb_array"`` for an environment that has it."""
    from gymnasium.envs.registration import load_env_creator

    if _code(spec):
        # Threads that import a package and its parts in crossing order make one of them fail.
        with _IMPORTING:
            importlib.import_module(_code(spec))
    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    modes = (getattr(creator, "metadata", None) or {}).get("render_modes", [])
    asked = "render_mode" in (spec.kwargs or {})
    return {} if asked or "rgb_array" not in modes else {"render_mode": "rgb_array"}
