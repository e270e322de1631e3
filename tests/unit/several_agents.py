"""A PettingZoo environment whose agents join, leave in different ways, and break on request.

Imported by worker processes under this name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from universe2.core.spec import EnvSpec


class Shifts(ParallelEnv):  # type: ignore[misc]
    """early leaves by the rules after step 2, late joins at step 3; all others are cut off at step 5.

    An agent's observation is (step, the sum of its actions so far).
    """

    metadata = {"name": "shifts"}  # noqa: RUF012
    render_mode = None

    def __init__(self, broken_at: int = 0) -> None:
        self.possible_agents = ["early", "late", "whole"]
        self.broken_at = broken_at

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(0, 100, (2,), np.int64)

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(3, start=1)

    def _obs(self, agents: list[str]) -> dict[str, Any]:
        return {agent: np.array([self.count, self.sums[agent]]) for agent in agents}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.count = ["early", "whole"], 0
        self.sums = dict.fromkeys(self.possible_agents, (seed or 0) % 7)
        return self._obs(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions: Any) -> Any:
        assert set(actions) == set(self.agents)
        self.count += 1
        if self.count == self.broken_at:
            raise RuntimeError("broken as asked")
        for agent, action in actions.items():
            self.sums[agent] += int(action)
        about = [*self.agents, "late"] if self.count == 3 else self.agents
        left = {agent: agent == "early" and self.count == 2 for agent in about}
        cut = dict.fromkeys(about, self.count == 5)
        obs, rewards = self._obs(about), {agent: float(len(agent)) for agent in about}
        self.agents = [agent for agent in about if not (left[agent] or cut[agent])]
        return obs, rewards, left, cut, {agent: {"own": agent} for agent in about}


SPEC = EnvSpec(
    id="testing/Shifts-v0",
    runtime="process",
    entry="universe2.envs.pettingzoo:make",
    spaces_from="universe2.envs.pettingzoo:spaces",
    kwargs={"creator": Shifts},
    options={"make_kwargs": None},
    multi_agent=True,
)
