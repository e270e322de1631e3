"""The suite and the policy in docs/evaluation.md are played, ranked and verified as the page says."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from command_line import run

from universe2.agents.evaluate_suite import DEFAULT_SEED, parse_suite
from universe2.core.screen import ARROWS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = PAGE.split(f"```{language}\n")[1:]
    return found.split("```")[0]


def test_the_suite_and_the_policy_play_and_are_ranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arcade = block("toml").partition('\n[[task]]\nenv_id = "web')[0]
    Path("suite.toml").write_text(arcade.replace("episodes = 20", "episodes = 2"), encoding="utf-8")
    Path("left_bot.py").write_text(block("python"), encoding="utf-8")
    play = ("--suite", "suite.toml", "--db", "e.sqlite")
    assert run(monkeypatch, "evaluate", "random", *play) == 0
    assert run(monkeypatch, "evaluate", "left_bot:make", *play) == 0
    assert run(monkeypatch, "leaderboard", "e.sqlite", "--verify", "--json", "r.json") == 0
    (suite,) = json.loads(Path("r.json").read_text())
    entries = {entry["name"]: entry for entry in suite["entries"]}
    assert set(entries) == {"random", "always left"}
    for entry in entries.values():
        assert {"name", "rank", "tier", "score", "improvement", "tasks"} <= set(entry)
        assert entry["tier"] == "replay-verified"
        (task,) = entry["tasks"].values()
        assert set(task) == {"return", "normalised", "episodes", "wanted", "cut"}
    capsys.readouterr()


def test_what_the_page_says_of_suites_holds() -> None:
    suite = parse_suite(tomllib.loads(block("toml")), "suite.toml")
    assert [task.seed for task in suite.tasks] == [DEFAULT_SEED, DEFAULT_SEED]
    assert f"{DEFAULT_SEED:,} unless told" in PAGE
    assert ARROWS[3] == "left"
