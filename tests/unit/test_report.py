"""The report: one well-formed page with every task, and nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from fake_count_env import count_spec
from PIL import Image
from rich.console import Console

from universe2.agents import report
from universe2.agents.evaluate import Place, evaluate
from universe2.agents.evaluate_policy import load_policy
from universe2.agents.evaluate_suite import Suite, Task
from universe2.agents.policy import RandomPolicy
from universe2.agents.ranking import Interval
from universe2.agents.ranking_runs import (
    SuiteRanking,
    notes,
    ranking_json,
    ranking_markdown,
    read_rankings,
    show,
)
from universe2.agents.report import Curve, read_metrics, render_report
from universe2.agents.report_clips import encode_clip, film, record_clip
from universe2.agents.report_svg import Axis, curve, short
from universe2.core.errors import FaultError, UsageError
from universe2.core.registry import register, unregister
from universe2.core.spec import EnvConfig
from universe2.trace import EpisodeStore

ENVS = ("test/Count-v0", "test/Plain-v0")
SUITE = Suite(
    name="tiny <suite>",
    tasks=(
        Task(env_id=ENVS[0], episodes=6),
        Task(env_id=ENVS[1], episodes=4),
        Task(env_id=ENVS[0], episodes=3, name="count & faults", options={"fault_seeds": [1_000_001]}),
    ),
)


@pytest.fixture(autouse=True)
def _envs() -> Iterator[None]:
    register(count_spec(ENVS[0], random=5.0, heuristic=10.0, episodes=6))
    register(count_spec(ENVS[1]))
    yield
    for env_id in ENVS:
        unregister(env_id)


@pytest.fixture
def ranked(tmp_path: Path) -> SuiteRanking:
    path = tmp_path / "episodes.sqlite"
    with EpisodeStore(path) as store:
        for seed, name in enumerate(("random", "an <agent>", "an <agent>")):
            kind: Literal["random", "python"] = "random" if name == "random" else "python"
            loaded = replace(load_policy("random", "native"), kind=kind)
            evaluate(loaded, SUITE, store, Place(slots=3), name=name, seed=seed)
    (suite,) = read_rankings([path])
    return suite


def test_one_episode_each_is_shown_without_a_rank(tmp_path: Path) -> None:
    once = replace(SUITE, tasks=tuple(replace(task, episodes=1) for task in SUITE.tasks[:2]))
    with EpisodeStore(tmp_path / "once.sqlite") as store:
        evaluate(load_policy("random", "native"), once, store, Place(slots=1))
    (suite,) = read_rankings([tmp_path / "once.sqlite"])
    (entry,) = suite.ranking.entries
    assert entry.rank is None
    assert "random has a single episode of some task: no interval, so no rank." in notes(suite)
    assert "| – | random | 0.00 | – |" in ranking_markdown(suite).replace(show(entry.score), "0.00")
    assert "nan" not in re.sub(r'src="[^"]*"', "", render_report([suite], [], {}))


class _Checker(HTMLParser):
    VOID = ("meta", "img", "br", "link")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def test_page_is_well_formed_whole_and_alone(ranked: SuiteRanking) -> None:
    clips = film("random", ranked, Place(), console=Console(quiet=True))
    curves = [Curve(ENVS[0], [(0, 1.0), (1000, 2.0), (2000, 1.5)]), Curve("x/Other-v0", [(10, 1.0)])]
    page = render_report([ranked], curves, clips)
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    for task in (*ENVS, "count &amp; faults"):
        assert f"<h3>{task}</h3>" in page
    assert page.count('<svg class="curve"') == 2
    assert page.count("data:image/webp;base64,") == 3
    assert "an &lt;agent&gt;" in page
    assert "<agent>" not in page
    assert "nan" not in re.sub(r'src="[^"]*"', "", page)
    outside = [v for k, v in checker.attributes if k in ("src", "href") and not (v or "").startswith("data:")]
    assert outside == []
    assert "url(" not in page
    assert "<script" not in page


def test_bold_are_those_that_can_not_be_told_apart_from_the_best(ranked: SuiteRanking) -> None:
    assert 'class="row best"' not in render_report([ranked], [], {})  # two policies at random
    agent = next(entry for entry in ranked.ranking.entries if entry.name == "an <agent>")
    score = agent.tasks[ENVS[0]]
    agent.tasks[ENVS[0]] = replace(score, raw=Interval(99.0, 98.0, 100.0))
    page = render_report([ranked], [], {})
    (shown,) = re.findall(r'class="row best" title="([^"]*)"', page)
    assert shown.startswith("an &lt;agent&gt;: 99.00")
    better = {"score": Interval(1.0, 0.9, 1.1), "improvement": Interval(0.78, 0.7, 0.8)}
    first = replace(agent, rank=1, shared=False, **better)  # type: ignore[arg-type]
    led = replace(ranked, ranking=replace(ranked.ranking, entries=[first]))
    facts = "<b>78 %</b><span>chance that an episode beats one of random, mean over tasks</span>"
    assert facts in render_report([led], [], {})
    assert "Bold: the best policy and all whose intervals overlap its" in page


@pytest.mark.parametrize(("top", "names"), [(1.5, ["random", "reference"]), (40.0, ["random, reference"])])
def test_where_scores_are_far_off_the_marks_share_a_name(top: float, names: list[str]) -> None:
    assert re.findall(">([a-z, ]+)</span>", report._scale(Axis(-0.1, top))) == names


def test_page_without_any_extra(ranked: SuiteRanking) -> None:
    page = render_report([ranked, ranked], [], {})
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert page.count("<h2>Ranking") == 2
    assert "<h2>Learning" not in page


def test_ranking_from_the_store(ranked: SuiteRanking) -> None:
    assert list(ranked.passed_over.values()) == [[2]]
    assert ranked.ranking.baseline == "random"
    assert ranked.ranking.unscored == [ENVS[1]]
    assert {e.name for e in ranked.ranking.entries} == {"random", "an <agent>"}
    for entry in ranked.ranking.entries:
        assert entry.score is not None
        assert entry.tasks["count & faults"].cut == 1
        assert [len(entry.tasks[t].returns) for t in ranked.ranking.tasks] == [6, 4, 3]
    said = " ".join(notes(ranked))
    assert f"lack of a reference: {ENVS[1]}" in said
    assert "faults cut 1 episodes" in said
    assert f"The zero of {ENVS[0]} is uncertain: random play was measured over 6 episodes only" in said
    assert "newer run of the same policy: " in said


def test_json_and_markdown(ranked: SuiteRanking) -> None:
    content = json.loads(json.dumps(ranking_json(ranked), allow_nan=False))
    assert content["tasks_without_reference"] == [ENVS[1]]
    (agent,) = [e for e in content["entries"] if e["name"] == "an <agent>"]
    assert agent["tasks"][ENVS[1]]["normalised"] is None
    low, high = agent["score"][1:]
    assert low <= agent["score"][0] <= high
    lines = ranking_markdown(ranked).splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in tables[:4]}) == 1
    assert len({line.count("|") for line in tables[4:]}) == 1
    assert sum(task in line for task in ENVS for line in tables) == 2


def test_show() -> None:
    assert show(None) == "–"
    assert show(Interval(0.5, 0.25, 1.0)) == "0.50 [0.25, 1.00]"
    assert show(Interval(0.5, float("nan"), float("nan")), 1) == "0.5"
    assert [short(x) for x in (0, 950, 1200, 2_360_000)] == ["0", "950", "1.2K", "2.36M"]


@pytest.mark.parametrize("points", [[(0.0, 1.0)], [(0.0, 0.0), (5.0, 0.0)], [(10.0, -1e6), (1e9, 1e6)]])
def test_curves_of_odd_data_are_finite(points: list[tuple[float, float]]) -> None:
    drawn = curve(points, [("random", points[0][1])], "odd")
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_record_clip_shows_a_whole_episode() -> None:
    config = EnvConfig(autoreset="disabled")
    frames, rewards, ended = record_clip(RandomPolicy("native"), ENVS[0], config, 4, Place())
    assert (len(frames), len(rewards), ended) == (8, 7, True)
    frames, rewards, ended = record_clip(RandomPolicy("native"), ENVS[0], config, 4, Place(), max_steps=3)
    assert (len(frames), len(rewards), ended) == (4, 3, False)
    cut = EnvConfig(autoreset="disabled", options={"fault_seeds": [4]})
    with pytest.raises(FaultError, match="worker died"):
        record_clip(RandomPolicy("native"), ENVS[0], cut, 4, Place())


@pytest.mark.parametrize(
    ("shape", "size"), [((64, 64, 3), (128, 128)), ((210, 160, 3), (122, 160)), ((400, 400, 3), (160, 160))]
)
def test_encoded_clip(shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    frames = [
        np.kron(rng.integers(0, 255, (2, 2, 3)), np.ones((shape[0] // 2, shape[1] // 2, 1))).astype(np.uint8)
        for _ in range(250)
    ]
    clip = encode_clip("agent", frames, [1.0] * 249, True)
    assert (clip.size, clip.total, clip.steps) == (size, 249.0, 249)
    with Image.open(BytesIO(clip.webp)) as picture:
        assert picture.size == size
        assert picture.n_frames == 84  # type: ignore[attr-defined]


def test_read_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [
        {"steps": 0, "loss": 1.0},
        {"steps": 10, "task": "a", "return_mean": None},
        {"steps": 20, "task": "a", "return_mean": 1.0},
        {"steps": 30, "task": "a", "return_mean": float("nan")},
        {"steps": 40, "task": "a", "return_mean": 2},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_metrics(path) == [Curve("a", [(20, 1.0), (40, 2.0)])]
    with path.open("a") as file:
        file.write('{"steps": 50, "task": "a", "retu')  # the run was killed
    assert read_metrics(path) == [Curve("a", [(20, 1.0), (40, 2.0)])]
    for line, told in (
        ("3", "line 1 must be a table, got 3"),
        ('{"task": "a", "return_mean": 1.0}', "line 1: steps must be a number, got None"),
        ('{"task": "a", "return_mean": "x", "steps": 1}', "line 1: return_mean must be a number, got 'x'"),
        ('{"task": 5, "return_mean": 1.0, "steps": 1}', "line 1: task must be a text, got 5"),
        (f'{{"task": "a", "return_mean": 1.0, "steps": 1{"0" * 400}}}', "steps is too large"),
    ):
        path.write_text(line + "\n")
        with pytest.raises(UsageError, match=told):
            read_metrics(path)
    path.write_text("{oops\n")
    with pytest.raises(UsageError, match="line 1 is not JSON"):
        read_metrics(path)
    with pytest.raises(UsageError, match="no metrics"):
        read_metrics(tmp_path / "nothing")
