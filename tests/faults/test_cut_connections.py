"""A connection that is cut loses no step and repeats none; past the lease its slots are faults."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cutting_proxy import CuttingProxy
from waiting import eventually

from universe2.client import open_remote
from universe2.client.connection import Connection
from universe2.client.stream import Stream
from universe2.client.watch import watch
from universe2.core.batch import Fault
from universe2.core.errors import ServerLostError
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.wire.frames import encode
from universe2.wire.v1 import universe_pb2 as pb


class _Tallying(CountingRuntime):
    """Counts every action that reaches it."""

    steps = 0
    render_seconds = 0.0

    def render(self, slots, size=None):  # type: ignore[no-untyped-def]
        threading.Event().wait(self.render_seconds)
        return super().render(slots, size)

    def send(self, slots, actions):  # type: ignore[no-untyped-def]
        super().send(slots, actions)
        type(self).steps += len(slots)


@pytest.fixture
def server() -> Iterator[Server]:
    def opened(env_id: str, num_slots: int, config: EnvConfig) -> CountingRuntime:
        return _Tallying(COUNTING, num_slots, config)

    _Tallying.steps = 0
    server = Server(ServerConfig(port=0, slots=8), opened)
    server.start()
    yield server
    server.stop(1.0)


@pytest.fixture
def proxy(server: Server) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(server.address)
    yield proxy
    proxy.close()


def begin(proxy: CuttingProxy, slots: int, lease: float) -> Runtime:
    runtime = open_remote(
        COUNTING.id,
        slots,
        EnvConfig(autoreset="same_step"),
        [proxy.address],
        lease=lease,
        reopen_deadline=5.0,
        same_host=False,  # not past the proxy
    )
    runtime.reset(range(slots), range(slots))
    runtime.recv(5.0)
    return runtime


def step_all(runtime: Runtime) -> None:
    """One step of every slot, whose number and last action must be the right ones."""
    count = runtime.num_slots
    actions = np.random.default_rng(0).integers(0, 5, count)
    runtime.send(range(count), actions)
    seen = 0
    while seen < count:
        batch = runtime.recv(20.0)
        seen += len(batch)
        assert not batch.fault.any(), batch.fault_text
        going = ~batch.ended
        assert (batch.obs["count"][going, 1] == batch.step[going]).all()
        assert (batch.obs["count"][going, 2] == actions[batch.slots[going]]).all()


def test_cut_at_random_moments_no_step_is_lost_or_repeated(server: Server, proxy: CuttingProxy) -> None:
    runtime = begin(proxy, 4, lease=20.0)
    rng, stop = random.Random(0), threading.Event()

    def cutter() -> None:
        while not stop.wait(rng.uniform(0.02, 0.2)):
            proxy.cut()
            stop.wait(rng.uniform(0.0, 0.1))
            proxy.mend()

    thread = threading.Thread(target=cutter)
    thread.start()
    rounds, end = 0, time.monotonic() + 5.0
    try:
        while time.monotonic() < end:
            step_all(runtime)
            rounds += 1
    finally:
        stop.set()
        thread.join(5.0)
        proxy.mend()
    step_all(runtime)
    assert proxy.passed >= 3
    assert _Tallying.steps == 4 * (rounds + 1)
    runtime.close()
    assert eventually(lambda: server.capacity.slots_free == 8)


def test_cut_for_a_second(server: Server, proxy: CuttingProxy) -> None:
    runtime = begin(proxy, 2, lease=20.0)
    step_all(runtime)
    proxy.cut()
    threading.Timer(1.0, proxy.mend).start()
    began = time.monotonic()
    step_all(runtime)
    assert 0.9 < time.monotonic() - began < 4.0
    assert server.capacity.sessions_open == 1
    runtime.close()


def test_packets_that_vanish(proxy: CuttingProxy) -> None:
    """Nobody is told that the connection is gone: silence must be enough."""
    runtime = begin(proxy, 2, lease=4.0)
    proxy.swallow()
    threading.Timer(1.5, proxy.mend).start()
    step_all(runtime)
    runtime.close()


@pytest.mark.parametrize("closed", [False, True])
def test_a_viewer_leaves_with_the_player_when_packets_vanish(proxy: CuttingProxy, closed: bool) -> None:
    """Nobody could tell it that there is nothing more to see."""
    runtime = begin(proxy, 2, lease=1.0)
    seen = threading.Event()

    def look() -> str:
        try:
            for _ in runtime.watch(0, per_second=60.0):  # type: ignore[attr-defined]
                seen.set()
        except ServerLostError as error:
            return str(error)
        return "ended"

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        while not seen.wait(0.02):
            step_all(runtime)
        proxy.swallow()
        if closed:
            runtime.close()
            assert looking.result(15.0) == "ended"
        else:
            assert proxy.address in looking.result(15.0)
            runtime.close()


def test_a_viewer_whose_packets_vanish_is_shown_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing anyway: its place among the viewers was taken for as long as the session lasted."""
    monkeypatch.setattr("universe2.server.service.KEEPALIVE_SECONDS", 1.0)
    server = Server(ServerConfig(port=0), lambda _id, count, config: CountingRuntime(COUNTING, count, config))
    server.start()
    proxy = CuttingProxy(server.address)
    runtime = open_remote(COUNTING.id, 1, EnvConfig(autoreset="same_step"), [server.address])
    runtime.reset([0], [0])
    runtime.recv(5.0)
    lane = runtime._parts[0].lane  # type: ignore[attr-defined]
    seen = threading.Event()
    (session,) = server._sessions.values()

    def look() -> None:
        with contextlib.suppress(ServerLostError):
            for _ in watch(lane, [0], 60.0):
                seen.set()

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(lane.connection, "address", proxy.address)
        looking = pool.submit(look)
        while not seen.wait(0.02):
            step_all(runtime)
        member = session._members.numbered(0)
        assert len(member.viewers) == 1
        proxy.swallow()
        assert eventually(lambda: not member.viewers, 20.0)
        step_all(runtime)  # the player didn't notice
        runtime.close()
        looking.result(15.0)
    proxy.close()
    server.stop(1.0)


def test_cut_past_the_lease_the_slots_are_faults_and_begin_anew(server: Server, proxy: CuttingProxy) -> None:
    runtime = begin(proxy, 2, lease=1.0)
    proxy.cut()
    assert eventually(lambda: server.capacity.slots_free == 8)
    runtime.send([0, 1], [0, 0])
    proxy.mend()
    batch = runtime.recv(10.0)
    assert batch.fault.tolist() == [Fault.INFRASTRUCTURE] * 2
    assert np.isnan(batch.reward).all()
    runtime.send([0, 1], [0, 0])
    batch = runtime.recv(10.0)
    assert (batch.fault.tolist(), batch.step.tolist()) == ([0, 0], [0, 0])
    runtime.close()


def test_taking_a_session_up_renews_its_lease(server: Server, proxy: CuttingProxy) -> None:
    runtime = begin(proxy, 2, lease=60.0)
    (session,) = server._sessions.values()
    session.heard -= 55.0
    proxy.cut()
    proxy.mend()
    assert eventually(lambda: session.silent < 5.0, 3.0)
    step_all(runtime)
    runtime.close()


def test_who_closes_while_it_reconnects_says_goodbye(
    server: Server, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("universe2.client.resuming.RETRY_SECONDS", 30.0)
    monkeypatch.setattr("universe2.client.resuming.REFUSED_SECONDS", 30.0)
    runtime = begin(proxy, 2, lease=60.0)
    connection = runtime._parts[0].lane.connection  # type: ignore[attr-defined]
    proxy.cut()
    assert eventually(lambda: connection._stream is None)
    proxy.mend()
    runtime.close()
    assert eventually(lambda: server.capacity.slots_free == 8, 5.0)
    connection._thread.join(5.0)
    assert not connection._thread.is_alive()


def test_who_closes_while_nothing_is_reached_does_not_wait_long(server: Server, proxy: CuttingProxy) -> None:
    runtime = begin(proxy, 2, lease=60.0)
    proxy.cut()
    began = time.monotonic()
    runtime.close()
    assert time.monotonic() - began < 6.0


@pytest.mark.parametrize("same_host", [False, True])
def test_a_request_that_takes_longer_than_the_lease(
    server: Server, same_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hears no heartbeat meanwhile, and the client no answer: neither takes the other for dead."""
    monkeypatch.setattr("universe2.server.session.LEAVE_SECONDS", 0.2)
    monkeypatch.setattr(_Tallying, "render_seconds", 2.5)
    runtime = open_remote(COUNTING.id, 2, EnvConfig(), [server.address], lease=1.0, same_host=same_host)
    runtime.reset([0, 1], [4, 9])
    runtime.recv(5.0)
    assert len(runtime.render([0])) == 1
    runtime.send([0, 1], [0, 0])
    batch = runtime.recv(5.0)
    assert (batch.fault.tolist(), batch.step.tolist()) == ([0, 0], [1, 1])
    runtime.close()


@pytest.mark.slow
def test_cut_for_thirty_seconds(proxy: CuttingProxy) -> None:
    runtime = begin(proxy, 2, lease=60.0)
    proxy.cut()
    threading.Timer(30.0, proxy.mend).start()
    runtime.send([0, 1], [1, 1])
    batch = runtime.recv(45.0)
    assert (batch.fault.tolist(), batch.step.tolist()) == ([0, 0], [1, 1])
    runtime.close()


OPEN = pb.Open(protocol=1, env_id=COUNTING.id, interface="native", autoreset="next_step", num_slots=2)


def just_opened(address: str, ask: pb.Open) -> pb.Opened:
    """A session whose stream breaks as soon as the client knows of it."""
    stream = Stream(address, None)
    stream.send(encode(pb.Header(sequence=1, open=ask)))
    opened = stream.first(5.0).opened
    stream.hang_up()
    return opened


@pytest.mark.parametrize("received", [0, 1])
def test_a_session_can_be_taken_up_before_a_second_frame(server: Server, received: int) -> None:
    opened = just_opened(server.address, OPEN)
    assert server.capacity.slots_free == 6
    stream = Stream(server.address, None)
    resume = pb.Resume(token=opened.resume_token, received=received)
    stream.send(encode(pb.Header(session=opened.session, resume=resume)))
    assert stream.first(5.0).resumed.received == 1
    if not received:  # all that the client says it lacks comes again
        assert stream.first(5.0).opened == opened
    slots, seeds = np.arange(2, dtype="<i4"), np.array([4, 9], "<i8")
    reset = pb.Header(sequence=2, session=opened.session, received=1, reset=pb.Reset())
    stream.send(encode(reset, [slots, seeds]))
    header = stream.first(5.0)
    assert (header.sequence, header.batch.rows) == (2, 2)
    stream.send(encode(pb.Header(sequence=3, session=opened.session, close=pb.Close())))
    assert eventually(lambda: server.capacity.slots_free == 8)
    stream.hang_up()


def test_a_session_that_nobody_takes_up_ends_with_its_lease(server: Server) -> None:
    ask = pb.Open()
    ask.CopyFrom(OPEN)
    ask.lease_seconds = 1.0
    just_opened(server.address, ask)
    assert server.capacity.slots_free == 6
    assert eventually(lambda: server.capacity.slots_free == 8)


def test_who_leaves_while_the_slots_open_leaves_nothing() -> None:
    """There is nobody who could know the resume token."""
    opening, go_on = threading.Event(), threading.Event()

    def slow(env_id: str, num_slots: int, config: EnvConfig) -> CountingRuntime:
        opening.set()
        assert go_on.wait(20.0)
        return CountingRuntime(COUNTING, num_slots, config)

    class Watched(Server):
        def _session(self, requests, context):  # type: ignore[no-untyped-def]
            self.context = context
            return super()._session(requests, context)

    server = Watched(ServerConfig(port=0, slots=8), slow)
    server.start()
    try:
        stream = Stream(server.address, None)
        stream.send(encode(pb.Header(sequence=1, open=OPEN)))
        assert opening.wait(20.0)
        stream.hang_up()
        assert eventually(lambda: not server.context.is_active())
        go_on.set()
        assert eventually(lambda: server.capacity.sessions_open == 0)
        assert server.capacity.slots_free == 8
    finally:
        server.stop(1.0)


def test_opening_that_is_interrupted_at_its_end_leaves_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(connection: Connection) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Connection, "_go_local", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
    assert eventually(lambda: server.capacity.slots_free == 8)


def test_another_cannot_take_a_session_up(server: Server) -> None:
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [server.address])
    name = runtime._parts[0].lane.opened.session  # type: ignore[attr-defined]
    for session, kind in ((name, "AuthenticationError"), ("nobody", "ServerLostError")):
        stream = Stream(server.address, None)
        stream.send(encode(pb.Header(session=session, resume=pb.Resume(token=b"x" * 16))))
        assert stream.first(5.0).error.type == kind
        stream.hang_up()
    runtime.reset([0], [0])
    assert runtime.recv(5.0).fault.tolist() == [0]
    runtime.close()
