"""Capacity: how many slots and sessions a server lends, who has them, and who waits for them.

Who comes first is served first, also if fewer slots would do for somebody behind. What a token's holders
wait for counts as theirs: the queue holds no more of them than could be served. It doesn't know sessions or
streams.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass

from universe2.core.errors import CapacityError


@dataclass(frozen=True, kw_only=True)
class Share:
    """The most that one token's holders may have at a time, or send. 0: as much as the server allows."""

    slots: int = 0
    sessions: int = 0
    message_bytes: int = 0
    """the largest message of theirs"""
    frame_bytes: int = 0
    """the largest frame of theirs, of all its chunks"""


EVERYTHING = Share()


class Ticket:
    """A claim to ``count`` slots and one session. ``leave`` gives up whatever it has, once."""

    def __init__(self, capacity: Capacity, count: int, owner: str, share: Share) -> None:
        self.count = count
        self.owner = owner
        self.share = share
        self._capacity = capacity

    @property
    def place(self) -> int:
        """0: the slots are here; otherwise the place in the queue, from 1."""
        return self._capacity.place_of(self)

    def wait(self, timeout: float) -> bool:
        """Until the place changes, the server closes, or ``timeout`` seconds are over. Are the slots here?"""
        return self._capacity.wait_for(self, timeout)

    def leave(self) -> None:
        self._capacity.leave(self)


class Capacity:
    """Counts slots and sessions. All methods may be called from any thread."""

    def __init__(self, slots: int, sessions: int, queue: int = 0) -> None:
        self.slots = slots
        self.sessions = sessions
        self.queue = queue
        self._held: set[Ticket] = set()
        self._line: list[Ticket] = []
        self._slots_of: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closed = False
        self._pause = 5.0
        """seconds between two sessions' ends, as a moving average"""
        self._last_end = time.monotonic()

    @property
    def slots_free(self) -> int:
        return self.slots - sum(self._slots_of.values())

    @property
    def sessions_open(self) -> int:
        return len(self._held)

    @property
    def waiting(self) -> int:
        """How many are in the queue."""
        return len(self._line)

    def enter(self, count: int, *, may_wait: bool, owner: str = "", share: Share = EVERYTHING) -> Ticket:
        """Claim ``count`` slots: at once if they are free, or in the queue if the caller may wait.

        Raises CapacityError: more than there ever are, more than the owner's share, or nothing free.
        """
        ticket = Ticket(self, count, owner, share)
        with self._changed:
            if refusal := self._over_share(ticket):
                raise refusal
            if count > self.slots:
                raise CapacityError(
                    f"{count} slots were asked for, {self.slots_free} of {self.slots} are free; "
                    "ask for fewer, add a server, or start it with more --slots"
                )
            waiting = len(self._line)
            self._line.append(ticket)
            self._serve()
            if ticket in self._line and (not may_wait or waiting >= self.queue):
                self._line.remove(ticket)
                raise self._full(count, waiting + 1 if may_wait else 1)
        return ticket

    def close(self) -> None:
        """Nobody gets anything any more, and who waits is woken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def place_of(self, ticket: Ticket) -> int:
        with self._changed:
            return self._line.index(ticket) + 1 if ticket in self._line else 0

    def retry_after(self, place: int) -> float:
        """A guess, in seconds, from how fast sessions ended so far."""
        return min(max(self._pause * place, 1.0), 300.0)

    def wait_for(self, ticket: Ticket, timeout: float) -> bool:
        with self._changed:
            place = self.place_of(ticket)
            self._changed.wait_for(lambda: self._closed or self.place_of(ticket) != place, timeout)
            return ticket in self._held

    def leave(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket in self._line:
                self._line.remove(ticket)
            elif ticket in self._held:
                self._held.remove(ticket)
                self._slots_of[ticket.owner] -= ticket.count
                now = time.monotonic()
                self._pause += 0.2 * (now - self._last_end - self._pause)
                self._last_end = now
            self._serve()
            self._changed.notify_all()

    def _serve(self) -> None:
        """Give what is free to those who wait, in order."""
        for ticket in list(self._line):
            if self._closed or ticket.count > self.slots_free or len(self._held) >= self.sessions:
                return
            self._line.remove(ticket)
            self._held.add(ticket)
            self._slots_of[ticket.owner] += ticket.count

    def _over_share(self, ticket: Ticket) -> CapacityError | None:
        """What to say if the ticket's owner would have, or wait for, more than the share."""
        count, owner, share = ticket.count, ticket.owner, ticket.share
        waiting = [other for other in self._line if other.owner == owner]
        taken = self._slots_of[owner] + sum(other.count for other in waiting)
        queued = f" ({len(waiting)} of its clients in the queue counted)" if waiting else ""
        if share.slots and taken + count > share.slots:
            return CapacityError(
                f"{count} slots were asked for; the token {owner!r} has {taken} of its {share.slots}{queued}",
                self.retry_after(1) if count <= share.slots else 0.0,
            )
        sessions = len(waiting) + sum(held.owner == owner for held in self._held)
        if share.sessions and sessions >= share.sessions:
            text = f"the token {owner!r} has all of its {share.sessions} sessions open{queued}"
            return CapacityError(text, self.retry_after(1))
        return None

    def _full(self, count: int, place: int) -> CapacityError:
        seconds = self.retry_after(place)
        if len(self._held) >= self.sessions:
            text = f"all {self.sessions} sessions are open; start the server with more --sessions"
        else:
            text = (
                f"{count} slots were asked for, {self.slots_free} of {self.slots} are free; "
                "ask for fewer, add a server, or start it with more --slots"
            )
        if self._line:
            text += f"; {len(self._line)} clients wait in the queue (it holds {self.queue})"
        return CapacityError(f"{text}. Try again in {seconds:.0f} s, or be ready to wait", seconds)
