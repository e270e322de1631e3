"""A soak: clients of every kind play while connections are cut and clients, servers and a gateway killed.

Two servers and a gateway in front of them, all behind proxies that cut. Every row that isn't a fault
must be the next one of its slot, as the environments number their own steps. Runs for
UNIVERSE2_SOAK_SECONDS, 60 by default; 1,200 (``make soak``) writes benchmarks/scores/soak.json.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cutting_proxy import CuttingProxy
from soak_players import COUNTED, OnLoop, OnPool, OnRuntime, OnVector, Player, Tally
from soak_server import Numbered

from universe2.core.spec import EnvConfig
from universe2.testing.counting import COUNTING

SECONDS = float(os.environ.get("UNIVERSE2_SOAK_SECONDS", "60"))
FULL_SECONDS = 1200.0
HERE = Path(__file__).parent
SCORES = HERE.parents[1] / "benchmarks" / "scores" / "soak.json"


class _Killable:
    """A server that is started again on its port when it is killed."""

    def __init__(self, *behind: str) -> None:
        self._behind = behind
        self.process = self._started(0)

    def _started(self, port: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "soak_server.py"), str(port), *self._behind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()
        process.stdout.close()
        assert self.address, f"the server did not start: {command}"
        return process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def restart(self) -> None:
        self.kill()
        self.process = self._started(int(self.address.rsplit(":", 1)[1]))


class _Client:
    """A client in a process of its own, started again when it is killed."""

    def __init__(self, log: Path, addresses: list[str]) -> None:
        self._log, self._addresses = log, addresses
        self.totals: Counter[str] = Counter()
        self._born = 0
        self._start()

    def _start(self) -> None:
        self._born += 1
        command = [sys.executable, str(HERE / "soak_players.py"), str(self._born), *self._addresses]
        with self._log.open("w") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, text=True)

    def kill(self) -> bool:
        """Kill it if it has begun to play, and count what it said. Raises if it has ended by itself."""
        text = self._log.read_text()
        assert self.process.poll() is None, f"the client ended by itself: {text[-2000:]}"
        lines = text.rpartition("\n")[0].splitlines()
        if not lines or not lines[-1].split()[0].isdigit() or lines[-1].startswith("0 "):
            return False
        self.process.kill()
        self.process.wait(10)
        self.totals.update(dict(zip(COUNTED, map(int, lines[-1].split()), strict=True)))
        return True

    def restart(self) -> bool:
        if killed := self.kill():
            self._start()
        return killed


class _World:
    """All servers, proxies and clients of a soak."""

    def __init__(self, folder: Path) -> None:
        self.servers = [_Killable() for _ in range(2)]
        self.proxies = [CuttingProxy(server.address) for server in self.servers]
        addresses = [proxy.address for proxy in self.proxies]
        self.gateway = _Killable(*addresses)
        self.proxies.append(CuttingProxy(self.gateway.address))
        front = [self.proxies[-1].address]
        near = [server.address for server in self.servers]  # past the proxies, over the servers' sockets
        self.players: list[Player] = [
            OnRuntime(0, addresses),
            OnRuntime(1, near, same_host=True),
            OnRuntime(2, addresses, codec="lz4", autoreset="same_step"),
            OnRuntime(3, front),
            OnVector(4, addresses, codec="delta"),
            OnVector(5, front),
            OnPool(6, [addresses[:1], addresses[1:], front]),
            OnLoop(7, addresses),
        ]
        self.client = _Client(folder / "client.log", addresses)

    def disturb(self, rng: random.Random, stop: threading.Event) -> str:
        """One thing breaks: what it was."""
        what = rng.choices(["cut", "vanish", "server", "gateway", "client"], [55, 5, 15, 8, 17])[0]
        if what == "server":
            rng.choice(self.servers).restart()
        elif what == "gateway":
            self.gateway.restart()
        elif what == "client":
            if not self.client.restart():
                return "nothing"
        else:
            proxy = rng.choice(self.proxies)
            proxy.cut() if what == "cut" else proxy.swallow()
            stop.wait(rng.choice([0.0, 0.3, 1.0]))
            proxy.mend()
        return what

    def close(self) -> None:
        for process in (self.client, self.gateway, *self.servers):
            process.process.kill()
            process.process.wait(10)
        for proxy in self.proxies:
            proxy.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[_World]:
    with contextlib.closing(_World(tmp_path)) as world:
        yield world


@pytest.mark.parametrize(
    ("harm", "found"),
    [("none", []), ("skip", ["lost"]), ("again", ["repeated"]), ("other action", ["shifted"])],
)
def test_the_tally_notices(harm: str, found: list[str]) -> None:
    runtime, tally = Numbered(COUNTING, 1, EnvConfig()), Tally()
    runtime.reset([0], [4])  # an episode of 7 steps
    tally.batch(runtime.recv(), {})
    for step in range(1, 12):
        runtime.send([0], [step % 5])
        batch = runtime.recv()
        if harm == "skip" and step == 3:
            continue
        tally.batch(batch, {0: 4 if harm == "other action" and step == 3 else step % 5})
        if harm == "again" and step == 3:
            tally.batch(batch, {0: step % 5})
    assert [name for name in ("lost", "repeated", "shifted") if getattr(tally, name)] == found


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
def test_no_step_is_lost_or_repeated_whatever_breaks(world: _World) -> None:
    stop, rng = threading.Event(), random.Random(0)
    for player in world.players:
        player.start()
    began = time.monotonic()
    broken: Counter[str] = Counter()
    while time.monotonic() < began + SECONDS and not any(player.error for player in world.players):
        stop.wait(rng.uniform(0.1, 1.5))
        broken[world.disturb(rng, stop)] += 1
    seconds = time.monotonic() - began
    for player in world.players:
        player.halt.set()
    for player in world.players:
        player.finish()
    world.client.kill()
    totals = Counter(world.client.totals)
    for player in world.players:
        totals.update(player.tally.counts())
    kills = {name: broken[name] for name in ("server", "gateway", "client")}
    result = {
        "seconds": round(seconds),
        "clients": len(world.players) + 1,
        "kills": kills,
        "connections_cut": broken["cut"] + broken["vanish"],
        **{name: totals[name] for name in COUNTED},
    }
    print(json.dumps(result))
    assert (totals["lost"], totals["repeated"], totals["shifted"]) == (0, 0, 0), result
    assert all(player.tally.steps > 100 for player in world.players), result
    assert min(kills.values()) > 0, result
    assert totals["faults"] > 0, result
    if SECONDS >= FULL_SECONDS:
        write_scores(result)


def write_scores(result: dict[str, Any]) -> None:
    from universe2.agents.evaluate import hardware  # imports torch

    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    about = {"name": "soak", "date": today, "machine": hardware()}
    SCORES.write_text(json.dumps({**about, **result}, indent=1) + "\n", encoding="utf-8")
