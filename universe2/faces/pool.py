"""Pool: many tasks at once. Send to any slots of any task, receive whatever is ready.

One background thread per member receives, so a slow browser never holds up a fast game. The
queue is bounded by nature: a slot has at most one result outstanding.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from universe2.core.batch import Batch
from universe2.core.errors import ClosedError, DeadlineError, IdleError, Universe2Error, UsageError
from universe2.core.runtime import Runtime
from universe2.core.seeding import mix

_POLL_S = 0.5  # how often a waiting thread looks whether the pool was closed


@dataclass(frozen=True)
class Member:
    """One task of a pool."""

    index: int
    env_id: str
    runtime: Runtime

    @property
    def num_slots(self) -> int:
        return self.runtime.num_slots


class _Traffic:
    """What the pool's threads share. It doesn't know the pool, so that one that is dropped can go."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.ready: queue.SimpleQueue[tuple[int, Batch | Universe2Error]] = queue.SimpleQueue()
        self.changed = threading.Condition()
        self.closed = False
        self.busy = [0] * len(members)
        """rows asked for and not received from the runtime yet"""
        self.failing = [False] * len(members)
        """raised, and the caller hasn't heard of it yet"""
        self._asked = [0] * len(members)  # rows ever asked for
        self._threads = [
            threading.Thread(target=self._pump, args=(m,), daemon=True, name=f"pool-{m.env_id}")
            for m in members
        ]
        for thread in self._threads:
            thread.start()

    def sent(self, index: int, count: int) -> None:
        with self.changed:
            self.busy[index] += count
            self._asked[index] += count
            self.changed.notify_all()

    def heard(self, index: int) -> None:
        """The caller knows of the member's error."""
        with self.changed:
            self.failing[index] = False
            self.changed.notify_all()

    def close(self) -> None:
        """Close all members. May be called twice."""
        with self.changed:
            if self.closed:
                return
            self.closed = True
            self.changed.notify_all()
        for member in self.members:
            member.runtime.close()
        for thread in self._threads:
            if thread is not threading.current_thread():  # as it is if the collector closes us there
                thread.join(timeout=10)

    def _pump(self, member: Member) -> None:
        """Until the pool is closed: whatever the member's runtime has, or raises."""
        index = member.index
        while True:
            with self.changed:
                # A runtime that raises every time is asked again only when the caller has heard of it.
                while not self.closed and (self.busy[index] <= 0 or self.failing[index]):
                    self.changed.wait(_POLL_S)
                if self.closed:
                    return
                asked = self._asked[index]
            try:
                batch = member.runtime.recv()
            except ClosedError as error:
                with self.changed:
                    self.busy[index] = 0
                self.ready.put((index, error))
                return
            except IdleError:
                # What an error has cost nobody can count; but now it is all over.
                with self.changed:
                    if self._asked[index] == asked:
                        self.busy[index] = 0
            except Universe2Error as error:
                with self.changed:
                    self.failing[index] = True
                self.ready.put((index, error))
            else:
                self.ready.put((index, batch))
                with self.changed:
                    self.busy[index] -= len(batch)


class Pool:
    """Several runtimes as one. One thread sends and receives; the rest is hidden.

    A batch's arrays stay valid until the next send or reset of any of its slots. A pool that is
    dropped without ``close`` is closed when it is collected.
    """

    def __init__(self, runtimes: Sequence[tuple[str, Runtime]]) -> None:
        if not runtimes:
            raise UsageError("a pool needs at least one environment")
        self.members = [Member(i, env_id, runtime) for i, (env_id, runtime) in enumerate(runtimes)]
        self._traffic = _Traffic(self.members)
        # Not at the interpreter's exit: there the runtimes see to themselves.
        weakref.finalize(self, self._traffic.close).atexit = False

    @property
    def num_slots(self) -> int:
        return sum(member.num_slots for member in self.members)

    def reset(self, seed: int, group: int = 1) -> None:
        """Reset all slots of all members, from seeds derived from ``seed``.

        Each slot has its own, or each ``group`` of neighbouring slots.
        """
        for member in self.members:
            base = mix(mix(seed) + member.index)
            self.reset_member(
                member.index,
                np.arange(member.num_slots),
                [mix(base + slot // group) >> 33 for slot in range(member.num_slots)],
            )

    def reset_member(self, index: int, slots: Sequence[int] | np.ndarray, seeds: Sequence[int]) -> None:
        """``Runtime.reset`` of one member."""
        self._check_open()
        self.members[index].runtime.reset(slots, seeds)
        self._traffic.sent(index, len(slots))

    def restore_member(self, index: int, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        """``Runtime.restore`` of one member."""
        self._check_open()
        self.members[index].runtime.restore(slots, states)
        self._traffic.sent(index, len(slots))

    def send(self, index: int, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        """``Runtime.send`` of one member."""
        self._check_open()
        self.members[index].runtime.send(slots, actions)
        self._traffic.sent(index, len(slots))

    def recv(self, timeout: float | None = None) -> tuple[int, Batch]:
        """(member index, Batch) of whichever is ready first; ``timeout`` in seconds.

        Raises DeadlineError, IdleError if nothing was sent, and what a member's runtime raised. The
        pool goes on: what that member still owes can be received.
        """
        traffic = self._traffic
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._check_open()
            if not any(traffic.busy) and traffic.ready.empty():
                raise IdleError("nothing to receive: no slot was sent to")
            left = _POLL_S if deadline is None else min(_POLL_S, deadline - time.monotonic())
            try:
                index, item = traffic.ready.get(timeout=left) if left > 0 else traffic.ready.get_nowait()
            except queue.Empty:
                if left <= 0:
                    raise DeadlineError(f"no slot of the pool answered within {timeout} s") from None
                continue
            if isinstance(item, Universe2Error):
                traffic.heard(index)
                raise item
            return index, item

    def close(self) -> None:
        """Close all members. May be called twice."""
        self._traffic.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._traffic.closed:
            raise ClosedError("the pool is closed")
