"""What is asked of the C library's heap by the wire and by the learner, in either order."""

from __future__ import annotations

import itertools

import pytest

from universe2.core import heap

THRESHOLD, TRIM = -3, -1


@pytest.mark.parametrize("order", [*itertools.permutations([heap.keep_messages, heap.keep_batches])])
def test_who_asks_for_less_takes_nothing_away(order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training on remote environments lost the learner's settings to the wire's."""
    set_to: dict[int, int] = {}

    def mallopt(name: int, value: int) -> int:
        set_to[name] = value
        return 1

    monkeypatch.setattr(heap, "_mallopt", lambda: mallopt)
    monkeypatch.setattr(heap, "_asked", {})
    assert all(keep() for keep in order)
    assert (set_to[THRESHOLD], set_to[TRIM]) == (2**30, 2**31 - 1)


def test_an_older_library_keeps_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, int]] = []

    def mallopt(name: int, value: int) -> int:
        tried.append((name, value))
        return int(name != THRESHOLD or value <= 32 * 2**20)

    monkeypatch.setattr(heap, "_mallopt", lambda: mallopt)
    monkeypatch.setattr(heap, "_asked", {})
    assert heap.keep_batches()
    assert (THRESHOLD, 32 * 2**20) in tried
