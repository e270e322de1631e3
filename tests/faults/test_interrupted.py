"""Ctrl-C while a result is being received: the slots can be used again, and nothing is lost unsaid."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest

import universe2
from universe2.core.batch import Fault
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig


def interrupt(monkeypatch: pytest.MonkeyPatch, runtime: Runtime, name: str, after: bool) -> None:
    """The next call of the runtime's method ``name`` is cut short, before or after it is carried out."""
    whole: Callable[..., Any] = getattr(runtime, name)

    def cut(*arguments: Any, **named: Any) -> Any:
        monkeypatch.undo()
        if after:
            whole(*arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(runtime, name, cut)


def actions(runtime: Runtime, count: int) -> Any:
    chosen = runtime.action_space.sample()
    if isinstance(chosen, dict):
        return {agent: np.zeros((count, *np.shape(part)), np.int64) for agent, part in chosen.items()}
    return np.zeros((count, *np.shape(chosen)), np.int64)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["_run", "_wrap", "_info"])
@pytest.mark.parametrize("env_id", ["arcade/Catcher-v0", "arcade/Duel-v0"])
def test_a_step_that_nobody_knows_the_end_of_is_a_fault(
    env_id: str, name: str, after: bool, autoreset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work was gone and its slots stayed busy: every later reset waited for a minute, in vain."""
    with closing(universe2.open_runtime(env_id, 3, EnvConfig(autoreset=autoreset))) as runtime:
        runtime.reset(range(3), [1, 2, 3])
        runtime.recv(60.0)
        runtime.send([0, 2], actions(runtime, 2))
        interrupt(monkeypatch, runtime, name, after)
        with pytest.raises(KeyboardInterrupt):
            runtime.recv(10.0)
        batch = runtime.recv(10.0)
        assert batch.slots.tolist() == [0, 2]
        assert batch.fault.tolist() == [Fault.INFRASTRUCTURE] * 2
        assert np.isnan(batch.reward).all()
        assert "interrupted by KeyboardInterrupt" in batch.fault_text[1]
        runtime.send(range(3), actions(runtime, 3))
        batch = runtime.recv(10.0)
        assert not batch.fault.any()
        assert batch.step.tolist() == [0, 1, 0]


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize(
    ("env_id", "name"), [("atari/Pong-v0", "_wrap"), ("gymnasium/CartPole-v1", "_observations")]
)
def test_a_result_that_is_there_is_received_later(
    env_id: str, name: str, autoreset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def played(cut: bool) -> list[Any]:
        with closing(universe2.open_runtime(env_id, 2, EnvConfig(autoreset=autoreset))) as runtime:
            runtime.reset(range(2), [1, 2])
            left = 2
            while left:
                left -= len(runtime.recv(60.0))
            seen = []
            for step in range(12):
                runtime.send([1], actions(runtime, 1))
                if cut and step % 3 == 0:
                    interrupt(monkeypatch, runtime, name, after=True)
                    with pytest.raises(KeyboardInterrupt):
                        runtime.recv(10.0)
                batch = runtime.recv(10.0)
                assert not batch.fault.any()
                seen += [batch.obs.tobytes(), batch.episode.tolist(), batch.step.tolist()]
            return seen

    assert played(cut=True) == played(cut=False)


def test_an_environment_goes_on_after_an_interrupted_step(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(universe2.make("arcade/Catcher-v0")) as env:
        env.reset(seed=0)
        interrupt(monkeypatch, env.runtime, "_run", after=False)
        with pytest.raises(KeyboardInterrupt):
            env.step(0)
        env.reset(seed=1)
        env.step(0)
