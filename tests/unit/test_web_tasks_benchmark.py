"""The benchmark of web tasks: which ones it examines, what it prints, and when it writes the scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from benchmarks import web_tasks
from universe2.core.registry import find, register, unregister

THEIRS = "mine/press-twice-v0"
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Runs it, with nothing examined: a task named fails, the others are fine. Files lie in ``tmp_path``."""

    def call(*arguments: str, failing: str = "") -> Result:
        def examine(env_id: str, plan: web_tasks.Plan) -> dict[str, Any]:
            return {"error": "RuntimeError: it broke" if env_id == failing else None, "idle_rate": 0.0}

        monkeypatch.setattr(web_tasks, "examine", examine)
        app = Typer()
        app.command()(web_tasks.main)
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})

    monkeypatch.setattr(web_tasks, "SCORES", tmp_path / "scores.json")
    monkeypatch.setattr(web_tasks, "REFERENCE", tmp_path / "reference.toml")
    register(replace(find("web/click-test-v0"), id=THEIRS))
    yield call
    unregister(THEIRS)


def written() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(web_tasks.SCORES.read_text("utf-8"))["results"]
    return found


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        (["click-test"], ["web/click-test-v0"]),
        (["web/click-test-v0"], ["web/click-test-v0"]),
        ([THEIRS], [THEIRS]),
        (
            ["mine/*", "click-test*"],
            [THEIRS, "web/click-test-2-v0", "web/click-test-transfer-v0", "web/click-test-v0"],
        ),
    ],
)
def test_a_few_tasks_of_anyone_are_examined_and_only_they_are_told(
    run: Run, only: list[str], chosen: list[str]
) -> None:
    result = run(*(part for name in only for part in ("--only", name)))
    assert result.exit_code == 0
    told = json.loads(result.stdout.splitlines()[-1])
    assert list(told) == chosen
    assert not web_tasks.SCORES.exists()
    assert not web_tasks.REFERENCE.exists()


def test_the_scores_are_written_when_all_were_examined_or_on_request(run: Run) -> None:
    assert run("--only", "click-test", "--record").exit_code == 0
    assert list(written()) == ["web/click-test-v0"]
    assert run().exit_code == 0
    assert len(written()) == web_tasks.TASKS
    assert THEIRS not in written()


def test_scores_are_of_our_own_tasks_only(run: Run) -> None:
    result = run("--only", "mine/*", "--record")
    assert result.exit_code == 2
    assert THEIRS in result.stderr
    assert not web_tasks.SCORES.exists()


def test_a_task_that_fails_is_the_exit_status(run: Run) -> None:
    result = run("--only", THEIRS, failing=THEIRS)
    assert result.exit_code == 1
    assert "it broke" in result.stdout


def test_what_matches_nothing_is_named(run: Run) -> None:
    result = run("--only", "click-test", "--only", "press-thrice")
    assert result.exit_code == 2
    assert "press-thrice" in result.stderr
    assert "'click-test'" not in result.stderr
