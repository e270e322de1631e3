"""Member: one environment of a session, mostly the only one: its runtime, and who asked it for what.

Requests are carried out in the order in which they came. What may take long and would hold up the other
members of a session (``SLOW``) is done aside, by a thread of the member's own, and so is what comes
after it until that is done. It doesn't know streams.

Suffixes: N slots of the member, K slots of one call.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import numpy as np

from universe2.core.batch import Batch
from universe2.core.errors import ProtocolError
from universe2.server.backlog import Backlog
from universe2.server.parking import ParkingRuntime
from universe2.server.requests import HANDLERS, Outcome
from universe2.server.viewers import Viewer
from universe2.wire.batches import I32, write_batch
from universe2.wire.buffers import Buffer
from universe2.wire.codecs import Coder
from universe2.wire.frames import Frame
from universe2.wire.v1 import universe_pb2 as pb

SLOW = frozenset({"render", "snapshot"})
"""Requests that the runtime answers before it returns."""


class Member:
    """Slots of one environment. ``number`` is its place in the session; ``aside`` all its members share."""

    def __init__(self, number: int, runtime: ParkingRuntime, aside: Backlog) -> None:
        self.number = number
        self.runtime = runtime
        self.coder: Coder | None = None
        self.exact = True
        """whether what it observes may be sent as it is; otherwise the coder's losses are part of it"""
        self.viewers: tuple[Viewer, ...] = ()
        self._asking = threading.Lock()
        """held while the runtime is asked, until it is known in whose name"""
        self._request_N = np.zeros(runtime.num_slots, np.int64)
        """number of the frame that last asked each slot"""
        self._asked_N = np.zeros(runtime.num_slots)
        """monotonic time at which each slot was last asked for a row, noted a little later than that"""
        self._came_N = np.zeros(runtime.num_slots)
        """monotonic time at which each slot's last row came"""
        self._backlog = aside
        self._aside: queue.SimpleQueue[tuple[Callable[[], None], int] | None] | None = None
        self._over = False
        self._counting = threading.Lock()
        self._waiting = 0
        """requests aside that are not done"""

    def ask(self, frame: Frame) -> Outcome:
        """Carry a request out. Raises what the runtime does, and ProtocolError."""
        kind = frame.header.WhichOneof("body") or ""
        handler = HANDLERS.get(kind)
        if handler is None:
            raise ProtocolError(f"a client can't send {kind or None}")
        with self._asking:
            began = time.monotonic()
            outcome = handler(self.runtime, frame)
            if isinstance(outcome, int):
                rows = self._rows(np.frombuffer(frame.buffers[0], I32))
                self._request_N[rows] = frame.header.sequence
                self._asked_N[rows] = began
        return outcome

    def _rows(self, slots_K: np.ndarray) -> slice | np.ndarray:
        """What indexes the slots' entries where their order is no matter."""
        # mostly all are asked, and an index costs 30 times as much
        return slice(None) if len(slots_K) == len(self._asked_N) else slots_K

    def waited(self, slots_K: np.ndarray, now: float) -> float:
        """For how many seconds the first of these slots was asked for its row; all of them have theirs."""
        asked, before = float(self._asked_N[slots_K[0]]), float(self._came_N[slots_K[0]])
        self._came_N[self._rows(slots_K)] = now
        return now - asked if asked > before else 0.0  # it came before it was noted that it was asked for

    def askers(self, slots_K: np.ndarray) -> np.ndarray:
        """int64 (K,): the numbers of the frames that last asked these slots."""
        with self._asking:
            return self._request_N[slots_K]

    def must_wait(self, frame: Frame) -> bool:
        """Whether the request is one for ``do_aside``. From one thread only."""
        kind = frame.header.WhichOneof("body")
        return kind != "heartbeat" and (self._waiting > 0 or kind in SLOW)

    def do_aside(self, work: Callable[[], None], size: int) -> None:
        """Have ``work``, which keeps ``size`` bytes and doesn't raise, done by the member's own thread.

        In the order of the calls. Raises ProtocolError if too much is waiting already.
        """
        if not self._backlog.add(size):
            raise ProtocolError(f"the client asks and doesn't wait for what is asked before: {self._backlog}")
        if self._aside is None:
            self._aside = queue.SimpleQueue()
            # A daemon: what hangs there, in foreign code, must not keep the process from its end.
            threading.Thread(target=self._do, args=(self._aside,), daemon=True, name="session-aside").start()
        with self._counting:
            self._waiting += 1
        self._aside.put((work, size))

    def _do(self, aside: queue.SimpleQueue[tuple[Callable[[], None], int] | None]) -> None:
        """In the member's own thread, until the session is over."""
        while (next_ := aside.get()) is not None and not self._over:
            work, size = next_
            work()
            self._backlog.remove(size)
            with self._counting:
                self._waiting -= 1

    def written(self, batch: Batch) -> tuple[Batch, pb.Batch, list[Buffer]]:
        """The batch as it is sent: rows that can't be written are faults of their environments."""
        space = self.runtime.observation_space
        try:
            return batch, *write_batch(batch, space)
        except Exception:  # noqa: BLE001  whatever a foreign object does when it is written
            batch = self.runtime.reject(batch)
        return batch, *write_batch(batch, space)

    def over(self) -> None:
        """The session is over: nothing more is done aside, and viewers go."""
        for viewer in self.viewers:
            viewer.end()
        self._over = True
        if self._aside is not None:
            self._aside.put(None)
