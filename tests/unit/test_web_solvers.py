"""The tasks with a scripted solver can be won through public actions, and not by doing nothing."""

from __future__ import annotations

import pytest
from web_session import Session, action

from universe2.envs.web.solvers import SOLVERS, play

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("env_id", SOLVERS)
def test_solver_wins_every_time(env_id: str) -> None:
    with Session(env_id, elements=True) as session:
        for seed in (1, 2, 3):
            session.reset(seed)
            play(SOLVERS[env_id], session.look, session.solver_step)
            last = session.last
            assert last is not None
            assert last.terminated, session.instruction
            assert (last.reward, last.info["success"]) == (1.0, True), (seed, session.instruction)
            assert 0.0 < last.info["decayed_reward"] <= 1.0


@pytest.mark.parametrize("env_id", SOLVERS)
def test_doing_nothing_does_not_win(env_id: str) -> None:
    with Session(env_id, step_ms=5000) as session:
        session.reset(1)
        for _ in range(10):
            result = session.step(action())
            if result.terminated or result.truncated:
                break
            assert result.reward == 0.0
        assert (result.terminated, result.truncated) == (False, True)
        assert result.reward == -1.0
        assert result.info["reason"] == "timed out"
        assert not result.info["success"]
