"""RuntimeEnv: one slot as a ``gymnasium.Env``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from universe2.core.batch import Batch, info_rows
from universe2.core.errors import FaultError, UsageError
from universe2.core.runtime import Runtime
from universe2.core.seeding import check_seed, next_seed
from universe2.core.spaces import copied, unstack
from universe2.core.spec import FPS
from universe2.faces.face import plain_info
from universe2.faces.one_slot import OneSlotFace, OnFault, fault_line


class RuntimeEnv(OneSlotFace, gym.Env[Any, Any]):
    """One slot of a runtime, opened with ``autoreset="disabled"``.

    ``info["seed"]`` after a reset is the seed that the episode was begun with. A reset without
    a seed continues the chain from the seed before.

    A fault raises FaultError (``on_fault="raise"``), or with ``on_fault="truncate"`` ends the
    episode: truncated, reward NaN, the text in ``info["fault"]``. Either way reset comes next, as it
    does after a step that was interrupted.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012

    def __init__(
        self,
        runtime: Runtime,
        render_mode: str | None = None,
        on_fault: OnFault = "raise",
        render_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(runtime, render_mode, on_fault, render_size)
        self.metadata = {**self.metadata, "render_fps": runtime.render_fps}
        self.observation_space = runtime.observation_space
        self.action_space = runtime.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Begin an episode. ``options`` must be empty: what an environment can do is set at make."""
        if options:
            raise UsageError(f"{self.runtime.spec.id}: reset takes no options, got {sorted(options)}")
        if seed is not None:
            seed = check_seed(seed)
        super().reset(seed=seed)
        if seed is None:
            before = self._slot.seed
            seed = int(self.np_random.integers(2**31)) if before is None else next_seed(before)
        batch = self._slot.reset(seed)
        return self._obs(batch), {**self._info(batch), "seed": int(batch.seed[0])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Gymnasium's step. Raises InvalidActionError before anything moves; FaultError."""
        batch = self._slot.step(action)
        info = self._info(batch)
        if batch.fault[0]:
            if self.on_fault == "raise":
                raise FaultError(fault_line(batch, 0))
            return self._obs(batch), float("nan"), False, True, {**info, "fault": fault_line(batch, 0)}
        ended = bool(batch.terminated[0]), bool(batch.truncated[0])
        return self._obs(batch), float(batch.reward[0]), *ended, info

    def _info(self, batch: Batch) -> dict[str, Any]:
        return plain_info(info_rows(batch.info, 1)[0])

    def _obs(self, batch: Batch) -> Any:
        return unstack(self.observation_space, copied(self.observation_space, batch.obs), 1)[0]
