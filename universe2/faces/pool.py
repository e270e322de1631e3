"""Pool: many tasks at once. Send to any slots of any task, receive whatever is ready (``core.traffic``)."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from universe2.core.batch import Batch
from universe2.core.errors import ClosedError, Universe2Error, UsageError
from universe2.core.runtime import Runtime
from universe2.core.seeding import check_seed, mix
from universe2.core.traffic import Traffic
from universe2.faces.face import Face

_SHOWN = 4
"""So many tasks of a pool are named when it is printed."""


@dataclass(frozen=True)
class Member:
    """One task of a pool."""

    index: int
    env_id: str
    runtime: Runtime

    @property
    def num_slots(self) -> int:
        return self.runtime.num_slots


class Pool(Face):
    """Several runtimes as one. One thread sends and receives; the rest is hidden.

    A batch's arrays stay valid until the next send or reset of any of its slots. A pool that is
    dropped without ``close`` is closed when it is collected.
    """

    def __init__(self, runtimes: Sequence[tuple[str, Runtime]]) -> None:
        if not runtimes:
            raise UsageError("a pool needs at least one environment")
        self.members = [Member(i, env_id, runtime) for i, (env_id, runtime) in enumerate(runtimes)]
        self._traffic = Traffic([member.runtime for member in self.members])
        self._dropped: queue.SimpleQueue[None] = queue.SimpleQueue()
        closing = (self._dropped, self._traffic)
        threading.Thread(target=_close_when_dropped, args=closing, daemon=True, name="pool").start()
        # Not at the interpreter's exit: there the runtimes see to themselves.
        weakref.finalize(self, self._dropped.put, None).atexit = False

    @property
    def num_slots(self) -> int:
        return sum(member.num_slots for member in self.members)

    def reset(self, seed: int, group: int = 1) -> None:
        """Reset all slots of all members, from seeds derived from ``seed``.

        Each slot has its own, or each ``group`` of neighbouring slots. Raises InvalidSeedError, UsageError.
        """
        seed = check_seed(seed)
        if group < 1:
            raise UsageError(f"group must be at least 1, the slots that share a seed, got {group}")
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

        Raises DeadlineError, IdleError if nothing was sent, UsageError in a forked process, and what a
        member's runtime raised. The pool goes on: what that member still owes can be received.
        """
        self._check_open()
        index, found = self._traffic.recv(timeout)
        if isinstance(found, Universe2Error):
            raise found
        return index, found

    def close(self) -> None:
        """Close all members. May be called twice."""
        self._traffic.close()
        self._dropped.put(None)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _about(self) -> list[str]:
        named = [f"{member.env_id}: {member.num_slots}" for member in self.members[:_SHOWN]]
        more = [f"and {left} more"] if (left := len(self.members) - _SHOWN) > 0 else []
        interfaces = {member.runtime.config.interface: None for member in self.members}
        return [*named, *more, f"interface={'+'.join(interfaces)}"]

    def _check_open(self) -> None:
        if self._traffic.closed:
            raise ClosedError("the pool is closed")


def _close_when_dropped(dropped: queue.SimpleQueue[None], traffic: Traffic) -> None:
    """In a thread of its own, since to close takes locks and waits for servers.

    The garbage collector may find a pool in whatever thread and whatever locks that holds; all that it
    may do there is a SimpleQueue's ``put``, which is made for that.
    """
    dropped.get()
    traffic.close()
