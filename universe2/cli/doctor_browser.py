"""``universe2 doctor --browser``: how many browsers, in how many worker processes, pay on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from universe2.core.errors import FaultError
from universe2.core.registry import find
from universe2.core.screen import BUTTONS, NVEC
from universe2.core.spec import EnvConfig
from universe2.runtimes.browser import BrowserRuntime
from universe2.runtimes.process_tree import process_tree, proportional_megabytes

TASK = "web/click-checkboxes-v0"
SECONDS = 6.0
"""how long a setting is measured"""
WAIT_SECONDS = 90.0
"""longest wait for any slot"""
GOOD_ENOUGH = 0.95
"""of the best rate: the fewest browsers that reach it are recommended"""
BROWSER_MB = 300.0
"""memory that a browser is expected to take before one has been measured"""


class Setting(NamedTuple):
    """So many browsers (slots), spread over so many worker processes."""

    browsers: int
    workers: int


class Measured(NamedTuple):
    """What a setting is worth."""

    setting: Setting
    steps_per_s: float
    """with a screenshot at every step, resets included, over all browsers"""
    megabytes: float
    """of the workers and browsers together"""


def settings(cores: int) -> list[Setting]:
    """What is worth trying: more and more browsers with a worker per core, then other numbers of workers."""
    counts = [Setting(browsers, min(browsers, cores)) for browsers in (1, *(cores * n for n in (1, 2, 3, 4)))]
    others = [Setting(cores * 3, max(1, cores // 2)), Setting(cores * 3, cores * 2)]
    return list(dict.fromkeys([*counts, *others]))


def measure_all(say: Callable[[str], None], cores: int, seconds: float = SECONDS) -> list[Measured]:
    """Measure every setting that the machine has the memory for. Takes a minute or so.

    Raises MissingDependencyError if web tasks can't run here, FaultError if a browser fails.
    """
    found: list[Measured] = []
    for setting in settings(cores):
        each = max((m.megabytes / m.setting.browsers for m in found), default=BROWSER_MB)
        if (needed := each * setting.browsers) > (free := free_megabytes()):
            say(f"{_told(setting)}: left out, needs about {needed:.0f} MB and {free:.0f} are free")
            continue
        say(f"{_told(setting)}: measuring for {seconds:g} s")
        found.append(measure(setting, seconds))
    return found


def measure(setting: Setting, seconds: float) -> Measured:
    """Click at random points of ``TASK`` in all browsers."""
    browsers = setting.browsers
    per_worker = math.ceil(browsers / setting.workers)
    config = EnvConfig(autoreset="same_step")
    spec = find(TASK)
    spec.check_runnable()
    runtime = BrowserRuntime(spec, browsers, config, slots_per_worker=per_worker)
    try:
        ready = _played(runtime)
        for _ in range(2 * browsers):  # until all have started
            next(ready)
        steps, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            steps += next(ready)
        trees = {pid for worker in runtime.pids for pid in process_tree(worker)}
        return Measured(setting, steps / spent, proportional_megabytes(trees))
    finally:
        runtime.close()


def _played(runtime: BrowserRuntime) -> Iterator[int]:
    """Play for ever, each slot as soon as it is ready; how many steps each batch is."""
    rng = np.random.default_rng(0)
    slots_K = np.arange(runtime.num_slots)
    runtime.reset(slots_K, slots_K)
    while True:
        batch = runtime.recv(WAIT_SECONDS)
        if batch.fault.any():
            raise FaultError(f"{TASK}: {next(iter(batch.fault_text.values()))}")
        actions = rng.integers(0, NVEC, (len(batch), len(NVEC)))
        actions[:, :2], actions[:, 4] = 0, BUTTONS.index("click")
        yield len(batch)
        runtime.send(batch.slots, actions)


def recommended(found: Sequence[Measured]) -> Measured:
    """The fewest browsers, then the fewest workers, that are nearly as fast as the best setting."""
    best = max(measured.steps_per_s for measured in found)
    return min(m for m in found if m.steps_per_s >= GOOD_ENOUGH * best)


def advice(found: Sequence[Measured], cores: int) -> list[str]:
    """The table and what follows from it, as lines."""
    chosen = recommended(found)
    lines = ["browsers  workers   steps/s    MB"]
    for measured in found:
        (browsers, workers), rate, megabytes = measured
        mark = "   <- recommended" if measured == chosen else ""
        lines.append(f"{browsers:8d}  {workers:7d}  {rate:8.1f}  {megabytes:4.0f}{mark}")
    browsers, workers = chosen.setting
    lines += [
        "",
        f"More than {browsers} web slots at once cost memory here and are hardly faster:",
        f"universe2.make_vec(…, num_envs={browsers}), universe2 serve --families web --slots {browsers}",
    ]
    if workers != min(browsers, cores):
        each = math.ceil(browsers / workers)
        lines.append(f"{workers} workers instead of one per core: BrowserRuntime(…, slots_per_worker={each})")
    return lines


def free_megabytes() -> float:
    """Memory that can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / 1e6
    return math.inf


def _told(setting: Setting) -> str:
    plural = "s" if setting.browsers > 1 else ""
    return (
        f"{setting.browsers} browser{plural} in {setting.workers} worker{'s' if setting.workers > 1 else ''}"
    )
