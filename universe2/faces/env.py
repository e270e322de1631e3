"""RuntimeEnv: one slot as a ``gymnasium.Env``."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from universe2.core.batch import Batch, Fault, info_rows
from universe2.core.errors import FaultError, InvalidActionError, UsageError
from universe2.core.runtime import Runtime
from universe2.core.seeding import check_seed, next_seed
from universe2.core.spaces import FIXED, check_actions, copied, shown, unstack
from universe2.faces.face import Face, check_asked, plain_info
from universe2.faces.owed import owed, refusal

OnFault = Literal["raise", "truncate"]
FPS = 15
"""Pictures per second for who makes a film of them; ``universe2 play`` plays as fast."""


class RuntimeEnv(Face, gym.Env[Any, Any]):
    """One slot of a runtime, opened with ``autoreset="disabled"``.

    ``info["seed"]`` after a reset is the seed that the episode was begun with. A reset without
    a seed continues the chain from the seed before.

    A fault raises FaultError (``on_fault="raise"``), or with ``on_fault="truncate"`` ends the
    episode: truncated, reward NaN, the text in ``info["fault"]``. Either way reset comes next, as it
    does after a step that was interrupted.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012

    def __init__(self, runtime: Runtime, render_mode: str | None = None, on_fault: OnFault = "raise") -> None:
        if runtime.num_slots != 1:
            raise UsageError(f"an Env drives one slot, the runtime has {runtime.num_slots}")
        check_asked(render_mode, on_fault)
        self.runtime = runtime
        self.observation_space = runtime.observation_space
        self.action_space = runtime.action_space
        self.action_mask = runtime.action_mask
        self.render_mode = render_mode
        self.on_fault = on_fault
        self._seed: int | None = None
        self._owing = False
        """something was asked whose result was not received"""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Begin an episode. ``options`` must be empty: what an environment can do is set at make."""
        if options:
            raise UsageError(f"{self.runtime.spec.id}: reset takes no options, got {sorted(options)}")
        if seed is not None:
            seed = check_seed(seed)
        super().reset(seed=seed)
        if seed is None:
            known = self._seed is not None
            seed = next_seed(self._seed) if known else int(self.np_random.integers(2**31))  # type: ignore[arg-type]
        if self._owing:  # a step was cut short, by Ctrl-C perhaps
            deque(owed(self.runtime), maxlen=0)
        self._owing = True
        self.runtime.reset([0], [seed])
        self._seed = seed
        batch = self.runtime.recv()
        self._owing = False
        if batch.fault[0]:
            raise FaultError(fault_line(batch, 0))
        return self._obs(batch), {**self._info(batch), "seed": int(batch.seed[0])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Gymnasium's step. Raises InvalidActionError before anything moves; FaultError."""
        owing, self._owing = self._owing, True
        try:
            self.runtime.send([0], lift(self.action_space, action))
        except InvalidActionError as error:
            self._owing = owing
            raise InvalidActionError(f"slot 0: {misfit(self.action_space, action) or error}") from None
        except UsageError as error:
            self._owing = owing
            raise refusal(error, owing) from None
        batch = self.runtime.recv()
        self._owing = False
        info = self._info(batch)
        if batch.fault[0]:
            if self.on_fault == "raise":
                raise FaultError(fault_line(batch, 0))
            return self._obs(batch), float("nan"), False, True, {**info, "fault": fault_line(batch, 0)}
        ended = bool(batch.terminated[0]), bool(batch.truncated[0])
        return self._obs(batch), float(batch.reward[0]), *ended, info

    def render(self) -> np.ndarray | None:
        """uint8 (H, W, 3), or None without ``render_mode``."""
        if self.render_mode is None:
            return None
        return self.runtime.render([0])[0]

    def close(self) -> None:
        """Free the slot. May be called twice."""
        self.runtime.close()

    def _about(self) -> list[str]:
        return [self.runtime.spec.id, f"interface={self.runtime.config.interface}"]

    def _info(self, batch: Batch) -> dict[str, Any]:
        return plain_info(info_rows(batch.info, 1)[0])

    def _obs(self, batch: Batch) -> Any:
        return unstack(self.observation_space, copied(self.observation_space, batch.obs), 1)[0]


def lift(space: spaces.Space[Any], value: Any) -> Any:
    """A single value as a batched value of one row; wrong values stay wrong, for the check to name."""
    if isinstance(space, spaces.Dict) and isinstance(value, dict):
        return {
            key: lift(space.spaces[key], sub) if key in space.spaces else sub for key, sub in value.items()
        }
    if isinstance(space, spaces.Tuple) and isinstance(value, (tuple, list)):
        if len(value) != len(space.spaces):
            return tuple(value)
        return tuple(lift(sub, v) for sub, v in zip(space.spaces, value, strict=True))
    if isinstance(space, FIXED):
        return [value]
    return (value,)


def misfit(space: spaces.Space[Any], value: Any, where: str = "action") -> str:
    """What is wrong with a single value, in the words of whoever passed it: no slots, no batched shapes.

    Empty if it is right.
    """
    if isinstance(space, spaces.Dict) and isinstance(value, dict) and set(value) == set(space.spaces):
        parts = [(sub, value[key], f"{where}[{key!r}]") for key, sub in space.spaces.items()]
        return next(filter(None, (misfit(*part) for part in parts)), "")
    if (
        isinstance(space, spaces.Tuple)
        and isinstance(value, (tuple, list))
        and len(value) == len(space.spaces)
    ):
        parts = [(sub, value[i], f"{where}[{i}]") for i, sub in enumerate(space.spaces)]
        return next(filter(None, (misfit(*part) for part in parts)), "")
    try:
        check_actions(space, lift(space, value), np.zeros(1, np.int32))
    except InvalidActionError:
        return f"{where}: expected {space}, received {shown(value)}"
    return ""


def fault_line(batch: Batch, row: int) -> str:
    """``slot 3, episode 7, step 12: infrastructure fault: …``."""
    where = f"slot {batch.slots[row]}, episode {batch.episode[row]}, step {batch.step[row]}"
    kind = Fault(int(batch.fault[row])).name.lower()
    return f"{where}: {kind} fault: {batch.fault_text.get(row, 'no details')}"
