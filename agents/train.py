"""A training run: opens the pool, runs the algorithm, shows progress, saves, stops cleanly, resumes.

This file knows no algorithm (see ``ppo``) and no environment. What it leaves in ``out_dir``:
``checkpoint`` (one file), ``config.json``, ``metrics.jsonl``, TensorBoard events, ``train.log``.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from rich.console import Console

from universe2.agents.checkpoint import CHECKPOINT, write_atomically
from universe2.agents.collect import Collector, CollectParams, PoolLike, log
from universe2.agents.config import TrainConfig
from universe2.agents.distributed import Ranks, join_ranks, leave_ranks, own_gpu, world_size
from universe2.agents.group import train_group
from universe2.agents.learner import Learner, NonFiniteLoss, Saved
from universe2.agents.losses import Metrics
from universe2.agents.model import ModelConfig, preset
from universe2.agents.ppo import train_ppo
from universe2.agents.progress import Progress
from universe2.agents.resume import counters, in_progress, restore_counters, restore_in_progress
from universe2.agents.run_log import RunLog, task_numbers, task_rows
from universe2.agents.sampler import Sampler
from universe2.agents.threads import use_threads, use_workers
from universe2.agents.vtrace import train_vtrace
from universe2.core.errors import TrainingError, Universe2Error, UsageError
from universe2.core.seeding import mix
from universe2.core.shell import look_here
from universe2.core.spec import load

Script = Callable[[Learner, Collector, TrainConfig, Callable[[], float], Callable[[Metrics], None]], None]
SCRIPTS: Mapping[str, Script] = {"ppo": train_ppo, "vtrace": train_vtrace, "group": train_group}
_LOG_S = 2.0


def train(config: TrainConfig, resume: bool = False, console: Console | None = None) -> Path:
    """Train until the config's limits or a signal; the path of the last checkpoint.

    Raises UsageError (a folder that holds a run already, nothing to resume, an algorithm that can't be
    loaded), TrainingError (the
    loss became NaN: the batch is saved beside the checkpoint), and what opening or stepping the
    environments raises. Whatever ends a run that had begun, its state is saved
    first, unless the weights are lost.
    """
    script = script_of(config.algorithm)
    path = Path(config.out_dir) / CHECKPOINT
    if resume and not path.is_file():
        raise UsageError(f"nothing to resume: no checkpoint at {path}")
    if not resume and path.exists():
        raise UsageError(f"{path} exists; continue that run with --resume, or choose another out_dir")
    device = _device(config.device)
    ranks = join_ranks(device)
    bf16 = config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")
    tasks = [task.env_id for task in config.tasks]
    workers = _workers(config.threads, device)
    learner = Learner(model_sizes(config), tasks, config.seed, device, ranks, bf16, workers)
    try:
        saved = learner.load_state(path).result() if resume else None
        if resume and (why := _over(config, learner.counts)):
            if ranks.rank == 0:
                (console or Console()).print(f"nothing to do: {why}", highlight=False)
            return path
        if config.init_from and not resume:
            learner.load_weights(config.init_from, config.anew).result()
        with ExitStack() as stack:
            pool = stack.enter_context(_open_pool(config, ranks))
            # in lockstep the policy acts between updates; else a copy of it acts beside the learning
            sampler = None if config.lockstep else stack.enter_context(closing(learner.snapshot().result()))
            Run(config, learner, sampler, pool, path, script).go(console, saved)
    finally:
        learner.close()
        leave_ranks()
    return path


def _over(config: TrainConfig, counts: Mapping[str, float]) -> str:
    """Which limit a run that is to go on has reached; empty if none."""
    if counts.get("steps", 0) >= config.total_steps:
        return f"the run has its {config.total_steps:,} steps; raise total_steps"
    if counts.get("seconds", 0.0) >= config.seconds:
        return f"the run has had its {config.seconds:g} s, which count from its start; raise seconds"
    return ""


def script_of(algorithm: str) -> Script:
    """The training script of that name, or a user's own, ``module:function``. Raises UsageError."""
    if algorithm in SCRIPTS:
        return SCRIPTS[algorithm]
    here = look_here()
    try:
        script: Script = load(algorithm)
    except UsageError as error:
        raise UsageError(f"algorithm = {algorithm!r}: {error}; looked in {here}, too") from error
    try:
        inspect.signature(script).bind("learner", "collector", "config", "part_done", "after_update")
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"algorithm = {algorithm!r}: it must be a function of (learner, collector, config, part_done, "
            f"after_update), as train_ppo is: {error}"
        ) from error
    return script


def model_sizes(config: TrainConfig) -> ModelConfig:
    """The network that a config asks for."""
    sizes = preset(config.preset, config.screen_size)
    reconstruct = config.reconstruction_coef > 0
    return dataclasses.replace(sizes, reconstruct=reconstruct, lora_rank=config.lora_rank, bases=config.bases)


class Run:
    """One run in progress; what ``Progress`` shows."""

    def __init__(
        self,
        config: TrainConfig,
        learner: Learner,
        sampler: Sampler | None,
        pool: PoolLike,
        path: Path,
        script: Script,
    ) -> None:
        params = CollectParams(
            config.rollout,
            config.quota(),
            config.patience,
            config.max_steps_off_policy,
            minimum=config.minibatches if learner.ranks.size > 1 else 1,
            lockstep=config.lockstep,
        )
        self.config, self.learner, self.path, self.script = config, learner, path, script
        self.leads = learner.ranks.rank == 0
        """writes the files and shows the progress"""
        self.collector = Collector(pool, learner, params, sampler)
        self.stop = threading.Event()
        self._seconds_before = learner.counts.get("seconds", 0.0)
        self._before = 0
        """steps of the run that no rank's collector has counted, say of tasks that are left out now"""
        self._known = (0, 0)
        """steps of all ranks, and this one's of them, as of the last update"""
        self._others: dict[str, Any] = {}
        """the saved counters of tasks that are left out now"""
        self._warned = ""
        """why episodes under way were not saved the last time that they weren't"""
        self._elsewhere: float | np.ndarray = 0.0
        """what other ranks count of each task, as of the last update"""
        self._told: tuple[int, list[dict[str, Any]]] | None = None
        """steps and rows as the log has them, of the last update that it tells of"""
        self._updated = False
        self._kept = 0
        self._began = self._saved = self._logged = time.monotonic()
        self._recent = (self._began, 0)
        self._rate = 0.0
        self._lag = 0.0

    @property
    def steps(self) -> int:
        """Transitions of the whole run, resumed or not, of all ranks: the others' as of the last update."""
        everywhere, here = self._known
        return everywhere - here + sum(self.collector.steps.values())

    @property
    def seconds(self) -> float:
        """Training time of the whole run."""
        return self._seconds_before + time.monotonic() - self._began

    def part_done(self) -> float:
        """0 at the start, 1 when a limit is reached or a signal came."""
        if self.stop.is_set():
            return 1.0
        elsewhere = (self.steps - self._known[0]) * (self.learner.ranks.size - 1)  # about, since the update
        return max((self.steps + elsewhere) / self.config.total_steps, self.seconds / self.config.seconds)

    def headline(self) -> str:
        limit = f" of {self.config.seconds:.0f}" if self.config.seconds < float("inf") else ""
        return (
            f"{self.seconds:.0f}{limit} s · {self.steps:,} steps · {self._rate:,.0f} steps/s · "
            f"{self.learner.version:,} updates · lag {self._lag:.1f}"
        )

    def rows(self) -> list[dict[str, Any]]:
        return task_rows(self.collector.tasks, task_numbers(self.collector) + self._elsewhere)

    def go(self, console: Console | None = None, saved: Saved | None = None) -> None:
        """Train to the end. The state is saved whatever ends it."""
        if saved is not None:
            self._count_on(saved)
            self._kept = self._kept_before()
        self._recent = (time.monotonic(), self.steps)
        run_log = RunLog(self.path.parent, self.steps) if self.leads else None
        progress = Progress(self, console) if self.leads else None
        self._began = time.monotonic()
        begun = False
        try:
            with ExitStack() as stack:
                stack.enter_context(stop_on_signal(self.stop))
                if progress is not None:
                    stack.enter_context(progress)
                log.info("training %s from step %d", ", ".join(self.collector.tasks), self.steps)
                self._start(saved)
                if run_log is not None:
                    run_log.begin()
                self._write_config()
                begun = True
                if saved is not None:
                    self._keep()  # unless the run was killed before it could

                def after_update(metrics: Metrics) -> None:
                    self._after_update(metrics, run_log)
                    if progress is not None:
                        progress.tick()

                self.script(self.learner, self.collector, self.config, self.part_done, after_update)
        except NonFiniteLoss as error:
            log.error("%s", error)
            self._save_after(error)
            ranks = self.learner.ranks  # each has a batch of its own
            own = f"-{ranks.rank}" if ranks.size > 1 else ""
            bad = self.path.with_name(f"bad_batch{own}.safetensors")
            try:
                error.save_batch(bad)
            except TrainingError as second:
                raise TrainingError(f"{error}. The batch is lost: {second}") from error
            raise TrainingError(f"{error}. The batch is in {bad}") from error
        except Exception as error:
            log.error("%s: %s", type(error).__name__, error)
            if begun:  # what was refused at its start has nothing new, and must not replace what is there
                self._save_after(error)
            raise
        else:
            self.save()
            log.info("%s at step %d", "stopped" if self.stop.is_set() else "done", self.steps)
        finally:
            if run_log is not None:
                self._end_log(run_log)

    def _count_on(self, saved: Saved) -> None:
        """Steps go on from where they were, whichever tasks and ranks there are now."""
        told = saved.extra.get("counters", {})
        if self.leads:  # they are of all ranks, so one alone may have them
            restore_counters(self.collector, told)
        self._others = {name: counts for name, counts in told.items() if name not in self.collector.tasks}
        steps = int(self.learner.counts.get("steps", 0))
        self._before = steps - sum(
            counts["steps"] for name, counts in told.items() if name not in self._others
        )
        self._known = (steps, sum(self.collector.steps.values()))

    def _write_config(self) -> None:
        if self.leads:
            told = json.dumps(self.config.to_json(), indent=1)
            write_atomically(self.path.with_name("config.json"), told.encode())

    def _save_after(self, error: Exception) -> None:
        """Save what there is; the ``error`` that ended the run stays the one that is raised."""
        try:
            self.save(exactly=False)
        except Universe2Error as second:
            if second is error:  # the weights themselves are lost
                return
            log.error("%s: %s", type(second).__name__, second)
            error.add_note(f"and the state could not be saved: {second}")

    def _end_log(self, run_log: RunLog) -> None:
        try:
            now = (self.steps, self.rows())
            if run_log.begun and now != self._told:
                run_log.write(self.seconds, *now, {})
            run_log.close()
        except TrainingError as error:  # the run has ended already, well or not
            log.error("%s", error)

    def save(self, exactly: bool = True) -> None:
        """The state, now. Not ``exactly``: without what is in progress, say after a fault."""
        if not self.leads:
            return
        self.learner.counts |= {"steps": self.steps, "seconds": self.seconds}
        told = {**self._others, **counters(self.collector, self._elsewhere)}
        extra: dict[str, Any] = {"config": self.config.to_json(), "counters": told}
        arrays: dict[str, np.ndarray] = {}
        if self.config.lockstep and exactly:
            try:
                arrays, extra["texts"] = in_progress(self.collector)
            except Universe2Error as error:  # a slot after a fault, a server that is gone: the rest is saved
                if str(error) != self._warned:
                    log.warning("episodes under way are not saved: %s", error)
                self._warned = str(error)
        self.learner.save_state(self.path, extra, arrays).result()
        self._keep()

    def _keep(self) -> None:
        """What was saved stays, if it is the first of its multiple of ``keep_every_steps``."""
        if not self.leads or self._multiple() <= self._kept:
            return
        self._kept = self._multiple()
        kept = self.path.with_name(f"{CHECKPOINT}-{self.steps:012d}")
        kept.unlink(missing_ok=True)
        try:
            os.link(self.path, kept)
        except OSError:  # some file systems have no hard links
            write_atomically(kept, self.path.read_bytes())

    def _kept_before(self) -> int:
        """The last multiple, as of now, of which a checkpoint is there."""
        if not (every := self.config.keep_every_steps):
            return 0
        there = [path.name.rpartition("-")[2] for path in self.path.parent.glob(f"{CHECKPOINT}-*")]
        multiples = {int(steps) // every for steps in there if steps.isdecimal()}
        return max((m for m in multiples if m <= self._multiple()), default=0)

    def _multiple(self) -> int:
        return self.steps // self.config.keep_every_steps if self.config.keep_every_steps else 0

    def _start(self, saved: Saved | None) -> None:
        # what was in progress is rank 0's, which saved it; the others begin anew
        if self.config.lockstep and self.leads and saved is not None and "texts" in saved.extra:
            restore_in_progress(self.collector, saved.arrays, saved.extra["texts"])
        else:
            seed = self.learner.ranks.seed(self.config.seed + self.learner.version)
            self.collector.start(mix(seed) >> 1)

    def _after_update(self, metrics: Metrics, run_log: RunLog | None) -> None:
        now = time.monotonic()
        metrics = _numbers(metrics)
        if self.learner.ranks.size > 1:
            mine = task_numbers(self.collector)
            everywhere = self.learner.total(mine)
            self._elsewhere = everywhere - mine
            self._known = (self._before + int(everywhere[:, 0].sum()), int(mine[:, 0].sum()))
        self._lag = metrics.get("policy_lag", self._lag)  # a user's script may not tell it
        if not self._updated and metrics.get("loss/imitation") == 0:
            log.warning(
                "imitation_coef = %g has nothing to imitate: no task told what its expert would do, "
                "see options = { expert = 1 }",
                self.config.imitation_coef,
            )
        self._updated = True
        if now - self._logged >= _LOG_S:
            since, steps = self._recent
            self._rate = (self.steps - steps) / (now - since)
            self._recent = (now, self.steps)
            self._logged = now
            extra = {"steps_per_second": self._rate}
            shares = self.learner.watch.shares()
            if run_log is not None:
                self._told = (self.steps, self.rows())
                run_log.write(self.seconds, *self._told, {**metrics, **extra, **shares})
        if now - self._saved >= self.config.checkpoint_seconds or self._multiple() > self._kept:
            self._saved = now
            self.save()


def _numbers(metrics: Mapping[str, Any]) -> Metrics:
    """As a user's script may tell them: of NumPy, or scalar tensors. Raises UsageError for anything else."""
    found: Metrics = {}
    for name, value in metrics.items():
        try:
            found[name] = float(value)
        except (TypeError, ValueError, RuntimeError):
            raise UsageError(f"after_update is told {name} = {value!r:.80}: a metric is a number") from None
    return found


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


def _open_pool(config: TrainConfig, ranks: Ranks) -> Any:
    from universe2.faces.make import make_pool, token_from

    remotes = config.remotes[ranks.rank :: ranks.size]
    if config.remotes and not remotes:
        raise UsageError(f"{len(config.remotes)} remotes for {ranks.size} ranks: each needs one of its own")
    return make_pool(
        {task.env_id: task.slots for task in config.tasks},
        remotes=list(remotes) or None,
        token=token_from(config.token_file),
        wait=config.wait,
        interface="screen",
        screen_size=config.screen_size,
        autoreset="same_step",
        options={task.env_id: dict(task.options) for task in config.tasks},
    )


def _workers(threads: int, device: torch.device) -> int:
    """Threads that each work on a part of a batch. A GPU does that by itself."""
    if device.type == "cpu":
        return use_workers(threads)
    use_threads(threads)
    return 1


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f'device = "{name}", but PyTorch finds no CUDA device here')
    if name.startswith("cuda:") and world_size() > 1:
        raise UsageError(
            f'device = "{name}" is one for {world_size()} ranks: say "cuda", and each has its own'
        )
    if name == "cuda" and world_size() > 1:
        return own_gpu()
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f'device = "{name}" is none that PyTorch knows; say "auto", "cpu" or "cuda"'
        ) from error
