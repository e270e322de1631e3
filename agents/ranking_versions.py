"""Which runs played the same: the episodes that a suite asks for, in one version of each environment.

A spec hash is over what an episode depends on besides seed and actions: the environment, its version and
options, and how it is seen. Under one config two hashes are two environments, and their scores aren't
comparable. This file doesn't know scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from universe2.agents.evaluate_suite import Suite
from universe2.core.errors import UnknownEnvError, UsageError
from universe2.core.registry import find
from universe2.core.spec import EnvConfig
from universe2.trace import StoredEpisode

Versions = dict[str, set[tuple[str, str]]]
"""task → (config as JSON, spec hash) of its episodes"""


def stray(suite: Suite, episode: StoredEpisode) -> str:
    """Why it isn't an episode of the suite; empty if it is."""
    options = episode.config.get("options", {})
    if not isinstance(options, Mapping):
        return f"its options were {options!r:.80}, no table"
    for task in suite.tasks:
        if task.name == episode.task:
            return task.strays(episode.env_id, options, episode.seed)
    return f"it has no task {episode.task!r}"


def version_of(episode: StoredEpisode) -> tuple[str, str]:
    """An item of ``Versions``."""
    config = {key: value for key, value in episode.config.items() if key != "autoreset"}
    return json.dumps(config, sort_keys=True), episode.spec_hash


def other_versions(env_ids: Mapping[str, str], runs: Sequence[Versions]) -> list[list[str]]:
    """Of each run, newest last, the tasks that it played in another version than those it is compared with.

    The version of a task is the one that is known here, if any of the runs played it; else, under each
    config, the newest run's.
    """
    found: list[list[str]] = [[] for _ in runs]
    for task, env_id in env_ids.items():
        played = [run.get(task, set()) for run in runs]
        known = {config: _hash_here(env_id, config) for pairs in played for config, _ in pairs}
        if not any(pairs and _all_of(pairs, known) for pairs in played):
            known = {config: spec_hash for pairs in played for config, spec_hash in sorted(pairs)}
        for tasks, pairs in zip(found, played, strict=True):
            if not _all_of(pairs, known):
                tasks.append(task)
    return found


def _all_of(pairs: set[tuple[str, str]], known: Mapping[str, str]) -> bool:
    return all(known[config] == spec_hash for config, spec_hash in pairs)


def _hash_here(env_id: str, config: str) -> str:
    """The hash that an episode played now would have; empty if none could be."""
    arguments: dict[str, Any] = json.loads(config)
    try:
        return find(env_id).hash(EnvConfig(**arguments))
    except (UnknownEnvError, UsageError, TypeError, ValueError):
        return ""
