"""A server in front of servers: one address, the same results, and the cause of a fault comes through."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from universe2.cli import serve
from universe2.client import open_remote, open_together
from universe2.core.batch import Batch, Fault
from universe2.core.errors import (
    CapacityError,
    ServerLostError,
    Universe2Error,
    UnsupportedError,
    UsageError,
    VersionError,
)
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.testing import check_env
from universe2.testing.counting import COUNTING, CountingRuntime


@pytest.fixture
def gateway(counting: EnvSpec) -> Iterator[Server]:
    behind = [Server(ServerConfig(port=0, slots=64)) for _ in range(2)]
    for server in behind:
        server.start()
    addresses = [server.address for server in behind]

    def open_behind(env_id: str, num_slots: int, config: EnvConfig) -> Runtime:
        return open_remote(env_id, num_slots, config, addresses, reopen_deadline=0.5)

    front = Server(ServerConfig(port=0, slots=128), open_behind)
    front.start()
    yield front
    for server in (front, *behind):
        server.stop(1.0)
    assert [server.capacity.slots_free for server in behind] == [64, 64]


def test_the_contract_holds_through_a_gateway(gateway: Server) -> None:
    report = check_env(COUNTING.id, remotes=[gateway.address])
    assert len(report.passed) >= 12


@pytest.mark.parametrize(
    ("host", "behind"),
    [
        ("127.0.0.1", "127.0.0.1:7"),
        ("127.0.0.1", "tls://LOCALHOST:7?name=here"),
        ("localhost", "[::1]:7"),
        ("::1", "127.0.0.1:7"),
        ("0.0.0.0", "localhost:7"),
        ("node1", "node1:7"),
    ],
)
def test_a_gateway_is_not_behind_itself(host: str, behind: str) -> None:
    """Each session would open another, until there are none left."""
    itself = ServerConfig(host=host, port=7, insecure=True)
    with pytest.raises(UsageError, match=r"--behind .* is this server itself") as told:
        serve._refuse_itself(itself, ["node2:7", behind])
    assert behind in str(told.value)


def test_another_server_of_this_machine_may_be_behind_a_gateway() -> None:
    serve._refuse_itself(ServerConfig(port=7), ["127.0.0.1:8", "node1:7"])
    serve._refuse_itself(ServerConfig(host="node1", port=7, insecure=True), ["127.0.0.1:7", "node2:7"])
    serve._refuse_itself(ServerConfig(port=0), ["127.0.0.1:7"])


class _Failing(CountingRuntime):
    """Every step is a fault."""

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        for row in np.flatnonzero(batch.step > 0).tolist():
            batch.fault[row], batch.reward[row] = Fault.ENVIRONMENT, np.nan
            batch.fault_text[row] = "it fell over"
        self._ledger.finish(batch.slots[batch.fault > 0], np.ones(int((batch.fault > 0).sum()), bool))
        return batch


@pytest.mark.parametrize(("asked", "most"), [(None, 2), (3, 3)])
def test_a_slot_is_parked_after_the_clients_faults_or_the_gateways(asked: int | None, most: int) -> None:
    behind = Server(
        ServerConfig(port=0, max_faults=1), lambda _id, count, config: _Failing(COUNTING, count, config)
    )
    behind.start()
    front = Server(ServerConfig(port=0, max_faults=2), serve._opener([behind.address], None))
    front.start()
    runtime = open_remote(COUNTING.id, 1, EnvConfig(), [front.address], max_faults=asked)
    try:
        runtime.reset([0], [4])
        texts = []
        while len(texts) <= most:
            texts += runtime.recv(10.0).fault_text.values()
            runtime.send([0], [0])
        assert [f"parked after {most} faults" in text for text in texts] == [False] * (most - 1) + [True] * 2
    finally:
        runtime.close()
        front.stop(1.0)
        behind.stop(1.0)


def test_the_definitions_of_client_and_servers_count_not_the_gateways(counting: EnvSpec) -> None:
    newer = dataclasses.replace(COUNTING, options={"level": 3})
    behind = Server(ServerConfig(port=0), lambda _id, count, config: CountingRuntime(newer, count, config))
    behind.start()
    front = Server(ServerConfig(port=0), serve._opener([behind.address], None))
    front.start()
    try:
        with pytest.raises(VersionError, match="has hash"):
            open_remote(COUNTING.id, 1, EnvConfig(), [front.address])
        open_remote(newer, 1, EnvConfig(), [front.address]).close()
    finally:
        front.stop(1.0)
        behind.stop(1.0)


class _Choosy(CountingRuntime):
    """Restores slots to step 2, but not from the state ``bad``."""

    def restore(self, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        if b"bad" in states:
            raise UsageError("a bad state")
        slots_K = self._ledger.check_slots(slots)
        self._ledger.begin_restore(slots_K, np.full(len(slots_K), 2), self._ledger.seed[slots_K])
        self._todo.put((slots_K, None))


Opened = Callable[[type[CountingRuntime]], tuple[Server, list[Server]]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """A gateway in front of two servers of two slots each, and these."""
    servers: list[Server] = []

    def serve(slots: int, opener: Callable[[str, int, EnvConfig], Runtime]) -> Server:
        server = Server(ServerConfig(port=0, slots=slots), opener)
        server.start()
        servers.insert(0, server)
        return server

    def start(cls: type[CountingRuntime]) -> tuple[Server, list[Server]]:
        behind = [serve(2, lambda _id, count, config: cls(COUNTING, count, config)) for _ in range(2)]
        addresses = [server.address for server in behind]
        front = serve(8, lambda name, count, config: open_remote(name, count, config, addresses, wait=0.0))
        return front, behind

    yield start
    for server in servers:
        server.stop(1.0)


def received(runtime: Runtime, rows: int) -> tuple[dict[int, tuple[int, int, int]], list[Universe2Error]]:
    """slot → (episode, step, fault) of what comes, and what is raised, until ``rows`` slots are answered."""
    found: dict[int, tuple[int, int, int]] = {}
    errors: list[Universe2Error] = []
    while len(found) + sum(len(error.slots) for error in errors) < rows:
        try:
            batch: Batch = runtime.recv(5.0)
        except Universe2Error as error:
            if not error.slots:
                raise
            errors.append(error)
            continue
        columns: Any = (batch.slots, batch.episode, batch.step, batch.fault)
        found.update({slot: place for slot, *place in zip(*(c.tolist() for c in columns), strict=True)})
    return {slot: tuple(place) for slot, place in found.items()}, errors  # type: ignore[misc]


def test_what_a_server_behind_refuses_is_refused_and_the_session_goes_on(opened: Opened) -> None:
    front, _ = opened(CountingRuntime)
    runtime = open_remote(COUNTING.id, 4, EnvConfig(), [front.address])
    runtime.reset(range(4), [4] * 4)
    received(runtime, 4)
    runtime.restore([0, 3], [b"x", b"x"])  # one on each
    found, errors = received(runtime, 2)
    assert not found
    assert sorted(error.slots for error in errors) == [(0,), (3,)]
    assert {type(error) for error in errors} == {UnsupportedError}
    runtime.send(range(4), [0] * 4)
    assert received(runtime, 4) == (dict.fromkeys(range(4), (0, 1, 0)), [])
    runtime.close()


def test_the_slots_that_were_not_refused_move(opened: Opened) -> None:
    front, _ = opened(_Choosy)
    runtime = open_remote(COUNTING.id, 4, EnvConfig(), [front.address])
    runtime.reset(range(4), [4] * 4)
    received(runtime, 4)
    runtime.restore(range(4), [b"good", b"good", b"bad", b"good"])  # the last two are on the same server
    found, errors = received(runtime, 4)
    assert found == {0: (1, 2, 0), 1: (1, 2, 0)}
    assert [(type(error), error.slots) for error in errors] == [(UsageError, (2, 3))]
    runtime.send(range(4), [0] * 4)
    moved, unmoved = (1, 3, 0), (0, 1, 0)
    assert received(runtime, 4) == ({0: moved, 1: moved, 2: unmoved, 3: unmoved}, [])
    runtime.close()


def test_full_servers_behind_a_gateway_are_waited_for(opened: Opened) -> None:
    front, behind = opened(CountingRuntime)
    addresses = [server.address for server in behind]
    first = open_remote(COUNTING.id, 4, EnvConfig(), addresses)
    with pytest.raises(CapacityError) as full:
        open_remote(COUNTING.id, 4, EnvConfig(), addresses, wait=0.0)
    assert full.value.retry_after > 0
    with pytest.raises(CapacityError) as never:
        open_remote(COUNTING.id, 5, EnvConfig(), addresses, wait=0.0)
    assert never.value.retry_after == 0
    threading.Timer(0.3, first.close).start()
    second = open_remote(COUNTING.id, 4, EnvConfig(), [front.address], wait=1.0)
    second.close()


def test_whose_servers_are_gone_is_refused_and_its_neighbours_go_on() -> None:
    """Their session ended with it."""
    specs = {name: dataclasses.replace(COUNTING, id=f"testing/{name}-v0") for name in ("Gone", "Well")}
    behind = {spec.id: served_alone(spec) for spec in specs.values()}

    def open_behind(env_id: str, count: int, config: EnvConfig) -> Runtime:
        return open_remote(env_id, count, config, [behind[env_id].address], reopen_deadline=0.5)

    front = Server(ServerConfig(port=0), open_behind)
    front.start()
    gone, well = open_together([(spec, 2, None) for spec in specs.values()], [front.address])
    address = behind[specs["Gone"].id].address
    try:
        for runtime in (gone, well):
            runtime.reset([0, 1], [14, 19])
            received(runtime, 2)
        behind[specs["Gone"].id].stop(0.0)
        gone.send([0], [0])
        assert received(gone, 1) == ({0: (0, 1, Fault.INFRASTRUCTURE)}, [])
        for step in (1, 2):
            gone.send([0], [0])
            found, errors = received(gone, 1)
            assert (found, [error.slots for error in errors]) == ({}, [(0,)])
            assert isinstance(errors[0], ServerLostError)
            assert "no server took its slots" in str(errors[0])
            well.send([0, 1], [0, 0])
            assert received(well, 2) == ({0: (0, step, 0), 1: (0, step, 0)}, [])
        behind[specs["Gone"].id] = served_alone(specs["Gone"], int(address.rpartition(":")[2]))
        gone.send([0, 1], [0, 0])  # one begins anew; the other was in mid-episode, which is over
        assert received(gone, 2) == ({0: (1, 0, 0), 1: (0, 1, Fault.INFRASTRUCTURE)}, [])
    finally:
        for runtime in (gone, well):
            runtime.close()
        for server in (front, *behind.values()):
            server.stop(1.0)


def served_alone(spec: EnvSpec, port: int = 0) -> Server:
    server = Server(ServerConfig(port=port), lambda _id, count, config: CountingRuntime(spec, count, config))
    server.start()
    return server
