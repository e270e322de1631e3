"""Every web task has a solver that wins through public actions; doing nothing never wins."""

from __future__ import annotations

import pytest
from web_session import Session, action

from universe2.envs.web import flights, miniwob, sites
from universe2.envs.web.solvers import SOLVERS, UNSOLVED, play

browser = pytest.mark.browser
# Clicks, a sticky Control, text selection, a native list, dragging, the wheel, a popup, the picture,
# a page in a frame.
SAMPLE = (
    "click-test-2",
    "click-scroll-list",
    "text-editor",
    "choose-list",
    "drag-items",
    "sign-agreement",
    "login-user-popup",
    "count-sides",
    "flight-Alaska-auto",
)
WINNABLE = sorted(set(SOLVERS) - set(UNSOLVED))


def wins(env_id: str, seeds: range) -> list[bool]:
    """Whether the solver won, for each seed."""
    won = []
    with Session(env_id, elements=True) as session:
        for seed in seeds:
            session.reset(seed)
            session.last = None
            play(SOLVERS[env_id], session.look, session.solver_step)
            last = session.last
            won.append(last is not None and last.terminated and last.info["success"])
            if won[-1]:
                assert last is not None
                assert last.reward == 1.0
                assert last.info["decayed_reward"] <= 1.0
    return won


def test_every_task_has_a_solver() -> None:
    assert set(SOLVERS) == {spec.id for spec in (*miniwob.specs(), *flights.specs())}
    assert set(UNSOLVED) < set(SOLVERS)


def test_references_are_better_than_random_play() -> None:
    known = miniwob.references()
    ours = {spec.id for spec in sites.specs()}
    assert {f"web/{task}-v0" for task in known} <= set(SOLVERS) | ours
    assert all(scores["heuristic"] > scores["random"] >= -1.0 for scores in known.values())


@browser
@pytest.mark.parametrize("task", SAMPLE)
def test_solver_wins(task: str) -> None:
    assert all(wins(f"web/{task}-v0", range(1, 3)))


@browser
@pytest.mark.slow
@pytest.mark.parametrize("env_id", WINNABLE)
def test_every_solver_wins(env_id: str) -> None:
    won = wins(env_id, range(101, 121))
    assert sum(won) >= 18, f"lost: {[101 + i for i, ok in enumerate(won) if not ok]}"


@browser
@pytest.mark.slow
@pytest.mark.parametrize("env_id", SOLVERS)
def test_doing_nothing_does_not_win(env_id: str) -> None:
    idle(env_id)


@browser
@pytest.mark.parametrize("task", SAMPLE[:2])
def test_doing_nothing_runs_out_of_time(task: str) -> None:
    idle(f"web/{task}-v0")


def idle(env_id: str) -> None:
    with Session(env_id, step_ms=1000) as session:
        session.reset(1)
        for _ in range(70):
            result = session.step(action())
            if result.terminated or result.truncated:
                break
            assert result.reward == 0.0
        assert result.terminated or result.truncated
        assert result.reward < 1.0
        assert not result.info["success"]
