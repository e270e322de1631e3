"""A soak: several clients play over two servers while connections are cut and servers killed.

Every step that isn't a fault must be the next one, as the environments number their own. Runs for
UNIVERSE2_SOAK_SECONDS, 60 by default.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cutting_proxy import CuttingProxy

from universe2.client import open_remote
from universe2.core.spec import EnvConfig
from universe2.testing.counting import COUNTING

SECONDS = float(os.environ.get("UNIVERSE2_SOAK_SECONDS", "60"))
SERVER = Path(__file__).with_name("holding_server.py")


class _Killable:
    """A server that is started again on its port when it is killed."""

    def __init__(self, folder: Path) -> None:
        self._hold = str(folder / "never")
        self.process = self._started(0)

    def _started(self, port: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(SERVER), self._hold, str(port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()
        process.stdout.close()
        assert self.address
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def restart(self) -> None:
        self.kill()
        self.process = self._started(int(self.address.rsplit(":", 1)[1]))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[_Killable]]:
    servers = [_Killable(tmp_path) for _ in range(2)]
    yield servers
    for server in servers:
        server.kill()


class _Player(threading.Thread):
    """Plays until ``stop`` and checks every row."""

    def __init__(self, addresses: list[str], stop: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        near = seed == 0  # one of them goes past the proxies, over the servers' sockets
        self.runtime = open_remote(
            COUNTING.id, 4, EnvConfig(), addresses, lease=10.0, reopen_deadline=60.0, same_host=near
        )
        self._halt, self._rng = stop, np.random.default_rng(seed)
        self.steps = self.faults = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._play()
        except BaseException as error:  # noqa: BLE001 (raised again by the test)
            self.error = error
        finally:
            self.runtime.close()

    def _play(self) -> None:
        runtime = self.runtime
        runtime.reset(range(4), self._rng.integers(0, 1000, 4))
        before: dict[int, tuple[int, int]] = {}
        waiting = 4
        while not self._halt.is_set():
            while waiting:
                batch = runtime.recv(90.0)
                waiting -= len(batch)
                self._check(batch, before)
            runtime.send(range(4), self._rng.integers(0, 5, 4))
            waiting = 4

    def _check(self, batch, before) -> None:  # type: ignore[no-untyped-def]
        for row, slot in enumerate(batch.slots.tolist()):
            if batch.fault[row]:
                self.faults += 1
                before.pop(slot, None)
                continue
            episode, step = int(batch.episode[row]), int(batch.step[row])
            assert batch.obs["count"][row, 1] == step  # the environment's own number
            if step:
                assert before[slot] == (episode, step - 1), "a step was lost or repeated"
            before[slot] = episode, step
            self.steps += 1


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_no_step_is_lost_or_repeated_whatever_breaks(servers: list[_Killable]) -> None:
    proxies = [CuttingProxy(server.address) for server in servers]
    stop, rng = threading.Event(), random.Random(0)
    players = [_Player([proxy.address for proxy in proxies], stop, seed) for seed in range(3)]
    for player in players:
        player.start()
    end = time.monotonic() + SECONDS
    kills = 0
    while time.monotonic() < end and not any(player.error for player in players):
        stop.wait(rng.uniform(0.2, 3.0))
        index = rng.randrange(2)
        if rng.random() < 0.2:
            servers[index].restart()
            kills += 1
        else:
            proxies[index].cut()
            stop.wait(rng.choice([0.0, 0.3, 1.0]))
            proxies[index].mend()
    stop.set()
    for player in players:
        player.join(120.0)
        assert not player.is_alive()
        if player.error is not None:
            raise player.error
    for proxy in proxies:
        proxy.close()
    print(f"{sum(p.steps for p in players)} steps, {sum(p.faults for p in players)} faults, {kills} kills")
    assert all(player.steps > 10 for player in players)
