"""The contract's checks of agents find a runtime that breaks their rules."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from universe2.core.agents import agent_columns
from universe2.core.batch import Batch, Column
from universe2.core.registry import find
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig
from universe2.runtimes.match import MatchRuntime
from universe2.testing.agents import agents_get_what_is_theirs
from universe2.testing.checks import Subject


class _Pays(MatchRuntime):
    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.reward = batch.reward + 1.0
        return batch


class _Loses(MatchRuntime):
    """Player 3 is gone from step 3 on, without a word."""

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.info["agent_live"].values[batch.step >= 3, 3] = False
        return batch


class _Merges(MatchRuntime):
    """Cut off is told as terminated too."""

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        column = batch.info["agent_terminated"]
        values = column.values | batch.info["agent_truncated"].values
        batch.info["agent_terminated"] = Column(values, column.mask)
        return batch


class _Revives(MatchRuntime):
    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.info["agent_live"].values[batch.ended] = True
        return batch


def checked(kind: type[MatchRuntime]) -> None:
    def opened(slots: int, config: EnvConfig) -> Runtime:
        return kind(find("arcade/Cycles-v0"), slots, config)

    options = {"size": 8, "max_steps": 6}
    with closing(Subject(opened, EnvConfig(options=options), 30)) as subject:
        agents_get_what_is_theirs(subject)


def test_a_right_one_passes() -> None:
    checked(MatchRuntime)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (_Pays, "rewards sum to"),
        (_Loses, "vanished without an end"),
        (_Merges, "are merged"),
        (_Revives, "is said to play on"),
    ],
)
def test_broken_ones_are_found(broken: type[MatchRuntime], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        checked(broken)


def test_columns_of_a_mixed_batch() -> None:
    """Under "same_step" what ended an episode is in final_info; the columns put it in its row."""
    config = EnvConfig(autoreset="same_step", options={"size": 8, "max_steps": 4})
    runtime = MatchRuntime(find("arcade/Rally-v0"), 2, config)
    runtime.reset([0, 1], [1, 2])
    runtime.recv()
    for step in range(1, 5):
        runtime.send([0, 1], {agent: np.zeros(2, int) for agent in runtime.agents})
        batch = runtime.recv()
        columns = agent_columns(batch)
        assert columns.truncated.all() == (step == 4)
        assert columns.live.any() == (step < 4)
    assert batch.info["agent_live"].values.all()  # of the next episode
