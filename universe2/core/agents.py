"""Several agents in one slot: how their rewards, ends and infos travel in a Batch.

A spec with ``multi_agent`` has two Dict spaces, agent → space, with the same keys: those name its
agents. A slot is still one environment: one seed, one episode, one row. An action has an entry
for every agent; what it says for agents that aren't playing is ignored.

Of a row, ``reward`` is the sum over agents; the episode is over when no agent is left: truncated
if any agent was cut off in that row, else terminated. What each agent got stands in four info columns,
on every row without a fault (under ``autoreset="same_step"``, as all info of the step that ended an
episode, in ``final_info``); ``agent_columns`` reads them:

    agent_reward      float64 (A,)   0 for an agent that isn't playing
    agent_terminated  bool (A,)      the agent left in this very row, by the game's rules
    agent_truncated   bool (A,)      the agent left in this very row, cut off
    agent_live        bool (A,)      it plays on: its next action counts

An agent may join in mid-episode (live from then on), but not come back. Its observation in the row
where it leaves is its final one; what it sees after that means nothing. Any other info column
``agent_<name>`` holds one value per agent along its first axis; ``agent_info``, a dictionary from
agent to its own infos, is for values of other kinds.

Suffixes: N rows, A agents in the order of the space's keys.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from universe2.core.batch import Batch, InfoColumns
from universe2.core.errors import UsageError

PREFIX = "agent_"
INFO = "agent_info"


class AgentColumns(NamedTuple):
    """What each agent got in each row; NaN and False where the row has a fault."""

    reward: np.ndarray
    """float64 (N, A)"""
    terminated: np.ndarray
    """bool (N, A)"""
    truncated: np.ndarray
    """bool (N, A)"""
    live: np.ndarray
    """bool (N, A)"""

    @property
    def present(self) -> np.ndarray:
        """bool (N, A): the agents that the row is about: those that play on, and those that just left."""
        return self.live | self.terminated | self.truncated

    def infos(self) -> dict[str, np.ndarray]:
        """Name of the info column → its values."""
        return {PREFIX + name: values for name, values in self._asdict().items()}


NAMES = tuple(PREFIX + name for name in AgentColumns._fields)


def agents_of(space: spaces.Space[Any]) -> tuple[str, ...]:
    """The agents of a multi-agent observation or action space, in the order of the columns."""
    if not isinstance(space, spaces.Dict):
        raise UsageError(f"several agents have a Dict of spaces, one for each, not {space}")
    return tuple(space.spaces)


def agent_columns(batch: Batch) -> AgentColumns:
    """What each agent got in the transition of each row, in every autoreset mode.

    Raises UsageError if the batch is of an environment for one agent.
    """
    source = next((info for info in (batch.info, batch.final_info) if NAMES[0] in info), None)
    if source is None:
        if not batch.fault.all():
            raise UsageError(f"a batch without {NAMES[0]}: its environment is for one agent")
        return AgentColumns(np.full((len(batch), 0), np.nan), *(np.zeros((len(batch), 0), bool),) * 3)
    count = source[NAMES[0]].values.shape[1]
    found = AgentColumns(
        np.full((len(batch), count), np.nan), *(np.zeros((len(batch), count), bool) for _ in range(3))
    )
    everything = np.arange(len(batch))
    for name, column in zip(NAMES, found, strict=True):
        _fill(column, batch.info, name, everything)
        _fill(column, batch.final_info, name, batch.final_rows)
    return found


def _fill(column: np.ndarray, info: InfoColumns, name: str, rows: np.ndarray) -> None:
    if name in info:
        values, mask = info[name]
        column[rows[mask]] = values[mask]
