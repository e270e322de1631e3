"""How the threads of Numba's and PyTorch's loops wait for each other: they spin a little, then sleep.

GNU's OpenMP spins for milliseconds. Threads that spin hold the core that the other thread needs
to arrive: where more runs than there are cores, a loop takes several times as long (measured: a
server of arcade games 3 times, PyTorch on two threads 10 times). Loading this file sets it, for
libraries that are loaded later and processes that are started later, unless the user has set it.
"""

from __future__ import annotations

import os
import sys

_SETTING = "GOMP_SPINCOUNT"
_SPINS = 10_000
"""About 0.1 ms: longer than two halves of a loop differ on a free machine, shorter than a time slice."""

TORCH_SPINS = "torch" in sys.modules and _SETTING not in os.environ
"""PyTorch was loaded before this file, so that its threads go on spinning."""

os.environ.setdefault(_SETTING, str(_SPINS))
