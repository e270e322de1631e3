"""What a page could tell episodes apart by: clocks of every kind, chance, and the clipboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from web_session import Session, action

from universe2.core.spec import EnvSpec
from universe2.envs.web.page import OPTIONS, WebPage

pytestmark = pytest.mark.browser

PAGE = """<!DOCTYPE html><body style="margin:0"><input id="field" style="width:150px;height:40px">
<script>
const stamps = [], marks = [];
onmousemove = (event) => {
  stamps.push(event.timeStamp);
  marks.push(performance.mark("moved").startTime, performance.measure("whole").duration);
};
const chance = [...crypto.getRandomValues(new Uint8Array(4)), crypto.randomUUID?.(), Math.random()];
const load = [new Intl.DateTimeFormat().format(), new Intl.DateTimeFormat().formatToParts().length,
  document.lastModified, performance.timeOrigin, performance.timing.navigationStart,
  performance.getEntries().length, window.Temporal ? Temporal.Now.instant().epochMilliseconds : 0];
const state = () => JSON.stringify({
  stamps, marks, chance, load, value: field.value, today: new Intl.DateTimeFormat().format(), now: Date.now(),
  exact: window.Temporal ? String(Temporal.Now.plainDateTimeISO()) : "",
  names: performance.getEntriesByName("moved").length,
});
const field = document.getElementById("field");
</script></body>"""


def page(root: str) -> WebPage:
    return WebPage(
        root=Path(root),
        path="clocks.html",
        start="() => 'Look.'",
        read="() => ({ done: true, timed_out: false, raw: 0, decayed: 0, reason: state() })",
    )


@pytest.fixture
def spec(tmp_path: Path) -> EnvSpec:
    (tmp_path / "clocks.html").write_text(PAGE)
    return EnvSpec(
        id="web/clocks-v0",
        runtime="browser",
        entry=f"{__name__}:page",
        kwargs={"root": str(tmp_path)},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )


def told(session: Session, **parts: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(session.step(action(**parts)).info["reason"])
    return found


def test_all_clocks_and_all_chance_are_the_episodes(spec: EnvSpec) -> None:
    found = []
    with Session(spec) as session:
        for _ in range(3):  # a new page, and twice one that is used again
            session.reset(7)
            found += [[told(session, x=x, y=40) for x in (10, 20, 30)][-1]]
    assert found[0] == found[1] == found[2]
    assert found[0]["stamps"] == found[0]["marks"][::2] == [0, 100, 200]
    assert found[0]["marks"][1::2] == [0, 100, 200]
    assert found[0]["load"][0] == found[0]["today"] == "1/1/2024"
    assert found[0]["load"][3] == found[0]["load"][4] == found[0]["now"] - 300
    assert found[0]["names"] == 3
    assert found[0]["exact"] in ("", "2024-01-01T12:00:00.3")


@pytest.mark.parametrize("keys", [("Control+C",), ("Shift", "Delete")])
def test_what_was_copied_or_cut_is_not_carried_on(spec: EnvSpec, keys: tuple[str, ...]) -> None:
    with Session(spec) as session:
        session.reset(0)
        told(session, x=20, y=4, button="click")
        for key in ("z", "q", "Control+A", *keys):
            told(session, x=20, y=4, key=key)
        assert told(session, x=20, y=4, key="Control+V")["value"] == "zq"
        session.reset(1)
        told(session, x=20, y=4, button="click")
        assert told(session, x=20, y=4, key="Control+V")["value"] == ""


LESS = """<!DOCTYPE html><body style="margin:0">
<script>
const seen = [];
const hear = (list) => seen.push(...list.getEntries().map((entry) => [entry.entryType, entry.startTime]));
for (const type of ["paint", "event", "resource", "navigation", "longtask", "mark"])
  new PerformanceObserver(hear).observe({ type, buffered: true });
new PerformanceObserver(hear).observe({ entryTypes: ["paint", "measure"] });
new PerformanceObserver(hear).observe({ entryTypes: ["paint"] });
const first = document.cookie;
const day = (days) => new Date(Date.now() + days * 864e5).toUTCString();
document.cookie = `tomorrow=1; expires=${day(1)}; path=/`;
document.cookie = `yesterday=1; expires=${day(-1)}; path=/`;
document.cookie = "always=1; path=/";
document.cookie = `short=1; max-age=0; expires=${day(1)}`;
document.cookie = `gone=1; path=/`;
document.cookie = `gone=; path=/; expires=Thu, 01-Jan-1970 00:00:00 GMT`;
const files = [{}, { type: "text/plain" }, { lastModified: 5 }].map((given) => new File(["x"], "a", given));
onmousemove = () => (performance.mark("moved"), performance.measure("whole"));
const state = () => JSON.stringify({
  seen, first, cookie: document.cookie, modified: files.map((file) => file.lastModified - Date.now()),
  later: new File([], "a").lastModified - Date.now(), kind: files[1].type, own: files[0] instanceof File,
  machine: [navigator.hardwareConcurrency, navigator.deviceMemory ?? 8],
});
</script></body>"""


def test_observers_files_cookies_and_the_machine_tell_no_real_time(tmp_path: Path, spec: EnvSpec) -> None:
    (tmp_path / "clocks.html").write_text(LESS)
    with Session(spec) as session:
        for _ in range(3):
            session.reset(7)
            found = [told(session, x=x, y=40) for x in (10, 20, 30)][-1]
            assert found["first"] == ""
            assert found["cookie"] == "tomorrow=1; always=1"
            assert found["modified"] == [-300, -300, 5 - 1_704_110_400_300]
            assert (found["later"], found["kind"], found["own"]) == (0, "text/plain", True)
            assert found["machine"] == [4, 8]
            assert sorted(found["seen"]) == [["mark", at] for at in (0, 100, 200)] + [["measure", 0]] * 3
