"""The study's figures: intervals on a common axis, and learning curves, as SVG files on their own.

They follow the reader's light or dark setting. This file doesn't know what the numbers mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from universe2.agents.ranking import Interval
from universe2.agents.report_svg import axis_for, short

_HUES = ("#2f6fde", "#d9622b", "#2a9d6f", "#8a56c9", "#8a8f98")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.tick,.head{fill:#6b7280}"
    "line.mark{stroke:#9aa1ab;stroke-dasharray:3 3}line.base{stroke:#d4d8de}"
    "@media(prefers-color-scheme:dark){text{fill:#e6e8eb}.tick,.head{fill:#9aa1ab}line.base{stroke:#3a3f47}}"
)
_ROW = 22
_LABEL, _PLOT, _NUMBER = 220, 340, 130

Row = tuple[str, Interval | None, int]
"""label, interval, hue"""


def intervals(title: str, rows: Sequence[Row], marks: Mapping[float, str]) -> str:
    """One line per row: a dot with its interval, and the number; named dashed lines at ``marks``."""
    axis = axis_for([interval for _, interval, _ in rows], list(marks))
    height = _ROW * (len(rows) + 2) + 6

    def x(value: float) -> float:
        return _LABEL + _PLOT * axis.percent(value) / 100

    parts = []
    for value, name in marks.items():
        parts.append(
            f'<line class="mark" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="20" y2="{height - 20}"/>'
        )
        parts.append(_text(x(value), height - 6, name, "middle", "tick"))
    for number, (label, interval, hue) in enumerate(rows):
        y = _ROW * (number + 1.5)
        parts.append(_text(_LABEL - 12, y + 4, label, "end"))
        if interval is None or not math.isfinite(interval.point):
            parts.append(_text(_LABEL + _PLOT + 12, y + 4, "undefined"))
            continue
        low, high = (x(v) if math.isfinite(v) else x(interval.point) for v in interval[1:])
        colour = _HUES[hue % len(_HUES)]
        line = f'x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"'
        parts.append(
            f'<line {line} stroke="{colour}" stroke-width="3" stroke-linecap="round" opacity=".45"/>'
        )
        parts.append(f'<circle cx="{x(interval.point):.1f}" cy="{y}" r="4.5" fill="{colour}"/>')
        numbers = f"{interval.point:.2f}  {interval.low:.2f} … {interval.high:.2f}"
        parts.append(_text(_LABEL + _PLOT + 12, y + 4, numbers))
    return _svg(title, _LABEL + _PLOT + _NUMBER, height, parts)


def curves(
    title: str,
    lines: Mapping[str, Sequence[tuple[float, Interval]]],
    marks: Mapping[float, str],
    ticks: Sequence[float] | None = None,
) -> str:
    """A line with a band per name, over fractions of the training, or of whatever else goes from 0.

    ``ticks`` are those numbers that are written below; by default all.
    """
    width, height, left, right, top, bottom = 620, 300, 76, 140, 26, 34
    found = [interval for line in lines.values() for _, interval in line]
    axis = axis_for(found, list(marks))
    last = max(at for line in lines.values() for at, _ in line)

    def x(at: float) -> float:
        return left + (width - left - right) * at / last

    def y(value: float) -> float:
        return top + (height - top - bottom) * (1 - axis.percent(value) / 100)

    parts = [f'<line class="base" x1="{left}" x2="{width - right}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>']
    for value, name in marks.items():
        parts.append(
            f'<line class="mark" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
        parts.append(_text(left - 8, y(value) + 4, name, "end", "tick"))
    for at in ticks or sorted({at for line in lines.values() for at, _ in line}):
        parts.append(_text(x(at), height - 12, short(at), "middle", "tick"))
    heights = _apart([y(line[-1][1].point) for line in lines.values()])
    for number, ((name, line), beside) in enumerate(zip(lines.items(), heights, strict=True)):
        colour = _HUES[number % len(_HUES)]
        band = [(at, i.high) for at, i in line] + [(at, i.low) for at, i in reversed(line)]
        around = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in band)
        along = " ".join(f"{x(at):.1f},{y(i.point):.1f}" for at, i in line)
        parts.append(f'<polygon points="{around}" fill="{colour}" opacity=".15"/>')
        parts.append(f'<polyline points="{along}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(_text(x(line[-1][0]) + 10, beside + 4, name, colour=colour))
        parts.append(
            f'<circle cx="{x(line[-1][0]):.1f}" cy="{y(line[-1][1].point):.1f}" r="4" fill="{colour}"/>'
        )
    return _svg(title, width, height, parts)


def _apart(heights: Sequence[float], least: float = 15.0) -> list[float]:
    """The heights, moved down as far as labels need."""
    moved = list(heights)
    order = sorted(range(len(moved)), key=lambda i: moved[i])
    for above, below in pairwise(order):
        moved[below] = max(moved[below], moved[above] + least)
    return moved


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "", colour: str = "") -> str:
    own = f' style="fill:{colour}"' if colour else ""
    return f'<text class="{kind}"{own} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'role="img" aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f"{_text(6, 14, title, kind='head')}{''.join(parts)}</svg>\n"
    )
