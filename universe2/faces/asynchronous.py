"""AsyncRuntime: any Runtime, local or remote, for asyncio. The same core with awaitable ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from universe2.core.batch import Batch
from universe2.core.runtime import Runtime


class AsyncRuntime:
    """Asking returns at once, as it does on a Runtime; what waits there is awaited here.

    One task may ask while another receives, and several runtimes may be awaited in one loop.
    Closes its runtime at the end of ``async with``.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._receiving = ThreadPoolExecutor(1, thread_name_prefix=f"await {runtime.spec.id}")
        self._asking = ThreadPoolExecutor(1, thread_name_prefix=f"ask {runtime.spec.id}")

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        """``Runtime.reset``; the first observations come from ``recv``."""
        self.runtime.reset(slots, seeds)

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        """``Runtime.send``."""
        self.runtime.send(slots, actions)

    def restore(self, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        """``Runtime.restore``."""
        self.runtime.restore(slots, states)

    async def recv(self, timeout: float | None = None) -> Batch:
        """``Runtime.recv``. Whoever cancels it may lose the batch that was about to come."""
        return await self._run(self._receiving, self.runtime.recv, timeout)

    async def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        """``Runtime.snapshot``."""
        return await self._run(self._asking, self.runtime.snapshot, slots)

    async def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        """``Runtime.render``."""
        return await self._run(self._asking, self.runtime.render, slots, size)

    async def close(self) -> None:
        """``Runtime.close``; a task that awaits ``recv`` gets ClosedError."""
        await asyncio.to_thread(self.runtime.close)
        self._receiving.shutdown()
        self._asking.shutdown()

    async def __aenter__(self) -> AsyncRuntime:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _run(self, threads: ThreadPoolExecutor, call: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(threads, call, *arguments)
