"""``keep_heap``: have the C library keep the memory of freed messages for the next ones.

By default glibc gives large blocks back to the system as soon as they are freed, and every
message of some 100 kB then costs hundreds of page faults: two thirds of the time that a 450 kB
message over loopback takes (benchmarks/wire.py measures it).
"""

from __future__ import annotations

import ctypes
import functools
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_KEPT_BYTES = 256 * 2**20
_PAD_BYTES = 16 * 2**20
_LARGEST_BYTES = 32 * 2**20
"""the most that glibc allows; larger messages still come from the system each time"""


@functools.cache
def keep_heap() -> bool:
    """Once a process: keep up to 256 MiB of freed memory. False where the C library can't."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES), (_TOP_PAD, _PAD_BYTES))
    return all(bool(mallopt(name, value)) for name, value in settings)
