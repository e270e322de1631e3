"""Solvers that tell shapes and colours apart and count them."""

from __future__ import annotations

import numpy as np

from universe2.envs.web.solvers.acting import Element, Look, Play, Solver, click, middle
from universe2.envs.web.solvers.reading import between, colour, hue, named_colour, numbers

_KINDS = {"circle": "circle", "rect": "rectangle", "polygon": "triangle"}


def _drawn(look: Look) -> list[Element]:
    """The shapes and characters of a drawing."""
    return [e for e in look.elements if e["tag"] in (*_KINDS, "text")]


def _fits(shape: Element, words: list[str]) -> bool:
    """Whether a shape is as described: [size] [colour] name."""
    *looks, name = words
    text = shape["text"]
    kind = _KINDS.get(shape["tag"], "digit" if text.isdigit() else "letter")
    names = {"item", text or kind, kind, "shape" if not text else kind}
    size = "large" if shape["height"] > 15 else "small"
    return name in names and all(
        word == size if word in ("large", "small") else named_colour(word) == colour(shape) for word in looks
    )


def click_shape(look: Look) -> Play:
    words = look.instruction.removeprefix("Click on a ").split()
    yield click(next(shape for shape in _drawn(look) if _fits(shape, words)))


def count_shape(look: Look) -> Play:
    words = between("How many ", " are there?", look.instruction)[:-1].split()
    count = sum(_fits(shape, words) for shape in _drawn(look))
    yield click(look.find(tag="button", text=str(count)))


def identify_shape(look: Look) -> Play:
    (shape,) = _drawn(look)
    text = shape["text"]
    name = _KINDS.get(shape["tag"], "Number" if text.isdigit() else "Letter").capitalize()
    yield click(look.find(tag="button", text=name))


def count_sides(look: Look) -> Play:
    """The distance of a polygon's edge from its middle swings once per side."""
    canvas = look.find(id="c")
    x, y = middle(canvas)
    rows, columns = np.nonzero(look.screen[:, :, 0] < 110)
    away = np.hypot(rows + 0.5 - y, columns + 0.5 - x)
    edge = (away > 10) & (away < 40)
    turn = np.arctan2(rows + 0.5 - y, columns + 0.5 - x)[edge]
    swing = [abs(np.mean(_even(turn, away[edge]) * np.exp(1j * n * _ANGLES))) for n in range(3, 8)]
    yield click(look.find(tag="button", text=str(3 + int(np.argmax(swing)))))


_ANGLES = np.linspace(-np.pi, np.pi, 90, endpoint=False)


def _even(turn: np.ndarray, away: np.ndarray) -> np.ndarray:
    """``away`` at evenly spaced angles."""
    order = np.argsort(turn)
    return np.interp(_ANGLES, turn[order], away[order], period=2 * np.pi)


def click_colour(look: Look) -> Play:
    name = between("on the ", " colored", look.instruction)
    boxes = [e for e in look.all("color") if e["id"] != "query-color"]
    yield click(next(box for box in boxes if colour(box) == named_colour(name)))


def click_shades(look: Look) -> Play:
    name = between("shades of ", " and press", look.instruction)
    goal = {"red": 0, "green": 120, "blue": 240}[name]
    for box in [e for e in look.all(tag="span") if e["height"] == 12]:
        if abs((hue(box) - goal + 180) % 360 - 180) < 60:
            look = yield click(box)
    yield click(look.find(id="submit"))


def grid_coordinate(look: Look) -> Play:
    x, y = numbers(look.instruction)
    points = look.all("plot-point")
    columns = sorted({round(middle(e)[0]) for e in points})
    rows = sorted({round(middle(e)[1]) for e in points})
    yield click((columns[x + 2], rows[2 - y]))


SOLVERS: dict[str, Solver] = {
    "click-color": click_colour,
    "click-shades": click_shades,
    "click-shape": click_shape,
    "count-shape": count_shape,
    "count-sides": count_sides,
    "grid-coordinate": grid_coordinate,
    "identify-shape": identify_shape,
}
