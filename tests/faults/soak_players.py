"""The soak's clients, one class a way to play, and the tally that all of them keep.

As a program it is a client that somebody may kill: python soak_players.py SEED ADDRESS …
prints its tally again and again.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from soak_server import frames_of

from universe2.client import open_remote
from universe2.core.batch import Batch
from universe2.core.errors import DeadlineError, ServerLostError
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig
from universe2.faces.asynchronous import AsyncRuntime
from universe2.faces.pool import Pool
from universe2.faces.vector import RuntimeVectorEnv
from universe2.testing.counting import COUNTING

SLOTS = 4
COUNTED = ("steps", "faults", "lost", "repeated", "shifted")
WAIT = 120.0
"""Longest wait for anything: servers are started again, so that nothing takes so long."""


def opened(addresses: Sequence[str], autoreset: Any = "next_step", **how: Any) -> Runtime:
    settings = {"lease": 10.0, "reopen_deadline": 90.0, "same_host": False, **how}
    return open_remote(COUNTING.id, SLOTS, EnvConfig(autoreset=autoreset), addresses, **settings)


class Tally:
    """What came for the slots of one runtime, held against what the environments say themselves.

    They number their steps and repeat the action that they were given, so a row shows whether a step
    was lost, was taken twice, or answers another request than it should.
    """

    def __init__(self) -> None:
        self.steps = self.faults = self.lost = self.repeated = 0
        self.shifted = 0
        """rows that answer another action than was sent, or whose frame is of another row"""
        self._at: dict[int, tuple[int, int]] = {}
        """slot → (seed, step); none for a slot whose next row must begin an episode"""

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in COUNTED}

    def add(self, other: Tally) -> None:
        for name, count in other.counts().items():
            setattr(self, name, getattr(self, name) + count)

    def batch(self, batch: Batch, actions: dict[int, int]) -> None:
        """``actions``: slot → what was sent."""
        finals = {int(row): i for i, row in enumerate(batch.final_rows)}
        for row, slot in enumerate(batch.slots.tolist()):
            fault, ended = bool(batch.fault[row]), bool(batch.ended[row])
            obs, at = (batch.final_obs, finals[row]) if row in finals else (batch.obs, row)
            self.row(slot, actions.get(slot, -1), fault, ended, obs, at)
            if row in finals:
                self.row(slot, -1, False, False, batch.obs, row)

    def row(self, slot: int, action: int, fault: bool, ended: bool, obs: Any, at: int) -> None:
        if fault:
            self.faults += 1
            self._at.pop(slot, None)
            return
        seed, step, heard = obs["count"][at].tolist()
        if not np.array_equal(obs["frame"][at], frames_of(obs["count"][at : at + 1])[0]):
            self.shifted += 1
        before = self._at.get(slot)
        if before is None or step == 0:
            self.lost += step != 0 or before is not None
        elif seed != before[0] or step > before[1] + 1:
            self.lost += 1
        elif step <= before[1]:
            self.repeated += 1
        elif heard != action:
            self.shifted += 1
        self._at[slot] = seed, step
        if ended:
            del self._at[slot]
        self.steps += 1


class Player(threading.Thread):
    """Plays from ``start`` to ``finish`` in its own way; what it raises, ``finish`` raises."""

    def __init__(self, seed: int) -> None:
        super().__init__(daemon=True, name=type(self).__name__)
        self.tally = Tally()
        self.rng = np.random.default_rng(seed)
        self.halt = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.play()
        except BaseException as error:  # noqa: BLE001 (raised again by finish)
            self.error = error

    def play(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        self.halt.set()
        self.join(WAIT + 30.0)
        assert not self.is_alive(), f"{self.name} hangs"
        if self.error is not None:
            raise AssertionError(f"{self.name}: {self.error}") from self.error

    def actions(self, count: int = SLOTS) -> np.ndarray:
        return self.rng.integers(0, 5, count)


class OnRuntime(Player):
    """Sends to subsets of a runtime, as they become idle."""

    def __init__(self, seed: int, addresses: Sequence[str], **how: Any) -> None:
        super().__init__(seed)
        self.runtime = opened(addresses, **how)

    def play(self) -> None:
        runtime, sent = self.runtime, dict.fromkeys(range(SLOTS), -1)
        runtime.reset(range(SLOTS), self.rng.integers(0, 1000, SLOTS))
        idle: set[int] = set()
        while not self.halt.is_set():
            batch = runtime.recv(WAIT)
            self.tally.batch(batch, sent)
            idle |= set(batch.slots.tolist())
            chosen = sorted(idle) if self.rng.random() < 0.7 or len(idle) == SLOTS else []
            if chosen:
                actions = self.actions(len(chosen))
                sent.update(zip(chosen, actions.tolist(), strict=True))
                runtime.send(chosen, actions)
                idle.clear()
        runtime.close()


class OnVector(Player):
    """Gymnasium's VectorEnv."""

    def __init__(self, seed: int, addresses: Sequence[str], **how: Any) -> None:
        super().__init__(seed)
        self.env = RuntimeVectorEnv(opened(addresses, **how))

    def play(self) -> None:
        env = self.env
        obs, infos = env.reset(seed=[int(seed) for seed in self.rng.integers(0, 1000, SLOTS)])
        self._rows(obs, [-1] * SLOTS, np.zeros(SLOTS, bool), infos)
        while not self.halt.is_set():
            actions = self.actions()
            obs, rewards_N, terminated_N, truncated_N, infos = env.step(actions)
            faults_N = infos.get("_fault", np.zeros(SLOTS, bool))
            assert (np.isnan(rewards_N) == faults_N).all(), "a fault with a reward"
            self._rows(obs, actions.tolist(), terminated_N | truncated_N, infos)
        env.close()

    def _rows(self, obs: Any, actions: list[int], ended_N: np.ndarray, infos: dict[str, Any]) -> None:
        faults_N = infos.get("_fault", np.zeros(SLOTS, bool))
        for slot in range(SLOTS):
            self.tally.row(slot, actions[slot], bool(faults_N[slot]), bool(ended_N[slot]), obs, slot)


class OnPool(Player):
    """A pool of several members, each on other servers."""

    def __init__(self, seed: int, members: Sequence[Sequence[str]]) -> None:
        super().__init__(seed)
        self.pool = Pool([(COUNTING.id, opened(addresses, "same_step")) for addresses in members])
        self.tallies = [Tally() for _ in members]

    def play(self) -> None:
        pool, sent = self.pool, [dict.fromkeys(range(SLOTS), -1) for _ in self.tallies]
        pool.reset(int(self.rng.integers(1000)))
        while not self.halt.is_set():
            index, batch = pool.recv(WAIT)
            self.tallies[index].batch(batch, sent[index])
            actions = self.actions(len(batch))
            slots = np.array(batch.slots)
            sent[index].update(zip(slots.tolist(), actions.tolist(), strict=True))
            pool.send(index, slots, actions)
        pool.close()
        for tally in self.tallies:
            self.tally.add(tally)


class OnLoop(Player):
    """AsyncRuntime: two of them in one event loop."""

    def __init__(self, seed: int, addresses: Sequence[str], **how: Any) -> None:
        super().__init__(seed)
        self.runtimes = [AsyncRuntime(opened(addresses, "same_step", **how)) for _ in range(2)]

    def play(self) -> None:
        asyncio.run(self._both())

    async def _both(self) -> None:
        tallies = await asyncio.gather(*map(self._one, self.runtimes))
        for tally in tallies:
            self.tally.add(tally)

    async def _one(self, runtime: AsyncRuntime) -> Tally:
        tally, sent = Tally(), dict.fromkeys(range(SLOTS), -1)
        async with runtime:
            runtime.reset(range(SLOTS), self.rng.integers(0, 1000, SLOTS))
            while not self.halt.is_set():
                batch = await runtime.recv(WAIT)
                tally.batch(batch, sent)
                slots, actions = np.array(batch.slots), self.actions(len(batch))
                sent.update(zip(slots.tolist(), actions.tolist(), strict=True))
                runtime.send(slots, actions)
        return tally


def patiently(seed: int, addresses: Sequence[str]) -> Player:
    """A player, whoever is being started or cut off just now: what isn't open yet can't be resumed."""
    end = time.monotonic() + WAIT
    while True:
        try:
            return OnRuntime(seed, addresses)
        except (ServerLostError, DeadlineError):
            if time.monotonic() > end:
                raise
        threading.Event().wait(0.2)


def main(seed: str, *addresses: str) -> None:
    player = patiently(int(seed), addresses)
    player.start()
    while not player.halt.wait(0.1):
        print(*player.tally.counts().values(), flush=True)
        if not player.is_alive():
            player.finish()


if __name__ == "__main__":
    main(*sys.argv[1:])
