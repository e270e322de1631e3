"""``universe2 doctor --browser``: what it tries, what it recommends, what it says without a browser."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from universe2.cli import doctor, doctor_browser
from universe2.cli.doctor_browser import Measured, Setting, advice, measure, measure_all, settings
from universe2.envs.web.chromium import ENVIRONMENT_VARIABLE


def test_one_browser_comes_first_and_no_worker_is_idle() -> None:
    for cores in (1, 2, 16):
        tried = settings(cores)
        assert tried[0] == Setting(1, 1)
        assert len(set(tried)) == len(tried)
        assert all(1 <= workers <= browsers for browsers, workers in tried)


def test_the_fewest_browsers_that_are_nearly_as_fast_are_recommended() -> None:
    found = [
        Measured(Setting(1, 1), 50.0, 300.0),
        Measured(Setting(2, 2), 97.0, 600.0),
        Measured(Setting(8, 2), 100.0, 2400.0),
    ]
    lines = advice(found, cores=2)
    (marked,) = (line for line in lines if "recommended" in line)
    assert marked.split()[:3] == ["2", "2", "97.0"]
    assert any("--slots 2" in line for line in lines)
    assert not any("slots_per_worker" in line for line in lines)
    assert any("slots_per_worker=1" in line for line in advice(found, cores=1))


def test_settings_without_memory_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_browser, "free_megabytes", lambda: 1000.0)
    monkeypatch.setattr(doctor_browser, "measure", lambda setting, _: Measured(setting, 1.0, 0.0))
    monkeypatch.setattr(doctor_browser, "BROWSER_MB", 0.0)
    said: list[str] = []
    assert len(measure_all(said.append, cores=2)) == len(settings(2))
    monkeypatch.setattr(
        doctor_browser, "measure", lambda setting, _: Measured(setting, 1.0, 300.0 * setting.browsers)
    )
    assert [m.setting.browsers for m in measure_all(said.append, cores=2)] == [1, 2]
    assert "8 browsers in 2 workers: left out, needs about 2400 MB and 1000 are free" in said


@pytest.mark.browser
def test_a_setting_is_measured() -> None:
    found = measure(Setting(1, 1), 0.5)
    assert found.steps_per_s > 1
    assert 50 < found.megabytes < 2000


def test_without_a_browser_one_line_says_how_to_get_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "universe2", "doctor", "--browser"],
        env={**os.environ, ENVIRONMENT_VARIABLE: "/nowhere/shell"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "UNIVERSE2_CHROMIUM is '/nowhere/shell', where there is no program" in done.stderr
    assert "install chromium-headless-shell" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("/nowhere/shell", ("UNIVERSE2_CHROMIUM is '/nowhere/shell', where there is no program", "unset")),
        ("/bin/true", ("/bin/true, which UNIVERSE2_CHROMIUM names, does not run as a browser",)),
    ],
)
def test_a_wrong_browser_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, program: str, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, program)
    found = doctor._browser()
    assert not found.ok
    assert all(word in f"{found.detail} {found.remedy}" for word in words)


@pytest.mark.browser
def test_a_browser_that_starts_is_found() -> None:
    found = doctor._browser()
    assert found.ok, found.detail
