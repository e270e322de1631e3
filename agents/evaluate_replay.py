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
from universe2.core.errors import ProtocolError
from universe2.core.registry import find
from universe2.core.runtime import Runtime
from universe2.core.spaces import stack
from universe2.core.spec import EnvConfig
from universe2.trace import Episode, EpisodeStore, StoredEpisode, unpack_actions


@dataclass(frozen=True)
class Verdict:
    """Whether one stored episode came out the same again."""

    episode: StoredEpisode
    problem: str
    """empty if it is verified"""


def verify(store: EpisodeStore, run_id: int, place: Place) -> list[Verdict]:
    """Replay all whole episodes of a run. If each is the same, the run becomes "replay-verified".

    An episode that the run's suite doesn't ask for is a problem, too. Raises UsageError if the run lists
    another suite than the one whose hash it bears.
    """
    run = store.run(run_id)
    suite = stored_suite(run.suite_content, run.suite_hash)
    groups: dict[tuple[str, str], list[StoredEpisode]] = {}
    verdicts: list[Verdict] = []
    for episode in store.episodes(run_id, whole=True):
        if stray := _strays(suite, episode):
            verdicts.append(Verdict(episode, f"not an episode of the suite: {stray}"))
            continue
        key = (episode.env_id, json.dumps(episode.config, sort_keys=True))
        groups.setdefault(key, []).append(episode)
    for episodes in groups.values():
        _verify_group(episodes, place, verdicts.append)
    good = bool(verdicts) and not any(verdict.problem for verdict in verdicts)
    store.set_tier(run_id, "replay-verified" if good else "self-reported")
    return verdicts


def _strays(suite: Suite, episode: StoredEpisode) -> str:
    for task in suite.tasks:
        if task.name == episode.task:
            return task.strays(episode.env_id, episode.config.get("options", {}), episode.seed)
    return f"it has no task {episode.task!r}"


def _verify_group(episodes: list[StoredEpisode], place: Place, note: Callable[[Verdict], None]) -> None:
    """Episodes of one environment under one config."""
    spec, config = find(episodes[0].env_id), EnvConfig(**episodes[0].config)
    now = spec.hash(config)
    if stale := [e for e in episodes if e.spec_hash != now]:
        for episode in stale:
            note(Verdict(episode, f"the environment's spec hash was {episode.spec_hash} and is {now}"))
        episodes = [e for e in episodes if e.spec_hash == now]
    # Two tasks may play the same seed: one pass each, so that a pass's seeds are distinct.
    while episodes:
        one_pass = {episode.seed: episode for episode in reversed(episodes)}
        taken = {episode.id for episode in one_pass.values()}
        episodes = [e for e in episodes if e.id not in taken]
        slots = min(place.slots, len(one_pass))
        with closing(place.open(spec, slots, config)) as runtime:
            _Replay(runtime, one_pass, note).run()


class _Replay:
    """Drives one runtime with the stored actions."""

    def __init__(
        self, runtime: Runtime, episodes: dict[int, StoredEpisode], note: Callable[[Verdict], None]
    ) -> None:
        self._space = runtime.action_space
        self._open = dict(episodes)
        self._note = note
        self._traces: dict[int, list[Any]] = {}
        self._at = np.zeros(runtime.num_slots, np.int64)
        for seed, episode in episodes.items():
            try:
                self._traces[seed] = unpack_actions(self._space, episode.actions)
            except ProtocolError as error:
                self._close(seed, str(error))
        self._play = Play(runtime, list(self._traces))

    def run(self) -> None:
        self._play.run(self._act, self._finished, abandon=self._trace_ended)
        for seed in list(self._open):
            self._close(seed, "faults cut every try to replay it")

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

    def _close(self, seed: int, problem: str) -> None:
        self._note(Verdict(self._open.pop(seed), problem))


def _difference(stored: StoredEpisode, replayed: Episode) -> str:
    """What differs, the most telling first; empty if nothing does."""
    for name in ("length", "total", "terminated", "truncated", "observations", "trajectory"):
        was, now = getattr(stored, name), getattr(replayed, name)
        if was != now:
            return f"{'return' if name == 'total' else name} was {was} and is {now}"
    return ""
