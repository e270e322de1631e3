"""Where a run's time goes: seconds by activity, counted in several threads."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up wall-clock seconds by name. Each name is used by one thread at a time.

    The names of a training run: ``environments`` (the collector has nothing to do but wait for
    them and for the wire), ``collecting`` (it writes what came into segments), ``assembly`` (of
    minibatches), ``inference`` and ``learning``, of which ``waiting`` is for other ranks. Activities
    of several threads overlap, so their shares may add up to more than 1.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._since = time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - began

    def shares(self) -> dict[str, float]:
        """Share of the time since the last call, in [0, 1], by ``time/<name>``; begins anew.

        ``time/learner_idle`` is what ``learning``, without ``waiting``, leaves.
        """
        now = time.perf_counter()
        total = max(now - self._since, 1e-9)
        shares = {f"time/{name}": seconds / total for name, seconds in sorted(self._seconds.items())}
        learning = shares.get("time/learning", 0.0) - shares.get("time/waiting", 0.0)
        shares["time/learner_idle"] = max(0.0, 1 - learning)
        for name in self._seconds:
            self._seconds[name] = 0.0
        self._since = now
        return shares
