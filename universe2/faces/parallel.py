"""RuntimeParallelEnv: one slot with several agents as a ``pettingzoo.ParallelEnv``.

How agents travel in a batch is ``universe2.core.agents``'. Suffixes: A agents.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from gymnasium import spaces
from pettingzoo import ParallelEnv

from universe2.core.agents import INFO, NAMES, PREFIX, agent_columns, agents_of
from universe2.core.batch import Batch, info_rows
from universe2.core.errors import FaultError, InvalidActionError, UsageError
from universe2.core.runtime import Runtime
from universe2.core.seeding import check_seed, fresh_seed, next_seed
from universe2.core.spaces import copied, unstack
from universe2.faces.face import plain_info
from universe2.faces.one_slot import OneSlotFace, OnFault, fault_line

_Each = dict[str, Any]


class RuntimeParallelEnv(OneSlotFace, ParallelEnv):  # type: ignore[misc]
    """One slot of a multi-agent runtime, opened with ``autoreset="disabled"``.

    ``possible_agents`` is who may ever play, ``agents`` who plays now: it shrinks as agents leave, and
    grows if some join in mid-episode. What ``step`` returns has an entry for each agent that it was about,
    those that left in this step included: their observation is their final one.

    An agent's info holds what is known of the episode ("seed", "level", "outcome", …) besides its own.
    A fault raises FaultError (``on_fault="raise"``), or with ``on_fault="truncate"`` ends the
    episode for all: truncated, reward NaN, the text in ``infos[agent]["fault"]``. Reset comes next.
    """

    def __init__(
        self,
        runtime: Runtime,
        render_mode: str | None = None,
        on_fault: OnFault = "raise",
        render_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(runtime, render_mode, on_fault, render_size)
        spec = runtime.spec
        if not spec.multi_agent:
            raise UsageError(f"{spec.id} is for one agent; use universe2.make({spec.id!r})")
        self.metadata = {
            "name": spec.id,
            "render_modes": ["rgb_array"],
            "render_fps": runtime.render_fps,
            "is_parallelizable": True,
        }
        self.possible_agents = list(agents_of(runtime.observation_space))
        self.agents: list[str] = []
        self.observation_spaces = _parts(runtime.observation_space)
        self.action_spaces = _parts(runtime.action_space)
        self._idle = {agent: _any_value(space) for agent, space in self.action_spaces.items()}

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """What ``agent`` sees; always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """What ``agent`` can do; always the same object."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[_Each, _Each]:
        """Begin an episode: (observations, infos) of the agents that play.

        Without a seed the chain from the seed before goes on. ``options`` are ignored, as PettingZoo's
        own tests ask for: what an environment can do is set at make.
        """
        if seed is not None:
            seed = check_seed(seed)
        elif self._slot.seed is not None:
            seed = next_seed(self._slot.seed)
        else:
            seed = fresh_seed()
        self.agents = []
        batch = self._slot.reset(seed)
        live_A = agent_columns(batch).live[0]
        self.agents = [agent for agent, live in zip(self.possible_agents, live_A, strict=True) if live]
        infos = self._infos(batch, self.agents)
        return self._observations(batch, self.agents), {
            agent: {**info, "seed": int(batch.seed[0])} for agent, info in infos.items()
        }

    def step(self, actions: Mapping[str, Any]) -> tuple[_Each, _Each, _Each, _Each, _Each]:
        """PettingZoo's step: observations, rewards, terminations, truncations and infos by agent.

        ``actions`` has one entry for each of ``agents``. Raises InvalidActionError and UsageError before
        anything moves; FaultError.
        """
        if not self.agents:
            raise UsageError(f"{self.runtime.spec.id}: no agent is playing; reset first")
        if not isinstance(actions, Mapping) or set(actions) != set(self.agents):
            got = list(actions) if isinstance(actions, Mapping) else actions
            wrong = f"expected one for each of {self.agents}, got {got!r:.120}"
            raise InvalidActionError(f"actions: {wrong}")
        batch = self._slot.step({**self._idle, **actions})
        if batch.fault[0]:
            return self._fault(batch)
        columns = agent_columns(batch)
        about = {agent: a for a, agent in enumerate(self.possible_agents) if columns.present[0, a]}
        self.agents = [agent for agent, a in about.items() if columns.live[0, a]]
        return (
            self._observations(batch, list(about)),
            {agent: float(columns.reward[0, a]) for agent, a in about.items()},
            {agent: bool(columns.terminated[0, a]) for agent, a in about.items()},
            {agent: bool(columns.truncated[0, a]) for agent, a in about.items()},
            self._infos(batch, list(about)),
        )

    def _observations(self, batch: Batch, agents: list[str]) -> _Each:
        space = self.runtime.observation_space
        found = unstack(space, copied(space, batch.obs), 1)[0]
        return {agent: found[agent] for agent in agents}

    def _infos(self, batch: Batch, agents: list[str]) -> _Each:
        shared = info_rows(batch.info, 1)[0]
        own = shared.pop(INFO, {})
        split = {key: shared.pop(key) for key in list(shared) if key.startswith(PREFIX)}
        infos = {}
        for agent in agents:
            a = self.possible_agents.index(agent)
            parts = {key.removeprefix(PREFIX): v[a] for key, v in split.items() if key not in NAMES}
            infos[agent] = plain_info({**shared, **parts, **own.get(agent, {})})
        return infos

    def _fault(self, batch: Batch) -> tuple[_Each, _Each, _Each, _Each, _Each]:
        agents, self.agents = self.agents, []
        text = fault_line(batch, 0)
        if self.on_fault == "raise":
            raise FaultError(text)
        return (
            self._observations(batch, agents),
            dict.fromkeys(agents, float("nan")),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, True),
            {agent: {"fault": text} for agent in agents},
        )


def _parts(space: spaces.Space[Any]) -> dict[str, spaces.Space[Any]]:
    assert isinstance(space, spaces.Dict)
    return dict(space.spaces)


def _any_value(space: spaces.Space[Any]) -> Any:
    """The same value each time, for agents that aren't playing."""
    own = deepcopy(space)
    own.seed(0)
    return own.sample()
