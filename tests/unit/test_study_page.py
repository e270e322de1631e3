"""The study's page says what its results say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.study.page import write_page
from benchmarks.study.plan import (
    BUDGETS,
    cells,
)
from benchmarks.study.references import reference
from benchmarks.study.results import Results


def result(cell, height, mean_error=0.1):
    """What a cell might have found: every task's score about ``height``, along a curve from 0."""
    parts = np.linspace(0, 1, 4) if cell.curve else [1.0]
    steps = cell.config["total_steps"]
    own = {played.name: {"random": 7.0, "heuristic": 11.0, "episodes": 512} for played in cell.played}
    own = {played.name: own[played.name] for played in cell.played if played.own_scale}

    def returns(part):
        found = {}
        for played in cell.played:
            scale = reference(played, own)
            scores = height * part + np.linspace(-0.05, 0.05, played.episodes)
            found[played.name] = list(scale.random + scores * (scale.reference - scale.random))
        return found

    gradients = {
        name: {
            "deviations": list(size * np.linspace(0.9, 1.1, 8)),
            "mean_square": 1.0,
            "mean_square_error": mean_error,
        }
        for name, size in {"nothing": 4.0, "group": 2.0, "critic": 1.0, "GAE": 0.5}.items()
    }
    return {
        "cell": cell.content(),
        "references": own,
        "evaluations": [{"steps": int(p * steps), "returns": returns(p)} for p in parts if cell.played],
        "gradients": [
            {"steps": int(part * steps), "estimators": gradients} for part in (0.5, 1.0) if cell.gradients
        ],
        "steps": steps,
        "seconds": 10.0,
        "core_seconds": 10.0,
        "versions": {"universe2": "0.1.0"},
        "hardware": {"cpu": "abacus", "cores": 2},
    }


HEIGHTS = {"joint": 0.6, "one encoder": 0.2, "scratch": 0.1, "fine-tuned": 0.6, "no critic": 0.3}


def write_results(folder, heights, skip=(), mean_error=0.1):
    folder.mkdir()
    for cell in cells(BUDGETS["quick"]):
        if cell.arm not in skip:
            found = result(cell, heights.get(cell.arm, 0.5), mean_error)
            (folder / f"{cell.name}.json").write_text(json.dumps(found))


def the_page(tmp_path):
    """The text, and its sections by title."""
    budget = BUDGETS["quick"]
    path = write_page(tmp_path / "study.md", budget, cells(budget), tmp_path / "results", "--quick")
    text = path.read_text()
    return text, {part.split("\n")[0].split(". ")[-1]: part for part in text.split("\n## ")[1:]}


def test_the_page_says_what_the_results_say(tmp_path):
    write_results(tmp_path / "results", HEIGHTS)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "of-results-that-are-gone.svg").touch()
    text, sections = the_page(tmp_path)
    assert "`python -m benchmarks.study --quick`" in text
    answers = text.partition("<!-- answers -->\n")[2].partition("\n<!-- /answers -->")[0].split("\n")
    words = [line.rpartition(" | ")[2].removesuffix(" |") for line in answers[2:]]
    kinds = {"holds": 8, "worse than the recipe": 1, "can't be told apart": 2, "less variance": 8}
    assert {word: words.count(word) for word in words} == kinds
    assert "cells are missing" not in text
    assert sections["Joint training"].count("**Holds**") == 3
    assert sections["Joint training"].count("one encoder for all (1 seed): 0.2") == 3
    assert sections["Joint training"].count("the mixed ones better than that, by 0.4") == 3
    assert sections["Levels"].count("**Holds**") == 2
    assert sections["Transfer"].count("**Holds**") == 3
    assert "no critic: 0.3" in sections["What matters"]
    assert "Breakout 7.00 and 11.00, Forager 7.00 and 11.00, over 512 episodes" in sections["What matters"]
    assert sections["What matters"].count("worse than the recipe") == 1
    variance = sections["The critic and the gradient's variance"]
    assert "critic / group baseline, half-way: 0.5" in variance
    assert "critic / group baseline, at the end: 0.5" in variance
    assert variance.count("less variance") == 8
    assert sections["Joint training"].count("with probability 1.00 [1.00, 1.00]") == 3
    assert "| specialist | 11 | " in sections["What it cost"]
    names = ("ablations", "critic", "joint", "levels", "profile", "specialists", "transfer")
    assert sorted(path.stem for path in (tmp_path / "study").iterdir()) == list(names)
    for name in names:
        assert f"(study/{name}.svg)" in text
        assert ElementTree.parse(tmp_path / "study" / f"{name}.svg").getroot().tag.endswith("svg")


def test_opposite_results_make_the_opposite_page(tmp_path):
    write_results(tmp_path / "results", {"joint": 0.2, "scratch": 0.6, "fine-tuned": 0.1, "no critic": 0.9})
    _, sections = the_page(tmp_path)
    assert sections["Joint training"].count("**Does not hold**") == 3
    assert sections["Joint training"].count("worse than that") == 3
    assert sections["Transfer"].count("**Does not hold**") == 3
    assert "better than the recipe" in sections["What matters"]


def test_what_is_missing_is_said(tmp_path):
    write_results(tmp_path / "results", HEIGHTS, skip=("joint", "fine-tuned"))
    text, _ = the_page(tmp_path)
    assert "cells are missing" in text
    assert text.count("Not run yet.") == 2  # joint and transfer


def test_a_mean_gradient_in_noise_is_not_divided_by(tmp_path):
    write_results(tmp_path / "results", HEIGHTS, mean_error=0.6)
    _, sections = the_page(tmp_path)
    variance = sections["The critic and the gradient's variance"]
    assert variance.count("GAE / critic, relative to the mean, half-way: can't be told") == 1
    assert variance.count("less variance") == 6


def test_scores_know_whose_luck_is_in_them(tmp_path):
    write_results(tmp_path / "results", HEIGHTS)
    found = Results(cells(BUDGETS["quick"]), tmp_path / "results")
    lucks = {arm: [set(one) for one in found.scores(arm).values()] for arm in ("joint", "specialist")}
    assert lucks["joint"] == [{"joint--all--0"}] * 7
    assert len(set.union(*lucks["specialist"])) == 4 * 2 + 3
    areas = {
        arm: set.union(*(set(one) for one in found.areas(arm).values())) for arm in ("adapters", "fine-tuned")
    }
    assert areas["adapters"] == areas["fine-tuned"] == {"pretrained--the rest--0"}
