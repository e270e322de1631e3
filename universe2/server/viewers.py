"""Viewers: pictures of a session's slots as a stream, for whoever looks on.

Pictures are taken between a result and its way to the client, when a slot is surely idle, and no
oftener than the viewer asked. The player waits while they are drawn, so what takes long to draw is drawn
seldom. A viewer that is slow gets the newest picture next and misses those between; for it nobody waits.
"""

from __future__ import annotations

import threading
import time

import numpy as np

from universe2.core.batch import Batch
from universe2.core.errors import FaultError, Universe2Error
from universe2.core.runtime import Runtime

MIN_PER_SECOND, MAX_PER_SECOND = 0.01, 60.0

SHARE = 5
"""A viewer's pictures take at most one part in so many of the player's time."""


class Viewer:
    """One look at some slots. ``size`` is (height, width) or None for the environment's own."""

    def __init__(self, slots: frozenset[int], per_second: float, size: tuple[int, int] | None) -> None:
        self.slots = slots
        self.size = size
        # in this order NaN is the least: of NaN and a number, min and max return the first
        self._period = 1.0 / min(max(MIN_PER_SECOND, per_second), MAX_PER_SECOND)
        self._due = dict.fromkeys(self.slots, 0.0)
        self._newest: dict[int, np.ndarray] = {}
        self._error: Universe2Error | None = None
        self._over = False
        self._changed = threading.Condition()

    def show(self, runtime: Runtime, batch: Batch) -> None:
        """Take pictures of those slots of the batch that are due."""
        now = time.monotonic()
        chosen = [s for s in batch.slots[batch.fault == 0].tolist() if self._due.get(s, now + 1) <= now]
        if not chosen:
            return
        try:
            pictures = dict(zip(chosen, runtime.render(chosen, self.size), strict=True))
        except Universe2Error as error:
            self.end(error)
            return
        except Exception as error:  # noqa: BLE001  the viewer hears it; who plays goes on
            self.end(FaultError(f"drawing raised {type(error).__name__}: {error}"))
            return
        each = (time.monotonic() - now) / len(chosen)
        period = max(self._period, SHARE * each * len(self.slots))
        with self._changed:
            for slot, picture in pictures.items():
                self._newest[slot] = picture
                self._due[slot] = now + period
            self._changed.notify_all()

    def end(self, error: Universe2Error | None = None) -> None:
        """There will be no more pictures."""
        with self._changed:
            self._error, self._over = error, True
            self._changed.notify_all()

    def next(self, timeout: float) -> dict[int, np.ndarray] | None:
        """Slot → its newest picture, of those that weren't seen yet; empty if none came in time.

        None when it is over. Raises what went wrong.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._over, timeout)
            if self._error is not None:
                raise self._error
            if self._over:
                return None
            found, self._newest = self._newest, {}
            return found
