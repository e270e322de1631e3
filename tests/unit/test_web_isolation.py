"""Pages that open windows, ask, download, close themselves, loop, eat memory or crash."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from web_session import Session

from universe2.core.host import InfrastructureFault
from universe2.core.spec import EnvSpec
from universe2.envs.web.actions import parse
from universe2.envs.web.page import OPTIONS, WebPage
from universe2.runtimes import browser_host

pytestmark = pytest.mark.browser

PAGE = """<!DOCTYPE html><body>
<a target="_blank" href="other.html">tab</a>
<button onclick="window.open('other.html'); window.close(); alert('a'); said.push(confirm('b'), prompt('c'))">
ask</button>
<a download="x.bin" href="data:application/octet-stream,xyz">save</a>
<button onclick="place()">place</button>
<button onclick="for (;;) {}">loop</button>
<button onclick="setInterval(() => hoard.push(new Uint8Array(4e7).fill(1)), 50)">eat</button>
<script>const said = [], hoard = [];
const tell = (word) => () => said.push(word);
const place = () => navigator.geolocation.getCurrentPosition(tell("seen"), tell("denied"));
</script></body>"""


def page(root: str) -> WebPage:
    return WebPage(
        root=Path(root),
        path="bad.html",
        start="() => 'Behave.'",
        read="() => ({ done: false, timed_out: false, raw: 0, decayed: 0, reason: '' })",
        size=(300, 400),
        layout=(300, 400),
    )


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (tmp_path / "bad.html").write_text(PAGE)
    (tmp_path / "other.html").write_text("other")
    spec = EnvSpec(
        id="web/bad-v0",
        runtime="browser",
        entry=f"{__name__}:page",
        kwargs={"root": str(tmp_path)},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )
    return Session(spec, observe="axtree,url", actions="structured")


def click(session: Session, name: str) -> dict[str, object]:
    tree = session.reset(0)["axtree"] if session.last is None else session.last.obs["axtree"]
    (line,) = (line for line in tree.split("\n") if f'"{name}"' in line)
    result = session.step(parse(f"click({line.strip()[1:].split(']')[0]})"))  # type: ignore[arg-type]
    assert "action_error" not in result.info
    assert result.obs["url"].endswith("/bad.html")
    return result.info


def said(session: Session) -> list[object]:
    state = session.host._slots[0]
    found: list[object] = json.loads(session.run(state.page.evaluate("JSON.stringify(said)")))
    return found


async def command(session: Session, method: str) -> dict[str, Any]:
    answer: dict[str, Any] = await session.host._slots[0].browser.connection.send(method)
    return answer


async def crash(session: Session, method: str, **params: str) -> None:
    """Let the renderer die; it can't answer any more."""
    session.host._slots[0].page._send(method, **params)


def test_windows_dialogs_and_downloads_come_to_nothing(session: Session) -> None:
    with session:
        click(session, "tab")
        click(session, "ask")
        click(session, "save")
        click(session, "place")
        info = session.step(parse("wait()")).info  # type: ignore[arg-type]
        assert said(session) == [False, None, "denied"]
        other = "http://task.test/other.html"
        assert info["refused"] == ("a new window", other, "data:application/octet-stream,xyz")
        assert info["dialogs"] == ("alert: a", "confirm: b", "prompt: c")
        targets = session.run(command(session, "Target.getTargets"))
        pages = [t for t in targets["targetInfos"] if t["type"] == "page" and "other" in t["url"]]
        assert pages == []


def test_a_page_that_loops_is_killed_at_its_deadline(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_host, "STEP_SECONDS", 2.0)
    with session:
        with pytest.raises(InfrastructureFault, match="did not answer within 2 s"):
            click(session, "loop")
        assert session.host.browser_pids() == []
        session.reset(0)


def test_a_browser_that_stands_still_is_killed_at_its_deadline(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser_host, "STEP_SECONDS", 1.0)
    with session:
        session.reset(0)
        (browser,) = session.host.browser_pids()
        os.killpg(browser, signal.SIGSTOP)
        with pytest.raises(InfrastructureFault, match="did not answer within 1 s"):
            session.step(parse("wait()"))  # type: ignore[arg-type]
        assert session.host.browser_pids() == []
        session.reset(0)


def test_a_page_that_eats_memory_is_killed(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_host, "KILL_MB", 1000.0)
    with session:
        session.run(session.host.start())
        click(session, "eat")
        with pytest.raises(InfrastructureFault, match=r"MB of memory|crashed"):
            wait(session, 40)
        assert session.host.browser_pids() == []
        session.reset(0)


@pytest.mark.parametrize("greedy", ["browser", "page"])
def test_the_memory_of_an_older_browser_is_watched_too(
    session: Session, monkeypatch: pytest.MonkeyPatch, greedy: str
) -> None:
    """One that is replaced while its last episode runs. What it takes is no reason to replace the new one."""
    told: list[tuple[str, str]] = []

    def browser(name: str) -> Any:
        megabytes = 3000.0 if name == greedy else 100.0
        return Mock(megabytes=lambda: megabytes, kill=lambda why: told.append((name, why)))

    async def watch() -> float:
        state: Any = session.host._slots[0]
        state.browser, state.page = browser("browser"), Mock(browser=browser("page"))
        watching = asyncio.create_task(session.host._watch_memory())
        while not told:
            await asyncio.sleep(0)
        watching.cancel()
        megabytes: float = state.megabytes
        state.browser = state.page = None
        return megabytes

    monkeypatch.setattr(browser_host, "_WATCH_SECONDS", 0.0)
    with session:
        assert session.run(watch()) == (3000.0 if greedy == "browser" else 100.0)
    assert told[0] == (greedy, "slot 0: the page took 3000 MB of memory, so it was killed")


def wait(session: Session, steps: int) -> None:
    for _ in range(steps):
        session.step(parse("wait()"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("Page.crash", {}),
        ("Page.navigate", {"url": "chrome://crash"}),
        ("Page.navigate", {"url": "chrome://kill"}),
    ],
)
def test_a_crashed_renderer_is_named(session: Session, method: str, params: dict[str, str]) -> None:
    with session:
        session.reset(0)
        session.run(crash(session, method, **params))
        with pytest.raises(InfrastructureFault, match="crashed"):
            session.step(parse("wait()"))  # type: ignore[arg-type]
        session.reset(0)


def folder_page(root: str) -> WebPage:
    read = "() => ({ done: false })"
    return WebPage(root=Path(root), path="a/b/page.html", start="() => found", read=read, in_frame=True)


def test_cookies_of_every_folder_go_with_the_episode(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "page.html").write_text(
        """<script>const found = `found: ${document.cookie}`;
        ["", "; path=/", "; path=/a", "; path=/a/", "; path=/a/b/page.html"].forEach((path, i) => {
          document.cookie = `c${i}=1${path}`; });</script>"""
    )
    spec = EnvSpec(
        id="web/folders-v0",
        runtime="browser",
        entry=f"{__name__}:folder_page",
        kwargs={"root": str(tmp_path)},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )
    with Session(spec) as session:
        for seed in range(3):
            session.reset(seed)
            assert session.instruction == "found: "
