"""A concurrent SlotHost whose steps take as long as their action says. Imported by worker processes."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.host import InfrastructureFault, StepResult
from universe2.core.spec import EnvConfig, EnvSpec, Spaces

AT_ONCE, WHEN_OTHER_STEPPED, FOR_EVER, BROKEN, LEAVE, ODD_INFO = range(6)


class SlowHost:
    """Observes the last seed that was prepared for the slot, and the slot's number."""

    concurrent = True

    def __init__(self, spec: EnvSpec, config: EnvConfig, slots: list[int]) -> None:
        self._prepared = dict.fromkeys(slots, 0)
        self._other = asyncio.Event()

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def reset(self, slot: int, seed: int) -> tuple[Any, dict[str, Any]]:
        return np.array([self._prepared[slot], slot]), {}

    async def prepare(self, slot: int, seed: int) -> None:
        self._prepared[slot] = seed

    async def step(self, slot: int, action: Any) -> StepResult:
        if action == WHEN_OTHER_STEPPED:
            await self._other.wait()
        if action == AT_ONCE:
            self._other.set()
        if action == FOR_EVER:
            await asyncio.sleep(3600)
        if action == BROKEN:
            raise InfrastructureFault("the browser is gone")
        if action == LEAVE:
            sys.exit(4)
        info: dict[Any, Any] = {7: "no name for a column"} if action == ODD_INFO else {}
        return StepResult(np.array([self._prepared[slot], slot]), 1.0, False, False, info)

    async def render(self, slot: int, size: tuple[int, int] | None) -> np.ndarray:
        return np.full((*(size or (4, 4)), 3), slot, np.uint8)

    async def close(self) -> None:
        await asyncio.sleep(0)


def slow_spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    return Spaces(spaces.Box(0, 2**62, (2,), np.int64), spaces.Discrete(6))


SPEC = EnvSpec(id="test/Slow-v0", runtime="x", entry="x:x", spaces_from="slow_slots:slow_spaces")
