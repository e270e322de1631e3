"""Traffic: several runtimes at once; whatever is ready of any of them.

One background thread per runtime receives, so a slow browser never holds up a fast game. The
queue is bounded by nature: a slot has at most one result outstanding. Sending is the caller's
business, who says how many rows are owed for it.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Sequence

from universe2.core.batch import Batch
from universe2.core.errors import ClosedError, DeadlineError, IdleError, Universe2Error, UsageError
from universe2.core.runtime import Runtime, close_all

log = logging.getLogger("universe2")

_POLL_S = 0.5  # how often a waiting thread looks whether all is closed


class Traffic:
    """The runtimes by their index. It owns them: ``close`` closes them all."""

    def __init__(self, runtimes: Sequence[Runtime]) -> None:
        self._runtimes = runtimes
        self._process = os.getpid()
        self._ready: queue.SimpleQueue[tuple[int, Batch | Universe2Error]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self.closed = False
        self._busy = [0] * len(runtimes)
        """rows asked for and not received from the runtime yet"""
        self._failing = [False] * len(runtimes)
        """raised, and the caller hasn't heard of it yet"""
        self._asked = [0] * len(runtimes)  # rows ever asked for
        self._over: dict[int, Universe2Error] = {}
        """runtimes that are received from no more → why"""
        self._threads = [
            threading.Thread(target=self._pump, args=(i,), daemon=True, name=f"receive {runtime.spec.id}")
            for i, runtime in enumerate(runtimes)
        ]
        for thread in self._threads:
            thread.start()

    def sent(self, index: int, count: int) -> None:
        """The runtime owes ``count`` more rows. Of one that failed for good ``recv`` says so once more."""
        with self._changed:
            if index in self._over:
                self._ready.put((index, self._over[index]))
                return
            self._busy[index] += count
            self._asked[index] += count
            self._changed.notify_all()

    def recv(self, timeout: float | None = None) -> tuple[int, Batch | Universe2Error]:
        """(index, what that runtime had or raised) of whichever is ready first; ``timeout`` in seconds.

        Raises DeadlineError, ClosedError, IdleError if nothing is owed, and UsageError in a forked process,
        which has no threads that receive. A runtime that raised goes on: what it still owes can be received.
        Not so one that raised what is no Universe2Error: nobody knows what became of it, and it owes nothing.
        """
        if os.getpid() != self._process:
            raise UsageError(
                f"the runtimes are received from in process {self._process}, and this is process "
                f"{os.getpid()}, forked from it, where nothing would ever come: open them in the process "
                "that plays them"
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if self.closed:
                raise ClosedError("the runtimes are closed")
            if not any(self._busy) and self._ready.empty():
                raise IdleError("nothing to receive: no slot was sent to")
            left = _POLL_S if deadline is None else min(_POLL_S, deadline - time.monotonic())
            try:
                index, item = self._ready.get(timeout=left) if left > 0 else self._ready.get_nowait()
            except queue.Empty:
                if left <= 0:
                    raise DeadlineError(f"no slot answered within {timeout:g} s") from None
                continue
            if isinstance(item, Universe2Error):
                with self._changed:
                    self._failing[index] = False
                    self._changed.notify_all()
            return index, item

    def close(self) -> None:
        """Close all runtimes. May be called twice."""
        with self._changed:
            if self.closed:
                return
            self.closed = True
            self._changed.notify_all()
        try:
            close_all(self._runtimes)
        finally:
            for thread in self._threads:
                if thread is not threading.current_thread():  # as it is if the collector closes us there
                    thread.join(timeout=10)

    def _pump(self, index: int) -> None:
        """Until all is closed: whatever the runtime has, or raises."""
        runtime = self._runtimes[index]
        while True:
            with self._changed:
                # A runtime that raises every time is asked again only when the caller has heard of it.
                while not self.closed and (self._busy[index] <= 0 or self._failing[index]):
                    self._changed.wait(_POLL_S)
                if self.closed:
                    return
                asked = self._asked[index]
            try:
                batch = runtime.recv()
            except ClosedError as error:
                self._end(index, error)
                return
            except IdleError:
                # What an error has cost nobody can count; but now it is all over.
                with self._changed:
                    if self._asked[index] == asked:
                        self._busy[index] = 0
            except Universe2Error as error:
                with self._changed:
                    self._failing[index] = True
                self._ready.put((index, error))
            except Exception as error:
                log.exception("%s: receiving failed", runtime.spec.id)
                self._end(index, Universe2Error(f"{runtime.spec.id} failed: {type(error).__name__}: {error}"))
                return
            else:
                self._ready.put((index, batch))
                with self._changed:
                    self._busy[index] -= len(batch)

    def _end(self, index: int, error: Universe2Error) -> None:
        """Nothing more comes from that runtime, and this is why."""
        with self._changed:
            self._busy[index] = 0
            self._over[index] = error
            self._ready.put((index, error))
