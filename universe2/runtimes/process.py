"""ProcessRuntime: any Gymnasium environment, in worker processes.

``spec.entry`` names a function that returns a ``gymnasium.Env`` when called with the spec's
kwargs and options. It knows one environment at a time; batches and processes are
``universe2.runtimes.workers``'.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Any

import gymnasium as gym
import numpy as np

from universe2.core.errors import MissingDependencyError, UnsupportedError
from universe2.core.host import StepResult
from universe2.core.pictures import resized
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.envs.gymnasium.returned import RESET, STEP, checked
from universe2.envs.gymnasium.screen import ScreenEnv, drawn
from universe2.runtimes.workers import WorkerRuntime


class ProcessRuntime(WorkerRuntime):
    """A WorkerRuntime whose slots are Gymnasium environments; takes its keyword arguments."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig | None = None, **limits: Any) -> None:
        super().__init__(spec, num_slots, config, host=f"{__name__}:GymHost", **limits)


class GymHost:
    """Holds one ``gymnasium.Env`` per slot. An environment that raised is made anew."""

    concurrent = False

    def __init__(self, spec: EnvSpec, config: EnvConfig, slots: list[int]) -> None:
        self._spec = spec
        self._config = config
        self._envs: dict[int, gym.Env] = {}

    async def start(self) -> None:
        """Nothing is shared; environments are made at their first reset."""
        # Without it SDL, which pygame draws with, complains on stderr in every process.
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())

    async def reset(self, slot: int, seed: int) -> tuple[Any, dict[str, Any]]:
        if slot not in self._envs:
            self._envs[slot] = make_env(self._spec, self._config)
        with self._dropped_if_raising(slot):
            obs, info = checked(self._envs[slot].reset(seed=seed), "reset", RESET, self._spec)
        return obs, info

    async def prepare(self, slot: int, seed: int) -> None:
        """Nothing: an environment can't reset while it plays."""

    async def step(self, slot: int, action: Any) -> StepResult:
        with self._dropped_if_raising(slot):
            return StepResult(*checked(self._envs[slot].step(action), "step", STEP, self._spec))

    async def render(self, slot: int, size: tuple[int, int] | None) -> np.ndarray:
        env = self._envs[slot]
        if env.render_mode != "rgb_array":
            raise UnsupportedError(f"{self._spec.id} renders no picture (render_mode={env.render_mode!r})")
        try:
            picture = drawn(env, self._spec)
        except gym.error.DependencyNotInstalled as error:
            raise MissingDependencyError(f"{self._spec.id} can't draw: {error}") from None
        return picture if size is None else resized(picture, size)

    async def close(self) -> None:
        for env in self._envs.values():
            env.close()

    @contextlib.contextmanager
    def _dropped_if_raising(self, slot: int) -> Any:
        try:
            yield
        except Exception:
            env = self._envs.pop(slot)
            with contextlib.suppress(Exception):  # it is broken; the first error is the one to tell
                env.close()
            raise


def make_env(spec: EnvSpec, config: EnvConfig) -> gym.Env:
    """The environment of ``spec`` as ``config`` wants it."""
    env: gym.Env = load(spec.entry)(**spec.kwargs, **spec.resolve(config.options))
    return env if config.interface == "native" else ScreenEnv(env, spec, config.screen_size)
