"""Training on one GPU: how many steps a second, and how busy is it?

    python benchmarks/train_cuda.py [--slots 256 --slots 512 --slots 1024] [--seconds 60] [--preset small]
    python benchmarks/train_cuda.py --rehearse    # the same on the CPU, small; writes no scores

Needs a CUDA device and `pip install nvidia-ml-py`. Several ``universe2 serve`` in processes of their own
on this machine, four arcade games, 64×64×3 frames through the screen interface; one PPO run for each number
of slots, one after another. Nothing counts until all games have moved and a warm-up is over, then time is
cut into windows: of steps learned from in a second the median counts, of all else the mean. Busy is the
share of the time in which the GPU ran any kernel, as NVML says; the shares of activities are the learner's
stopwatch's (``agents/stopwatch.py``). All of it ends within ``LIMIT_S`` seconds. The last line is the
result as JSON, also written to scores/train_cuda.json; its questions are about the fastest run.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from universe2.agents.collect import Collector, CollectParams
from universe2.agents.config import TaskConfig, TrainConfig
from universe2.agents.evaluate import hardware
from universe2.agents.learner import Learner
from universe2.agents.losses import Metrics
from universe2.agents.model import PRESETS, preset
from universe2.agents.ppo import train_ppo
from universe2.agents.segments import Segment
from universe2.agents.threads import use_threads, use_workers
from universe2.client.local_server import local_server
from universe2.core.errors import TrainingError, Universe2Error, UsageError
from universe2.faces.make import make_pool

SCORES = Path(__file__).resolve().parent / "scores" / "train_cuda.json"
GAMES = ("arcade/Breakout-v0", "arcade/Invaders-v0", "arcade/Runner-v0", "arcade/Tower-v0")
TARGET_RATE, TARGET_BUSY, TARGET_GPU = 100_000, 0.9, "H200"
LIMIT_S = 540.0
"""of the whole command: it fits into ten minutes"""
START_S = 120.0
"""of that for servers to start and to compile"""
WINDOWS, WARM_UP = 12, 1 / 6
"""windows of a run, and how much of their time goes before them"""
SAMPLE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is measured: a run for each number of slots."""

    preset: str = "small"
    servers: int = 4
    slots: tuple[int, ...] = (256, 512, 1024)
    """of each server"""
    rollout: int = 32
    batch_steps: int = 0
    """0: a segment of every slot"""
    minibatches: int = 4
    epochs: int = 2
    precision: str = "auto"
    seconds: float = 60.0

    def config(self, slots: int, device: str, addresses: Sequence[str]) -> TrainConfig:
        """The run with so many slots of each server. Raises UsageError."""
        count = slots * self.servers
        return TrainConfig(
            tasks=tuple(TaskConfig(env_id=env_id, slots=count // len(GAMES)) for env_id in GAMES),
            out_dir="",
            remotes=tuple(addresses),
            preset=self.preset,
            device=device,
            precision=self.precision,
            rollout=self.rollout,
            batch_steps=self.batch_steps or count * self.rollout,
            minibatches=self.minibatches,
            epochs=self.epochs,
        )

    def check(self) -> None:
        """Raises BadParameter."""
        if min(self.servers, *self.slots) < 1 or any(n * self.servers % len(GAMES) for n in self.slots):
            raise typer.BadParameter(f"servers × slots must be a multiple of the {len(GAMES)} games")
        planned, most = len(self.slots) * self.seconds * (1 + WARM_UP), LIMIT_S - START_S
        if not 0 < planned <= most:
            raise typer.BadParameter(
                f"{len(self.slots)} runs of {self.seconds:g} s take {planned:.0f} s with their warm-up; "
                f"between 0 and {most:g} s fit into one call"
            )
        try:
            for slots in self.slots:
                preset(self.config(slots, "cpu", ()).preset)
        except UsageError as error:
            raise typer.BadParameter(str(error)) from error


REHEARSAL = Sizes(preset="nano", servers=2, slots=(16,), rollout=16, minibatches=2, epochs=1, seconds=12.0)


class Gauge:
    """Means of a number that a thread reads every ``SAMPLE_S`` seconds."""

    def __init__(self, read: Callable[[], float], every: float = SAMPLE_S) -> None:
        self._read, self._every = read, every
        self._found: list[float] = []
        self._stop = threading.Event()
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="gauge")
        self._sampling = self._queue.submit(self._sample)

    def mean(self) -> float:
        """Since the last call; begins anew. Raises what reading raised."""
        if self._sampling.done():
            self._sampling.result()
        found, self._found = self._found, []
        return fmean(found) if found else self._read()

    def close(self) -> None:
        self._stop.set()
        self._queue.shutdown()

    def _sample(self) -> None:
        while not self._stop.wait(self._every):
            self._found.append(self._read())


@contextmanager
def gpu_busy() -> Iterator[Gauge]:
    """The share of the time in which PyTorch's first GPU is busy."""
    import pynvml
    import torch

    pynvml.nvmlInit()
    try:
        # by its own name: CUDA_VISIBLE_DEVICES numbers the others anew, and not for NVML
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}")
        with closing(Gauge(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)) as gauge:
            yield gauge
    finally:
        pynvml.nvmlShutdown()


class Counted(Collector):
    """Counts what is learned from: valid transitions, each once, however many epochs see it."""

    learned = 0

    def collect(self, give_up: Callable[[], bool] = lambda: False) -> list[Segment]:
        segments = super().collect(give_up)
        self.learned += sum(int(np.count_nonzero(segment.done["valid"])) for segment in segments)
        return segments


class Windows:
    """Cuts the time of a run into windows, after a warm-up that begins with the first update.

    ``look`` gives the number of steps so far and whatever else was since its last call. ``found`` has a
    dict of numbers for each window; they are cut between updates.
    """

    def __init__(
        self,
        seconds: float,
        until: float,
        look: Callable[[], tuple[int, Metrics]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.found: list[Metrics] = []
        self._seconds, self._until, self._look, self._now = seconds, until, look, now
        self._warm_at = float("inf")
        self._began: float | None = None
        self._since = (0.0, 0)
        """when the window began, and the steps then"""
        self._lags: list[tuple[float, float]] = []

    def part_done(self) -> float:
        """0 until the first window begins, 1 when the last ends, or at ``until`` in any case."""
        now = self._now()
        if now >= self._until:
            return 1.0
        return 0.0 if self._began is None else min(1.0, (now - self._began) / self._seconds)

    def after_update(self, metrics: Metrics) -> None:
        now = self._now()
        self._warm_at = min(self._warm_at, now + WARM_UP * self._seconds)
        if self._began is None:
            if now >= self._warm_at:
                self._began, self._since = now, (now, self._look()[0])
            return
        self._lags.append((metrics["policy_lag"], metrics["policy_lag_max"]))
        began, before = self._since
        if now - began < self._seconds / WINDOWS:
            return
        steps, told = self._look()
        lags, most = zip(*self._lags, strict=True)
        rate = (steps - before) / (now - began)
        own = {"steps_per_second": rate, "policy_lag": fmean(lags), "policy_lag_max": max(most)}
        self.found.append({"seconds": now - began, **own, **told})
        self._since, self._lags = (now, steps), []


def windows_of(config: TrainConfig, seconds: float, until: float, gauge: Gauge | None) -> list[Metrics]:
    """Trains; what its windows told, none if time ran out before. Raises TrainingError."""
    tasks = {task.env_id: task.slots for task in config.tasks}
    on_gpu, workers = config.device == "cuda", 1
    if on_gpu:
        use_threads()
    else:
        workers = use_workers()
    bf16 = config.precision == "bfloat16" or (config.precision == "auto" and on_gpu)
    params = CollectParams(config.rollout, config.quota(), stall_s=START_S)
    with ExitStack() as stack:
        learner = Learner(preset(config.preset), list(tasks), 0, config.device, bf16=bf16, workers=workers)
        stack.callback(learner.close)
        pool = stack.enter_context(make_pool(tasks, remotes=config.remotes, screen_size=config.screen_size))
        sampler = stack.enter_context(closing(learner.snapshot().result()))
        collector = Counted(pool, learner, params, sampler)

        def look() -> tuple[int, Metrics]:
            told = {name.removeprefix("time/"): share for name, share in learner.watch.shares().items()}
            return collector.learned, told | ({"gpu_busy": gauge.mean()} if gauge else {})

        collector.start(0)
        _until_all_move(collector, min(until, time.monotonic() + START_S))
        windows = Windows(seconds, until, look)
        train_ppo(learner, collector, config, windows.part_done, windows.after_update)
    return windows.found


def _until_all_move(collector: Collector, until: float) -> None:
    """Servers compile the games at first. Raises TrainingError."""
    while not all(collector.steps[task] for task in range(len(collector.tasks))):
        if time.monotonic() >= until:
            raise TrainingError("not every game has moved in time")
        collector.pump(1.0)


def summed_up(windows: Sequence[Metrics]) -> Metrics:
    """Of windows the median rate, the greatest lag of all, and else means over time."""
    lengths = [window["seconds"] for window in windows]
    names = [name for name in windows[0] if name != "seconds"]
    whole = {name: float(np.average([w.get(name, 0.0) for w in windows], weights=lengths)) for name in names}
    whole["steps_per_second"] = median(window["steps_per_second"] for window in windows)
    whole["policy_lag_max"] = max(window["policy_lag_max"] for window in windows)
    return {name: round(number, 4) for name, number in whole.items()}


def score(sizes: Sizes, found: dict[int, list[Metrics]]) -> dict[str, Any]:
    """The scores file's content: ``found`` are the windows by slots of a server."""
    runs = {slots: summed_up(windows) for slots, windows in found.items()}
    names = {slots: f"{sizes.servers} servers × {slots} slots" for slots in runs}
    machine = hardware()
    return {
        "name": "train_cuda",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "versions": {"torch": version("torch"), "python": platform.python_version()},
        "sizes": asdict(sizes),
        "results": {names[slots]: run for slots, run in runs.items()},
        "windows": {
            names[slots]: [round(window["steps_per_second"]) for window in windows]
            for slots, windows in found.items()
        },
        "questions": questions(sizes, runs, machine["gpus"]),
    }


def questions(sizes: Sizes, runs: dict[int, Metrics], gpus: Sequence[str]) -> list[dict[str, Any]]:
    """About the fastest run. The targets are those of one kind of GPU and of one kind of network."""
    slots = max(runs, key=lambda slots: runs[slots]["steps_per_second"])
    gpu = gpus[0] if gpus else "CPU"
    aimed = TARGET_GPU in gpu and PRESETS[sizes.preset].encoder == "impala"
    what = f"one {gpu}, network {sizes.preset}, {sizes.servers} servers × {slots} slots of 64×64×3"
    asked = [
        ("Training steps/s", "steps_per_second", TARGET_RATE, ",.0f"),
        ("Share of the time in which the GPU is busy, training", "gpu_busy", TARGET_BUSY, ".3f"),
    ]
    return [
        {
            "question": f"{question} on {what}",
            "ours": format(runs[slots][name], form),
            "peer": f"{target:,g} to reach",
            "ratio": round(runs[slots][name] / target, 3),
            "target": "≥ 1" if aimed else "–",
            "met": runs[slots][name] >= target if aimed else None,
        }
        for question, name, target, form in asked
        if name in runs[slots]
    ]


def show(content: dict[str, Any]) -> None:
    """The table, and the JSON line."""
    runs = content["results"]
    table = Table("", *runs, title=f"training, network {content['sizes']['preset']}")
    for name in dict.fromkeys(name for run in runs.values() for name in run):
        form = ",.0f" if name == "steps_per_second" else ".3f"
        table.add_row(name, *(format(run[name], form) if name in run else "" for run in runs.values()))
    Console().print(table)
    print(json.dumps(content, ensure_ascii=False))


def measure(sizes: Sizes, device: str, gauge: Gauge | None, until: float) -> dict[str, Any]:
    """The scores file's content, of the runs that time and memory allow. Raises TrainingError if none."""
    import torch

    found = {}
    serve = ("--slots", str(max(sizes.slots)), "--families", "arcade", "--log-level", "warning")
    with ExitStack() as stack:
        servers = [stack.enter_context(local_server(*serve)) for _ in range(sizes.servers)]
        for slots in sizes.slots:
            config = sizes.config(slots, device, [server.address for server in servers])
            try:
                windows = windows_of(config, sizes.seconds, until, gauge)
            except (Universe2Error, torch.OutOfMemoryError) as error:  # the others' numbers stay
                print(f"{slots} slots: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            if windows:
                found[slots] = windows
                rate = summed_up(windows)["steps_per_second"]
                print(f"{sizes.servers} servers × {slots} slots: {rate:,.0f} steps/s", flush=True)
    if not found:
        raise TrainingError("nothing was measured")
    return score(sizes, found)


def chosen(rehearse: bool, given: dict[str, Any]) -> Sizes:
    """What was asked for; all else is as it is by default, or in a rehearsal."""
    given = {name: value for name, value in given.items() if value is not None}
    sizes = replace(REHEARSAL if rehearse else Sizes(), **given)
    sizes.check()
    return sizes


def missing() -> str:
    """Why this machine can't measure; empty if it can."""
    import torch

    if not torch.cuda.is_available():
        return "no CUDA device here, which this benchmark measures; on the CPU there is --rehearse"
    if importlib.util.find_spec("pynvml") is None:
        return "no package nvidia-ml-py here, which tells how busy the GPU is: pip install nvidia-ml-py"
    return ""


def main(
    preset: Annotated[str | None, typer.Option(help="Network: small or base (small).")] = None,
    servers: Annotated[int | None, typer.Option(help="Server processes (4).")] = None,
    slots: Annotated[
        list[int] | None, typer.Option(help="Of each server; again for another run (256, 512, 1024).")
    ] = None,
    rollout: Annotated[int | None, typer.Option(help="Transitions of a segment (32).")] = None,
    batch_steps: Annotated[
        int | None, typer.Option(help="Transitions of an update (a segment of every slot).")
    ] = None,
    minibatches: Annotated[int | None, typer.Option(help="Of an update (4).")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often an update is seen (2).")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, float32 or bfloat16 (auto).")] = None,
    seconds: Annotated[float | None, typer.Option(help="Of each run, after its warm-up (60).")] = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="On the CPU, smaller; writes no scores.")
    ] = False,
) -> None:
    """Train, print what was found, write scores/train_cuda.json."""
    until = time.monotonic() + LIMIT_S
    given = {"preset": preset, "servers": servers, "slots": tuple(slots) if slots else None}
    given |= {"rollout": rollout, "batch_steps": batch_steps, "minibatches": minibatches, "epochs": epochs}
    sizes = chosen(rehearse, {**given, "precision": precision, "seconds": seconds})
    if rehearse:
        show(measure(sizes, "cpu", None, until))
        return
    if why := missing():
        print(why, file=sys.stderr)
        raise typer.Exit(2)
    with gpu_busy() as gauge:
        content = measure(sizes, "cuda", gauge, until)
    SCORES.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show(content)


if __name__ == "__main__":
    typer.run(main)
