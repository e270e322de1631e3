"""How many CPU threads the arithmetic uses. Loaded with the package, before PyTorch: see ``core.openmp``.

Acting shares every operation between threads; training gives each thread a part of the batch
(see ``parts``), which wastes less and wants one thread per operation.
"""

from __future__ import annotations

import os

from universe2.core.openmp import TORCH_SPINS


def use_threads(count: int = 0) -> None:
    """Arithmetic on ``count`` CPU threads; 0 means all cores, or half where PyTorch's threads spin.

    The environments of the same machine take their part of the cores from threads that sleep.
    """
    import torch  # not earlier

    cores = _cores()
    torch.set_num_threads(count or (max(1, cores // 2) if TORCH_SPINS else cores))


def use_workers(count: int = 0) -> int:
    """One CPU thread for every operation. The number of threads to work in parts: ``count``, or all cores."""
    import torch

    torch.set_num_threads(1)
    return count or _cores()


def _cores() -> int:
    return len(os.sched_getaffinity(0))
