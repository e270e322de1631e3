"""Several runtimes awaited in one loop, local and remote, and what awaits is told when they close."""

from __future__ import annotations

import asyncio
import threading

import pytest

from universe2.client import open_remote
from universe2.core.batch import Batch
from universe2.core.errors import ClosedError, DeadlineError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.faces.asynchronous import AsyncRuntime
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime


def test_one_loop_awaits_a_local_and_a_remote_one(counting: EnvSpec) -> None:
    server = Server(ServerConfig(port=0, slots=8))
    server.start()

    async def play(runtime: AsyncRuntime) -> list[int]:
        runtime.reset([0, 1], [4, 9])
        await runtime.recv(5.0)
        steps = []
        for _ in range(3):
            runtime.send([0, 1], [0, 0])
            steps += (await runtime.recv(5.0)).step.tolist()
        assert len(await runtime.render([0])) == 1
        return steps

    async def main() -> list[list[int]]:
        remote = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
        async with (
            AsyncRuntime(CountingRuntime(COUNTING, 2, EnvConfig())) as here,
            AsyncRuntime(remote) as there,
        ):
            return list(await asyncio.gather(play(here), play(there)))

    try:
        assert asyncio.run(main()) == [[1, 1, 2, 2, 3, 3]] * 2
    finally:
        server.stop(1.0)


class _Mute(CountingRuntime):
    """Answers resets, and no step."""

    def recv(self, timeout: float | None = None) -> Batch:
        if self._ledger.step[0] == 0:
            return super().recv(timeout)
        threading.Event().wait(timeout)
        raise DeadlineError("mute")


def test_closing_ends_the_wait() -> None:
    server = Server(ServerConfig(port=0), lambda _id, slots, config: _Mute(COUNTING, slots, config))
    server.start()

    async def main() -> None:
        runtime = AsyncRuntime(open_remote(COUNTING.id, 1, EnvConfig(), [server.address]))
        runtime.reset([0], [0])
        await runtime.recv(5.0)
        runtime.send([0], [0])
        waiting = asyncio.create_task(runtime.recv(60.0))
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        await asyncio.wait_for(runtime.close(), 5.0)
        with pytest.raises(ClosedError):
            await asyncio.wait_for(waiting, 5.0)
        with pytest.raises(ClosedError):
            runtime.send([0], [0])

    try:
        asyncio.run(main())
    finally:
        server.stop(1.0)
