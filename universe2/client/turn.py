"""Turn: who reads a connection's stream, its own thread or a caller who waits for what comes.

Handing a message from one thread to another costs more than to read it. So while callers come one after
the other, each reads what it waits for itself, and the thread rests; when nobody comes any more, the
thread goes on. It doesn't know what is read.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

REST_SECONDS = 0.02
"""So long after the last caller the connection's thread reads again."""

LOOK_SECONDS = 0.2
"""How often a caller who reads looks whether what it waits for came from elsewhere."""

LONGEST_SECONDS = threading.TIMEOUT_MAX / 2
"""Python's queues refuse to wait for much longer: also for who said inf."""

_Item = TypeVar("_Item")


class Turn:
    """The thread has the turn from ``begin`` on; ``rest`` lends it to callers."""

    def __init__(self) -> None:
        self._taken = threading.Lock()
        self._called = threading.Event()
        self._counting = threading.Lock()
        self._waiting = 0
        """callers who wait for others to read"""
        self._reads = 0
        self._lent = False
        """whether a caller has the turn"""

    def begin(self) -> None:
        """In the connection's thread, before its first message."""
        self._taken.acquire()

    def rest(self) -> None:
        """In the connection's thread, between two messages: a caller that waits may read the next ones."""
        if self._waiting != 1:  # of several, one would read and go while the others wait
            return
        self._called.clear()
        self._taken.release()
        reads = -1
        while self._lent or reads != self._reads:
            reads = self._reads
            if self._called.wait(REST_SECONDS):
                break
        left = 0
        # A Ctrl-C right after a caller got the turn leaves it with nobody.
        while not self._taken.acquire(timeout=LOOK_SECONDS) and left < 2:
            left = 0 if self._lent else left + 1

    def call(self) -> None:
        """The thread is needed at once."""
        self._called.set()

    def wait(
        self, inbox: queue.SimpleQueue[_Item], seconds: float, read: Callable[[float], bool] | None
    ) -> _Item:
        """What comes into ``inbox`` next. Raises queue.Empty after ``seconds``.

        ``read(seconds)`` waits for a message and deals with it; False if that isn't a caller's business now.
        """
        end = time.monotonic() + min(seconds, LONGEST_SECONDS)
        while read is not None and self._taken.acquire(blocking=False):
            try:
                self._lent = True
                left = end - time.monotonic()
                if inbox.empty() and left > 0:
                    self._reads += 1
                    if not read(min(left, LOOK_SECONDS)):
                        read = None
            finally:
                self._lent = False
                self._taken.release()
                if self._waiting or read is None:
                    self._called.set()
            if left <= 0 or not inbox.empty():
                return inbox.get_nowait()
        with self._counting:
            self._waiting += 1
        try:
            return inbox.get(timeout=max(end - time.monotonic(), 0.0))
        finally:
            with self._counting:
                self._waiting -= 1
