"""TrainConfig: everything a training run is told, and its TOML form.

    seconds = 240
    out_dir = "runs/first"
    [tasks."arcade/Breakout-v0"]
    slots = 32

Unknown keys are refused. This file starts nothing.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from universe2.agents.model import ANEW
from universe2.core.errors import UsageError
from universe2.core.files import check_keys, checked, is_a, read_toml

ALGORITHMS = ("ppo", "vtrace", "group")
PRECISIONS = ("auto", "float32", "bfloat16")
_INF = float("inf")
_MAX, _ABOVE_0 = sys.float_info.max, sys.float_info.min
"""the largest number that is finite, and the smallest that a CPU never takes for 0"""
_BOUNDS: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("rollout", "batch_steps", "minibatches", "epochs", "total_steps", "group_size"), (1, _INF)
    ),
    **dict.fromkeys(("keep_every_steps", "threads", "max_steps_off_policy", "lora_rank", "bases"), (0, _INF)),
    **dict.fromkeys(("wait", "patience", "checkpoint_seconds", "lr"), (0, _MAX)),
    **dict.fromkeys(("value_coef", "imitation_coef", "reconstruction_coef"), (0, _MAX)),
    **dict.fromkeys(("clip", "max_grad_norm"), (_ABOVE_0, _MAX)),
    "seconds": (_ABOVE_0, _INF),
    "entropy_coef": (-_MAX, _MAX),
    **dict.fromkeys(("gamma", "lam", "lr_end"), (0, 1)),
    "seed": (0, 2**63 - 1),
}
"""settings that are numbers → the least and the most; nan is in no bounds"""


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """One environment of the mix."""

    env_id: str
    slots: int = 32
    share: float = 1.0
    """of the learner's transitions, relative to the other tasks"""
    options: Mapping[str, Any] = field(default_factory=dict)
    """the environment's own options"""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run. It ends after ``total_steps`` or ``seconds``, whichever comes first."""

    tasks: tuple[TaskConfig, ...]
    out_dir: str
    remotes: tuple[str, ...] = ()
    """``host:port`` of environment servers; none means environments in this process"""
    token_file: str = ""
    wait: float = 90.0
    """seconds to wait for servers that are full"""
    algorithm: str = "ppo"
    """``ppo``, ``vtrace``, or ``group``: without a critic (see agents/group.py); or ``module:function``,
    which is called as ``train_ppo`` is"""
    group_size: int = 8
    """for ``group``: rollouts from the same state, one in each of so many neighbouring slots"""
    init_from: str = ""
    """a checkpoint, or the folder of a run, whose weights to start from"""
    anew: tuple[str, ...] = ()
    """heads of ``init_from`` that begin anew: ``keys`` (arrows and keys; the pointer's stay), ``value``"""
    lora_rank: int = 0
    """above 0: freeze the trunk of ``init_from`` and train adapters of this rank and the heads"""
    preset: str = "nano"
    bases: int = 0
    """above 0: each task sees through an encoder of its own, mixed out of so many by its instruction; for
    many tasks (see agents/conditional.py)"""
    screen_size: tuple[int, int] = (64, 64)
    device: str = "auto"
    """``auto`` is CUDA if there is any"""
    precision: str = "auto"
    """``float32``, ``bfloat16``, or ``auto``: bfloat16 on CUDA"""
    threads: int = 0
    """of the CPU's arithmetic; 0 means all cores (see ``agents/threads.py``)"""
    seed: int = 0
    total_steps: int = 100_000_000
    seconds: float = _INF
    checkpoint_seconds: float = 60.0
    keep_every_steps: int = 0
    """above 0: keep the first checkpoint beyond each multiple of it, as checkpoint-<steps>"""

    rollout: int = 32
    """transitions per segment"""
    batch_steps: int = 4096
    """transitions per update, all tasks together"""
    minibatches: int = 4
    epochs: int = 2
    lr: float = 1e-3
    lr_end: float = 0.1
    """the learning rate falls linearly to this fraction of ``lr``"""
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    entropy_coef: float = 0.01
    value_coef: float = 0.5
    max_grad_norm: float = 0.5
    imitation_coef: float = 0.0
    """weight of imitating info["expert"], for tasks that give it (arcade: options = { expert = 1 })"""
    reconstruction_coef: float = 0.0
    """weight of painting the screen from the features; above 0 the network has a head for it"""
    scale_per_task: bool = True
    """False: the advantages of all tasks are divided by one scale"""
    patience: float = 0.25
    """see CollectParams"""
    max_steps_off_policy: int = 512
    """see CollectParams"""
    lockstep: bool = False
    """collect, then learn, then collect: slower, but with environments in this process the run is
    a function of its seed to the bit, unless ``seconds`` limits it (the learning rate then follows
    the clock); if they have snapshots, also if it was killed and resumed. Else both go on at once."""

    def __post_init__(self) -> None:
        if not self.tasks:
            raise UsageError("a training run needs at least one task")
        for key, (least, most) in _BOUNDS.items():
            _check_bounds(key, getattr(self, key), least, most)
        if self.algorithm not in ALGORITHMS and ":" not in self.algorithm:
            raise UsageError(
                f"algorithm = {self.algorithm!r}: it must be one of {', '.join(ALGORITHMS)}, or "
                "module:function, a script of your own"
            )
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision = {self.precision!r}: it must be one of {', '.join(PRECISIONS)}")
        if self.lora_rank and not self.init_from:
            raise UsageError("lora_rank needs init_from: adapters on an untrained trunk learn little")
        if self.anew and not self.init_from:
            raise UsageError("anew needs init_from: without it all weights are fresh")
        for head in self.anew:
            if head not in ANEW:
                raise UsageError(f"anew = {list(self.anew)}: there are {' and '.join(ANEW)}, but no {head!r}")
        for task in self.tasks:
            _check_bounds(f"{task.env_id}: slots", task.slots, 1, _INF)
            _check_bounds(f"{task.env_id}: share", task.share, _ABOVE_0, _MAX)
        # fewer segments than minibatches would leave some empty
        segments = sum(self.quota())
        if segments < self.minibatches:
            raise UsageError(
                f"batch_steps = {self.batch_steps} gives {segments} segments of "
                f"{self.rollout}, too few for {self.minibatches} minibatches"
            )
        if self.algorithm == "group":
            self._check_groups(segments)

    def _check_groups(self, segments: int) -> None:
        if self.group_size < 2 or not self.lockstep:
            raise UsageError('algorithm = "group" needs lockstep = true and a group_size of at least 2')
        for task, quota in zip(self.tasks, self.quota(), strict=True):
            if task.slots != quota or quota % self.group_size:
                raise UsageError(
                    f"{task.env_id}: {task.slots} slots, {quota} segments per update (batch_steps / rollout, "
                    f"by share): for groups both must be the same multiple of group_size = {self.group_size}"
                )
        if segments < self.minibatches * self.group_size:
            raise UsageError(
                f"batch_steps = {self.batch_steps} gives {segments // self.group_size} groups of "
                f"{self.group_size} segments, too few for {self.minibatches} minibatches: a group stays whole"
            )

    def quota(self) -> tuple[int, ...]:
        """Segments per update of each task."""
        shares = sum(task.share for task in self.tasks)
        each = self.batch_steps / self.rollout / shares
        return tuple(max(1, round(each * task.share)) for task in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """JSON values; ``from_table`` reads them back."""
        table = dataclasses.asdict(self)
        table["tasks"] = {task["env_id"]: task for task in table["tasks"]}
        for task in table["tasks"].values():
            del task["env_id"]
        if self.seconds == _INF:
            del table["seconds"]
        return table


def _check_bounds(name: str, value: float, least: float, most: float) -> None:
    if least <= value <= most:
        return
    if most < _MAX:
        words = f"between {least:g} and {most:g}"
    elif least == -_MAX:
        words = "finite"
    else:
        words = "above 0" if least == _ABOVE_0 else f"at least {least:g}"
        words += " and finite" if most == _MAX else ""
    raise UsageError(f"{name} = {value:g}: it must be {words}")


def from_table(table: Mapping[str, Any]) -> TrainConfig:
    """A TrainConfig from a TOML table. Raises UsageError for unknown keys and values of a wrong kind."""
    known = dict(table)
    tasks = known.pop("tasks", None)
    if not isinstance(tasks, Mapping):
        raise UsageError('a training config needs tasks: [tasks."family/Name-v0"] with slots = 32')
    _check_table(known, TrainConfig, "training config")
    for key in _LISTS.keys() & known.keys():
        known[key] = tuple(known[key])
    parsed = []
    for env_id, task in tasks.items():
        _check_table(checked(f'tasks."{env_id}"', task, "table"), TaskConfig, f'tasks."{env_id}"')
        parsed.append(TaskConfig(env_id=env_id, **task))
    if "out_dir" not in known:
        raise UsageError("a training config needs out_dir (or --out-dir), the folder for all that it leaves")
    return TrainConfig(tasks=tuple(parsed), **known)


def load_config(path: Path, **instead: Any) -> TrainConfig:
    """The TrainConfig in a TOML file, ``instead`` in place of what the file says."""
    return from_table({**read_toml(path, "config"), **instead})


def _check_table(table: Mapping[str, Any], cls: type, where: str) -> None:
    check_keys(table, [f.name for f in dataclasses.fields(cls)], where)
    for field_ in dataclasses.fields(cls):
        if field_.name in table:
            _check_value(f"{where}: {field_.name}", field_, table[field_.name])


def _check_value(name: str, field_: dataclasses.Field[Any], value: Any) -> None:
    kind = str(field_.type)
    if field_.name in _LISTS:
        of, count, words = _LISTS[field_.name]
        whole = isinstance(value, (list, tuple)) and all(is_a(one, of) for one in value)
        if not whole or count not in (0, len(value)):
            raise UsageError(f"{name} must be {words}, got {value!r}")
    else:
        checked(name, value, "table" if kind.startswith("Mapping") else kind)


_LISTS = {
    "remotes": ("str", 0, 'a list of "host:port"'),
    "anew": ("str", 0, "a list of heads"),
    "screen_size": ("int", 2, "[height, width]"),
}
"""settings that are lists → of what, how many (0: any number), and how to say it"""
