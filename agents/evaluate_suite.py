"""Suites: which tasks an evaluation plays, on which seeds. A suite is a TOML file:

    name = "my-suite"
    description = "What it asks."       # optional
    max_seconds = 600                   # optional: wall clock of the whole suite

    [[task]]
    env_id = "arcade/Breakout-v0"
    episodes = 20
    seed = 1000000                      # optional; episode i has the seed 1000000 + i
    options = { start_level = 200 }     # optional: the family's own
    name = "breakout, held out"         # optional; default: the env id
    max_seconds = 120                   # optional: wall clock of this task
    slots = 2                           # optional: at most so many at the same time

The seeds are fixed and each is played to its end, so quick episodes have no advantage. This
file doesn't know how episodes are played.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from universe2.core.errors import UsageError
from universe2.core.files import check_keys, checked, read_toml
from universe2.core.seeding import MAX_SEED, check_seed

DEFAULT_SEED = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Task:
    """Some episodes of one environment under one set of options."""

    env_id: str
    episodes: int
    seed: int = DEFAULT_SEED
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    max_seconds: float | None = None
    slots: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.env_id)
        where = f"task {self.name}: "
        for name in ("env_id", "name"):
            checked(where + name, getattr(self, name), "str")
        for name, value in checked(where + "options", self.options, "table").items():
            _check_option(where + f"option {name}", value)
        if not 1 <= checked(where + "episodes", self.episodes, "int") <= 1_000_000:
            raise UsageError(f"{where}episodes must be 1 to 1,000,000, got {self.episodes!r}")
        if check_seed(self.seed) > MAX_SEED - self.episodes:
            raise UsageError(f"{where}seed {self.seed} leaves no room for {self.episodes} episodes")
        _check_seconds(self.max_seconds, where)
        if self.slots is not None and checked(where + "slots", self.slots, "int") < 1:
            raise UsageError(f"{where}slots must be at least 1, got {self.slots}")

    def strays(self, env_id: str, options: Mapping[str, Any], seed: int) -> str:
        """Why an episode with these isn't one of this task; empty if it is."""
        if env_id != self.env_id:
            return f"it was played in {env_id}, the suite's is {self.env_id}"
        if dict(options) != dict(self.options):
            return f"its options were {dict(options)}, the suite's are {dict(self.options)}"
        if seed not in self.seeds:
            return f"the suite's seeds are {self.seed} to {self.seed + self.episodes - 1}"
        return ""

    @property
    def seeds(self) -> range:
        """One per episode."""
        return range(self.seed, self.seed + self.episodes)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Tasks with different names."""

    name: str
    tasks: tuple[Task, ...]
    description: str = ""
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("name", "description"):
            checked(f"suite {self.name!r}: {name}", getattr(self, name), "str")
        if not self.tasks:
            raise UsageError(f"suite {self.name!r} has no [[task]]")
        names = [task.name for task in self.tasks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"suite {self.name!r}: {', '.join(twice)} occurs twice; give each task a name")
        _check_seconds(self.max_seconds, f"suite {self.name}: ")

    @property
    def content(self) -> dict[str, Any]:
        """All that the suite says, as JSON can hold it."""
        return asdict(self)

    @property
    def hash(self) -> str:
        """16 hex digits over what is played. Results with equal hashes can be compared."""
        played = [[t.name, t.env_id, t.episodes, t.seed, dict(t.options)] for t in self.tasks]
        text = json.dumps([self.name, played], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_episodes(self, episodes: int) -> Suite:
        """The same tasks with another number of episodes each: a different suite, with its own hash."""
        return replace(self, tasks=tuple(replace(task, episodes=episodes) for task in self.tasks))


def stored_suite(content: Mapping[str, Any], hashed: str) -> Suite:
    """The suite that an episode store holds, the inverse of ``content``.

    Raises UsageError if it is none, or not the one that ``hashed`` names: somebody changed the store.
    """
    check_keys(content, [f.name for f in fields(Suite)], "the suite of a run", needed="name tasks")
    tasks = []
    for table in checked("the suite of a run: tasks", content["tasks"], "list"):
        where = "a task in the suite of a run"
        check_keys(checked(where, table, "table"), [f.name for f in fields(Task)], where, "env_id episodes")
        tasks.append(Task(**table))
    suite = Suite(**{**content, "tasks": tuple(tasks)})
    if suite.hash != hashed:
        raise UsageError(
            f"a run of suite {suite.name!r} says that its suite has the hash {hashed}, but what it lists "
            f"has {suite.hash}: the store was changed after it was played"
        )
    return suite


def suite_names() -> list[str]:
    """The suites that come with universe2."""
    folder = files("universe2.agents") / "suites"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load_suite(name_or_path: str) -> Suite:
    """A suite that comes with universe2, by name, or one from a file. Raises UsageError."""
    if name_or_path in suite_names():
        text = (files("universe2.agents") / "suites" / f"{name_or_path}.toml").read_text("utf-8")
        return parse_suite(tomllib.loads(text), name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(f"no suite {name_or_path!r}: neither a file nor one of {', '.join(suite_names())}")
    return parse_suite(read_toml(path, "suite"), name_or_path)


def parse_suite(content: Mapping[str, Any], source: str) -> Suite:
    """A suite from TOML's tables; ``source`` is named in errors."""
    check_keys(content, ("name", "description", "max_seconds", "task"), source, needed="name")
    head = {key: value for key, value in content.items() if key != "task"}
    tasks = []
    for table in checked(f"{source}: task", content.get("task", []), "list"):
        checked(f"{source}: a [[task]]", table, "table")
        check_keys(table, [f.name for f in fields(Task)], f"{source}: a [[task]]", needed="env_id episodes")
        tasks.append(Task(**table))
    return Suite(tasks=tuple(tasks), **head)


def _check_option(name: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{name} is {value!r}, which can't be kept as JSON ({error}); put a date between quotes"
        ) from None


def _check_seconds(seconds: float | None, where: str) -> None:
    if seconds is not None and checked(where + "max_seconds", seconds, "float") <= 0:
        raise UsageError(f"{where}max_seconds must be a positive number, got {seconds!r}")
