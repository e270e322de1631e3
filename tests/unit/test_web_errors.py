"""What goes wrong in a page's own scripts is told, in the info of each step and in faults of the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from web_session import Session, action

from universe2.core.errors import UsageError
from universe2.core.spec import EnvSpec
from universe2.envs.web.page import OPTIONS, WebPage

browser = pytest.mark.browser

READ = "() => outcome"
OUTCOME = "const outcome = { done: false, timed_out: false, raw: 0, decayed: 0, reason: '' };"
COVER = "position: absolute; left: 0; top: 0; width: 160px; height: 210px"
NULL = "TypeError: Cannot read properties of null (reading 'x')"


def page(root: str, path: str = "page.html", in_frame: bool = False) -> WebPage:
    return WebPage(root=Path(root), path=path, start="() => 'Press.'", read=READ, in_frame=in_frame)


def session_of(folder: Path, body: str, script: str = OUTCOME, **kwargs: Any) -> Session:
    (folder / "page.html").write_text(f"<!DOCTYPE html><body>\n<script>{script}</script>\n{body}")
    spec = EnvSpec(
        id="web/page-v0",
        runtime="browser",
        entry=f"{__name__}:page",
        kwargs={"root": str(folder), **kwargs},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
    )
    return Session(spec)


def press(session: Session) -> dict[str, Any]:
    return session.step(action(x=20, y=20, button="click")).info


def button(code: str) -> str:
    return f'<button style="{COVER}" onclick="{code}">press</button>'


@browser
@pytest.mark.parametrize("in_frame", [False, True])
def test_errors_of_the_page_are_told_once_each_for_the_rest_of_the_episode(
    tmp_path: Path, in_frame: bool
) -> None:
    with session_of(tmp_path, button("null.x;"), in_frame=in_frame) as session:
        session.reset(0)
        assert session.step(action()).info == {}
        for _ in range(2):
            (error,) = press(session)["errors"]
            assert error.startswith(NULL)
        session.reset(1)
        assert session.step(action()).info == {}


@browser
def test_an_error_names_its_file_and_line(tmp_path: Path) -> None:
    with session_of(
        tmp_path, button("Promise.reject(new Error('no luck'))"), OUTCOME + "\nnowhere();"
    ) as session:
        session.reset(0)
        first, second = press(session)["errors"]
        assert first == "ReferenceError: nowhere is not defined (page.html:3)"
        assert second == "Error: no luck (in a promise)"


@browser
def test_an_error_before_the_page_is_left_is_told(tmp_path: Path) -> None:
    """As of a form whose handler breaks before it says that nothing is to be sent."""
    form = f'<form onsubmit="null.x; return false"><button style="{COVER}">send</button></form>'
    with session_of(tmp_path, form) as session:
        session.reset(0)
        (error,) = press(session)["errors"]
        assert error.startswith(NULL)


@browser
def test_errors_in_frames_are_told(tmp_path: Path) -> None:
    (tmp_path / "inner.html").write_text("<script>\nnull.x;</script>")
    with session_of(tmp_path, '<iframe src="inner.html"></iframe>') as session:
        session.reset(0)
        assert press(session)["errors"] == (f"{NULL} (inner.html:2)",)


@browser
def test_errors_are_bounded_in_number_and_length(tmp_path: Path) -> None:
    many = "for (let i = 0; i < 1000; i++) Promise.reject(new Error(i + 'x'.repeat(1e5)))"
    with session_of(tmp_path, button(many)) as session:
        session.reset(0)
        errors = press(session)["errors"]
        assert len(errors) == 10
        assert max(map(len, errors)) < 400


@browser
def test_what_is_told_is_bounded_in_number_and_length(tmp_path: Path) -> None:
    many = (
        "for (let i = 0; i < 99; i++) { alert(i % 20 + 'x'.repeat(1e5)); alert('first'); "
        "fetch('http://else.test/' + i + 'x'.repeat(1e5)).catch(() => 0); open('http://else.test/'); "
        "const link = document.createElement('a'); link.download = i; link.href = 'page.html'; "
        "link.click(); }"
    )
    with session_of(tmp_path, button(many)) as session:
        session.reset(0)
        for _ in range(2):
            info = press(session)
            for name in ("refused", "dialogs", "downloads"):
                assert len(info[name]) == len(set(info[name])) == 10, name
                assert max(map(len, info[name])) < 400
        session.reset(1)
        assert session.step(action()).info == {}


@browser
def test_what_is_no_error_is_not_told(tmp_path: Path) -> None:
    """A picture that is missing, a promise that is dealt with, sizes that change while they are watched."""
    watch = (
        "new ResizeObserver(() => document.body.append(document.createElement('p'))).observe(document.body);"
    )
    harmless = f"{OUTCOME} Promise.reject(1).catch(() => 0); addEventListener('load', () => {{ {watch} }});"
    with session_of(tmp_path, '<img src="missing.png">', harmless) as session:
        session.reset(0)
        assert press(session) == {}


@browser
def test_a_page_at_fault_says_what_went_wrong_in_it_first(tmp_path: Path) -> None:
    with session_of(tmp_path, "", f"undefinedThing();\n{OUTCOME}") as session:
        session.reset(0)
        with pytest.raises(RuntimeError, match="outcome") as fault:
            press(session)
    assert "The page's first error was ReferenceError: undefinedThing is not defined (page.html:2)" in str(
        fault.value
    )


@browser
def test_what_the_last_episode_breaks_as_it_is_left_is_not_told_in_the_next(tmp_path: Path) -> None:
    leaving = OUTCOME + "for (const on of ['mouseup', 'pagehide']) addEventListener(on, () => null.x);"
    with session_of(tmp_path, "", leaving) as session:
        for seed in range(4):
            session.reset(seed)
            assert session.step(action(button="press", x=5, y=5)).info == {}


@pytest.mark.parametrize("path", ["absent.html", "", "../page.html"])
def test_a_page_that_is_not_there_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "page.html").write_text("outside")
    (tmp_path / "root").mkdir()
    with pytest.raises(UsageError, match=r"there is no page at .* in the folder .*root, got"):
        page(str(tmp_path / "root"), path)


def test_what_follows_a_path_in_an_address_is_no_part_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a page.html").write_text("here")
    assert page(str(tmp_path), "a%20page.html?level=2#top").path == "a%20page.html?level=2#top"
