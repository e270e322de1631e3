"""Capacity and its queue: who comes first is served first, and everybody is told the truth."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from universe2.client import open_remote
from universe2.core.errors import CapacityError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.server.capacity import Capacity, Share
from universe2.testing.counting import COUNTING


def test_first_come_first_served() -> None:
    capacity = Capacity(slots=4, sessions=8, queue=2)
    first = capacity.enter(3, may_wait=False)
    large = capacity.enter(4, may_wait=True)
    small = capacity.enter(1, may_wait=True)  # would fit, but is not first
    assert [first.place, large.place, small.place] == [0, 1, 2]
    with pytest.raises(CapacityError, match="2 clients wait in the queue") as full:
        capacity.enter(1, may_wait=True)
    assert full.value.retry_after >= 1.0
    with pytest.raises(CapacityError, match="1 of 4 are free"):
        capacity.enter(1, may_wait=False)
    first.leave()
    first.leave()
    assert large.wait(0.0)
    assert [large.place, small.place, capacity.slots_free] == [0, 1, 0]
    large.leave()
    assert small.place == 0
    small.leave()
    assert (capacity.slots_free, capacity.sessions_open) == (4, 0)


def test_what_never_fits_does_not_wait() -> None:
    capacity = Capacity(slots=4, sessions=1, queue=9)
    with pytest.raises(CapacityError, match="5 slots were asked for"):
        capacity.enter(5, may_wait=True)
    share = Share(slots=2, sessions=1)
    ticket = capacity.enter(2, may_wait=False, owner="alice", share=share)
    with pytest.raises(CapacityError, match="'alice' has 2 of its 2"):
        capacity.enter(1, may_wait=True, owner="alice", share=share)
    ticket.leave()


def test_a_client_waits_in_the_queue_and_is_served(counting: EnvSpec) -> None:
    server = Server(ServerConfig(port=0, slots=2, queue=2))
    server.start()
    try:
        first = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(open_remote, COUNTING.id, 1, EnvConfig(), [server.address], queue=20.0)
            while not server.capacity.waiting:
                threading.Event().wait(0.01)
            first.close()
            runtime = second.result(10.0)
        runtime.reset([0], [0])
        assert runtime.recv(5.0).fault.tolist() == [0]
        with pytest.raises(CapacityError, match=r"did not become free within 0\.3 s") as late:
            open_remote(COUNTING.id, 2, EnvConfig(), [server.address], queue=0.3)
        assert late.value.retry_after >= 1.0
        runtime.close()
        assert server.capacity.waiting == 0
    finally:
        server.stop(1.0)
