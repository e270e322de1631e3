"""Frames in a page: their clocks, what is seen and scrolled in them, and what happens in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from web_session import Session, action

from universe2.core.screen import POINTER
from universe2.core.spec import EnvSpec
from universe2.envs.web import actions
from universe2.envs.web.page import OPTIONS, SIZE, WebPage

pytestmark = pytest.mark.browser

OUTER = """<!DOCTYPE html><body style="margin:0">
<iframe id="inner" src="inner.html"
 style="border:2px solid;padding:3px;margin:10px;width:120px;height:100px"></iframe>
<button id="danger" style="position:absolute;left:15px;top:130px;width:60px;height:60px"
 onclick="danger++">Danger</button>
<div style="height:600px"></div>
<script>
let danger = 0;
const inner = () => document.getElementById("inner").contentWindow;
const state = () => JSON.stringify({ inner: inner().scrollY, outer: scrollY, danger, ...inner().told() });
</script></body>"""
INNER = """<!DOCTYPE html><body style="margin:0;height:180px;font:14px monospace">
<p id="words" style="position:absolute;left:5px;top:0;margin:0">some words to select</p>
<button id="near" style="position:absolute;left:5px;top:20px;width:40px;height:20px">Near</button>
<button id="low" style="position:absolute;left:5px;top:150px;width:40px;height:20px"
 onclick="low++; setTimeout(() => clicked++, 150)">Low</button>
<a id="away" style="position:absolute;left:5px;top:60px" href="http://example.com/x">away</a>
<script>
let ticks = 0, late = 0, low = 0, clicked = 0;
const turned = [];
setInterval(() => ticks++, 50);
setTimeout(() => late++, 500);
onwheel = (event) => turned.push([event.clientX, event.clientY]);
var told = () => ({ ticks, late, low, clicked, turned, behind: parent.Date.now() - Date.now() });
</script></body>"""
BORDER, MARGIN = 2 + 3, 10


def page(root: str) -> WebPage:
    return WebPage(
        root=Path(root),
        path="outer.html",
        start="() => 'Look.'",
        read="() => ({ done: true, timed_out: false, raw: 0, decayed: 0, reason: state() })",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outer.html").write_text(OUTER)
    (tmp_path / "inner.html").write_text(INNER)
    return tmp_path


def spec_of(folder: Path) -> EnvSpec:
    return EnvSpec(
        id="web/framed-v0",
        runtime="browser",
        entry=f"{__name__}:page",
        kwargs={"root": str(folder)},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )


def on(session: Session, x: float, y: float, **parts: Any) -> dict[str, Any]:
    """Do something at a point in pixels; the page's state after it."""
    column, row = int(x / SIZE[1] * POINTER), int(y / SIZE[0] * POINTER)
    told: dict[str, Any] = json.loads(session.step(action(x=column, y=row, **parts)).info["reason"])
    return told


def test_a_frame_has_the_pages_clock(folder: Path) -> None:
    with Session(spec_of(folder)) as session:
        session.reset(0)
        state = [on(session, 0, 0) for _ in range(10)][-1]
        assert (state["ticks"], state["late"], state["behind"]) == (20, 1, 0)


def test_a_frame_is_seen_into_and_scrolled_first(folder: Path) -> None:
    with Session(spec_of(folder), elements=True) as session:
        session.reset(0)
        found = {element["id"]: element for element in session.info["elements"] if element["id"]}
        assert list(found) == ["inner", "words", "near", "low", "away", "danger"]
        start = MARGIN + BORDER
        assert (found["near"]["left"], found["near"]["top"]) == (start + 5, start + 20)
        states = [on(session, 50, 60, button="wheel-down") for _ in range(3)]
        assert [(s["inner"], s["outer"]) for s in states] == [(50, 0), (80, 0), (80, 50)]
        x, y = states[0]["turned"][0]
        assert abs(x - (50 - start)) < 3
        assert abs(y - (60 - start)) < 4
        state = on(session, 50, 20, button="wheel-up")
        assert (state["inner"], state["outer"]) == (30, 50)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("height:180px", "height:180px;overflow:hidden"),
        ("<!DOCTYPE html>", "<!DOCTYPE html><style>html { overflow-y: clip }</style>"),
    ],
)
def test_what_hides_its_overflow_is_not_scrolled(folder: Path, old: str, new: str) -> None:
    (folder / "inner.html").write_text(INNER.replace(old, new))
    with Session(spec_of(folder)) as session:
        session.reset(0)
        state = on(session, 50, 60, button="wheel-down")
        assert (state["inner"], state["outer"]) == (0, 50)


def test_a_frame_that_does_not_scroll_is_left_alone(folder: Path) -> None:
    (folder / "outer.html").write_text(OUTER.replace("<iframe", '<iframe scrolling="no"'))
    with Session(spec_of(folder)) as session:
        session.reset(0)
        state = on(session, 50, 60, button="wheel-down")
        assert (state["inner"], state["outer"]) == (0, 50)


def test_an_element_out_of_its_frame_is_scrolled_into_it(folder: Path) -> None:
    with Session(spec_of(folder), observe="axtree", actions="structured") as session:
        tree = session.reset(0)["axtree"]
        lines = {line.strip().split("]")[1].split('"')[1]: line for line in tree.splitlines() if '"' in line}
        assert lines["Low"].endswith("(out of sight)")
        assert not lines["Near"].endswith("(out of sight)")
        ref = int(lines["Low"].strip()[1:].split("]")[0])
        state = json.loads(session.step(actions.make("click", ref)).info["reason"])
        assert (state["low"], state["danger"]) == (1, 0)
        for _ in range(2):
            state = json.loads(session.step(actions.make("wait")).info["reason"])
        assert state["clicked"] == 1


def test_what_the_page_covers_in_a_frame_is_said(folder: Path) -> None:
    cover = '<div style="position:absolute;inset:0 0 0 0;height:120px;z-index:2;background:red">x</div>'
    (folder / "outer.html").write_text(OUTER.replace('<button id="danger"', cover + '<button id="danger"'))
    with Session(spec_of(folder), observe="axtree", actions="structured") as session:
        tree = session.reset(0)["axtree"]
        line = next(line for line in tree.splitlines() if '"Near"' in line)
        result = session.step(actions.make("click", int(line.strip()[1:].split("]")[0])))
        assert "is covered by" in result.info["action_error"]


def test_a_frame_tells_what_was_refused_and_that_the_page_is_worn(folder: Path) -> None:
    with Session(spec_of(folder)) as session:
        session.reset(0)
        start = MARGIN + BORDER
        on(session, start + 15, start + 67, button="click")
        assert tuple(session.info["refused"]) == ("http://example.com/x",)
        shown = session.host._slots[0].page
        assert shown is not None
        assert not shown.worn
        on(session, start + 7, start + 7, button="press")
        on(session, start + 70, start + 7)
        on(session, start + 70, start + 7, button="release")
        assert shown.worn
