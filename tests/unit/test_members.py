"""A session of several environments: one per server for a whole pool, all or none, and each on its own."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from universe2.client import open_together, server_info
from universe2.client.connection import Connection
from universe2.client.lane import Lane
from universe2.client.waiting import Patience
from universe2.client.watch import watch
from universe2.core.batch import Batch
from universe2.core.errors import (
    CapacityError,
    DeadlineError,
    ProtocolError,
    ServerLostError,
    Universe2Error,
    UnknownEnvError,
    UsageError,
    VersionError,
)
from universe2.core.spec import EnvConfig
from universe2.faces.pool import Pool
from universe2.server import Server, ServerConfig
from universe2.server.backlog import Backlog
from universe2.server.member import Member
from universe2.server.opening import read_asks
from universe2.server.parking import ParkingRuntime
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.v1 import universe_pb2 as pb

FIRST, SECOND, THIRD = (dataclasses.replace(COUNTING, id=f"testing/Member{i}-v0") for i in (1, 2, 3))
BY_ID = {spec.id: spec for spec in (FIRST, SECOND, THIRD)}
NEXT = EnvConfig()


class Held(CountingRuntime):
    """Rendering the first environment waits until it may; opening one named there fails, or is slow."""

    may_render = threading.Event()
    rendering = threading.Event()

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        if self.spec.id == FIRST.id:
            self.rendering.set()
            assert self.may_render.wait(20)
        return super().render(slots, size)


def open_held(env_id: str, num_slots: int, config: EnvConfig) -> Held:
    if env_id not in BY_ID:
        raise UnknownEnvError(f"no {env_id}")
    return Held(BY_ID[env_id], num_slots, config)


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def begin(**settings: Any) -> Server:
        server = Server(ServerConfig(**{"port": 0, "slots": 12, "open_deadline": 5.0} | settings), open_held)
        running.append(server)
        server.start()
        return server

    Held.may_render.set()
    Held.rendering.clear()
    yield begin
    Held.may_render.set()
    for server in running:
        server.stop(1.0)


def pool_of(addresses: list[str], count: int = 3, **settings: Any) -> Pool:
    wanted = [(spec, count, NEXT) for spec in BY_ID.values()]
    runtimes = open_together(wanted, addresses, **settings)
    return Pool([(runtime.spec.id, runtime) for runtime in runtimes])


def play(pool: Pool, rounds: int) -> list[tuple[int, int, int, int]]:
    """(member, slot, episode, step) of every row, each checked to be of the seed that it says."""
    pool.reset(seed=7)
    seen, owed = [], pool.num_slots
    for _ in range(rounds + 1):
        while owed:
            index, batch = pool.recv(20.0)
            assert not batch.fault.any(), batch.fault_text
            owed -= len(batch)
            slots = batch.slots.tolist()
            assert (batch.obs["count"][:, 0] == batch.seed).all()
            assert (batch.obs["count"][:, 1] == batch.step).all()
            rows = zip(slots, batch.episode.tolist(), batch.step.tolist(), strict=True)
            seen += [(index, *row) for row in rows]
        if len(seen) < pool.num_slots * (rounds + 1):
            for member in pool.members:
                pool.send(member.index, np.arange(member.num_slots), np.full(member.num_slots, 2))
            owed = pool.num_slots
    return sorted(seen)


@pytest.mark.parametrize("codec", ["raw", "delta"])
@pytest.mark.parametrize("same_host", [True, False])
def test_a_pool_is_one_session_and_plays_as_it_does_here(
    start: Callable[..., Server], codec: str, same_host: bool
) -> None:
    server = start()
    here = Pool([(spec.id, CountingRuntime(spec, 3, NEXT)) for spec in BY_ID.values()])
    with pool_of([server.address], codec=codec, same_host=same_host) as there, here:
        assert server.capacity.sessions_open == 1
        assert server_info(server.address).slots_free == 12 - 9
        assert play(there, 20) == play(here, 20)
    assert server_info(server.address).slots_free == 12


def test_slots_spread_over_servers_and_each_has_one_session(start: Callable[..., Server]) -> None:
    servers = [start(slots=5), start(slots=4)]
    with pool_of([server.address for server in servers]) as pool:
        assert [server.capacity.sessions_open for server in servers] == [1, 1]
        assert [server.capacity.slots_free for server in servers] == [0, 0]
        assert len(play(pool, 5)) == 9 * 6


def test_all_slots_or_none(start: Callable[..., Server]) -> None:
    server = start(slots=8)
    with pytest.raises(CapacityError, match="9 slots were asked for, 8 of 8 are free"):
        pool_of([server.address], wait=0.0)
    assert (server.capacity.slots_free, server.capacity.sessions_open) == (8, 0)


def test_one_that_cannot_open_fails_all_and_leaves_nothing(start: Callable[..., Server]) -> None:
    server = start()
    wanted = [(FIRST, 2, NEXT), ("testing/Absent-v0", 2, NEXT), (SECOND, 2, NEXT)]
    with pytest.raises(UnknownEnvError, match="testing/Absent-v0"):
        open_together(wanted, [server.address])
    assert (server.capacity.slots_free, server.capacity.sessions_open) == (12, 0)


def test_members_that_open_too_late_give_their_slots_back_when_they_are_closed(
    monkeypatch: pytest.MonkeyPatch, start: Callable[..., Server]
) -> None:
    go_on, opened = threading.Event(), list[Held]()

    def open_slowly(env_id: str, num_slots: int, config: EnvConfig) -> Held:
        if env_id != FIRST.id:
            assert go_on.wait(20)
        opened.append(open_held(env_id, num_slots, config))
        return opened[-1]

    server = start(open_deadline=0.2)
    monkeypatch.setattr(server, "_open_runtime", open_slowly)
    with pytest.raises(DeadlineError, match=r"were not open after 0\.\d+ s"):
        pool_of([server.address])
    assert server.capacity.slots_free == 3, "what is still opening holds its slots"
    go_on.set()
    until(lambda: server.capacity.slots_free == 12)
    assert len(opened) == 2, "what was not begun when one came too late is not begun any more"
    assert all(runtime._ledger.closed for runtime in opened)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of runtimes whose close was called; that of the second raises."""
    called: list[str] = []

    def close(runtime: Held) -> None:
        called.append(runtime.spec.id)
        CountingRuntime.close(runtime)
        if runtime.spec.id == SECOND.id:
            raise OSError("can't remove the scratch directory")

    monkeypatch.setattr(Held, "close", close)
    return called


def test_one_that_fails_to_close_leaves_no_other_open(
    start: Callable[..., Server], closed: list[str]
) -> None:
    server = start()
    wanted = [(spec, 2, NEXT) for spec in BY_ID.values()]
    for runtime in open_together(wanted, [server.address]):
        runtime.close()
    until(lambda: server.capacity.slots_free == 12)
    assert sorted(closed) == sorted(BY_ID)
    assert server.capacity.sessions_open == 0


def test_one_that_fails_to_close_when_another_did_not_open_keeps_no_slots(
    start: Callable[..., Server], closed: list[str]
) -> None:
    server = start()
    wanted = [(FIRST, 2, NEXT), (SECOND, 2, NEXT), ("testing/Absent-v0", 2, NEXT)]
    with pytest.raises(Universe2Error, match=r"scratch directory|testing/Absent-v0"):
        open_together(wanted, [server.address])
    until(lambda: server.capacity.slots_free == 12)
    assert sorted(closed) == [FIRST.id, SECOND.id]


def test_here_too_one_that_fails_to_close_leaves_no_other_open(closed: list[str]) -> None:
    pool = Pool([(spec.id, Held(spec, 1, NEXT)) for spec in BY_ID.values()])
    with pytest.raises(OSError, match="scratch directory"):
        pool.close()
    assert sorted(closed) == sorted(BY_ID)


def test_a_picture_that_takes_long_holds_up_nobody_else(start: Callable[..., Server]) -> None:
    server = start()
    pool = pool_of([server.address])
    with pool:
        play(pool, 1)
        Held.may_render.clear()
        found: list[list[np.ndarray]] = []
        first, second = (pool.members[i].runtime for i in (0, 1))
        asking = threading.Thread(target=lambda: found.append(first.render([0])))
        asking.start()
        assert Held.rendering.wait(10)
        for _ in range(5):
            pool.send(1, [0, 1, 2], np.zeros(3, np.int64))
            assert pool.recv(10.0)[0] == 1
        assert len(second.render([1])) == 1
        # what comes after it for the same environment waits for it, and then comes in order
        pool.send(0, [1, 2], np.zeros(2, np.int64))
        with pytest.raises(DeadlineError):
            pool.recv(0.2)
        Held.may_render.set()
        assert pool.recv(10.0)[0] == 0
        asking.join(10)
        assert len(found) == 1


def test_what_is_done_aside_keeps_no_process_from_its_end() -> None:
    member = Member(0, ParkingRuntime(CountingRuntime(COUNTING, 1, EnvConfig()), 5), Backlog(2, 9))
    begun, go, over = threading.Event(), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def hang() -> None:
        threads.append(threading.current_thread())
        begun.set()
        go.wait(20.0)

    member.do_aside(hang, 4)
    member.do_aside(over.set, 4)
    assert begun.wait(10.0)
    assert threads[0].daemon
    member.over()
    go.set()
    threads[0].join(10.0)
    assert not threads[0].is_alive()
    assert not over.is_set(), "the session was over"


def test_who_closes_its_part_leaves_the_others_theirs(start: Callable[..., Server]) -> None:
    server = start()
    first, second = open_together([(FIRST, 2, NEXT), (SECOND, 2, NEXT)], [server.address])
    first.close()
    second.reset([0, 1], [4, 4])
    assert len(second.recv(10.0)) == 2
    assert server.capacity.sessions_open == 1
    second.close()
    until(lambda: server.capacity.sessions_open == 0)


def test_a_broken_stream_costs_no_step_of_any(start: Callable[..., Server]) -> None:
    with pool_of([start().address]) as pool:
        lane = pool.members[1].runtime._parts[0].lane  # type: ignore[attr-defined]
        play(pool, 2)
        for _ in range(3):
            # the last one may have broken after all rows had come: then the next is still being made
            until(lambda: lane.connection._stream is not None)
            stream = lane.connection._stream
            for member in pool.members:
                pool.send(member.index, [0, 1, 2], np.zeros(3, np.int64))
            stream.hang_up()
            owed = 9
            while owed:
                _, batch = pool.recv(20.0)
                assert not batch.fault.any()
                owed -= len(batch)


def test_a_lost_session_faults_all_and_is_opened_again_as_one(
    start: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    doomed, other = start(), start()
    runtimes = open_together([(FIRST, 2, NEXT), (SECOND, 2, NEXT)], [doomed.address])
    pool = Pool([(runtime.spec.id, runtime) for runtime in runtimes])
    for runtime in runtimes:  # where to look, once it is gone
        terms = runtime._parts[0]._berth.terms  # type: ignore[attr-defined]
        object.__setattr__(terms, "addresses", (doomed.address, other.address))
    with pool, caplog.at_level(logging.WARNING, "universe2.client"):
        play(pool, 1)
        doomed.stop(0.0)
        for index in (0, 1):
            pool.send(index, [0, 1], np.zeros(2, np.int64))
        assert all(batch.fault.all() for batch in rows(pool, 4))
        for index in (0, 1):
            pool.send(index, [0, 1], np.zeros(2, np.int64))
        again = rows(pool, 4)
        assert not any(batch.fault.any() for batch in again)
        assert all((batch.step == 0).all() for batch in again)
        assert other.capacity.sessions_open == 1
        assert other.capacity.slots_free == 12 - 4
        pool.send(0, [0, 1], np.zeros(2, np.int64))
        assert [batch.step.tolist() for batch in rows(pool, 2)] == [[1, 1]]
    until(lambda: other.capacity.sessions_open == 0)


def test_who_hears_later_that_the_session_is_open_again_opens_no_other(start: Callable[..., Server]) -> None:
    doomed, other = start(), start()
    first, second = open_together([(FIRST, 1, NEXT), (SECOND, 1, NEXT)], [doomed.address])
    terms = first._parts[0]._berth.terms  # type: ignore[attr-defined]
    object.__setattr__(terms, "addresses", (doomed.address, other.address))
    for runtime in (first, second):
        runtime.reset([0], [4])
        runtime.recv(10.0)
    doomed.stop(0.0)
    for runtime in (first, second):
        runtime.send([0], np.zeros(1, np.int64))
        assert runtime.recv(10.0).fault.all()
    for runtime in (first, second):  # the first has them both opened
        for step in range(3):
            runtime.send([0], np.zeros(1, np.int64))
            batch = runtime.recv(10.0)
            assert (batch.fault[0], batch.step[0]) == (0, step)
            for thread in threading.enumerate():
                if thread.name.startswith("reopen"):
                    thread.join(10)
    first.send([0], np.zeros(1, np.int64))
    assert first.recv(10.0).step[0] == 3
    assert (other.capacity.sessions_open, other.capacity.slots_free) == (1, 12 - 2)
    for runtime in (first, second):
        runtime.close()


def test_when_no_server_comes_back_each_says_so(start: Callable[..., Server]) -> None:
    server = start()
    runtimes = open_together([(FIRST, 1, NEXT), (SECOND, 1, NEXT)], [server.address], reopen_deadline=0.5)
    for runtime in runtimes:
        runtime.reset([0], [1])
        runtime.recv(10.0)
    server.stop(0.0)
    for runtime in runtimes:
        runtime.send([0], np.zeros(1, np.int64))
        assert runtime.recv(10.0).fault.all()
        runtime.send([0], np.zeros(1, np.int64))
    for runtime in runtimes:
        with pytest.raises(ServerLostError, match="no server took its slots"):
            runtime.recv(10.0)
        runtime.close()


def test_each_can_be_watched(start: Callable[..., Server]) -> None:
    server = start()
    with pool_of([server.address]) as pool:
        pictures: list[np.ndarray] = []

        def look() -> None:
            for picture in pool.members[2].runtime.watch(1, 60.0):  # type: ignore[attr-defined]
                pictures.append(picture)

        looking = threading.Thread(target=look)
        looking.start()
        pool.reset(seed=3)
        rows(pool, 9)
        end = time.monotonic() + 20
        while not pictures and time.monotonic() < end:
            pool.send(2, [0, 1, 2], np.zeros(3, np.int64))
            rows(pool, 3)
        assert pictures[0].shape == (8, 8, 3)
    looking.join(10)


def test_who_is_not_there_cannot_be_watched(start: Callable[..., Server]) -> None:
    with pool_of([start().address]) as pool:
        lane = pool.members[2].runtime._parts[0].lane  # type: ignore[attr-defined]
        lane.number = 3
        with pytest.raises(ProtocolError, match="member 3 of a session that has 3"):
            next(watch(lane, [0]))
        lane.number = 2
        play(pool, 2)  # which has not touched the session


def connect(server: Server, asks: list[pb.Open], sinks: Any = None) -> Connection:
    sinks = sinks or [lambda lane, what: None for _ in asks]
    return Connection(server.address, asks, sinks, None, 10.0, Patience(0.0))


def ask_for(env_id: str, slots: int = 1) -> pb.Open:
    return pb.Open(protocol=1, env_id=env_id, num_slots=slots, interface="native", autoreset="next_step")


def test_a_frame_of_a_member_that_is_not_there_ends_the_session(start: Callable[..., Server]) -> None:
    ends: list[Universe2Error] = []

    def sink(_lane: Lane, what: object) -> None:
        if isinstance(what, Universe2Error):
            ends.append(what)

    server = start()
    connection = connect(server, [ask_for(FIRST.id), ask_for(SECOND.id)], [sink, sink])
    connection.send(pb.Header(reset=pb.Reset(), member=2), [np.zeros(1, "<i4"), np.zeros(1, "<i8")])
    until(lambda: len(ends) == 2)
    assert isinstance(ends[0], ProtocolError)
    assert "member 2 of a session that has 2" in str(ends[0])
    until(lambda: server.capacity.sessions_open == 0)


def test_too_many_members_and_members_of_members_are_refused(start: Callable[..., Server]) -> None:
    server = start()
    with pytest.raises(UsageError, match="at most 1024 members, got 1025"):
        connect(server, [ask_for(FIRST.id)] * 1025)
    nested = ask_for(SECOND.id)
    nested.more.append(ask_for(THIRD.id))
    with pytest.raises(UsageError, match="no members themselves"):
        connect(server, [ask_for(FIRST.id), nested])
    assert server.capacity.sessions_open == 0


def test_a_server_that_knows_no_members_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, start: Callable[..., Server]
) -> None:
    server = start()
    monkeypatch.setattr("universe2.server.service.read_asks", lambda ask: read_asks(ask)[:1])
    with pytest.raises(VersionError, match="1 environments opened where 3 were asked for"):
        pool_of([server.address])
    until(lambda: server.capacity.sessions_open == 0)


def rows(pool: Pool, count: int) -> list[Batch]:
    found: list[Batch] = []
    while sum(map(len, found)) < count:
        found.append(pool.recv(20.0)[1])
    return found


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        threading.Event().wait(0.01)
