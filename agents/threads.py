"""How many CPU threads the arithmetic uses. Loaded with the package, before PyTorch: see ``core.openmp``."""

from __future__ import annotations

import os

from universe2.core.openmp import TORCH_SPINS


def use_threads(count: int = 0) -> None:
    """Arithmetic on ``count`` CPU threads; 0 means all cores, or half where PyTorch's threads spin.

    The environments of the same machine take their part of the cores from threads that sleep.
    """
    import torch  # not earlier

    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(count or (max(1, cores // 2) if TORCH_SPINS else cores))
