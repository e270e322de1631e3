"""info["expert"] of web tasks: the solver's next action, also after the player did something else."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from web_session import Session, action

from universe2.agents.demonstrations import record
from universe2.core.errors import UsageError
from universe2.core.host import StepResult
from universe2.core.registry import find
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.web import sites
from universe2.envs.web.own import web_env
from universe2.envs.web.page import OPTIONS, WebPage
from universe2.envs.web.solvers import Adviser, Look, Play, Solver, advice, click
from universe2.runtimes.browser import BrowserRuntime

browser = pytest.mark.browser
LOOK = Look("", [])
TASK = "mine/press-v0"
CLICK = np.array([0, 9, 0, 0, 0])


@pytest.fixture(autouse=True)
def _nothing_was_told() -> None:
    """What the log was told once, in an earlier test, is told anew."""
    advice._tell.cache_clear()
    advice._at_a_loss.clear()


def three_moves(look: Look) -> Play:
    for key in (1, 2, 3):
        yield np.array([0, key, 0, 0, 0])


def key(advice: np.ndarray | None) -> int:
    assert advice is not None
    return int(advice[1])


def test_a_plan_goes_on_while_it_is_followed_and_begins_anew_otherwise() -> None:
    adviser = Adviser(three_moves, TASK)
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

    adviser = Adviser(needs_an_element, TASK)
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

    adviser = Adviser(broken, TASK)
    for episode in (1, 2):
        first = adviser.begin(LOOK)
        assert first is not None
        assert adviser.after(first, LOOK) is None
        assert adviser.after(np.zeros(5), LOOK) is None
        assert len(asked) == episode
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{TASK}: its solver raised")
    assert "generator raised StopIteration" in record.getMessage()


def test_a_solver_at_a_loss_is_told_once_for_each_task(caplog: pytest.LogCaptureFixture) -> None:
    def needs_an_element(look: Look) -> Play:
        yield click(look.find(tag="button"))

    for task in (TASK, TASK, "mine/other-v0"):
        adviser = Adviser(needs_an_element, task)
        for instruction in ("Press it.", "Press the other."):
            assert adviser.begin(Look(instruction, [])) is None
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"{TASK}: ")
    assert "no element with  {'tag': 'button'} on the page of 'Press it.'" in first
    assert second.startswith("mine/other-v0: ")


def no_generator(look: Look) -> np.ndarray:
    return CLICK


def nothing(look: Look) -> Play:
    yield None  # type: ignore[misc]


def an_element(look: Look) -> Play:
    yield {"tag": "button"}  # type: ignore[misc]


def too_few_parts(look: Look) -> Play:
    yield CLICK[:3]


def parts_that_are_not(look: Look) -> Play:
    yield CLICK + 1000


@pytest.mark.parametrize(
    ("solver", "why"),
    [
        (no_generator, r"its solver gave array\(\[0, 9, 0, 0, 0\]\), which is no generator"),
        (nothing, "its solver yielded None, which is no screen action"),
        (an_element, "its solver yielded {'tag': 'button'}, which is no screen action"),
        (too_few_parts, r"its solver yielded array\(\[0, 9, 0\]\), which is no screen action"),
        (parts_that_are_not, r"its solver yielded array\(\[1000, .*\]\), which is no screen action"),
    ],
)
def test_what_is_no_solver_is_told_with_what_one_is(
    solver: Solver, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    adviser = Adviser(solver, TASK)
    for _ in range(2):
        assert adviser.begin(LOOK) is None
        assert adviser.after(CLICK, LOOK) is None
    (record,) = caplog.records
    told = record.getMessage()
    assert re.match(rf"{TASK}: {why}", told)
    assert "A solver is a generator function: it is given a Look, yields one screen action" in told
    assert "Traceback" not in told


def test_a_solver_where_a_function_that_gives_it_belongs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>nothing")
    page = partial(WebPage, root=tmp_path, path="index.html")
    right = "write solver=lambda: solve"
    with pytest.raises(UsageError, match=f"three_moves.*takes an argument.*{right}"):
        page(solver=three_moves)
    with pytest.raises(UsageError, match=f"must be a function that gives the solver, got 5.*{right}"):
        page(solver=5)
    with pytest.raises(UsageError, match=f"gave None, not a solver.*{right}"):
        page(solver=lambda: None).player(0)
    with pytest.raises(
        UsageError, match=r"gave <generator .*, not a solver: write solver_of=lambda seed: solve"
    ):
        page(solver_of=three_moves).player(0)
    assert page(solver=lambda: three_moves).player(0) is three_moves
    assert page(solver=lambda chosen=three_moves: chosen).player(0) is three_moves
    assert page(solver_of=lambda seed: three_moves).player(0) is three_moves
    assert page().player(0) is None


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


def for_ever(look: Look) -> Play:
    while True:
        pass
    yield  # type: ignore[unreachable]


def endless(root: str) -> WebPage:
    return WebPage(root=Path(root), path="index.html", solver=lambda: for_ever)


@browser
def test_where_a_solver_does_not_come_to_an_end_the_fault_names_it(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>nothing")
    spec = EnvSpec(
        id=TASK,
        runtime="browser",
        entry=f"{__name__}:endless",
        kwargs={"root": str(tmp_path)},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )
    runtime = BrowserRuntime(spec, 1, EnvConfig(options={"expert": 1}), reset_deadline=5.0)
    try:
        runtime.reset([0], [1])
        told = runtime.recv().fault_text[0]
    finally:
        runtime.close()
    assert "reset of slot 0 took longer than 5 s" in told
    assert "option expert" in told
    assert "does it come to an end?" in told


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
