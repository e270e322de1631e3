"""AgentsEnv: a PettingZoo ParallelEnv as a ``gymnasium.Env`` whose spaces are Dicts over its agents.

What each agent gets stands in its info as ``universe2.core.agents`` lays down. It doesn't know
runtimes or batches.

Suffixes: A agents, in the order of the spaces' keys.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from universe2.core.agents import INFO, AgentColumns
from universe2.core.batch import checked_flag
from universe2.core.errors import UnsupportedError
from universe2.core.spaces import empty, unstack


class AgentsEnv(gym.Env):
    """All agents at once. Those that aren't playing see the smallest value of their space.

    With ``another`` each episode but the first is played in the environment that it returns.
    """

    def __init__(self, env: ParallelEnv, another: Callable[[], ParallelEnv] | None = None) -> None:
        possible = getattr(env, "possible_agents", None)
        if not possible:
            raise UnsupportedError(f"{env}: agents that aren't known beforehand (no possible_agents)")
        self._env, self._another = env, another
        self._used = False
        self._agent_of = {str(agent): agent for agent in possible}
        # copies: agents may share one space, whose samples would depend on who else is asked
        self.observation_space = spaces.Dict(
            {name: deepcopy(env.observation_space(agent)) for name, agent in self._agent_of.items()}
        )
        self.action_space = spaces.Dict(
            {name: deepcopy(env.action_space(agent)) for name, agent in self._agent_of.items()}
        )
        self._names = list(self.observation_space.spaces)
        self._nothing = {name: _nothing(space) for name, space in self.observation_space.spaces.items()}
        self.render_mode = getattr(env, "render_mode", None)
        self.metadata = getattr(env, "metadata", None) or {}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        if self._used and self._another is not None:
            self._env.close()
            self._env = self._another()
        self._used = True
        obs, infos = self._env.reset(seed=seed)
        none = np.zeros(len(self._names), bool)
        columns = AgentColumns(np.zeros(len(self._names)), none, none, self._playing())
        return self._seen(obs), self._info(columns, infos)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        before_A = self._playing()
        chosen = {self._agent_of[name]: action[name] for name in self._names_in(before_A)}
        obs, rewards, terminated, truncated, infos = self._env.step(chosen)
        live_A = self._playing()
        about = set(self._names_in(before_A)) | {str(agent) for agent in obs}
        left_A = self._flags("terminated", terminated, about)
        cut_A = self._flags("truncated", truncated, about) & ~left_A
        vanished = before_A & ~(live_A | left_A | cut_A)
        if vanished.any():
            raise RuntimeError(f"{self._names_in(vanished)} vanished: neither terminated nor truncated")
        columns = AgentColumns(np.zeros(len(self._names)), left_A, cut_A, live_A & ~left_A & ~cut_A)
        for a in np.flatnonzero(columns.present):
            columns.reward[a] = rewards.get(self._agent_of[self._names[a]], 0.0)
        over, cut = not columns.live.any(), bool(cut_A.any())
        return (
            self._seen(obs),
            float(columns.reward.sum()),
            over and not cut,
            over and cut,
            self._info(columns, infos),
        )

    def render(self) -> Any:
        return self._env.render()

    def close(self) -> None:
        self._env.close()

    def _playing(self) -> np.ndarray:
        """bool (A,)."""
        playing = {str(agent) for agent in self._env.agents}
        if strangers := playing - set(self._names):
            raise RuntimeError(f"agents {sorted(strangers)} are not among possible_agents")
        return np.array([name in playing for name in self._names])

    def _flags(self, which: str, flags: Any, about: set[str]) -> np.ndarray:
        return np.array([name in about and self._flag(which, flags, name) for name in self._names])

    def _flag(self, which: str, flags: Any, name: str) -> bool:
        return checked_flag(f"{which} of agent {name!r}", flags.get(self._agent_of[name], False))

    def _names_in(self, mask_A: np.ndarray) -> list[str]:
        return [name for name, there in zip(self._names, mask_A, strict=True) if there]

    def _seen(self, obs: Any) -> dict[str, Any]:
        return {name: obs.get(agent, self._nothing[name]) for name, agent in self._agent_of.items()}

    def _info(self, columns: AgentColumns, infos: Any) -> dict[str, Any]:
        own = {str(agent): dict(info) for agent, info in infos.items() if info}
        return {**columns.infos(), **({INFO: own} if own else {})}


def _nothing(space: spaces.Space[Any]) -> Any:
    value = unstack(space, empty(space, 1), 1)[0]
    if space.contains(value):
        return value
    own = deepcopy(space)
    own.seed(0)
    return own.sample()
