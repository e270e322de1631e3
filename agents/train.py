"""A training run: opens the pool, runs PPO, shows progress, saves, stops cleanly, resumes.

This file knows no algorithm (see ``ppo``) and no environment. What it leaves in ``out_dir``:
``checkpoint`` (one file), ``config.json``, ``metrics.jsonl``, TensorBoard events, ``train.log``.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console

from universe2.agents.checkpoint import write_atomically
from universe2.agents.collect import Collector, CollectParams, PoolLike, log
from universe2.agents.config import TrainConfig
from universe2.agents.learner import Learner, NonFiniteLoss, use_threads
from universe2.agents.losses import Metrics
from universe2.agents.model import preset
from universe2.agents.ppo import train_ppo
from universe2.agents.progress import Progress
from universe2.agents.run_log import RunLog, task_rows
from universe2.core.errors import TrainingError, Universe2Error, UsageError
from universe2.core.seeding import mix

CHECKPOINT = "checkpoint"
_LOG_S = 2.0


def train(config: TrainConfig, resume: bool = False, console: Console | None = None) -> Path:
    """Train until the config's limits or a signal; the path of the last checkpoint.

    Raises UsageError (a folder that holds a run already, nothing to resume), TrainingError (the
    loss became NaN: the batch is saved beside the checkpoint), and what opening or stepping the
    environments raises. Whatever ends the run, its state is saved first.
    """
    path = Path(config.out_dir) / CHECKPOINT
    if resume and not path.is_file():
        raise UsageError(f"nothing to resume: no checkpoint at {path}")
    if not resume and path.exists():
        raise UsageError(f"{path} exists; continue that run with --resume, or choose another out_dir")
    use_threads(config.threads)
    learner = Learner(
        preset(config.preset, config.screen_size),
        [task.env_id for task in config.tasks],
        config.seed,
        _device(config.device),
    )
    try:
        if resume:
            learner.load_state(path).result()
        write_atomically(path.with_name("config.json"), json.dumps(config.to_json(), indent=1).encode())
        with _open_pool(config) as pool:
            run = Run(config, learner, pool, path)
            run.go(console)
    finally:
        learner.close()
    return path


class Run:
    """One run in progress; what ``Progress`` shows."""

    def __init__(self, config: TrainConfig, learner: Learner, pool: PoolLike, path: Path) -> None:
        params = CollectParams(config.rollout, config.quota(), config.patience, config.max_lag)
        self.config, self.learner, self.path = config, learner, path
        self.collector = Collector(pool, learner, params)
        self.stop = threading.Event()
        counts = learner.counts
        self._steps_before = int(counts.get("steps", 0))
        self._seconds_before = counts.get("seconds", 0.0)
        self._began = self._saved = self._logged = time.monotonic()
        self._recent = (self._began, self._steps_before)
        self._rate = 0.0
        self._lag = 0.0

    @property
    def steps(self) -> int:
        """Transitions of the whole run, also before it was resumed."""
        return self._steps_before + sum(self.collector.steps.values())

    @property
    def seconds(self) -> float:
        """Training time of the whole run."""
        return self._seconds_before + time.monotonic() - self._began

    def part_done(self) -> float:
        """0 at the start, 1 when a limit is reached or a signal came."""
        if self.stop.is_set():
            return 1.0
        return max(self.steps / self.config.total_steps, self.seconds / self.config.seconds)

    def headline(self) -> str:
        limit = f" of {self.config.seconds:.0f}" if self.config.seconds < float("inf") else ""
        return (
            f"{self.seconds:.0f}{limit} s · {self.steps:,} steps · {self._rate:,.0f} steps/s · "
            f"{self.learner.version:,} updates · lag {self._lag:.1f}"
        )

    def rows(self) -> list[dict[str, Any]]:
        return task_rows(self.collector)

    def go(self, console: Console | None = None) -> None:
        """Train to the end. The state is saved whatever ends it."""
        run_log = RunLog(self.path.parent)
        self._began = time.monotonic()
        try:
            with stop_on_signal(self.stop), Progress(self, console) as progress:
                log.info("training %s from step %d", ", ".join(self.collector.tasks), self.steps)
                self.collector.start(mix(self.config.seed + self.learner.version) >> 1)

                def after_update(metrics: Metrics) -> None:
                    self._after_update(metrics, run_log)
                    progress.tick()

                train_ppo(self.learner, self.collector, self.config, self.part_done, after_update)
        except NonFiniteLoss as error:
            bad = self.path.with_name("bad_batch.safetensors")
            error.save_batch(bad)
            log.error("%s", error)
            raise TrainingError(f"{error}. The batch is in {bad}") from error
        except Universe2Error as error:
            log.error("%s: %s", type(error).__name__, error)
            self.save()
            raise
        else:
            self.save()
            log.info("%s at step %d", "stopped" if self.stop.is_set() else "done", self.steps)
        finally:
            run_log.write(self.seconds, self.steps, self.rows(), {})
            run_log.close()

    def save(self) -> None:
        """The state, now."""
        self.learner.counts = {"steps": self.steps, "seconds": self.seconds}
        self.learner.save_state(self.path, {"config": self.config.to_json()}).result()

    def _after_update(self, metrics: Metrics, run_log: RunLog) -> None:
        now = time.monotonic()
        self._lag = metrics["policy_lag"]
        if now - self._logged >= _LOG_S:
            since, steps = self._recent
            self._rate = (self.steps - steps) / (now - since)
            self._recent = (now, self.steps)
            self._logged = now
            extra = {"steps_per_second": self._rate, "dropped_segments": float(self.collector.dropped)}
            run_log.write(self.seconds, self.steps, self.rows(), {**metrics, **extra})
        if now - self._saved >= self.config.checkpoint_seconds:
            self._saved = now
            self.save()


@contextmanager
def stop_on_signal(stop: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM sets ``stop``; a second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in wanted}

    def handle(number: int, frame: FrameType | None) -> None:
        log.info("%s: stopping after this update", signal.Signals(number).name)
        stop.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in wanted:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open_pool(config: TrainConfig) -> Any:
    from universe2.faces.make import make_pool, token_from

    return make_pool(
        {task.env_id: task.slots for task in config.tasks},
        remotes=list(config.remotes) or None,
        token=token_from(config.token_file),
        interface="screen",
        screen_size=config.screen_size,
        autoreset="same_step",
        options={task.env_id: dict(task.options) for task in config.tasks},
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f'device = "{name}", but PyTorch finds no CUDA device here')
    return torch.device(name)
