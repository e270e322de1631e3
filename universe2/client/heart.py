"""Heart: keeps a remote runtime's sessions alive, and ends them.

Its thread holds what the runtime is made of and never the runtime, so that one that nobody holds
any more is collected, and then its sessions end. What results mean is not its business.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Sequence

import numpy as np

from universe2.client.part import Part, Reopened
from universe2.client.slots import SlotBook
from universe2.core.errors import DeadlineError, ProtocolError

log = logging.getLogger("universe2.client")

CLOSE_WAIT = 5.0
"""Seconds that closing waits for servers to free the slots."""


class Heart:
    """Until ``closed`` is set or it is told to stop: renews leases, and gives up sessions that owe an
    answer for too long. ``lock`` is that of the book."""

    def __init__(
        self,
        parts: Sequence[Part],
        book: SlotBook,
        lock: threading.Lock,
        inbox: queue.SimpleQueue[object],
        closed: threading.Event,
    ) -> None:
        self._parts = parts
        self._book = book
        self._lock = lock
        self._inbox = inbox
        self._closed = closed
        self._stopped: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self) -> None:
        """Before the first session opens: that of a server may have to be kept alive while others open."""
        threading.Thread(target=self._run, daemon=True, name="heartbeats").start()

    def stop(self) -> None:
        """Have the thread end, and the sessions, unless they have.

        The garbage collector may call this, in whatever thread and whatever locks that holds. So it
        takes none: a SimpleQueue's ``put`` is made for that, where an Event's ``set`` could wait for ever.
        """
        self._stopped.put(None)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._stopped.get(timeout=min(part.beat for part in self._parts))
            except queue.Empty:
                for part in self._parts:
                    self._renew(part)
                continue
            if not self._closed.is_set():
                log.warning("%s: dropped without close()", self._parts[0].name)
                self._closed.set()
                end_sessions(self._parts, self._inbox)

    def _renew(self, part: Part) -> None:
        lane = part.lane
        if lane is None or not lane.alive:
            return
        with self._lock:
            busy_K = self._book.busy_on(part.start, part.stop)
            oldest = self._book.asked_N[busy_K].min() if len(busy_K) else np.inf
        now, limit = time.monotonic(), part.deadline(lane)
        if now - oldest > limit:
            text = f"{lane.address}: no result for {len(busy_K)} slots within {limit:g} s"
            lane.poison(DeadlineError(text))
            return
        try:
            lane.beat(3 * part.beat)
        except ProtocolError as error:  # so much is unacknowledged that nothing more may be sent
            lane.poison(error)


def end_sessions(parts: Sequence[Part], inbox: queue.SimpleQueue[object]) -> None:
    """Say goodbye to all servers, and wait at most CLOSE_WAIT seconds until they have freed the slots."""
    lanes = [part.lane for part in parts if part.lane is not None]
    while not inbox.empty():
        with contextlib.suppress(queue.Empty):  # a receiving thread may be faster
            event = inbox.get_nowait()
            if isinstance(event, Reopened) and event.lane is not None:
                lanes.append(event.lane)
    inbox.put(None)
    for lane in lanes:
        lane.say_goodbye()
    end = time.monotonic() + CLOSE_WAIT
    for lane in lanes:
        lane.close(wait=max(end - time.monotonic(), 0.0))
