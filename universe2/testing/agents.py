"""The checks that a runtime with several agents must pass, in place of those that are Gymnasium's.

Suffixes: N rows, A agents.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable

import numpy as np

from universe2.core.agents import AgentColumns, agent_columns, agents_of
from universe2.core.batch import Batch
from universe2.faces.parallel import RuntimeParallelEnv
from universe2.testing.checks import Skip, Subject
from universe2.testing.play import ActionSource, receive


def agents_get_what_is_theirs(subject: Subject) -> None:
    runtime = subject.shared(2)
    agents = agents_of(runtime.observation_space)
    assert agents == agents_of(runtime.action_space), "the agents of the two spaces are not the same"
    source = ActionSource(runtime)
    runtime.reset([0, 1], [131, 132])
    before_NA, gone_NA = np.zeros((2, len(agents)), bool), np.zeros((2, len(agents)), bool)
    for step in range(subject.steps):
        for batch in receive(runtime, 2):
            columns, rows = agent_columns(batch), batch.slots
            assert columns.reward.shape == (len(batch), len(agents)), f"rewards {columns.reward.shape}"
            began_N = batch.step == 0
            before_NA[rows[began_N]], gone_NA[rows[began_N]] = columns.live[began_N], False
            _check_rows(step, batch, columns, before_NA[rows], gone_NA[rows])
            before_NA[rows] = columns.live
            gone_NA[rows] |= columns.terminated | columns.truncated
        runtime.send([0, 1], source.batch(np.arange(2)))
    receive(runtime, 2)


def _check_rows(
    step: int, batch: Batch, columns: AgentColumns, before_NA: np.ndarray, gone_NA: np.ndarray
) -> None:
    where = f"step {step}"
    left_NA = columns.terminated | columns.truncated
    total_N = columns.reward.sum(axis=1)
    assert np.allclose(total_N, batch.reward), f"{where}: rewards sum to {total_N}, not {batch.reward}"
    assert not (left_NA & columns.live).any(), f"{where}: an agent that left is said to play on"
    assert not (columns.terminated & columns.truncated).any(), f"{where}: terminated and truncated are merged"
    assert not (columns.present & gone_NA).any(), f"{where}: an agent came back"
    assert not (before_NA & ~columns.present).any(), f"{where}: an agent vanished without an end"
    assert not columns.reward[~columns.present].any(), f"{where}: a reward for an agent that isn't playing"
    over_N = ~columns.live.any(axis=1)
    assert (batch.ended == over_N).all(), f"{where}: a row ends when no agent is left, and only then"
    cut_N = over_N & columns.truncated.any(axis=1)
    assert (batch.truncated == cut_N).all(), f"{where}: truncated must mean that agents were cut off"


def pettingzoo_says_so_too(subject: Subject) -> None:
    with warnings.catch_warnings():
        # These modules warn about their own imports.
        warnings.simplefilter("ignore")
        try:
            from pettingzoo.test import parallel_api_test, parallel_seed_test
        except ImportError as error:
            raise Skip(f"PettingZoo's tests can't be imported here: {error}") from None
    cycles = min(subject.steps, 50)
    envs: list[RuntimeParallelEnv] = []

    def opened() -> RuntimeParallelEnv:
        envs.append(RuntimeParallelEnv(subject.opened(1, "disabled")))
        return envs[-1]

    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("error")
            parallel_api_test(opened(), cycles)
            parallel_seed_test(opened, cycles)
    except UserWarning as complaint:
        raise AssertionError(f"PettingZoo's test warns: {complaint}") from complaint
    finally:
        for env in envs:
            env.close()


SEVERAL_AGENTS_CHECKS: tuple[Callable[[Subject], None], ...] = (
    agents_get_what_is_theirs,
    pettingzoo_says_so_too,
)
