"""A server in front of servers: one address, the same results, and the cause of a fault comes through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from universe2.client import open_remote
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server, ServerConfig
from universe2.testing import check_env
from universe2.testing.counting import COUNTING


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
