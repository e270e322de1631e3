"""Fixtures that several tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from universe2.core.registry import register, unregister
from universe2.core.spec import EnvSpec
from universe2.testing.counting import COUNTING


@pytest.fixture
def counting() -> Iterator[EnvSpec]:
    """The spec of the environment that numbers its own steps, registered for one test."""
    register(COUNTING)
    yield COUNTING
    unregister(COUNTING.id)
