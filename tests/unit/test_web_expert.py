"""info["expert"] of web tasks: the solver's next action, also after the player did something else."""

from __future__ import annotations

import numpy as np
import pytest
from web_session import Session, action

from universe2.agents.demonstrations import record
from universe2.core.errors import UsageError
from universe2.core.host import StepResult
from universe2.core.registry import find
from universe2.core.spec import EnvConfig
from universe2.envs.web import sites
from universe2.envs.web.own import web_env
from universe2.envs.web.solvers import Adviser, Look, Play

browser = pytest.mark.browser
LOOK = Look("", [])


def three_moves(look: Look) -> Play:
    for key in (1, 2, 3):
        yield np.array([0, key, 0, 0, 0])


def key(advice: np.ndarray | None) -> int:
    assert advice is not None
    return int(advice[1])


def test_a_plan_goes_on_while_it_is_followed_and_begins_anew_otherwise() -> None:
    adviser = Adviser(three_moves)
    first = adviser.begin(LOOK)
    assert first is not None
    assert key(first) == 1
    second = adviser.after(first, LOOK)
    assert second is not None
    assert key(second) == 2
    assert key(adviser.after(first, LOOK)) == 1  # not what was said: from the beginning
    second = adviser.after(first, LOOK)
    assert second is not None
    third = adviser.after(second, LOOK)
    assert third is not None
    assert key(third) == 3
    assert key(adviser.after(third, LOOK)) == 1  # the plan is at its end, the episode isn't


def test_a_solver_at_a_loss_says_nothing_until_it_knows_again() -> None:
    def needs_an_element(look: Look) -> Play:
        look.find(tag="button")
        yield np.array([0, 9, 0, 0, 0])

    adviser = Adviser(needs_an_element)
    assert adviser.begin(LOOK) is None
    assert key(adviser.after(np.zeros(5), Look("", [{"tag": "button", "classes": ""}]))) == 9


def test_a_solver_that_raises_is_told_once_and_says_nothing_for_the_rest_of_the_episode(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = []

    def broken(look: Look) -> Play:
        asked.append(look)
        yield np.array([0, 9, 0, 0, 0])
        yield next(iter(()))  # Python makes a RuntimeError of it

    adviser = Adviser(broken)
    for episode in (1, 2):
        first = adviser.begin(LOOK)
        assert first is not None
        assert adviser.after(first, LOOK) is None
        assert adviser.after(np.zeros(5), LOOK) is None
        assert len(asked) == episode
    (record,) = caplog.records
    assert "generator raised StopIteration" in record.getMessage()


def followed(session: Session, steps: int) -> StepResult:
    """The last step of an episode in which the advice is taken, or of as many ``steps``."""
    for _ in range(steps):
        result = session.step(session.info["expert"])
        if result.terminated or result.truncated:
            break
    return result


@browser
@pytest.mark.parametrize("task", ["click-test-2", "login-user"])
def test_doing_what_it_says_wins(task: str) -> None:
    with Session(f"web/{task}-v0", interface="screen", expert=1) as session:
        for seed in (4, 5):
            session.reset(seed)
            assert followed(session, 60).info["success"]


@browser
def test_no_advice_is_asked_for_once_the_episode_is_over() -> None:
    """On this seed's full board the solver has no move to choose from."""
    with Session("web/tic-tac-toe-v0", interface="screen", expert=1) as session:
        session.reset(1)
        result = followed(session, 60)
        assert result.terminated
        assert "raw_reward" in result.info
        assert "expert" not in result.info


def test_every_site_has_an_expert() -> None:
    for spec in sites.specs():
        assert spec.spaces(EnvConfig(options={"expert": 1})).action.shape == (5,)


@browser
@pytest.mark.parametrize(
    "task", ["shop-order-more", "mailbox-forward", "calendar-new", "issues-comment-and-close"]
)
def test_doing_what_it_says_wins_on_a_site(task: str) -> None:
    with Session(f"web/{task}-v0", interface="screen", expert=1) as session:
        for seed in (4, 5):
            session.reset(seed)
            assert followed(session, 400).info["success"]


@browser
def test_a_demonstration_of_a_site_is_recorded() -> None:
    (recording,) = record("web/shop-wish-v0", 1, slots=1)
    assert sum(recording.rewards) == 1.0
    assert recording.terminated


@browser
def test_after_a_slip_on_a_site_it_goes_on_with_the_move() -> None:
    with Session("web/mailbox-send-v0", interface="screen", expert=1) as session:
        session.reset(1)
        for step in range(400):
            nothing = action(x=63, y=63)
            result = session.step(session.info["expert"] if step not in (0, 7, 20) else nothing)
            if result.terminated or result.truncated:
                break
        assert result.info["success"]


@browser
def test_after_a_slip_it_begins_anew_on_the_page_as_it_is() -> None:
    with Session("web/click-test-2-v0", interface="screen", expert=1) as session:
        session.reset(1)
        before = session.info["expert"]
        result = session.step(action(x=63, y=63))
        assert result.info["expert"].tolist() == before.tolist()
        assert result.info["expert"].dtype == np.int64
        assert "elements" not in result.info


def test_who_has_no_solver_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "index.html").write_text("<p>nothing")
    spec = web_env("web/mine-v0", tmp_path, instruction="", done="false")
    with pytest.raises(UsageError, match="option expert needs a page with a solver"):
        spec.spaces(EnvConfig(options={"expert": 1}))
    spec = find("web/click-test-v0")
    with pytest.raises(UsageError, match="option actions is 'structured'"):
        spec.spaces(EnvConfig(options={"expert": 1, "actions": "structured"}))
    with pytest.raises(UsageError, match="expert"):
        spec.spaces(EnvConfig(options={"expert": 2}))
