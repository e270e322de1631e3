"""Policy: what evaluation asks of an agent. Random is one; a checkpoint is another.

A policy file that users write is a function without arguments that returns such an object,
named on the command line as ``module:function``. This file doesn't know networks.

Suffixes: N slots, K slots of one call.
"""

from __future__ import annotations

import copy
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces


class Policy(Protocol):
    """Plays N slots of one environment at a time."""

    name: str
    """shown in the ranking"""
    interface: Literal["native", "screen"]
    """which interface environments must be opened with"""
    screen_size: tuple[int, int]
    """(height, width), under ``interface="screen"``"""

    def begin(
        self,
        env_id: str,
        num_slots: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        action_mask: np.ndarray | None,
        seed: int,
    ) -> None:
        """A new environment with ``num_slots`` slots. All randomness derives from ``seed``.

        ``action_mask`` is bool (209,), the live choices of the screen action, or None.
        """

    def act(self, slots_K: np.ndarray, obs_K: Any, reward_K: np.ndarray, first_K: np.ndarray) -> Any:
        """Batched actions, one row per slot in ``slots_K``.

        ``obs_K`` is a batched observation, ``reward_K`` float64 the rewards that came with it,
        ``first_K`` bool marks first observations of an episode (recurrent state starts anew).
        """


@runtime_checkable
class Chancy(Protocol):
    """A policy with chance in it: each episode's own, whichever slot plays it, beside whomever."""

    def episode_begins(self, slot: int, seed: int) -> None:
        """Called before the first ``act`` of an episode, with the episode's seed."""


class RandomPolicy:
    """Uniform over the live choices of every part of the action."""

    name = "random"
    interface: Literal["native", "screen"]

    def __init__(self, interface: Literal["native", "screen"] = "screen") -> None:
        self.interface = interface
        self.screen_size = (64, 64)

    def begin(
        self,
        env_id: str,
        num_slots: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        action_mask: np.ndarray | None,
        seed: int,
    ) -> None:
        self._seed = seed
        self._spaces = [copy.deepcopy(action_space) for _ in range(num_slots)]
        self._rngs = [np.random.default_rng([seed, slot]) for slot in range(num_slots)]
        self._live: list[np.ndarray] = []
        if action_mask is not None:
            assert isinstance(action_space, spaces.MultiDiscrete)
            ends = np.cumsum(action_space.nvec)
            self._live = [np.flatnonzero(part) for part in np.split(action_mask, ends[:-1])]

    def episode_begins(self, slot: int, seed: int) -> None:
        self._rngs[slot] = np.random.default_rng([self._seed, seed])
        self._spaces[slot].seed(int(self._rngs[slot].integers(2**31)))

    def act(self, slots_K: np.ndarray, obs_K: Any, reward_K: np.ndarray, first_K: np.ndarray) -> Any:
        if not self._live:
            from universe2.core.spaces import stack

            return stack(self._spaces[0], [self._spaces[slot].sample() for slot in slots_K])
        return np.array([[self._rngs[s].choice(part) for part in self._live] for s in slots_K], np.int64)
