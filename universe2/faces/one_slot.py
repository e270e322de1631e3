"""OneSlot: the slot of a face that has just one, asked and received in turn; OneSlotFace: such a face.

OneSlot knows what is still owed after a call that was cut short, and speaks of a single action: no slots,
no batched shapes. What an observation or info looks like is the face's affair.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from universe2.core.batch import Batch, Fault
from universe2.core.errors import FaultError, InvalidActionError, UsageError
from universe2.core.runtime import Runtime
from universe2.core.spaces import FIXED, check_actions, shown
from universe2.faces.face import Face, check_asked
from universe2.faces.owed import owed, refusal

OnFault = Literal["raise", "truncate"]


class OneSlot:
    """Slot 0 of ``runtime``. ``seed`` is that of the episode begun last; None before the first."""

    def __init__(self, runtime: Runtime) -> None:
        self.seed: int | None = None
        self._runtime = runtime
        self._owing = False
        """something was asked whose result was not received"""

    def reset(self, seed: int) -> Batch:
        """Begin an episode. Raises FaultError, DeadlineError."""
        if self._owing:  # a step was cut short, by Ctrl-C perhaps
            deque(owed(self._runtime), maxlen=0)
        self._owing = True
        self._runtime.reset([0], [seed])
        self.seed = seed
        batch = self._received()
        if batch.fault[0]:
            raise FaultError(fault_line(batch, 0))
        return batch

    def step(self, action: Any) -> Batch:
        """One row, which may be a fault. Raises InvalidActionError and UsageError before anything moves."""
        owing, self._owing = self._owing, True
        space = self._runtime.action_space
        try:
            self._runtime.send([0], lift(space, action))
        except InvalidActionError as error:
            self._owing = owing
            raise InvalidActionError(f"slot 0: {misfit(space, action) or error}") from None
        except UsageError as error:
            self._owing = owing
            raise refusal(error, owing) from None
        return self._received()

    def _received(self) -> Batch:
        batch = self._runtime.recv()
        self._owing = False
        return batch


class OneSlotFace(Face):
    """What faces of one slot have in common: all but ``reset`` and ``step``."""

    def __init__(
        self,
        runtime: Runtime,
        render_mode: str | None = None,
        on_fault: OnFault = "raise",
        render_size: tuple[int, int] | None = None,
    ) -> None:
        if runtime.num_slots != 1:
            raise UsageError(f"{type(self).__name__} drives one slot, the runtime has {runtime.num_slots}")
        self.render_size = check_asked(render_mode, render_size, on_fault)
        self.render_mode = render_mode
        self.on_fault = on_fault
        self.runtime = runtime
        self.action_mask = runtime.action_mask
        """of (each agent's) screen action; None under ``interface="native"``"""
        self._slot = OneSlot(runtime)

    def render(self) -> np.ndarray | None:
        """uint8 (H, W, 3), of several agents what a spectator sees; None without ``render_mode``."""
        return None if self.render_mode is None else self.runtime.render([0], self.render_size)[0]

    def close(self) -> None:
        """Free the slot. May be called twice."""
        self.runtime.close()

    def _about(self) -> list[str]:
        return [self.runtime.spec.id, f"interface={self.runtime.config.interface}"]


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
