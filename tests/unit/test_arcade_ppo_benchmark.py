"""The benchmark of the arcade's short runs: what it takes over from before, and what it writes."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import arcade_ppo

ENV = "arcade/Snake-v0"


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Which runs are made, instead of making them; all files lie in a folder of the test."""
    runs = []

    def learn(env_id, steps, episodes, folder):
        runs.append((env_id, steps, episodes))
        folder.mkdir(parents=True, exist_ok=True)
        row = {"steps": steps, "episodes": episodes, "curve": [[0, 0.0], [steps, 1.0]]}
        return row | {"random": [0.0, -0.1, 0.1], "agent": [1.0, 0.9, 1.1]}

    monkeypatch.setattr(arcade_ppo, "learn", learn)
    monkeypatch.setattr(arcade_ppo, "SCORES", tmp_path / "scores.json")
    monkeypatch.setattr(arcade_ppo, "PICTURE", tmp_path / "picture.svg")
    return runs


def run(monkeypatch, tmp_path, *arguments):
    monkeypatch.setattr(sys, "argv", ["arcade_ppo.py", "--out", str(tmp_path / "out"), *arguments])
    arcade_ppo.main()


def test_only_a_result_of_the_same_settings_is_taken_over(trained, monkeypatch, tmp_path, capsys):
    for size in (("5000", "5"), ("5000", "5"), ("200", "5"), ("200", "7")):
        run(monkeypatch, tmp_path, "--games", "Snake", "--steps", size[0], "--episodes", size[1])
    assert trained == [(ENV, 5000, 5), (ENV, 200, 5), (ENV, 200, 7)]
    monkeypatch.setattr(arcade_ppo, "FRAME_SKIP", {"frame_skip": 2})
    run(monkeypatch, tmp_path, "--games", "Snake", "--steps", "200", "--episodes", "7")
    assert len(trained) == 4
    assert "after 200 actions" in capsys.readouterr().out.splitlines()[-1]
    assert not (tmp_path / "scores.json").exists()


def test_drawing_measures_nothing_and_keeps_the_scores(trained, monkeypatch, tmp_path):
    run(monkeypatch, tmp_path, "--steps", "100")
    assert len(trained) == 20
    scores, picture = tmp_path / "scores.json", tmp_path / "picture.svg"
    content = json.loads(scores.read_text())
    assert len(content["games"]) == 20
    scores.write_text(json.dumps(content | {"date": "2001-01-01", "machine": "another"}))
    before = scores.read_text()
    picture.unlink()
    run(monkeypatch, tmp_path, "--draw")
    assert scores.read_text() == before
    assert "Snake" in picture.read_text()
    assert len(trained) == 20
