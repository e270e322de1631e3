"""The report's drawings: interval bars and learning curves, as inline SVG text.

Colours and fonts come from the page's style sheet (classes), so the drawings follow light and
dark. This file doesn't know what the numbers mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from universe2.agents.ranking import Interval

_WIDTH, _HEIGHT = 340, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 14, 26


@dataclass(frozen=True)
class Axis:
    """A range of values, as percentages of a width."""

    low: float
    high: float

    def percent(self, value: float) -> float:
        return 100 * (value - self.low) / (self.high - self.low)


def axis_for(intervals: Sequence[Interval | None], marks: Sequence[float]) -> Axis:
    """An axis with room for all intervals and marks."""
    values = [v for i in intervals if i is not None for v in i if math.isfinite(v)] + list(marks)
    low, high = min(values), max(values)
    pad = 0.06 * (high - low or 1.0)
    return Axis(low - pad, high + pad)


def interval_bar(interval: Interval | None, axis: Axis, marks: Sequence[float], hue: int) -> str:
    """A dot with its interval on ``axis``; thin lines at ``marks``. As wide as its place."""
    parts = [
        f'<line class="mark" x1="{axis.percent(m):.2f}%" x2="{axis.percent(m):.2f}%" y1="0" y2="22"/>'
        for m in marks
    ]
    label = "no score"
    if interval is not None and math.isfinite(interval.point):
        point = f"{axis.percent(interval.point):.2f}%"
        label = f"{interval.point:.2f}"
        if math.isfinite(interval.low):
            low, high = (f"{axis.percent(v):.2f}%" for v in (interval.low, interval.high))
            parts.append(f'<line class="span h{hue}" x1="{low}" x2="{high}" y1="11" y2="11"/>')
            label += f", interval {interval.low:.2f} to {interval.high:.2f}"
        parts.append(f'<circle class="dot h{hue}" cx="{point}" cy="11" r="5"/>')
    return f'<svg class="bar" height="22" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def curve(
    points: Sequence[tuple[float, float]], levels: Sequence[tuple[str, float]], label: str, hue: int = 0
) -> str:
    """A learning curve: (steps, return) points; ``levels`` are named dashed lines."""
    steps, values = [p[0] for p in points], [p[1] for p in points]
    bottom, top = _padded([*values, *(value for _, value in levels)])
    last = max(*steps, 1.0)

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - bottom) / (top - bottom)

    right = _WIDTH - _RIGHT
    parts = []
    for tick in _ticks(bottom, top):
        at = y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{tick:g}</text>'
        )
    for tick in _ticks(0, last, 4):
        anchor = "start" if tick == 0 else "end" if x(tick) > right - 12 else "middle"
        where = f'x="{x(tick):.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}"'
        parts.append(f'<text class="tick" {where}>{short(tick)}</text>')
    for name, value in levels:
        at = y(value)
        parts.append(f'<line class="level" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
        where = f'x="{right}" y="{at - 4:.1f}" text-anchor="end"'
        parts.append(f'<text class="tick" {where}>{escape(name)} {value:g}</text>')
    smooth = _smoothed(values)
    if len(values) > 1:
        raw = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(steps, values, strict=True))
        line = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(steps, smooth, strict=True))
        parts.append(f'<polyline class="raw h{hue}" points="{raw}"/>')
        parts.append(f'<polyline class="line h{hue}" points="{line}"/>')
    parts.append(f'<circle class="dot h{hue}" cx="{x(steps[-1]):.1f}" cy="{y(smooth[-1]):.1f}" r="3.5"/>')
    return (
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def short(number: float) -> str:
    """1200000 → 1.2M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 0.5
    return low - pad, high + pad


def _ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers within [low, high], about so many."""
    rough = (high - low) / about
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= rough)
    first = math.ceil(low / step)
    count = math.floor(high / step) - first + 1
    return [round((first + i) * step, 10) for i in range(count)]


def _smoothed(values: Sequence[float]) -> list[float]:
    """A running mean over a tenth of the points, so that the trend shows."""
    width = max(1, len(values) // 10)
    return [sum(values[max(0, i - width + 1) : i + 1]) / min(i + 1, width) for i in range(len(values))]
