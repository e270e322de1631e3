"""TrajectoryHash: one short text that says whether two episodes were the same to the bit.

Definition (version 1), so that anyone can reproduce it. B is BLAKE2b with a 16-byte digest,
``obs`` and ``action`` are the canonical bytes of ``universe2.trace.encoding``, + joins bytes:

    trajectory   t = B("universe2.trajectory.1")
        reset    t = B(t + "R" + obs)
        step     t = B(t + "S" + action + reward + flags + agents + obs)
    observations o = B("universe2.observations.1")
        reset    o = B(o + obs)
        step     o = B(o + obs)

``reward`` is a little-endian float64, ``flags`` one byte: 1 if terminated, plus 2 if truncated.
``agents`` is nothing for one agent; for several, in the order of the space, each one's reward and
flags in the same form, plus 4 in the flags of one that plays on.
``obs`` of the step that ended the episode is the final observation, in every autoreset mode.
Info is not part of it. A chain, not one long hash: after every step the digest so far can be
compared, so the first step that differs can be found.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Any

from gymnasium import spaces

from universe2.trace.encoding import encode

DIGEST_BYTES = 16


def _link(*parts: bytes) -> bytes:
    return blake2b(b"".join(parts), digest_size=DIGEST_BYTES).digest()


def outcome_bytes(reward: float, terminated: bool, truncated: bool, live: bool = False) -> bytes:
    """``reward`` and ``flags`` of the definition above."""
    return struct.pack("<dB", reward, bool(terminated) + 2 * bool(truncated) + 4 * bool(live))


class TrajectoryHash:
    """The two chains of one episode. Takes single (unbatched) values; see Recorder for batches."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self._observation_space = observation_space
        self._action_space = action_space
        self.steps = 0
        """transitions so far"""
        self._trajectory = _link(b"universe2.trajectory.1")
        self._observations = _link(b"universe2.observations.1")

    def reset(self, obs: Any) -> None:
        """A new episode, whose first observation is ``obs``. Forgets what came before."""
        data = encode(self._observation_space, obs)
        self._trajectory = _link(_link(b"universe2.trajectory.1"), b"R", data)
        self._observations = _link(_link(b"universe2.observations.1"), data)
        self.steps = 0

    def step(self, action: Any, reward: float, terminated: bool, truncated: bool, obs: Any) -> None:
        """One transition: ``action`` led to ``reward``, the flags and ``obs``."""
        self.step_bytes(encode(self._action_space, action), reward, terminated, truncated, obs)

    def step_bytes(
        self, action: bytes, reward: float, terminated: bool, truncated: bool, obs: Any, agents: bytes = b""
    ) -> None:
        """``step`` with the action's canonical bytes instead of the action; ``agents`` as defined above."""
        data = encode(self._observation_space, obs)
        outcome = outcome_bytes(reward, terminated, truncated)
        self._trajectory = _link(self._trajectory, b"S", action, outcome, agents, data)
        self._observations = _link(self._observations, data)
        self.steps += 1

    @property
    def digest(self) -> str:
        """The trajectory so far: 32 hex digits."""
        return self._trajectory.hex()

    @property
    def observations_digest(self) -> str:
        """The observations so far: 32 hex digits."""
        return self._observations.hex()
