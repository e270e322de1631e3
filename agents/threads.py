"""How many CPU threads the arithmetic uses, and how they wait for each other.

Loaded with the package, before PyTorch: its OpenMP reads how long to spin only once. Threads
that spin hold their core while an environment could use it, and two of them on two busy cores
are ten times slower than one (measured); threads that sleep give the core away.
"""

from __future__ import annotations

import os
import sys

_SPINS = "GOMP_SPINCOUNT"

SLEEPS = "torch" not in sys.modules or _SPINS in os.environ
"""PyTorch came after this file, so that what is said here holds."""

os.environ.setdefault(_SPINS, "1000")  # some microseconds: about what waking a thread takes


def use_threads(count: int = 0) -> None:
    """Arithmetic on ``count`` CPU threads; 0 means all cores, or half if PyTorch was loaded before.

    The environments of the same machine take their part of the cores from these threads.
    """
    import torch  # not earlier: see above

    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(count or (cores if SLEEPS else max(1, cores // 2)))
