"""Patience: how long a client waits for slots that others have, and what it says meanwhile.

A server keeps the slots of a client that was killed until that client's lease is over, so the run
that follows finds them taken: it waits. It knows queues and clocks, not sessions.
"""

from __future__ import annotations

import logging
import threading
import time

from universe2.core.errors import CapacityError

log = logging.getLogger("universe2.client")

_LINE_SECONDS = 15.0
"""How often a wait says that it goes on although nothing has changed."""
_LEAST_SECONDS = 0.5
"""What is left is not worth another attempt."""
_LONGEST_PAUSE = 10.0
"""Between two attempts at a server that has no room in its queue either."""


class Patience:
    """``seconds`` from now on, for all servers of a runtime together."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._told: tuple[str, int] | None = None
        self._told_at = 0.0

    @property
    def left(self) -> float:
        return max(self._end - time.monotonic(), 0.0)

    def queued(self, address: str, place: int, retry_after: float) -> None:
        """A server said where in its queue this client is: a line in the log, when there is news."""
        now = time.monotonic()
        if self._told == (address, place) and now - self._told_at < _LINE_SECONDS:
            return
        self._told, self._told_at = (address, place), now
        log.warning(
            "%s is full: place %d in its queue, perhaps for %.0f s; waiting for at most %.0f s more",
            address,
            place,
            retry_after,
            self.left,
        )

    def outlasts(self, address: str, error: CapacityError) -> bool:
        """Is it worth asking again? If so, returns when it is time to."""
        left = self.left
        if not error.retry_after or left < _LEAST_SECONDS:
            return False
        pause = min(error.retry_after, _LONGEST_PAUSE, left)
        log.warning("%s: %s; asking again in %.0f s, for at most %.0f s more", address, error, pause, left)
        threading.Event().wait(pause)
        return True
