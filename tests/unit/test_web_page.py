"""Pointer, keyboard, wheel, clipboard and isolation, on a page that shows what it was told."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from web_session import Session, action

from universe2.core.host import InfrastructureFault
from universe2.core.screen import POINTER
from universe2.core.spec import EnvSpec
from universe2.envs.web.page import OPTIONS, SIZE, WebPage
from universe2.runtimes import browser_host

pytestmark = pytest.mark.browser

PAGE = """<!DOCTYPE html><body style="margin:0">
<input id="field" style="position:absolute;left:0;top:0;width:150px;height:20px">
<div id="list" style="position:absolute;left:0;top:30px;width:150px;height:50px;overflow-y:auto">
  <div style="height:400px"></div></div>
<div id="box" style="position:absolute;left:10px;top:100px;width:30px;height:30px;background:red"></div>
<div id="pad" style="position:absolute;left:80px;top:100px;width:60px;height:60px;background:blue"></div>
<script>
let held = false;
const events = [];
const box = document.getElementById("box");
box.onmousedown = () => { held = true; };
document.onmouseup = () => { held = false; };
document.onmousemove = (e) => { if (held) { box.style.left = e.clientX - 15 + "px"; } };
for (const kind of ["click", "dblclick", "contextmenu", "mousemove"])
  document.getElementById("pad").addEventListener(
    kind, (e) => events.push(kind + (e.shiftKey ? "+shift" : "") + (e.ctrlKey ? "+control" : "")));
document.addEventListener("keypress", (e) => events.push("keypress " + e.key));
const state = () => JSON.stringify({
  value: document.getElementById("field").value, left: box.style.left, events, report: window.report,
  scroll: document.getElementById("list").scrollTop, time: Date.now(), now: performance.now(),
});
</script></body>"""
READ = "() => ({ done: true, timed_out: false, raw: 0, decayed: 0, reason: state() })"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "log.html").write_text(PAGE)
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "pages"


def page(root: str, start: str = '() => "Look."') -> WebPage:
    return WebPage(root=Path(root), path="log.html", start=start, read=READ)


def spec_of(folder: Path, **kwargs: Any) -> EnvSpec:
    return EnvSpec(
        id="web/log-v0",
        runtime="browser",
        entry=f"{__name__}:page",
        kwargs={"root": str(folder), **kwargs},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )


def on(session: Session, x: float, y: float, **parts: Any) -> dict[str, Any]:
    """Do something at a point in pixels; the page's state after it."""
    column, row = int(x / SIZE[1] * POINTER), int(y / SIZE[0] * POINTER)
    result = session.step(action(x=column, y=row, **parts))
    told: dict[str, Any] = json.loads(result.info["reason"])
    return told


def test_typing_with_capitals_chords_and_deletion(folder: Path) -> None:
    with Session(spec_of(folder)) as session:
        session.reset(0)
        on(session, 50, 10, button="click")
        for key in ("Shift", "h", "i", "Space", "Shift", "7", "@", "?", "Backspace"):
            state = on(session, 50, 10, key=key)
        assert state["value"] == "Hi &@"
        for key in ("Control+A", "Control+C", "End", "Control+V", "Control+V"):
            state = on(session, 50, 10, key=key)
        assert state["value"] == "Hi &@" * 3
        state = on(session, 50, 10, arrow="left", key="x")
        assert state["value"] == "Hi &@Hi &@Hi &x@"
        assert "keypress " not in state["events"]

        session.reset(1)  # the clipboard is not carried into the next episode
        on(session, 50, 10, button="click")
        assert on(session, 50, 10, key="Control+V")["value"] == ""


def test_pointer_drags_clicks_and_turns_the_wheel(folder: Path) -> None:
    with Session(spec_of(folder)) as session:
        session.reset(0)
        on(session, 25, 115, button="press")
        state = on(session, 100, 115)
        assert abs(float(state["left"].removesuffix("px")) - 85) < 3
        on(session, 100, 115, button="release")
        assert on(session, 60, 115)["left"] == state["left"]

        before = len(on(session, 110, 130)["events"])
        for button in ("click", "double-click", "right-click"):
            state = on(session, 110, 130, button=button)
        assert state["events"][before:] == ["click", "click", "click", "dblclick", "contextmenu"]
        on(session, 110, 130, key="Shift")
        assert on(session, 110, 130, button="click")["events"][-1] == "click+shift"
        on(session, 110, 130, key="Shift")
        on(session, 110, 130, key="Control")
        for _ in range(2):  # both clicks, until a key is struck
            assert on(session, 110, 130, button="click")["events"][-1] == "click+control"
        on(session, 110, 130, key="a")
        assert on(session, 110, 130, button="click")["events"][-1] == "click"

        assert on(session, 50, 60, button="wheel-down")["scroll"] == 50
        assert on(session, 50, 60, button="wheel-down")["scroll"] == 100
        assert on(session, 50, 60, button="wheel-up")["scroll"] == 50


def test_time_passes_by_steps_only(folder: Path) -> None:
    with Session(spec_of(folder), step_ms=250) as session:
        session.reset(0)
        states = [on(session, 0, 0) for _ in range(3)]
        assert [s["time"] for s in states] == [1_704_110_400_000 + 250 * k for k in (1, 2, 3)]
        assert [s["now"] for s in states] == [250, 500, 750]


def test_a_page_reaches_its_own_files_only(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        here = f"127.0.0.1:{listener.getsockname()[1]}"
        attempts = {
            "own": "fetch('log.html')",
            "outside": "fetch('/../secret.txt')",
            "encoded": "fetch('/..%2fsecret.txt')",
            "file": f"fetch('file://{folder}/log.html')",
            "http": f"fetch('http://{here}/', {{mode: 'no-cors'}})",
            "name": "fetch('https://example.com/', {mode: 'no-cors'})",
            "socket": f"new Promise((r, e) => {{ let w = new WebSocket('ws://{here}/'); "
            "w.onopen = () => r({ok: true}); w.onerror = e; })",
        }
        tries = ", ".join(f"{name}: {code}.then((a) => a.ok, () => false)" for name, code in attempts.items())
        start = (
            "() => { window.report = {}; "
            f"for (const [name, found] of Object.entries({{{tries}}})) "
            "found.then((ok) => { window.report[name] = ok; }); return 'Try.'; }"
        )
        with Session(spec_of(folder, start=start)) as session:
            session.reset(0)
            for _ in range(20):
                state = on(session, 0, 0)
                if len(state["report"]) == len(attempts):
                    break
            assert state["report"] == {name: name == "own" for name in attempts}
            assert any("example.com" in url for url in session.info["refused"])
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_nothing_is_carried_from_episode_to_episode(folder: Path) -> None:
    start = """() => {
      const found = [localStorage.mark, sessionStorage.mark, document.cookie, window.name, Date.now()];
      localStorage.mark = sessionStorage.mark = window.name = "here";
      document.cookie = "mark=here";
      return JSON.stringify(found);
    }"""
    with Session(spec_of(folder, start=start)) as session:
        screens, told = [], set()
        for _ in range(5):
            screens.append(session.reset(3)["screen"])
            told.add(session.instruction)
            on(session, 25, 115, button="press")
            state = on(session, 110, 130)
            assert state["events"] == ["mousemove"]
        assert told == {'[null,null,"","",1704110400000]'}
        assert all((screen == screens[0]).all() for screen in screens)


def test_a_page_that_throws_says_so(folder: Path) -> None:
    start = "() => { throw new Error('no problem today'); }"
    with (
        Session(spec_of(folder, start=start)) as session,
        pytest.raises(RuntimeError, match="no problem today"),
    ):
        session.reset(0)


def test_a_stuck_browser_is_killed_at_its_deadline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_host, "STEP_SECONDS", 1.0)
    with Session(spec_of(folder)) as session:
        first = session.reset(0)["screen"]
        (browser,) = session.host.browser_pids()
        os.kill(browser, signal.SIGSTOP)
        with pytest.raises(InfrastructureFault, match="did not answer within 1 s"):
            on(session, 0, 0)
        assert session.host.browser_pids() == []
        np.testing.assert_array_equal(session.reset(0)["screen"], first)


def test_an_old_browser_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_host, "EPISODES_PER_BROWSER", 2)
    with Session(spec_of(folder)) as session:
        used = set()
        for episode in range(5):
            session.reset(episode, prepared=episode % 2 == 1)
            on(session, 0, 0)
            (browser,) = session.host.browser_pids()
            used.add(browser)
        assert len(used) == 3
        assert sum(Path(f"/proc/{pid}").exists() for pid in used) == 1


def test_screen_interface_is_the_same_page_smaller(folder: Path) -> None:
    with Session(spec_of(folder)) as native, Session(spec_of(folder), interface="screen") as small:
        large = native.reset(0)["screen"]
        seen = small.reset(0)["screen"]
    assert large.shape == (210, 160, 3)
    assert seen.shape == (64, 64, 3)
    assert seen.dtype == np.uint8
    assert abs(float(seen.mean()) - float(large.mean())) < 1.0
    assert small.spec.spaces(small.config).observation["screen"].contains(seen)  # type: ignore[index]
