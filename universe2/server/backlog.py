"""Backlog: what waits for a client that is slow, or for foreign code that is, counted so that it can't grow.

Numbers alone would not do: a snapshot that nobody reads may be as large as its environment.
"""

from __future__ import annotations

import threading


class Backlog:
    """At most ``most`` things of ``most_bytes`` together, or a single one of any size. From any thread."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most, self.most_bytes = most, most_bytes
        self._lock = threading.Lock()
        self._count = self._bytes = 0

    def add(self, size: int) -> bool:
        """One more, of ``size`` bytes. False: it finds no room, and is not counted."""
        with self._lock:
            full = self._count >= self.most or self._bytes + size > self.most_bytes
            if self._count and full:
                return False
            self._count += 1
            self._bytes += size
            return True

    def remove(self, size: int) -> None:
        """One that was added, of as many bytes, waits no longer."""
        with self._lock:
            self._count -= 1
            self._bytes -= size

    def __str__(self) -> str:
        return f"{self._count} of {self._bytes} bytes, where {self.most} of {self.most_bytes} may"
