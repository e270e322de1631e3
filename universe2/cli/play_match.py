"""A match for one person: they take the first seat, the game's scripted players the others."""

from __future__ import annotations

from typing import Any

from universe2.core.errors import UsageError
from universe2.faces.parallel import RuntimeParallelEnv


class AgainstScripted:
    """The part of ``gymnasium.Env`` that playing needs, over a match opened with ``expert=1``.

    An episode is over for the person when the first player is out.
    """

    def __init__(self, env: RuntimeParallelEnv) -> None:
        self._env, self._mine = env, env.possible_agents[0]
        self._advice: dict[str, Any] = {}

    def reset(self, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        obs, infos = self._env.reset(seed=seed)
        self._listen(infos)
        return obs[self._mine], infos[self._mine]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        actions = {agent: self._advice[agent] for agent in self._env.agents}
        obs, rewards, terminated, truncated, infos = self._env.step({**actions, self._mine: action})
        self._listen(infos)
        mine = self._mine
        return obs[mine], rewards[mine], terminated[mine], truncated[mine], infos[mine]

    def close(self) -> None:
        self._env.close()

    def _listen(self, infos: dict[str, Any]) -> None:
        if missing := [agent for agent in self._env.agents if "expert" not in infos[agent]]:
            raise UsageError(f"{self._env.metadata['name']} has no scripted players for {missing}")
        self._advice = {agent: infos[agent]["expert"] for agent in self._env.agents}
