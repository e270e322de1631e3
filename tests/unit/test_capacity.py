"""Capacity and its queue: who comes first is served first, and everybody is told the truth."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

import universe2
from universe2.client import open_remote
from universe2.core.errors import CapacityError, ServerLostError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.server.capacity import Capacity, Share
from universe2.testing.counting import COUNTING, CountingRuntime


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


def test_what_a_token_waits_for_counts_as_its_own() -> None:
    capacity, share = Capacity(slots=4, sessions=9, queue=2), Share(slots=3, sessions=2)
    everything = capacity.enter(4, may_wait=False, owner="alice")
    first = capacity.enter(2, may_wait=True, owner="bob", share=share)
    with pytest.raises(CapacityError, match=r"'bob' has 2 of its 3 \(1 of its clients in the queue") as told:
        capacity.enter(2, may_wait=True, owner="bob", share=share)
    assert told.value.retry_after >= 1.0
    second = capacity.enter(1, may_wait=True, owner="bob", share=share)
    with pytest.raises(CapacityError, match="'bob' has all of its 2 sessions open"):
        capacity.enter(1, may_wait=True, owner="bob", share=Share(sessions=2))
    everything.leave()
    assert [first.place, second.place, capacity.slots_free] == [0, 0, 1]
    first.leave()
    third = capacity.enter(2, may_wait=False, owner="bob", share=share)
    second.leave()
    third.leave()
    assert (capacity.slots_free, capacity.sessions_open, capacity.waiting) == (4, 0, 0)


def test_a_token_at_its_limit_leaves_the_queue_to_others() -> None:
    capacity, share = Capacity(slots=4, sessions=9, queue=2), Share(sessions=1)
    capacity.enter(4, may_wait=False, owner="alice")
    capacity.enter(1, may_wait=True, owner="bob", share=share)
    for _ in range(3):
        with pytest.raises(CapacityError, match="'bob' has all of its 1 sessions"):
            capacity.enter(1, may_wait=True, owner="bob", share=share)
    assert capacity.enter(1, may_wait=True, owner="carol").place == 2


def test_a_draining_server_serves_nobody_from_its_queue(counting: EnvSpec) -> None:
    server = Server(ServerConfig(port=0, slots=2, drain_seconds=5.0))
    server.start()
    try:
        first = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
        with ThreadPoolExecutor(2) as pool:
            second = pool.submit(open_remote, COUNTING.id, 1, EnvConfig(), [server.address], wait=20.0)
            while not server.capacity.waiting:
                threading.Event().wait(0.01)
            drained = pool.submit(server.drain, threading.Event())
            with pytest.raises(ServerLostError, match="opens no more sessions"):
                second.result(2.0)  # at once, although the slots are still taken
            first.close()
            drained.result(5.0)
        assert (server.capacity.sessions_open, server.capacity.waiting) == (0, 0)
    finally:
        server.stop(1.0)


def test_slots_that_open_while_a_server_drains_are_refused() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_id: str, slots: int, config: EnvConfig) -> CountingRuntime:
        begun.set()
        assert go_on.wait(10.0)
        return CountingRuntime(COUNTING, slots, config)

    server = Server(ServerConfig(port=0, drain_seconds=5.0), slow)
    server.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            opening = pool.submit(open_remote, COUNTING.id, 1, EnvConfig(), [server.address])
            assert begun.wait(10.0)
            drained = pool.submit(server.drain, threading.Event())
            while not server._draining.is_set():
                threading.Event().wait(0.01)
            go_on.set()
            with pytest.raises(ServerLostError, match="opens no more sessions"):
                opening.result(10.0)
            drained.result(5.0)
        assert server.capacity.slots_free == server.capacity.slots
    finally:
        server.stop(1.0)


def test_a_client_waits_in_the_queue_and_is_served(counting: EnvSpec) -> None:
    server = Server(ServerConfig(port=0, slots=2, queue=2))
    server.start()
    try:
        first = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(open_remote, COUNTING.id, 1, EnvConfig(), [server.address], wait=20.0)
            while not server.capacity.waiting:
                threading.Event().wait(0.01)
            first.close()
            runtime = second.result(10.0)
        runtime.reset([0], [0])
        assert runtime.recv(5.0).fault.tolist() == [0]
        with pytest.raises(CapacityError, match=r"did not become free within 0\.3 s") as late:
            open_remote(COUNTING.id, 2, EnvConfig(), [server.address], wait=0.3)
        assert late.value.retry_after >= 1.0
        runtime.close()
        assert server.capacity.waiting == 0
    finally:
        server.stop(1.0)


CLIENT = """
import sys
from universe2.client import open_remote
runtime = open_remote("{env_id}", 2, None, ["{address}"], lease={lease})
print("open", flush=True)
sys.stdin.read()
"""


def test_the_run_after_a_killed_one_waits_for_its_slots(
    counting: EnvSpec, caplog: pytest.LogCaptureFixture
) -> None:
    """The slots of a client that died are taken until its lease is over; the next one waits in the queue."""
    server = Server(ServerConfig(port=0, slots=2))
    server.start()
    code = CLIENT.format(env_id=COUNTING.id, address=server.address, lease=1.5)
    command = [sys.executable, "-c", code]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == b"open\n"
            first.kill()
        with pytest.raises(CapacityError, match="0 of 2 are free"):
            universe2.open_runtime(COUNTING.id, 2, remotes=server.address, wait=0.0)
        with closing(universe2.make_vec(COUNTING.id, 2, remotes=[server.address], wait=20.0)) as envs:
            assert envs.reset(seed=0)[1]["seed"].shape == (2,)
        assert "is full: place 1 in its queue" in caplog.text
    finally:
        server.stop(1.0)


def test_without_room_in_the_queue_it_asks_again(counting: EnvSpec, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(ServerConfig(port=0, slots=1, queue=0))
    server.capacity.retry_after = lambda place: 0.1  # type: ignore[method-assign]
    server.start()
    try:
        first = open_remote(COUNTING.id, 1, EnvConfig(), [server.address])
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(open_remote, COUNTING.id, 1, EnvConfig(), [server.address], wait=20.0)
            while "asking again" not in caplog.text:
                assert not second.done()
                threading.Event().wait(0.01)
            first.close()
            second.result(10.0).close()
        with pytest.raises(CapacityError, match="2 slots were asked for"):  # there never are as many
            open_remote(COUNTING.id, 2, EnvConfig(), [server.address], wait=20.0)
    finally:
        server.stop(1.0)


def test_several_full_servers_are_waited_for(counting: EnvSpec) -> None:
    servers = [Server(ServerConfig(port=0, slots=2)) for _ in range(2)]
    addresses = [server.address for server in servers]
    try:
        for server in servers:
            server.start()
        holding = [open_remote(COUNTING.id, 2, EnvConfig(), [address]) for address in addresses]
        with pytest.raises(CapacityError, match="4 slots were asked for, 0 are free"):
            open_remote(COUNTING.id, 4, EnvConfig(), addresses, wait=0.0)
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(open_remote, COUNTING.id, 4, EnvConfig(), addresses, wait=20.0)
            while not any(server.capacity.waiting for server in servers):
                threading.Event().wait(0.01)
            for runtime in holding:
                runtime.close()
            runtime = second.result(20.0)
        assert runtime.num_slots == 4
        runtime.close()
    finally:
        for server in servers:
            server.stop(1.0)
