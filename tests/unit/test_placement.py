"""Which of several servers get the slots: those that answer and that offer the environment."""

from __future__ import annotations

import dataclasses
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from universe2.cli import serve
from universe2.client import open_remote, open_together
from universe2.core.errors import AuthenticationError, CapacityError, ServerLostError, UnknownEnvError
from universe2.core.registry import register, unregister
from universe2.core.spec import EnvSpec
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime

TOKEN = "a-token-of-good-length"
NOWHERE = "no-such-host.invalid:15900"
OTHER = dataclasses.replace(COUNTING, id="elsewhere/Count-v0")
BY_ID = {COUNTING.id: COUNTING, OTHER.id: OTHER}


@pytest.fixture
def other(counting: EnvSpec) -> Iterator[EnvSpec]:
    """An environment of another family, beside ``counting``'s."""
    register(OTHER)
    yield OTHER
    unregister(OTHER.id)


@pytest.fixture
def dead() -> Iterator[str]:
    """Nobody listens there, and nobody else can come to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """What a test puts there is stopped after it."""
    started: list[Server] = []
    yield started
    for server in reversed(started):
        server.stop(1.0)


def started(servers: list[Server], slots: int = 8, **config: Any) -> Server:
    server = Server(
        ServerConfig(port=0, slots=slots, **config),
        lambda env_id, count, how: CountingRuntime(BY_ID[env_id], count, how),
    )
    server.start()
    servers.append(server)
    return server


@pytest.mark.parametrize("kind", ["dead", "nowhere"])
def test_servers_that_cannot_be_reached_are_left_out_and_named(
    kind: str, dead: str, servers: list[Server], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = started(servers), started(servers)
    gone = dead if kind == "dead" else NOWHERE
    with caplog.at_level(logging.WARNING, "universe2.client"):
        runtime = open_remote(COUNTING.id, 6, None, [first.address, gone, second.address])
    assert (first.capacity.slots_free, second.capacity.slots_free) == (5, 5)
    runtime.reset(range(6), range(6))
    assert len(runtime.recv(10.0)) + len(runtime.recv(10.0)) == 6
    runtime.close()
    (line,) = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert gone in line


def test_what_the_living_have_is_all_there_is(dead: str, servers: list[Server]) -> None:
    """More than that is refused at once, also of who would wait."""
    server = started(servers)
    with pytest.raises(CapacityError, match="9 slots were asked for, 8 are free"):
        open_remote(COUNTING.id, 9, None, [server.address, dead], wait=60.0)


def test_environments_opened_together_do_without_a_dead_server(dead: str, servers: list[Server]) -> None:
    server = started(servers)
    wanted = [(COUNTING, 2, None), (COUNTING, 3, None)]
    runtimes = open_together(wanted, [dead, server.address])
    assert server.capacity.slots_free == 3
    for runtime in runtimes:
        runtime.close()


def test_a_gateway_opens_sessions_while_a_node_is_down(dead: str, servers: list[Server]) -> None:
    node = started(servers)
    gateway = Server(ServerConfig(port=0, slots=16), serve._opener([node.address, dead], None))
    gateway.start()
    servers.append(gateway)
    open_remote(COUNTING.id, 4, None, [gateway.address]).close()


def test_where_none_can_be_reached_the_first_says_why(dead: str) -> None:
    with pytest.raises(ServerLostError, match=f"{dead}: nobody listens there"):
        open_remote(COUNTING.id, 2, None, [dead, NOWHERE])


def test_a_wrong_token_is_no_dead_server(servers: list[Server]) -> None:
    open_to_all, closed = started(servers), started(servers, token=TOKEN)
    with pytest.raises(AuthenticationError, match=closed.address):
        open_remote(COUNTING.id, 2, None, [open_to_all.address, closed.address])


def test_slots_go_to_servers_that_offer_the_family(other: EnvSpec, servers: list[Server]) -> None:
    everything, counting_only = started(servers), started(servers, families=("testing",))
    remotes = [counting_only.address, everything.address]
    open_remote(OTHER.id, 8, None, remotes).close()
    with pytest.raises(CapacityError, match="9 slots were asked for, 8 are free"):
        open_remote(OTHER.id, 9, None, remotes)


def test_each_of_several_environments_goes_where_it_is_offered(other: EnvSpec, servers: list[Server]) -> None:
    """The one with less choice chooses first, whatever their order: both fit only so."""
    everything, counting_only = started(servers), started(servers, families=("testing",))
    wanted = [(COUNTING, 8, None), (OTHER, 8, None)]
    runtimes = open_together(wanted, [everything.address, counting_only.address])
    assert [runtime.spec.id for runtime in runtimes] == [COUNTING.id, OTHER.id]
    assert (everything.capacity.slots_free, counting_only.capacity.slots_free) == (0, 0)
    for runtime in runtimes:
        runtime.close()


def test_a_family_that_none_offers_is_told_by_a_server(other: EnvSpec, servers: list[Server]) -> None:
    both = [started(servers, families=("testing",)).address for _ in range(2)]
    with pytest.raises(UnknownEnvError, match="doesn't offer the family 'elsewhere', only testing"):
        open_remote(OTHER.id, 2, None, both)


def test_a_server_whose_sessions_are_all_open_gets_no_slots(servers: list[Server]) -> None:
    full, other = started(servers, sessions=1), started(servers)
    first = open_remote(COUNTING.id, 1, None, [full.address])
    second = open_remote(COUNTING.id, 4, None, [full.address, other.address], wait=0.0)
    assert other.capacity.slots_free == 4
    first.close()
    second.close()
