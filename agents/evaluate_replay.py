"""Replay verification: stored actions are stepped again, and everything must come out the same.

It shows that the scores are reachable with these actions on these seeds; it doesn't show that
a policy chose them. An environment that cannot replay itself shows here, too.

Suffixes: K slots of one call.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from universe2.agents.evaluate import Place
from universe2.agents.evaluate_play import Play
from universe2.agents.evaluate_suite import Suite, stored_suite
from universe2.core.errors import (
    InvalidActionError,
    MissingDependencyError,
    ProtocolError,
    UnknownEnvError,
    UsageError,
)
from universe2.core.registry import find
from universe2.core.runtime import Runtime
from universe2.core.spaces import check_actions, stack
from universe2.core.spec import EnvConfig
from universe2.trace import Episode, EpisodeStore, StoredEpisode, unpack_actions

_Judge = Callable[[StoredEpisode, str, bool], None]
"""is told of each episode once: its problem, or nothing, and whether that leaves open if it is true"""


@dataclass(frozen=True)
class Verdict:
    """Whether one stored episode came out the same again."""

    task: str
    seed: int
    problem: str
    """empty if it is verified"""
    open: bool = False
    """the problem is that it can't be replayed here and now, which says nothing about the episode"""


@dataclass(frozen=True)
class Finding:
    """What a replay of one run found."""

    verdicts: list[Verdict]
    tier: str
    """"replay-verified", "differs", or "self-reported": it couldn't be replayed"""
    digest: str
    """``EpisodeStore.digest`` of what was replayed: of anything else the tier says nothing"""
    unmarked: str
    """why the file doesn't say so; empty if it does"""


def verify(store: EpisodeStore, run_id: int, place: Place) -> Finding:
    """Replay all whole episodes of a run. If each is the same, the run becomes "replay-verified".

    Until then it is "self-reported", whatever it was and whatever is raised. An episode that the run's
    suite doesn't ask for, that can't be read or can't be replayed is a problem, too; one that comes out
    otherwise, or is not what it should be, makes the run one that "differs". A store that can't be written
    is replayed all the same, and keeps its marks. Raises UsageError if the run can't be read, or lists
    another suite than the one whose hash it bears.
    """
    _mark(store, run_id, "self-reported")
    digest = store.digest(run_id)  # before anything is read: who changes a row meanwhile undoes the mark
    verdicts = _verdicts(store, run_id, place)
    problems = [verdict for verdict in verdicts if verdict.problem]
    tier = "self-reported"
    if verdicts and not problems:
        tier = "replay-verified"
    elif not all(verdict.open for verdict in problems):
        tier = "differs"
    return Finding(verdicts, tier, digest, _mark(store, run_id, tier, digest))


def _mark(store: EpisodeStore, run_id: int, tier: str, digest: str = "") -> str:
    """Why the store can't keep it; empty if it does."""
    try:
        store.set_tier(run_id, tier, "" if tier == "self-reported" else digest)
    except UsageError as error:
        return str(error)
    return ""


def _verdicts(store: EpisodeStore, run_id: int, place: Place) -> list[Verdict]:
    run = store.run(run_id)
    try:
        suite = stored_suite(run.suite_content, run.suite_hash)
    except UsageError as error:
        raise UsageError(f"{store.path}, run {run_id} ({run.name}): {error}") from None
    groups: dict[tuple[str, str], list[StoredEpisode]] = {}
    verdicts: list[Verdict] = []
    for number, task, seed in store.whole(run_id):
        try:
            episode = store.episode(number)
            _refuse_strays(suite, episode)
        except UsageError as error:
            verdicts.append(Verdict(task, seed, str(error)))
            continue
        key = (episode.env_id, json.dumps(episode.config, sort_keys=True))
        groups.setdefault(key, []).append(episode)
    for episodes in groups.values():
        _verify_group(episodes, place, verdicts.append)
    return verdicts


def _refuse_strays(suite: Suite, episode: StoredEpisode) -> None:
    options = _config_of(episode).options
    asked = {task.name: task for task in suite.tasks}
    why = f"it has no task {episode.task!r}"
    if episode.task in asked:
        why = asked[episode.task].strays(episode.env_id, options, episode.seed)
    if why:
        raise UsageError(f"not an episode of the suite: {why}")


def _config_of(episode: StoredEpisode) -> EnvConfig:
    """Raises UsageError, and nothing else, if what is stored is none."""
    try:
        return EnvConfig(**episode.config)
    except (TypeError, ValueError) as error:
        raise UsageError(f"its config is none ({error}); was the file edited?") from None


def _verify_group(episodes: list[StoredEpisode], place: Place, note: Callable[[Verdict], None]) -> None:
    """Episodes of one environment under one config."""
    waiting = {episode.id: episode for episode in episodes}

    def judge(episode: StoredEpisode, problem: str, left_open: bool) -> None:
        del waiting[episode.id]
        note(Verdict(episode.task, episode.seed, problem, left_open))

    try:
        _replay_group(episodes, place, judge)
    except (UsageError, UnknownEnvError, MissingDependencyError) as error:
        # It is of these episodes; a lost server would be of the whole pass.
        for episode in list(waiting.values()):
            judge(episode, f"it can't be replayed: {error}", True)


def _replay_group(episodes: list[StoredEpisode], place: Place, judge: _Judge) -> None:
    spec, config = find(episodes[0].env_id), _config_of(episodes[0])
    now = spec.hash(config)
    for episode in (e for e in episodes if e.spec_hash != now):
        judge(episode, f"the environment's spec hash was {episode.spec_hash} and is {now}", True)
    episodes = [e for e in episodes if e.spec_hash == now]
    # Two tasks may play the same seed: one pass each, so that a pass's seeds are distinct.
    while episodes:
        one_pass = {episode.seed: episode for episode in reversed(episodes)}
        taken = {episode.id for episode in one_pass.values()}
        episodes = [e for e in episodes if e.id not in taken]
        slots = min(place.slots, len(one_pass))
        with closing(place.open(spec, slots, config)) as runtime:
            _Replay(runtime, one_pass, judge).run()


class _Replay:
    """Drives one runtime with the stored actions."""

    def __init__(self, runtime: Runtime, episodes: dict[int, StoredEpisode], judge: _Judge) -> None:
        self._space = runtime.action_space
        self._open = dict(episodes)
        self._judge = judge
        self._traces: dict[int, list[Any]] = {}
        self._at = np.zeros(runtime.num_slots, np.int64)
        for seed, episode in episodes.items():
            try:
                self._traces[seed] = self._actions_of(episode)
            except (ProtocolError, InvalidActionError) as error:
                self._close(seed, str(error))
        self._play = Play(runtime, list(self._traces))

    def _actions_of(self, episode: StoredEpisode) -> list[Any]:
        """Checked here, where it is known whose they are: a runtime refuses those of all slots."""
        actions = unpack_actions(self._space, episode.actions)
        if actions:
            check_actions(self._space, stack(self._space, actions), np.arange(len(actions)))
        return actions

    def run(self) -> None:
        self._play.run(self._act, self._finished, abandon=self._trace_ended)
        for seed in list(self._open):
            self._close(seed, "faults cut every try to replay it", left_open=True)

    def _act(self, slots_K: np.ndarray, obs_K: Any, reward_K: np.ndarray, first_K: np.ndarray) -> Any:
        self._at[slots_K[first_K]] = 0
        chosen = [self._traces[self._play.seed_of(slot)][self._at[slot]] for slot in slots_K]
        self._at[slots_K] += 1
        return stack(self._space, chosen)

    def _trace_ended(self, slot: int, step: int) -> bool:
        seed = self._play.seed_of(slot)
        if step < len(self._traces[seed]):
            return False
        self._close(seed, f"after its {step} stored actions the episode goes on")
        return True

    def _finished(self, replayed: Episode, seconds: float) -> None:
        if replayed.whole:
            self._close(replayed.seed, _difference(self._open[replayed.seed], replayed))

    def _close(self, seed: int, problem: str, left_open: bool = False) -> None:
        self._judge(self._open.pop(seed), problem, left_open)


def _difference(stored: StoredEpisode, replayed: Episode) -> str:
    """What differs, the most telling first; empty if nothing does."""
    for name in ("length", "total", "terminated", "truncated", "observations", "trajectory"):
        was, now = getattr(stored, name), getattr(replayed, name)
        if was != now:
            return f"{'return' if name == 'total' else name} was {was} and is {now}"
    return ""
