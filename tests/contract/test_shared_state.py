"""State that environments share is found, however many cores spread them over processes."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec as GymSpec

from universe2.core.registry import find
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.runtimes import open_runtime
from universe2.runtimes.process import ProcessRuntime
from universe2.runtimes.workers import WorkerRuntime
from universe2.testing import check_env
from universe2.testing.play import receive

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def shared_state(monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of SharedState, on a machine of 64 cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    spec = GymSpec("SharedState-v0", entry_point="shared_state:SharedState")
    monkeypatch.setitem(gym.registry, spec.id, spec)
    return f"gymnasium/{spec.id}"


def test_it_is_found_on_many_cores(shared_state: str) -> None:
    with pytest.raises(AssertionError, match="alone as in a vector of 7: seed 5 alone and in slot 0 of 7"):
        check_env(shared_state, steps=10)


class _OfItsOwn(ProcessRuntime):
    """Doesn't take what it is not told to take."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)


def test_a_runtime_that_can_not_be_told_is_opened_as_it_is(shared_state: str) -> None:
    spec = replace(find(shared_state), runtime=f"{__name__}:_OfItsOwn")
    runtime = open_runtime(spec, 2, together=True)
    assert isinstance(runtime, _OfItsOwn)
    runtime.close()


@pytest.mark.parametrize("together", [False, True])
def test_slots_share_a_process_if_they_are_to(shared_state: str, together: bool) -> None:
    runtime = open_runtime(shared_state, 3, together=together)
    assert isinstance(runtime, WorkerRuntime)
    runtime.reset([0, 1, 2], [1, 2, 3])
    receive(runtime, 3)
    assert len(runtime.pids) == (1 if together else 3)
    runtime.close()
