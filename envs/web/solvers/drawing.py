"""Solvers for drawing and pointing: circles, lines, midpoints, angles.

The page's judgement is exact to the pixel in four of them, and the pointer's cells are not: these
solvers come as close as a cell can.
"""

from __future__ import annotations

import itertools
import math

from universe2.core.screen import POINTER
from universe2.envs.web.page import SIZE
from universe2.envs.web.solvers.acting import Look, Play, Point, Solver, click, drag, middle


def draw_circle(look: Look) -> Play:
    x, y = middle(look.find(id="circ"))
    turns = [2 * math.pi * i / 24 for i in range(25)]
    look = yield from drag([(x + 22 * math.cos(t), y + 22 * math.sin(t)) for t in turns])
    yield click(look.find(tag="button"))


def draw_line(look: Look) -> Play:
    x, y = middle(look.find(id="circ"))
    x, y = x - 2, y - 2  # the page measures from the dot's upper left corner
    dx, dy = (1, 0) if "horizontal" in look.instruction else (0, 1)
    look = yield from drag([(x + step * dx, y + step * dy) for step in (-25, -12, 0, 12, 25)])
    yield click(look.find(tag="button"))


def circle_center(look: Look) -> Play:
    yield from _mark(look, middle(look.find(tag="circle")))


def find_midpoint(look: Look) -> Play:
    (x, y), (u, v) = (middle(e) for e in look.all(tag="circle"))
    yield from _mark(look, ((x + u) / 2, (y + v) / 2))


def right_angle(look: Look) -> Play:
    """The cell from which the two points are seen from the vertex at 90 degrees most exactly."""
    vertex, end = middle(look.find(id="init-blue")), middle(look.find(id="init-black"))
    yield from _mark(look, min(_marks(look, vertex), key=lambda p: abs(_angle(end, p, vertex) - math.pi / 2)))


def bisect_angle(look: Look) -> Play:
    vertex = middle(look.find("init-blue"))
    one, other = (middle(e) for e in look.all("init-black"))
    yield from _mark(
        look, min(_marks(look, vertex), key=lambda p: max(_angle(one, p, vertex), _angle(other, p, vertex)))
    )


def _mark(look: Look, point: Point) -> Play:
    (x, y), (dx, dy) = point, _shift(look)
    look = yield click((x - dx, y - dy))
    yield click(look.find(id="subbtn"))


def _shift(look: Look) -> Point:
    """How far from the pointer the page draws its mark."""
    drawing = look.find(tag="svg")
    return drawing["left"], drawing["top"] - 50


def _marks(look: Look, vertex: Point) -> list[Point]:
    """Where marks can be made, not too near to the vertex."""
    (height, width), (dx, dy) = SIZE, _shift(look)
    cells = itertools.product(range(POINTER), range(POINTER))
    points = (((i + 0.5) / POINTER * width, (j + 0.5) / POINTER * height) for i, j in cells)
    inside = [(int(x) + dx, int(y) + dy) for x, y in points if x < 145 and 55 < y < 175]
    return [p for p in inside if math.dist(p, vertex) > 15]


def _angle(one: Point, other: Point, vertex: Point) -> float:
    """The angle at ``vertex``, in radians."""
    (a, b), (c, d) = ((p[0] - vertex[0], p[1] - vertex[1]) for p in (one, other))
    return abs(math.atan2(a * d - b * c, a * c + b * d))


SOLVERS: dict[str, Solver] = {
    "bisect-angle": bisect_angle,
    "circle-center": circle_center,
    "draw-circle": draw_circle,
    "draw-line": draw_line,
    "find-midpoint": find_midpoint,
    "right-angle": right_angle,
}
