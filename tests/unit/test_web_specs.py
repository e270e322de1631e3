"""The list of web tasks, their options and where a browser is looked for. Starts nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from universe2.core.errors import InterfaceError, UsageError
from universe2.core.registry import find, list_envs
from universe2.core.spec import EnvConfig
from universe2.envs.web import chromium, flights, miniwob, sites
from universe2.envs.web.solvers import SOLVERS

CLICK_TEST = "web/click-test-v0"


def test_all_pages_are_listed() -> None:
    listed = [spec.name for spec in miniwob.specs()]
    folder = miniwob.page("click-test").root / "miniwob"
    assert sorted(listed) == sorted(file.stem for file in folder.glob("*.html"))
    assert len(listed) == 130
    assert len({spec.id for spec in list_envs("web")}) == 130 + len(flights.TASKS) + len(sites.specs())


@pytest.mark.parametrize("task", ["button-delay", "chase-circle", "moving-items", "click-checkboxes"])
def test_pages_that_pay_for_a_part_say_so(task: str) -> None:
    assert "partial rewards" in find(f"web/{task}-v0").description
    assert "partial" not in find(CLICK_TEST).description


def test_solvers_are_of_listed_tasks() -> None:
    assert set(SOLVERS) <= {spec.id for spec in list_envs("web")}


def test_listing_imports_neither_selenium_nor_a_browser() -> None:
    code = "import sys; from universe2.envs.web import specs; specs(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"selenium", "miniwob", "playwright", "PIL"} & set(loaded.split())


@pytest.mark.parametrize(
    ("name", "value"),
    [("step_ms", 5), ("step_ms", 100.0), ("step_ms", True), ("data_mode", "dev"), ("reward", "sum")]
    + [("elements", 1), ("step_mss", 100), ("observe", 5), ("actions", ["screen"])],
)
def test_bad_options_are_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=name):
        find(CLICK_TEST).spaces(EnvConfig(options={name: value}))


def test_actions_by_element_are_none_of_the_screens() -> None:
    structured = EnvConfig(interface="screen", options={"actions": "structured"})
    with pytest.raises(InterfaceError, match="actions is 'structured', but under interface=\"screen\""):
        find("web/click-test-v0").spaces(structured)


def test_options_change_the_hash() -> None:
    spec = find(CLICK_TEST)
    assert spec.hash() == spec.hash(EnvConfig(options={"step_ms": 100}))
    assert spec.hash() != spec.hash(EnvConfig(options={"step_ms": 50}))


def test_the_environment_variable_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(chromium.ENVIRONMENT_VARIABLE, str(tmp_path / "nothing"))
    assert chromium.find_chromium() is None
    assert "headless-shell" in str([r.install for r in find(CLICK_TEST).missing])
    monkeypatch.setenv(chromium.ENVIRONMENT_VARIABLE, sys.executable)
    assert chromium.find_chromium() == sys.executable


def test_the_newest_download_of_playwright_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for build in ("999", "1200"):
        folder = tmp_path / f"chromium_headless_shell-{build}" / "chrome-linux"
        folder.mkdir(parents=True)
        (folder / "headless_shell").touch(mode=0o755)
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(chromium.ENVIRONMENT_VARIABLE, raising=False)
    assert "1200" in str(chromium.find_chromium())


def test_a_wrapper_script_is_looked_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrapper = tmp_path / "shell"
    wrapper.write_text(f'#!/bin/sh -e\n{sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv(chromium.ENVIRONMENT_VARIABLE, str(wrapper))
    assert chromium.find_chromium() == sys.executable
    wrapper.write_text(f'#!/bin/sh -e\nexport A=1\n{sys.executable} "$@"\n')
    assert chromium.find_chromium() == str(wrapper)
