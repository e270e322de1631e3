"""The contract suite through a server: what holds locally holds remotely."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from universe2.core.spec import EnvSpec
from universe2.server import Server, ServerConfig
from universe2.testing import check_env


@pytest.fixture
def server(counting: EnvSpec) -> Iterator[Server]:
    server = Server(ServerConfig(port=0, slots=64))
    server.start()
    yield server
    server.stop(grace=1.0)


def test_the_suite_passes_through_a_server(server: Server) -> None:
    report = check_env("testing/Counting-v0", remotes=[server.address])
    assert len(report.passed) >= 12


def test_the_suite_passes_over_two_servers(server: Server) -> None:
    second = Server(ServerConfig(port=0, slots=64))
    second.start()
    try:
        report = check_env("testing/Counting-v0", remotes=[server.address, second.address])
        assert len(report.passed) >= 12
    finally:
        second.stop(grace=1.0)
