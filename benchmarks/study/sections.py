"""What a section of the study's page is made of, and the names that sections share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.study.verdicts import Answer

MARKS = {0.0: "random", 1.0: "reference"}
FAMILIES = {"arcade": "games", "web": "pages"}


class Section(NamedTuple):
    """A question and its answer; ``figures`` is name → SVG, ``answers`` what the page begins with."""

    title: str
    lines: list[str]
    figures: dict[str, str]
    answers: Sequence[Answer] = ()


def short_name(task: str) -> str:
    """``arcade/Maze-v0`` → ``Maze``."""
    return task.partition("/")[2].rpartition("-v")[0]


def none(title: str, lines: list[str]) -> Section:
    """A question of which nothing was run."""
    return Section(title, [*lines, *([""] if lines[-1] else []), "Not run yet."], {})
