"""Waiting for what another thread or process will have done in a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def eventually(check: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether ``check`` comes true within ``seconds``."""
    end = time.monotonic() + seconds
    while not check() and time.monotonic() < end:
        threading.Event().wait(0.02)
    return bool(check())
