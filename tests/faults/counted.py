"""Counting served from here, and what tests do with its slots: act, and receive rows in any order."""

from __future__ import annotations

import threading
import time

import numpy as np

from universe2.core.batch import Batch
from universe2.core.errors import DeadlineError
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime


def receive(runtime: Runtime, rows: int, timeout: float = 20.0) -> dict[int, tuple[Batch, int]]:
    """slot → (batch, row), once ``rows`` rows have come."""
    found: dict[int, tuple[Batch, int]] = {}
    end = time.monotonic() + timeout
    while len(found) < rows:
        batch = runtime.recv(end - time.monotonic())
        for row, slot in enumerate(batch.slots.tolist()):
            assert slot not in found
            found[slot] = batch, row
    return found


def faults(rows: dict[int, tuple[Batch, int]]) -> list[int]:
    return sorted(slot for slot, (batch, row) in rows.items() if batch.fault[row])


def act(runtime: Runtime, slots: list[int]) -> None:
    runtime.send(slots, np.zeros(len(slots), np.int64))


class Mute(CountingRuntime):
    """Takes requests and never answers."""

    def recv(self, timeout: float | None = None) -> Batch:
        threading.Event().wait(timeout)
        raise DeadlineError("mute")


def served(cls: type[CountingRuntime], **config: float) -> Server:
    def opened(env_id: str, num_slots: int, env_config: EnvConfig) -> CountingRuntime:
        return cls(COUNTING, num_slots, env_config)

    server = Server(ServerConfig(port=0, slots=8, **config), opened)  # type: ignore[arg-type]
    server.start()
    return server
