"""Have the C library keep the memory of freed blocks for the next ones, process-wide.

By default glibc gives large blocks back to the system as soon as they are freed. Every message of some
100 kB then costs hundreds of page faults: two thirds of the time that a 450 kB message over loopback takes
(benchmarks/wire.py measures it). A CPU batch of screens is tens of megabytes: half of the time of a small
network. Whoever asks for more than another in the same process gets it; nobody takes it back.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_PAD_BYTES = 16 * 2**20
_OLD_LIMIT = 32 * 2**20
"""the largest block that older versions of glibc keep"""
_lock = threading.Lock()
_asked: dict[int, int] = {}


def keep_messages() -> bool:
    """Keep up to 256 MiB of freed blocks of up to 32 MiB. False where the C library can't."""
    return _keep({_MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 256 * 2**20, _TOP_PAD: _PAD_BYTES})


def keep_batches() -> bool:
    """Keep up to 2 GiB of freed blocks of up to 1 GiB, all in one arena: others are too small for such."""
    return _keep({_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1, _ARENA_MAX: 1})


def _keep(settings: dict[int, int]) -> bool:
    mallopt = _mallopt()
    if mallopt is None:
        return False
    kept = True
    with _lock:
        for name, value in settings.items():
            if value > _asked.get(name, 0):
                done = mallopt(name, value) or (name == _MMAP_THRESHOLD and mallopt(name, _OLD_LIMIT))
                kept = bool(done) and kept
                _asked[name] = value
    return kept


@functools.cache
def _mallopt() -> Callable[[int, int], int] | None:
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
