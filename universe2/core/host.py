"""SlotHost: what runs inside a worker process. It holds a few slots of one spec.

The worker runtime (parent side) owns processes, shared memory, deadlines and faults; a host
only knows its slots. A synchronous host simply never awaits anything. Any exception that a
method raises becomes an environment fault of that slot with the traceback as its text; the
next ``reset`` of the slot must then work on a clean instance.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np


class StepResult(NamedTuple):
    """What one environment returned from one step."""

    obs: Any
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class InfrastructureFault(Exception):
    """Raised by a host when the cause is not the environment (a dead browser, a missed deadline)."""


class SlotHost(Protocol):
    """Made as ``Host(spec, config, slots)`` in the worker; ``slots`` are global slot numbers."""

    concurrent: bool
    """True if steps of different slots may be awaited at the same time"""

    async def start(self) -> None:
        """Start what all slots share. Called once."""

    async def reset(self, slot: int, seed: int) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; (first observation, info)."""

    async def prepare(self, slot: int, seed: int) -> None:
        """A hint: ``slot`` will probably be reset with ``seed`` next. May do nothing."""

    async def step(self, slot: int, action: Any) -> StepResult:
        """One step of one slot with one (unbatched) action."""

    async def render(self, slot: int, size: tuple[int, int] | None) -> np.ndarray:
        """uint8 (H, W, 3)."""

    async def close(self) -> None:
        """Free everything, also after a fault."""
