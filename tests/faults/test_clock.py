"""A wall clock that jumps, as when a machine's time is set right: leases and deadlines don't notice."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from universe2.client import open_remote
from universe2.core.spec import EnvConfig
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime

DAY = 86_400.0


def let_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """time.time() of this process, client and server alike, is a day early, then a day late, …"""
    real, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + (DAY if next(calls) % 2 else -DAY))


@pytest.mark.parametrize("same_host", [True, False])
def test_a_jumping_clock_ends_no_session(same_host: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(ServerConfig(port=0), lambda _id, slots, config: CountingRuntime(COUNTING, slots, config))
    server.start()
    let_jump(monkeypatch)  # not before: gRPC's own start takes a deadline from that clock
    began = time.monotonic()
    runtime = open_remote(
        COUNTING.id, 2, EnvConfig(), [server.address], lease=1.0, deadline=5.0, same_host=same_host
    )
    runtime.reset([0, 1], [0, 1])
    runtime.recv(5.0)
    for _ in range(6):
        threading.Event().wait(0.5)  # three leases in all, kept up by heartbeats alone
        runtime.send([0, 1], np.zeros(2, np.int64))
        batch = runtime.recv(5.0)
        assert not batch.fault.any(), batch.fault_text
    assert time.monotonic() - began > 3.0
    assert server.metrics.reaped._value.get() == 0
    runtime.close()
    monkeypatch.undo()
    server.stop(1.0)
