"""Lists, calendars and palettes of the system, in windows of their own: none opens, keys work the fields."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from web_session import Session, action

from universe2.envs.web import web_env
from universe2.runtimes import browser_host

pytestmark = pytest.mark.browser

TOPS = {"select": 0, "date": 40, "time": 80, "color": 120, "file": 160}
AT = '{} id={} style="position: absolute; left: 0; top: {}px; width: 140px; height: 20px"'
PAGE = "<!DOCTYPE html><body style='margin: 0'>" + "".join(
    f"<{AT.format('select', kind, top)}><option>one<option>two<option>three</select>"
    if kind == "select"
    else f"<{AT.format(f'input type={kind}', kind, top)}>"
    for kind, top in TOPS.items()
)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(browser_host, "STEP_SECONDS", 8.0)
    (tmp_path / "fields.html").write_text(PAGE)
    reads = "JSON.stringify([...document.querySelectorAll('select, input')].map((field) => field.value))"
    spec = web_env(
        "web/fields-v0",
        tmp_path / "fields.html",
        instruction="Fill in the form.",
        done="true",
        reward=f"(document.title = {reads}, 0)",
        limit_s=1000,
        size=(210, 160),
    )
    return Session(spec)


def values(session: Session) -> list[str]:
    found: list[str] = json.loads(session.run(session.host._slots[0].page.evaluate("document.title")))
    return found


def test_no_field_holds_up_the_frames(session: Session) -> None:
    with session:
        session.reset(0)
        for top in TOPS.values():
            for x in (50, 130):  # the field, the sign in its corner
                at = {"x": int(x / 160 * 64), "y": int((top + 10) / 210 * 64)}
                for button, key, arrow in (
                    ("click", "none", "none"),
                    ("none", "Space", "down"),
                    ("click", "Enter", "none"),
                    ("release", "Space", "up"),
                    ("none", "Escape", "none"),
                ):
                    session.step(action(button=button, key=key, arrow=arrow, **at))
                session.step(action())


def test_a_list_is_chosen_from_with_keys(session: Session) -> None:
    with session:
        session.reset(0)
        session.step(action(x=20, y=3, button="click"))
        session.step(action(x=20, y=3, arrow="down"))
        assert values(session)[0] == "two"
        session.step(action(x=20, y=3, arrow="down"))
        session.step(action(x=20, y=3, key="Enter"))
        assert values(session)[0] == "three"
