"""A browser that dies while the next episode loads in it: the running one ends with that as its cause."""

from __future__ import annotations

import asyncio
import os
import signal

import numpy as np
import pytest

from universe2.core.host import InfrastructureFault
from universe2.core.registry import find
from universe2.core.spec import EnvConfig
from universe2.runtimes.browser_host import BrowserHost

pytestmark = pytest.mark.browser

NOTHING = np.zeros(5, np.int64)


def test_a_browser_killed_under_the_next_page_is_named() -> None:
    async def play() -> None:
        host = BrowserHost(find("web/click-test-2-v0"), EnvConfig(interface="screen"), [0])
        try:
            first, _ = await host.reset(0, 1)
            await host.step(0, NOTHING)
            preparing = asyncio.create_task(host.prepare(0, 2))
            (browser,) = host.browser_pids()
            os.kill(browser, signal.SIGKILL)
            await asyncio.wait_for(preparing, 30)
            for _ in range(2):
                with pytest.raises(InfrastructureFault, match="browser"):
                    await host.step(0, NOTHING)
            again, _ = await host.reset(0, 1)
            np.testing.assert_array_equal(again["screen"], first["screen"])
            await host.step(0, NOTHING)
        finally:
            await host.close()

    asyncio.run(play())
