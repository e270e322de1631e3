"""Watching a session that somebody else plays."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from raw_client import start

from universe2.client import open_remote
from universe2.client.watch import watch
from universe2.core.errors import FaultError, ServerLostError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.server import Server
from universe2.server.viewers import Viewer
from universe2.testing.counting import COUNTING, CountingRuntime


@pytest.fixture
def server(counting: EnvSpec) -> Iterator[Server]:
    server = start()
    yield server
    server.stop(1.0)


def test_a_viewer_sees_the_newest_and_a_slow_one_holds_nobody_up(server: Server) -> None:
    runtime: Any = open_remote(COUNTING.id, 2, EnvConfig(autoreset="disabled"), [server.address])
    runtime.reset([0, 1], [4, 4])  # episodes of 7 steps
    runtime.recv(5.0)
    slow = runtime.watch(1, per_second=60.0)
    seen: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, slow)
        while not server._sessions[next(iter(server._sessions))]._members.numbered(0).viewers:
            threading.Event().wait(0.01)
        for _ in range(6):  # nobody takes more than the first picture
            runtime.send([0, 1], np.zeros(2, np.int64))
            seen.append(int(runtime.recv(5.0).step[1]))
            threading.Event().wait(0.03)
        assert first.result(5.0)[0, 0].tolist() == [1, 1, 1]
    assert seen == [1, 2, 3, 4, 5, 6]
    late = [1]
    while late[-1] < 6:  # what was still on its way, and at last the newest
        late.append(int(next(slow)[0, 0, 0]))
    assert late == sorted(set(late))
    runtime.close()
    assert list(slow) == []
    with pytest.raises(ServerLostError):
        next(runtime.watch(0))


def test_a_viewer_keeps_no_slots_that_the_session_does_not_have(server: Server) -> None:
    runtime: Any = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
    runtime.reset([0, 1], [4, 4])
    runtime.recv(5.0)
    pictures = watch(runtime._parts[0].lane, range(10_000), per_second=60.0)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(next, pictures)
        (session,) = server._sessions.values()
        while not session._members.numbered(0).viewers:
            threading.Event().wait(0.01)
        (viewer,) = session._members.numbered(0).viewers
        runtime.send([1], np.zeros(1, np.int64))
        runtime.recv(5.0)
        assert first.result(5.0)[0] == 1
    assert viewer.slots == {0, 1}
    runtime.close()


class _Undrawable(CountingRuntime):
    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        raise RuntimeError("no display")


def test_drawing_that_raises_ends_the_viewer_and_not_the_player() -> None:
    server = start(lambda _id, slots, config: _Undrawable(COUNTING, slots, config))
    runtime: Any = open_remote(COUNTING.id, 2, EnvConfig(), [server.address])
    try:
        runtime.reset([0, 1], [4, 4])
        runtime.recv(10.0)
        with ThreadPoolExecutor(1) as pool:
            picture = pool.submit(next, runtime.watch(1))
            while not server._sessions[next(iter(server._sessions))]._members.numbered(0).viewers:
                threading.Event().wait(0.01)
            for number in (1, 2):
                runtime.send([0, 1], np.zeros(2, np.int64))
                batch = runtime.recv(10.0)
                assert (batch.fault.tolist(), batch.step.tolist()) == ([0, 0], [number, number])
            with pytest.raises(FaultError, match="RuntimeError: no display"):
                picture.result(10.0)
    finally:
        runtime.close()
        server.stop(1.0)


def test_what_takes_long_to_draw_is_drawn_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, drawn = [100.0], list[float]()

    class Slow(CountingRuntime):
        def render(self, slots: Any, size: Any = None) -> list[np.ndarray]:
            drawn.append(clock[0])
            clock[0] += 0.5
            return super().render(slots, size)

    monkeypatch.setattr("universe2.server.viewers.time", SimpleNamespace(monotonic=lambda: clock[0]))
    runtime = Slow(COUNTING, 2, EnvConfig())
    viewer = Viewer(frozenset({0, 1}), per_second=60.0, size=None)
    for slot in [0, 1] * 5:
        runtime.reset([slot], [4])
        viewer.show(runtime, runtime.recv())
        clock[0] += 0.5
    assert drawn == [100.0, 101.0, 105.0, 106.0]


def test_a_viewer_misses_what_came_between() -> None:
    runtime = CountingRuntime(COUNTING, 2, EnvConfig())
    viewer = Viewer(frozenset({1}), per_second=60.0, size=(8, 8))
    runtime.reset([0, 1], [4, 4])
    viewer.show(runtime, runtime.recv())
    for _ in range(3):
        threading.Event().wait(0.03)
        runtime.send([0, 1], np.zeros(2, np.int64))
        viewer.show(runtime, runtime.recv())
    (found,) = (viewer.next(1.0) or {}).items()
    assert (found[0], found[1][0, 0, 0]) == (1, 3)
    assert viewer.next(0.0) == {}
    viewer.end()
    assert viewer.next(1.0) is None
