"""Evaluation: a policy plays a suite, and every episode goes into the store as it ends.

Nothing is held back until the end: after Ctrl-C or a lost server, what had finished is there.
This file doesn't know how scores become a ranking.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import universe2
from universe2.agents.evaluate_play import OutOfTime, Play
from universe2.agents.evaluate_policy import LoadedPolicy
from universe2.agents.evaluate_suite import Suite, Task
from universe2.agents.policy import Chancy, Policy
from universe2.core.errors import MissingDependencyError, Universe2Error
from universe2.core.registry import find
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.faces.make import refuse_several
from universe2.trace import Episode, EpisodeStore, Run, StoredEpisode

Observer = Callable[[Task, StoredEpisode], None]


@dataclass(kw_only=True)
class Place:
    """Where environments run: here, or on servers."""

    slots: int = 16
    remotes: Sequence[str] | None = None
    token: str | None = None
    wait: float = 90.0
    """seconds to wait for servers that are full"""

    def open(self, env: str | EnvSpec, slots: int, config: EnvConfig) -> Runtime:
        """A runtime of ``slots`` of the environment there. Raises what opening one does."""
        return universe2.open_runtime(
            env, slots, config, remotes=self.remotes, token=self.token, wait=self.wait
        )


@dataclass(kw_only=True)
class Result:
    """What came of an evaluation."""

    run_id: int
    skipped: list[str] = field(default_factory=list)
    """tasks that can't run there, and why"""
    out_of_time: list[str] = field(default_factory=list)
    """tasks that the wall clock stopped"""
    outcome: str = "finished"
    """or which tasks have fewer whole episodes than the suite asks for, and why"""


def evaluate(
    loaded: LoadedPolicy,
    suite: Suite,
    store: EpisodeStore,
    place: Place,
    *,
    name: str = "",
    seed: int = 0,
    skip_missing: bool = False,
    observer: Observer | None = None,
    command: str = "",
) -> Result:
    """Play ``suite`` and store each episode. ``seed`` is for the policy's own randomness.

    The options of all tasks are checked before anything is played. ``observer`` is told of each
    episode. A task that can't run raises MissingDependencyError unless ``skip_missing``: then the run
    is of the suite without that task, and raises only if none can run. Whatever is raised,
    KeyboardInterrupt too: the run is closed with the reason as its outcome, and what had ended stays
    stored.
    """
    run = _describe(loaded, suite, name, command)
    result = Result(run_id=store.add_run(run))
    played: list[Task] = []
    deadline = None if suite.max_seconds is None else time.monotonic() + suite.max_seconds
    outcome, where = "stopped by an error", ""
    try:
        for task in suite.tasks:  # before anything is played, not when its turn comes
            where = f"task {task.name}"
            _check_options(task, loaded.policy)
            if place.remotes is None and not skip_missing:
                find(task.env_id).check_runnable()
        for task in suite.tasks:
            where = f"task {task.name}"
            try:
                _play_task(task, loaded, store, place, result.run_id, seed, deadline, observer)
            except OutOfTime:
                result.out_of_time.append(task.name)
            except MissingDependencyError as error:
                if not skip_missing:
                    raise
                result.skipped.append(f"{task.name}: {error}")
                continue
            played.append(task)
        where = ""
        if not played:
            raise MissingDependencyError(f"no task can run there: {'; '.join(result.skipped)}")
        if result.skipped:
            narrowed = replace(suite, tasks=tuple(played))
            store.set_suite(result.run_id, narrowed.hash, narrowed.content)
        outcome = result.outcome = _outcome(played, store, result)
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    except Universe2Error as error:
        outcome = f"failed: {error}"
        ended = sum(map(len, store.returns(result.run_id).values()))
        kept = f"the {ended} episodes that had ended are kept in {store.path}" if ended else ""
        if note := "; ".join(part for part in (where, kept) if part):
            error.add_note(note)
        raise
    finally:
        store.end_run(result.run_id, outcome)
    return result


def _config(task: Task, policy: Policy) -> dict[str, Any]:
    """Keyword arguments of EnvConfig, as JSON can hold them."""
    return {
        "interface": policy.interface,
        "screen_size": list(policy.screen_size),
        "autoreset": "disabled",
        "options": dict(task.options),
    }


def _check_options(task: Task, policy: Policy) -> None:
    """Raises UsageError for options that the environment hasn't; their ranges only if it can run here."""
    spec = find(task.env_id)
    spec.resolve(task.options)
    if spec.runnable:
        spec.spaces(EnvConfig(**_config(task, policy)))


def _outcome(played: Sequence[Task], store: EpisodeStore, result: Result) -> str:
    """ "finished", or the tasks of which episodes are missing, and how many there are."""
    whole = {name: len(returns) for name, returns in store.returns(result.run_id).items()}
    late: list[str] = []
    faulty: list[str] = []
    for task in played:
        if (ended := whole.get(task.name, 0)) < task.episodes:
            short = late if task.name in result.out_of_time else faulty
            short.append(f"{task.name} ({ended} of {task.episodes} episodes)")
    said = [f"out of time: {', '.join(late)}"] if late else []
    said += [f"given up after faults: {', '.join(faulty)}"] if faulty else []
    return "; ".join(said) or "finished"


def _play_task(
    task: Task,
    loaded: LoadedPolicy,
    store: EpisodeStore,
    place: Place,
    run_id: int,
    seed: int,
    deadline: float | None,
    observer: Observer | None,
) -> None:
    policy = loaded.policy
    config = _config(task, policy)
    slots = min(place.slots, task.episodes, task.slots or place.slots)
    with closing(place.open(task.env_id, slots, EnvConfig(**config))) as runtime:
        refuse_several(runtime)
        policy.begin(
            task.env_id, slots, runtime.observation_space, runtime.action_space, runtime.action_mask, seed
        )
        spec_hash = runtime.spec.hash(runtime.config)

        def finished(episode: Episode, seconds: float) -> None:
            stored = _stored(episode, run_id, task, spec_hash, config, seconds)
            store.add_episode(stored)
            if observer is not None:
                observer(task, stored)

        begins = policy.episode_begins if isinstance(policy, Chancy) else None
        play = Play(runtime, task.seeds, begins=begins)
        play.run(policy.act, finished, _earlier(deadline, task.max_seconds))


def _earlier(deadline: float | None, seconds: float | None) -> float | None:
    own = None if seconds is None else time.monotonic() + seconds
    return min((t for t in (deadline, own) if t is not None), default=None)


def _stored(
    episode: Episode, run_id: int, task: Task, spec_hash: str, config: dict[str, Any], seconds: float
) -> StoredEpisode:
    return StoredEpisode(
        run=run_id,
        task=task.name,
        env_id=task.env_id,
        spec_hash=spec_hash,
        config=config,
        seed=episode.seed,
        total=episode.total,
        length=episode.length,
        terminated=episode.terminated,
        truncated=episode.truncated,
        actions=episode.actions,
        trajectory=episode.trajectory,
        observations=episode.observations,
        info=episode.info,
        wall_seconds=seconds,
        fault=episode.fault,
        fault_text=episode.fault_text,
    )


def _describe(loaded: LoadedPolicy, suite: Suite, name: str, command: str) -> Run:
    return Run(
        name=name or loaded.policy.name,
        kind=loaded.kind,
        policy=loaded.source,
        policy_hash=loaded.hash,
        suite=suite.name,
        suite_hash=suite.hash,
        suite_content=suite.content,
        references={task.name: dict(find(task.env_id).reference) for task in suite.tasks},
        versions=versions(),
        hardware=hardware(),
        command=command,
    )


def versions() -> dict[str, str]:
    """Of everything that a result may depend on. Imports none of it."""
    packages = ("numpy", "torch", "gymnasium")
    found = {"universe2": universe2.__version__, "python": platform.python_version()}
    return found | {package: version(package) for package in packages}


def hardware() -> dict[str, Any]:
    """What this computer is; GPUs only if torch is in use already."""
    torch = sys.modules.get("torch")
    gpus = []
    if torch is not None and torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cpu": _cpu_name(), "cores": os.cpu_count() or 1, "gpus": gpus, "system": platform.platform()}


def _cpu_name() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
