"""The report: rankings, learning curves and clips as one HTML file that needs nothing else.

No script, no network, no fonts: inline CSS and SVG, clips as data URIs; light and dark, from a
phone to a wide screen. Learning curves come from rows of a trainer's ``metrics.jsonl``: of each
row with a "task", the keys "steps" (total steps so far) and "return_mean" are used. This file
doesn't know how scores are computed.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from universe2.agents.ranking import Entry, TaskScore, leaders
from universe2.agents.ranking_runs import SuiteRanking, notes, rank_text, show
from universe2.agents.report_clips import Clip
from universe2.agents.report_svg import Axis, axis_for, curve, interval_bar, short
from universe2.core.errors import UnknownEnvError, UsageError
from universe2.core.files import checked, read_text
from universe2.core.registry import find
from universe2.trace import Run

_MARKS = (0.0, 1.0)
_PLAIN = 9  # the grey of random play
_HUES = 6
_LOGO = (
    '<svg viewBox="0 0 32 32" aria-hidden="true"><g fill="none" stroke="var(--h0)" stroke-width="2">'
    '<ellipse cx="16" cy="16" rx="14" ry="5.5" transform="rotate(-28 16 16)"/>'
    '<ellipse cx="16" cy="16" rx="14" ry="5.5" transform="rotate(28 16 16)" opacity=".45"/></g>'
    '<circle cx="16" cy="16" r="4" fill="var(--h1)"/></svg>'
)


@dataclass(frozen=True)
class Curve:
    """How a task's return grew in training."""

    task: str
    points: list[tuple[float, float]]
    """(total steps, mean return), in order"""


def read_metrics(path: str | Path) -> list[Curve]:
    """The learning curves in a ``metrics.jsonl``. Raises UsageError if it isn't one.

    A last line that was cut, as it is when the run was killed, is left out.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no metrics at {path}; a training run writes metrics.jsonl in its folder")
    curves: dict[str, list[tuple[float, float]]] = {}
    lines = read_text(path, "metrics file").splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            row = checked(where, json.loads(line), "table")
        except ValueError as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise UsageError(f"{where} is not JSON: {error}") from None
        if "task" in row and row.get("return_mean") is not None:
            task = checked(f"{where}: task", row["task"], "str")
            steps, mean = _number(f"{where}: steps", row.get("steps")), row["return_mean"]
            if math.isfinite(mean := _number(f"{where}: return_mean", mean)) and math.isfinite(steps):
                curves.setdefault(task, []).append((steps, mean))
    return [Curve(task, points) for task, points in sorted(curves.items())]


def _number(name: str, value: Any) -> float:
    try:
        return float(checked(name, value, "float"))
    except OverflowError:
        raise UsageError(f"{name} is too large a number; was the file edited?") from None


def render_report(
    suites: Sequence[SuiteRanking], curves: Sequence[Curve], clips: Mapping[str, Sequence[Clip]]
) -> str:
    """The whole page. ``clips`` are of the first suite: task → clips, the agent's first."""
    style = (files("universe2.agents") / "report.css").read_text("utf-8")
    parts = [_header(suites, curves)]
    for i, suite in enumerate(suites):
        parts.append(_ranking(suite))
        if i == 0 and curves:
            parts.append(_curves(curves, suite))
        parts.append(_cards(suite, clips if i == 0 else {}))
    title = escape(f"{suites[0].ranking.suite} · universe2")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>\n<style>\n{style}</style>\n'
        f"</head>\n<body>\n{parts[0]}\n<main>\n{''.join(parts[1:])}</main>\n{_footer(suites)}\n"
        "</body>\n</html>\n"
    )


def _hues(suite: SuiteRanking) -> dict[str, int]:
    """Entry → colour: grey for random play, the others in order."""
    coloured = [e.name for e in suite.ranking.entries if suite.runs[e.name].kind != "random"]
    return {e.name: _PLAIN for e in suite.ranking.entries} | {n: i % _HUES for i, n in enumerate(coloured)}


def _header(suites: Sequence[SuiteRanking], curves: Sequence[Curve]) -> str:
    ranking = suites[0].ranking
    episodes = sum(len(t.returns) for s in suites for e in s.ranking.entries for t in e.tasks.values())
    facts = [(str(len(ranking.tasks)), "tasks"), (f"{episodes:,}", "episodes, each stored")]
    best = ranking.entries[0]
    if best.score is not None and best.rank is not None and not best.shared:
        facts.insert(0, (f"{best.score.point:.2f}", f"score of {best.name}"))
        if best.improvement is not None:
            chance = f"chance that an episode beats one of {ranking.baseline}, mean over tasks"
            facts.insert(1, (f"{100 * best.improvement.point:.0f} %", chance))
    if curves:
        facts.append((short(max(c.points[-1][0] for c in curves)), "training steps"))
    listed = "".join(f"<li><b>{escape(big)}</b><span>{escape(small)}</span></li>" for big, small in facts)
    newest = max(run.started for suite in suites for run in suite.runs.values())
    day = datetime.fromtimestamp(newest, UTC).strftime("%-d %B %Y")
    said = next(iter(suites[0].runs.values())).suite_content.get("description")
    said = said or f"{len(ranking.entries)} policies, ranked on {len(ranking.tasks)} tasks."
    return (
        f'<header><div class="brand">{_LOGO}<span>universe2</span></div><h1>{escape(ranking.suite)}</h1>'
        f'<p class="lead">{escape(said)} Evaluated on {day}.</p><ul class="facts">{listed}</ul></header>'
    )


def _ranking(suite: SuiteRanking) -> str:
    ranking, hues = suite.ranking, _hues(suite)
    axis = axis_for([entry.score for entry in ranking.entries], _MARKS)
    rows = "".join(_ranking_row(entry, suite, axis, hues[entry.name]) for entry in ranking.entries)
    better = f"<th>Better than {escape(ranking.baseline)}</th>" if ranking.baseline else "<th></th>"
    return (
        f"<section><h2>Ranking <small>{escape(ranking.suite)} · {ranking.suite_hash}</small></h2>"
        '<p class="hint">0 is random play, 1 the reference player. The bar is the 95 % interval; '
        "policies whose intervals overlap share a rank, because the episodes can't tell them apart.</p>"
        f'<div class="panel"><table><thead><tr><th>Rank</th><th>Policy</th><th>{_scale(axis)}</th>'
        f"<th>Score</th>{better}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _scale(axis: Axis) -> str:
    """The names of the marks above them; one for both where two would overlap."""
    random, reference = (axis.percent(mark) for mark in _MARKS)
    names = [("random", random), ("reference", reference)]
    if reference - random < 30:
        names = [("random, reference", (random + reference) / 2)]
    spans = "".join(
        f'<span style="left:{at:.2f}%;transform:translateX(-{at:.2f}%)">{name}</span>' for name, at in names
    )
    return f'<div class="scale">{spans}</div>'


def _ranking_row(entry: Entry, suite: SuiteRanking, axis: Axis, hue: int) -> str:
    checked = ' checked">✓ ' if entry.tier == "replay-verified" else '">'
    outcome = suite.runs[entry.name].outcome
    ended = "" if outcome == "finished" else f' <span class="sub">· {escape(outcome)}</span>'
    score = "–" if entry.score is None else f"{entry.score.point:.2f}"
    low_high = ""
    if entry.score is not None and entry.score.known:
        low_high = f'<br><span class="sub">{entry.score.low:.2f} to {entry.score.high:.2f}</span>'
    better = "" if entry.improvement is None else f"{100 * entry.improvement.point:.0f} %"
    return (
        f"<tr{' class=first' if entry.rank == 1 and not entry.shared else ''}>"
        f'<td class="rank">{rank_text(entry.rank, entry.shared)}</td>'
        f'<td><span class="name">{escape(entry.name)}</span><br>'
        f'<span class="tier{checked}{escape(entry.tier)}</span>{ended}</td>'
        f'<td class="bars">{interval_bar(entry.score, axis, _MARKS, hue)}</td>'
        f'<td class="num">{score}{low_high}</td><td class="better sub">{better}</td></tr>'
    )


def _curves(curves: Sequence[Curve], suite: SuiteRanking) -> str:
    figures = []
    for one in curves:
        levels = _levels(one.task, suite)
        last = one.points[-1][1]
        drawn = curve(one.points, levels, f"{one.task}: return over training steps, last {last:.3g}")
        caption = f"{escape(one.task)} <span>{last:.3g}</span>"
        figures.append(f'<figure class="panel"><figcaption>{caption}</figcaption>{drawn}</figure>')
    return (
        "<section><h2>Learning</h2>"
        '<p class="hint">Mean return of training episodes over environment steps of all tasks together; '
        "dashed: random play and the reference player.</p>"
        f'<div class="grid-2">{"".join(figures)}</div></section>'
    )


def _levels(task: str, suite: SuiteRanking) -> list[tuple[str, float]]:
    for score in suite.ranking.entries[0].tasks.values():
        if suite.env_ids[score.task] == task and score.reference is not None:
            return [("random", score.reference.random), ("reference", score.reference.reference)]
    return []


def _cards(suite: SuiteRanking, clips: Mapping[str, Sequence[Clip]]) -> str:
    cards = "".join(_card(task, suite, clips.get(task, ())) for task in suite.ranking.tasks)
    return (
        "<section><h2>Tasks</h2>"
        '<p class="hint">Mean return per policy with its 95 % interval'
        f"{', and the first seconds of one episode' if clips else ''}. Bold: the best policy and all whose "
        "intervals overlap its; none where that is everybody, or the best has no interval.</p>"
        f'<div class="grid-2">{cards}</div></section>'
    )


def _card(task: str, suite: SuiteRanking, clips: Sequence[Clip]) -> str:
    entries, hues = suite.ranking.entries, _hues(suite)
    scores = {entry.name: entry.tasks[task] for entry in entries}
    reference = scores[entries[0].name].reference
    marks = [] if reference is None else [reference.random, reference.reference]
    played = [score for score in scores.values() if len(score.returns)]
    axis = axis_for([score.raw for score in played], marks or [0.0])
    best = leaders({name: score.raw for name, score in scores.items()})
    rows = "".join(
        _card_row(name, score, axis, marks, hues[name], name in best) for name, score in scores.items()
    )
    films = "".join(_clip(clip) for clip in clips)
    shown = f'<div class="clips">{films}</div>' if films else ""
    known = "No reference: not in the score."
    if reference is not None:
        known = f"Random play {reference.random:g}, reference {reference.reference:g}."
    return (
        f'<article class="panel card">{shown}<div class="body"><h3>{escape(task)}</h3>'
        f"<p>{escape(_description(suite.env_ids[task]))} {known}</p>{rows}{_missing(scores)}</div></article>"
    )


def _card_row(name: str, score: TaskScore, axis: Axis, marks: Sequence[float], hue: int, best: bool) -> str:
    digits = 1 if abs(score.raw.point) >= 10 else 2
    title = escape(f"{name}: {show(score.raw)} over {len(score.returns)} episodes")
    return (
        f'<div class="row{" best" if best else ""}" title="{title}"><span class="who">{escape(name)}</span>'
        f"{interval_bar(score.raw, axis, marks, hue)}"
        f'<span class="num">{show(score.raw, digits).split(" ")[0]}</span></div>'
    )


def _missing(scores: Mapping[str, TaskScore]) -> str:
    said = [
        f"{name}: {len(s.returns)} of {s.wanted} episodes" for name, s in scores.items() if not s.complete
    ]
    return f'<p class="warn">{escape("; ".join(said))}</p>' if said else ""


def _clip(clip: Clip) -> str:
    data = base64.b64encode(clip.webp).decode()
    width, height = clip.size
    end = "" if clip.ended else " so far"
    return (
        f'<figure><img src="data:image/webp;base64,{data}" width="{width}" height="{height}" '
        f'alt="{escape(clip.label)} at play"><b>{escape(clip.label)}</b><br>'
        f"{clip.total:.3g} in {clip.steps} steps{end}</figure>"
    )


def _description(env_id: str) -> str:
    try:
        return find(env_id).description
    except UnknownEnvError:
        return ""


def _footer(suites: Sequence[SuiteRanking]) -> str:
    said = dict.fromkeys(note for suite in suites for note in notes(suite))
    runs: list[tuple[str, Run]] = [pair for suite in suites for pair in suite.runs.items()]
    listed = "".join(f"<li>{escape(note)}</li>" for note in said)
    whose = (
        "when this page was made" if all(suite.replayed for suite in suites) else "the mark is the file's own"
    )
    commands = "".join(f"<pre>{escape(run.command)}</pre>" for _, run in runs if run.command)
    return (
        f"<footer><h2>How to read this</h2><ul>{listed}<li>self-reported: as the run wrote it. "
        "replay-verified: every stored action was stepped again and gave the same observations, rewards "
        f"and ends, to the bit; {whose}.</li></ul>"
        f"<h2>Made with</h2><ul>{''.join(_run_line(name, run) for name, run in runs)}</ul>{commands}</footer>"
    )


def _run_line(name: str, run: Run) -> str:
    made: dict[str, Any] = {**run.versions}
    versions = ", ".join(f"{package} {number}" for package, number in made.items())
    gpus = "".join(f", {gpu}" for gpu in run.hardware.get("gpus", []))
    machine = f"{run.hardware.get('cpu', 'unknown processor')}, {run.hardware.get('cores', '?')} cores{gpus}"
    took = "" if run.ended is None else f", {run.ended - run.started:.0f} s"
    policy = f"{run.kind} {run.policy_hash}".strip()
    return f"<li><b>{escape(name)}</b> ({escape(policy)}){took}: {escape(versions)}; {escape(machine)}</li>"
