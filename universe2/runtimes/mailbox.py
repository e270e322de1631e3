"""Mailbox: what passes between the thread that sends and the one that receives, in a runtime of one process.

It doesn't know what it holds.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

from universe2.core.errors import ClosedError, DeadlineError, IdleError
from universe2.core.ledger import SlotLedger

DEADLINE = 60.0
"""Seconds that ``take`` waits unless it is told otherwise."""

_T = TypeVar("_T")


class Mailbox(Generic[_T]):
    """A queue whose waiting ends at a deadline, when it is closed, or if nothing can come any more."""

    def __init__(self, name: str, ledger: SlotLedger) -> None:
        self._name, self._ledger = name, ledger
        self._items: deque[_T] = deque()
        self._changed = threading.Condition()

    def put(self, item: _T) -> None:
        with self._changed:
            self._items.append(item)
            self._changed.notify()

    def put_back(self, item: _T) -> None:
        """``item`` is the next to be taken once more."""
        with self._changed:
            self._items.appendleft(item)
            self._changed.notify()

    def take(self, timeout: float | None) -> _T:
        """The oldest item. Raises ClosedError, IdleError if no slot is busy, DeadlineError."""
        seconds = DEADLINE if timeout is None else timeout
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._ledger.closed and not self._items:
                if not len(self._ledger.busy()):
                    raise IdleError("no slot is busy: call reset or send before recv")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise DeadlineError(f"{self._name}: nothing was ready within {seconds:g} s")
            if self._ledger.closed:
                raise ClosedError("the runtime is closed")
            return self._items.popleft()

    def close(self) -> None:
        """Mark the ledger closed and let a waiting ``take`` know."""
        with self._changed:
            self._ledger.closed = True
            self._changed.notify_all()
