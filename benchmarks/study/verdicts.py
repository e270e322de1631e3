"""What an interval says about a target, as a sentence and as a line of the table of answers.

Whatever is said to hold is said here, and an interval decides; nothing here knows a question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.study.statistics import Scores, difference, ratio
from universe2.agents.ranking import Interval
from universe2.agents.ranking_runs import show


class Verdict(NamedTuple):
    """``said`` is the sentence; ``found``, ``target`` and ``word`` are the same in a table."""

    said: str
    found: str
    target: str
    word: str


class Answer(NamedTuple):
    """A question in so many words, and what was found."""

    question: str
    verdict: Verdict


def reaches(ours: Scores, theirs: Scores, target: float) -> Verdict:
    """Whether ours is ``target`` times theirs, by a difference: it has an interval even where theirs is 0."""
    part, beyond = ratio(ours, theirs), difference(ours, theirs, target)
    said = "no ratio, because the latter can't be told from 0" if part is None else f"ratio {show(part)}"
    said += f"; less {target:g} times the other {show(beyond)}. "
    if beyond.low >= 0:
        word, why = "holds", f"at least {target:g} times"
    elif beyond.high < 0:
        word, why = "does not hold", f"less than {target:g} times"
    else:
        word, why = "open", "the interval has both signs"
    found = "no ratio: the latter can't be told from 0" if part is None else show(part)
    return Verdict(f"{said}**{word.capitalize()}**: {why}.", found, f"≥ {target:g}", word)


def at_most(interval: Interval, target: float) -> Verdict:
    """What an interval says about a number that was not to exceed a target."""
    if interval.high <= target:
        word, why = "holds", f"all of the interval is at or below {target:g}"
    elif interval.low > target:
        word, why = "does not hold", f"all of the interval is above {target:g}"
    else:
        word, why = "open", f"{target:g} lies within the interval"
    return Verdict(f"**{word.capitalize()}**: {why}.", show(interval), f"≤ {target:g}", word)


def open_ended(interval: Interval, told: str) -> Verdict:
    """A number that nothing was expected of; ``told`` is what its sign says."""
    return Verdict(told, show(interval), "–", told)


def sign(interval: Interval, more: str, less: str, level: float = 0.0) -> str:
    """``more``, ``less``, or that the interval can't tell."""
    if interval.low > level:
        return more
    if interval.high < level:
        return less
    return "can't be told apart"


def table(answers: Sequence[Answer]) -> list[str]:
    """Markdown, between marks by which another page finds it."""
    rows = [
        f"| {question} | {verdict.found} | {verdict.target} | {mark(verdict.word)} |"
        for question, verdict in answers
    ]
    head = ["| Question | Found | To reach | |", "|---|---|---|---|"]
    return ["<!-- answers -->", *head, *rows, "<!-- /answers -->"]


def mark(word: str) -> str:
    return f"**{word}**" if word == "does not hold" else word
