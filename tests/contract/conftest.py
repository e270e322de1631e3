"""An environment server in a process of its own, for the contract tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from universe2.client.local_server import local_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a running ``universe2 serve``."""
    with local_server("--slots", "512") as running:
        yield running.address
