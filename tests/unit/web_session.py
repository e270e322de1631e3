"""A BrowserHost with one slot, driven from ordinary test functions."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

import numpy as np

from universe2.core.host import StepResult
from universe2.core.registry import find
from universe2.core.screen import ARROWS, BUTTONS, KEYS
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.web.solvers import Look
from universe2.runtimes.browser_host import BrowserHost

LIMIT_S = 60.0


class Session:
    """``with Session("web/click-test-v0") as s: s.reset(seed); s.step(action)``."""

    def __init__(self, spec: EnvSpec | str, interface: Any = "native", **options: Any) -> None:
        self.spec = find(spec) if isinstance(spec, str) else spec
        self.config = EnvConfig(interface=interface, options=options)
        self._runner = asyncio.Runner()
        self.host = self.run(self._make())
        self.hash = hashlib.sha256()
        self.last: StepResult | None = None

    async def _make(self) -> BrowserHost:
        return BrowserHost(self.spec, self.config, [0])

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def limited() -> Any:
            async with asyncio.timeout(LIMIT_S):
                return await work

        return self._runner.run(limited())

    def reset(self, seed: int, prepared: bool = False) -> dict[str, Any]:
        if prepared:
            self.run(self.host.prepare(0, seed))
        obs, self.info = self.run(self.host.reset(0, seed))
        self.hash = hashlib.sha256(obs["instruction"].encode() + obs["screen"].tobytes())
        self.instruction, self.screen = obs["instruction"], obs["screen"]
        return obs

    def step(self, action: np.ndarray) -> StepResult:
        result = self.last = self.run(self.host.step(0, action))
        self.info, self.screen = result.info, result.obs["screen"]
        self.hash.update(f"{result.reward} {result.terminated} {result.truncated}".encode())
        self.hash.update(result.obs["screen"].tobytes())
        return result

    @property
    def look(self) -> Look:
        return Look(self.instruction, self.info["elements"], self.screen)

    def solver_step(self, action: np.ndarray) -> Look | None:
        result = self.step(action)
        return None if result.terminated or result.truncated else self.look

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self.host.close())
        self._runner.close()


def action(
    arrow: str = "none", key: str = "none", x: int = 0, y: int = 0, button: str = "none"
) -> np.ndarray:
    return np.array([ARROWS.index(arrow), KEYS.index(key), x, y, BUTTONS.index(button)], np.int64)
