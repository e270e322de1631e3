"""BrowserRuntime: web tasks in Chromium under virtual time.

Worker processes, each one asyncio loop with a browser per slot. Processes, deadlines and
restarts are ``universe2.runtimes.workers``'s, browsers and pages ``browser_host``'s.
"""

from __future__ import annotations

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from universe2.core.errors import MissingDependencyError
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.web.chromium import INSTALL, find_chromium
from universe2.runtimes.browser_process import probe
from universe2.runtimes.workers import WorkerRuntime


class BrowserRuntime(WorkerRuntime):
    """A WorkerRuntime whose slots are web pages; takes its keyword arguments.

    With an ordinary Chromium, which draws when it likes, pages with animations are not the same in every
    run: that is a warning, and ``info["deterministic"]`` is False after every reset.

    Raises MissingDependencyError if there is no Chromium at all, or none that works.
    """

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig | None = None, **limits: Any) -> None:
        program = find_chromium()
        if program is None:
            raise MissingDependencyError(
                f"{spec.id} needs a Chromium headless shell; get one with: {INSTALL}"
            )
        if not _draws_on_command(program):
            warnings.warn(
                f"{program} draws frames when it likes: episodes with animations are not the same in every "
                f"run, and steps are slower. For web tasks that are, get a headless shell: {INSTALL}",
                RuntimeWarning,
                stacklevel=2,
            )
        super().__init__(
            spec, num_slots, config, host="universe2.runtimes.browser_host:BrowserHost", **limits
        )


@cache
def _draws_on_command(program: str) -> bool:
    """Probe a browser once per process. In a thread: the caller may be in an event loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, probe(program)).result()
