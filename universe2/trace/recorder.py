"""Recorder: watches what is sent to and received from a runtime, and gives whole episodes.

It is told every ``send`` and shown every ``Batch``; it never drives the runtime itself. This
file doesn't know where episodes are stored.

Suffixes: K slots of one call.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.agents import agent_columns
from universe2.core.batch import Batch, Fault, info_rows
from universe2.core.errors import ProtocolError
from universe2.core.runtime import Runtime
from universe2.core.seeding import next_seed
from universe2.trace.encoding import decode, encode, row_of
from universe2.trace.hash import TrajectoryHash, outcome_bytes

MOST_ACTION_BYTES = 2**27
"""Of one episode's actions, unpacked: a million steps of 128 bytes. A few bytes can be made to unpack to any
number, and stores come from others, too."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode, from its seed to its end or to the fault that cut it."""

    slot: int
    seed: int
    length: int
    """transitions"""
    total: float
    """sum of rewards, over all agents too (of what was played, if it was cut)"""
    terminated: bool
    truncated: bool
    actions: bytes
    """zlib over the canonical bytes of every action; ``unpack_actions`` is the inverse"""
    trajectory: str
    """TrajectoryHash.digest"""
    observations: str
    """TrajectoryHash.observations_digest"""
    info: dict[str, Any] = field(default_factory=dict)
    """the info that came with the last transition"""
    fault: Fault = Fault.NONE
    fault_text: str = ""

    @property
    def whole(self) -> bool:
        """It was played to its end. Only whole episodes count in a score."""
        return self.fault is Fault.NONE


class _Open:
    """The episode that a slot is in."""

    def __init__(self, seed: int, chain: TrajectoryHash) -> None:
        self.seed = seed
        self.chain = chain
        self.total = 0.0
        self.actions: list[bytes] = []


class Recorder:
    """Episodes of one runtime, as they end."""

    def __init__(self, runtime: Runtime) -> None:
        self._observation_space = runtime.observation_space
        self._action_space = runtime.action_space
        self._several = runtime.spec.multi_agent
        self._same_step = runtime.config.autoreset == "same_step"
        self._open: dict[int, _Open] = {}
        self._sent: dict[int, Any] = {}

    def sent(self, slots: np.ndarray, actions: Any) -> None:
        """``actions`` (batched, one row per slot) were sent to ``slots``; call it before ``recv``."""
        for row, slot in enumerate(slots):
            self._sent[int(slot)] = encode(self._action_space, row_of(self._action_space, actions, row))

    def received(self, batch: Batch) -> list[Episode]:
        """The episodes that ``batch`` ended, in the order of its rows; cut ones too."""
        finals = {int(row): i for i, row in enumerate(batch.final_rows)}
        infos = info_rows(batch.info, len(batch))
        final_infos = info_rows(batch.final_info, len(batch.final_rows))
        agents = _agent_bytes(batch) if self._several else [b""] * len(batch)
        done = []
        for row, slot in enumerate(batch.slots.tolist()):
            if batch.fault[row]:
                done.append(self._cut(batch, row, slot))
            elif batch.step[row] == 0:
                self._begin(slot, int(batch.seed[row]), batch.obs, row)
            else:
                final = finals.get(row) if self._same_step else None
                self._step(batch, row, slot, final, agents[row])
                if batch.terminated[row] or batch.truncated[row]:
                    info = infos[row] if final is None else final_infos[final]
                    done.append(self._end(batch, row, slot, info))
                    if self._same_step:
                        self._begin(slot, next_seed(int(batch.seed[row])), batch.obs, row)
        return done

    def digest(self, slot: int) -> str:
        """The trajectory hash of the episode that ``slot`` is in, so far."""
        return self._open[slot].chain.digest

    def _begin(self, slot: int, seed: int, obs: Any, row: int) -> None:
        self._sent.pop(slot, None)
        opened = _Open(seed, TrajectoryHash(self._observation_space, self._action_space))
        opened.chain.reset(row_of(self._observation_space, obs, row))
        self._open[slot] = opened

    def _step(self, batch: Batch, row: int, slot: int, final: int | None, agents: bytes) -> None:
        if slot not in self._open or slot not in self._sent:
            missing = "its episode's first observation" if slot not in self._open else "its action"
            raise ProtocolError(f"slot {slot}: step {batch.step[row]} came, but the recorder lacks {missing}")
        opened, action = self._open[slot], self._sent.pop(slot)
        obs, at = (batch.obs, row) if final is None else (batch.final_obs, final)
        reward = float(batch.reward[row])
        flags = bool(batch.terminated[row]), bool(batch.truncated[row])
        opened.chain.step_bytes(action, reward, *flags, row_of(self._observation_space, obs, at), agents)
        opened.total += reward
        opened.actions.append(action)
        if opened.chain.steps != batch.step[row]:
            raise ProtocolError(f"slot {slot}: step {batch.step[row]} came after {opened.chain.steps - 1}")

    def _end(self, batch: Batch, row: int, slot: int, info: dict[str, Any]) -> Episode:
        flags = bool(batch.terminated[row]), bool(batch.truncated[row])
        return _closed(self._open.pop(slot), slot, flags, info)

    def _cut(self, batch: Batch, row: int, slot: int) -> Episode:
        self._sent.pop(slot, None)
        opened = self._open.pop(slot, None)
        if opened is None:
            chain = TrajectoryHash(self._observation_space, self._action_space)
            opened = _Open(int(batch.seed[row]), chain)
        fault = Fault(int(batch.fault[row]))
        return _closed(opened, slot, (False, False), {}, fault, batch.fault_text.get(row, ""))


def _agent_bytes(batch: Batch) -> list[bytes]:
    """What the hash takes of each row's agents."""
    columns = agent_columns(batch)
    return [
        b"".join(outcome_bytes(*agent) for agent in zip(*(column[row] for column in columns), strict=True))
        for row in range(len(batch))
    ]


def _closed(
    opened: _Open,
    slot: int,
    flags: tuple[bool, bool],
    info: dict[str, Any],
    fault: Fault = Fault.NONE,
    fault_text: str = "",
) -> Episode:
    return Episode(
        slot=slot,
        seed=opened.seed,
        length=opened.chain.steps,
        total=opened.total,
        terminated=flags[0],
        truncated=flags[1],
        actions=zlib.compress(b"".join(opened.actions), 6),
        trajectory=opened.chain.digest,
        observations=opened.chain.observations_digest,
        info=info,
        fault=fault,
        fault_text=fault_text,
    )


def unpack_actions(space: spaces.Space[Any], packed: bytes) -> list[Any]:
    """The single actions of ``Episode.actions``. Raises ProtocolError if the bytes don't fit ``space``."""
    unpacking = zlib.decompressobj()
    try:
        data = memoryview(unpacking.decompress(packed, MOST_ACTION_BYTES + 1))
    except zlib.error as error:
        raise ProtocolError(f"action trace is damaged: {error}") from None
    if len(data) > MOST_ACTION_BYTES:
        raise ProtocolError(f"action trace has more than {MOST_ACTION_BYTES} bytes: was the file edited?")
    if not unpacking.eof:
        raise ProtocolError("action trace is damaged: it is cut short")
    actions = []
    while data:
        action, used = decode(space, data)
        actions.append(action)
        data = data[used:]
        if used == 0:
            raise ProtocolError(f"action trace of {space} holds no bytes per action")
    return actions
