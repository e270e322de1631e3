"""An episode of a web task depends on its seed and actions alone, however slow the machine."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from web_session import Session, action

from universe2.envs.web import web_env

pytestmark = pytest.mark.browser

# Animation, timers of whole seconds, physics, dialogs, the clock shown on the page.
TASKS = ("chase-circle", "stock-market", "drag-cube", "click-dialog-2", "terminal")


def trajectory(session: Session, prepared: bool, delays: np.random.Generator | None) -> str:
    """The hash of one episode of up to 15 steps."""
    session.reset(7, prepared)
    rng = np.random.default_rng(0)
    for _ in range(15):
        if delays is not None:
            time.sleep(delays.exponential(0.02))
        result = session.step(rng.integers(0, [9, 64, 64, 64, 8]))
        if result.terminated or result.truncated:
            break
    return session.hash.hexdigest()


@pytest.mark.parametrize("task", TASKS)
def test_delays_change_nothing(task: str) -> None:
    delays = np.random.default_rng()  # unseeded on purpose
    with Session(f"web/{task}-v0") as session:
        plain = trajectory(session, False, None)
        prepared = trajectory(session, True, None)
        assert {plain, prepared, *(trajectory(session, True, delays) for _ in range(2))} == {plain}
    with Session(f"web/{task}-v0") as another:
        assert trajectory(another, False, delays) == plain


def test_seeds_give_different_problems() -> None:
    with Session("web/enter-text-v0") as session:
        texts = set()
        for seed in (0, 1, 2, 2**40):
            session.reset(seed)
            texts.add(session.instruction)
    assert len(texts) > 1


def test_a_drag_of_selected_text_does_not_take_the_pointer_away() -> None:
    """It did where the document had lost the listener that forbids drags: the next click failed."""
    actions = ([7, 52, 11, 11, 4], [1, 32, 5, 49, 5], [2, 2, 38, 40, 2], [0, 0, 7, 15, 1])
    with Session("web/click-test-2-v0") as session:
        hashes = set()
        for _ in range(5):
            session.reset(122)
            for action in actions:
                session.step(np.array(action))
            hashes.add(session.hash.hexdigest())
        assert len(hashes) == 1


def test_text_selected_by_dragging_changes_no_later_episode() -> None:
    """It did: Chromium treats the first such selection of a page otherwise than later ones."""
    press, select_all = action(x=59, y=18, button="press"), action("right", "Control+A", 10, 7)
    with Session("web/click-pie-nodelay-v0") as session:
        hashes = set()
        for _ in range(5):
            session.reset(81, prepared=True)
            for one in (press, select_all):
                session.step(one)
            hashes.add(session.hash.hexdigest())
        assert len(hashes) == 1
        pages = session.host._slots[0].browser.pages  # type: ignore[union-attr]
        assert len(pages) <= 2, "pages that aren't used again are closed"


CLOCK = """<!DOCTYPE html><body><p id="fired">0</p><script>
onkeydown = () => {
  const struck = performance.now();
  setTimeout(() => (fired.textContent = performance.now() - struck), 20);
};
</script></body>"""


def test_a_timer_after_a_key_is_on_time(tmp_path: Path) -> None:
    """Chromium put it off until the next frame, but not always."""
    (tmp_path / "index.html").write_text(CLOCK)
    spec = web_env("web/clock-v0", tmp_path, instruction="Strike.", done="false", reward="0")
    with Session(spec, elements=True) as session:
        for seed in range(4):
            session.reset(seed)
            session.step(action(key="a"))
            (found,) = [e["text"] for e in session.info["elements"] if e["id"] == "fired"]
            assert found == "20"
