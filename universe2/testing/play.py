"""``play``: drive a runtime with reproducible actions and return the hashes of what happened.

Actions are a function of (episode seed, step) alone, unless the caller wants them
to be the same in all episodes; so the same episodes come out whatever
the autoreset mode, the number of slots and the place where they run.

Suffixes: N slots, K slots of one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from universe2.core.agents import agents_of
from universe2.core.batch import Batch, info_rows
from universe2.core.runtime import Runtime
from universe2.core.screen import NVEC
from universe2.core.seeding import fold31, next_seed
from universe2.core.spaces import stack
from universe2.trace import Episode, Recorder
from universe2.wire.values import write_value


@dataclass
class Played:
    """What one slot did."""

    episodes: list[Episode] = field(default_factory=list)
    """ended ones, in order; cut ones too, with their fault"""
    stream: list[str] = field(default_factory=list)
    """trajectory hash after every reset and every step, episode after episode"""
    infos: list[dict[str, bytes]] = field(default_factory=list)
    """what every row told beside, as it would travel; a final info's keys begin with ``final_``"""

    def same_as(self, other: Played) -> bool:
        """Whether both did the same, as far as the shorter one goes."""
        count = min(len(self.stream), len(other.stream))
        return count > 0 and self.stream[:count] == other.stream[:count]


class ActionSource:
    """Random valid actions, reproducible per episode; live choices only if there is a mask."""

    def __init__(self, runtime: Runtime) -> None:
        self._space = runtime.action_space
        self._copies = [deepcopy(runtime.action_space) for _ in range(runtime.num_slots)]
        self._live: list[np.ndarray] = []
        if runtime.action_mask is not None:
            ends = np.cumsum(NVEC)
            self._live = [np.flatnonzero(part) for part in np.split(runtime.action_mask, ends[:-1])]
        self._agents = agents_of(runtime.action_space) if runtime.spec.multi_agent else ()
        self._rngs = [np.random.default_rng(0) for _ in range(runtime.num_slots)]

    def begin(self, slot: int, seed: int) -> None:
        """``slot`` begins an episode with ``seed``."""
        self._copies[slot].seed(fold31(seed))
        self._rngs[slot] = np.random.default_rng(seed)

    def next(self, slot: int) -> Any:
        """The next single action of ``slot``."""
        if self._live and self._agents:
            return {agent: self._alive(slot) for agent in self._agents}
        if self._live:
            return self._alive(slot)
        return self._copies[slot].sample()

    def _alive(self, slot: int) -> np.ndarray:
        """A screen action of live choices."""
        return np.array([self._rngs[slot].choice(part) for part in self._live], np.int64)

    def batch(self, slots_K: np.ndarray) -> Any:
        """One action per slot, batched."""
        return stack(self._space, [self.next(int(slot)) for slot in slots_K])


def told(batch: Batch) -> list[dict[str, bytes]]:
    """``Played.infos`` of each row."""
    found = [_as_sent("", info) for info in info_rows(batch.info, len(batch))]
    finals = info_rows(batch.final_info, len(batch.final_rows))
    for row, info in zip(batch.final_rows.tolist(), finals, strict=True):
        found[row] |= _as_sent("final_", info)
    return found


def _as_sent(prefix: str, info: dict[str, Any]) -> dict[str, bytes]:
    return {prefix + key: write_value(value).SerializeToString() for key, value in sorted(info.items())}


def receive(runtime: Runtime, count: int, timeout: float = 120.0) -> list[Batch]:
    """Batches with ``count`` rows altogether."""
    batches: list[Batch] = []
    while sum(map(len, batches)) < count:
        batches.append(runtime.recv(timeout))
    return batches


def play(
    runtime: Runtime,
    seeds: Sequence[int],
    steps: int,
    *,
    action_seed: int | None = None,
    watch: Callable[[Batch], None] | None = None,
) -> list[Played]:
    """Reset all slots with ``seeds`` and send to all of them ``steps`` times.

    With ``action_seed`` all episodes get the same actions. ``watch`` is shown every batch.
    """
    slots_N = np.arange(runtime.num_slots, dtype=np.int32)
    source, recorder = ActionSource(runtime), Recorder(runtime)
    played = [Played() for _ in slots_N]
    over_N = np.zeros(runtime.num_slots, bool)  # ended, and not in a new episode yet
    seed_N = np.array(seeds, np.int64)
    same_step = runtime.config.autoreset == "same_step"

    def take(count: int) -> None:
        for batch in receive(runtime, count):
            if watch is not None:
                watch(batch)
            for episode in recorder.received(batch):
                played[episode.slot].episodes.append(episode)
                played[episode.slot].stream.append(episode.trajectory)
            for row, (slot, info) in enumerate(zip(batch.slots.tolist(), told(batch), strict=True)):
                played[slot].infos.append(info)
                ended, cut = bool(batch.ended[row]), bool(batch.fault[row])
                rolled = ended and same_step
                over_N[slot] = (ended and not rolled) or cut
                seed_N[slot] = next_seed(int(batch.seed[row])) if rolled else batch.seed[row]
                if not over_N[slot]:
                    played[slot].stream.append(recorder.digest(slot))
                    if rolled or batch.step[row] == 0:
                        source.begin(slot, int(seed_N[slot]) if action_seed is None else action_seed)

    runtime.reset(slots_N, seed_N)
    take(len(slots_N))
    for _ in range(steps):
        if runtime.config.autoreset == "disabled" and over_N.any():
            ended_K = slots_N[over_N]
            runtime.reset(ended_K, [next_seed(int(seed)) for seed in seed_N[ended_K]])
            take(len(ended_K))
        actions = source.batch(slots_N)
        recorder.sent(slots_N, actions)
        runtime.send(slots_N, actions)
        take(len(slots_N))
    return played
