"""The tables of the README are what the scores say."""

from __future__ import annotations

import pytest

from benchmarks import tables


def row(question, script="wire", met=True, target="1.0"):
    return {
        "question": question,
        "script": script,
        "met": met,
        "target": target,
        "ours": 1,
        "peer": 2,
        "ratio": 0.5,
    }


def test_no_table_is_out_of_date(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tables.py", "--check"])
    tables.main()
    assert capsys.readouterr().out == "up to date\n"


def test_the_readme_shows_the_headlines_and_every_miss(monkeypatch):
    monkeypatch.setattr(tables, "HEADLINES", {"wire": ("opening",)})
    rows = [row("opening, s"), row("opening, s", "web"), row("missed", "web", met=False), row("met")]
    rows.append(row("no target", met=False, target="–"))
    assert tables.headlines(rows) == [rows[0], rows[2]]
    assert "missed" in tables.scores_table(rows).split("**not met**")[0].split("\n")[-1]


def test_a_headline_that_no_script_measures_is_named(monkeypatch):
    monkeypatch.setattr(tables, "HEADLINES", {"wire": ("closing",)})
    with pytest.raises(SystemExit, match="no question of wire begins with 'closing'"):
        tables.headlines([row("opening, s")])


def test_scores_that_need_a_gpu_may_be_absent(monkeypatch):
    monkeypatch.setattr(tables, "HEADLINES", {"train_cuda": ("Training steps/s",)})
    assert tables.headlines([row("opening, s")]) == []
    there = row("Training steps/s on one GPU", "train_cuda")
    assert tables.headlines([there]) == [there]
    with pytest.raises(SystemExit, match="no question of train_cuda begins with 'Training steps/s'"):
        tables.headlines([row("GPU", "train_cuda")])
