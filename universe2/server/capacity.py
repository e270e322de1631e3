"""Capacity: how many slots and sessions a server lends, and who has them."""

from __future__ import annotations

import threading
from collections.abc import Callable

from universe2.core.errors import CapacityError


class Capacity:
    """Counts slots and sessions. Each ``take_*`` returns a function that gives back, once."""

    def __init__(self, slots: int, sessions: int) -> None:
        self.slots = slots
        self.sessions = sessions
        self._slots_free = slots
        self._sessions_free = sessions
        self._lock = threading.Lock()

    @property
    def slots_free(self) -> int:
        return self._slots_free

    @property
    def sessions_open(self) -> int:
        return self.sessions - self._sessions_free

    def take_slots(self, count: int) -> Callable[[], None]:
        """Lend ``count`` slots, or raise CapacityError that says how many there are."""
        with self._lock:
            if count > self._slots_free:
                raise CapacityError(
                    f"{count} slots were asked for, {self._slots_free} of {self.slots} are free; "
                    "ask for fewer, add a server, or start it with more --slots"
                )
            self._slots_free -= count
        return self._once(slots=count)

    def take_session(self) -> Callable[[], None]:
        """Lend one session, or raise CapacityError."""
        with self._lock:
            if not self._sessions_free:
                raise CapacityError(
                    f"all {self.sessions} sessions are open; start the server with more --sessions"
                )
            self._sessions_free -= 1
        return self._once(sessions=1)

    def _once(self, slots: int = 0, sessions: int = 0) -> Callable[[], None]:
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            with self._lock:
                if not given_back:
                    given_back = True
                    self._slots_free += slots
                    self._sessions_free += sessions

        return give_back
