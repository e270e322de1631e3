"""What a solver sees and can do: looking at a page's elements, clicking, dragging, typing, scrolling.

A solver is a generator: it is given a ``Look`` at the page, yields one screen action at a time and
is sent the next look. The helpers here that take several actions are such generators too and
return the last look: ``look = yield from fill(field, "text")``. ``play`` drives a solver on any
step function. This file knows no task and no browser.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from universe2.core.screen import ARROWS, BUTTONS, KEYS, POINTER
from universe2.envs.web.page import OPTIONS, SIZE

Element = dict[str, Any]
Point = tuple[float, float]
"""(x, y) in pixels"""

STEP_MS = cast(int, OPTIONS["step_ms"])
"""solvers that wait count on the usual page time per step"""


@dataclass(frozen=True)
class Look:
    """What a solver sees: the task's text, the page's elements as in ``info["elements"]``, the picture."""

    instruction: str
    elements: Sequence[Element]
    screen: np.ndarray = field(default_factory=lambda: np.zeros((*SIZE, 3), np.uint8))
    """uint8 (height, width, 3) of the page, (210, 160, 3) for MiniWoB++"""

    def all(self, cls: str = "", **wanted: Any) -> list[Element]:
        """The elements of a class (one of those it has) whose attributes are as wanted, in page order."""
        return [
            element
            for element in self.elements
            if (not cls or cls in element["classes"].split())
            and all(element[name] == value for name, value in wanted.items())
        ]

    def find(self, cls: str = "", **wanted: Any) -> Element:
        """The first of ``all``. Raises LookupError if there is none."""
        found = self.all(cls, **wanted)
        if not found:
            raise LookupError(f"no element with {cls} {wanted} on the page of {self.instruction!r}")
        return found[0]

    def has(self, cls: str = "", **wanted: Any) -> bool:
        return bool(self.all(cls, **wanted))


Play = Generator[np.ndarray, Look, Any]
Moves = Generator[np.ndarray, Look, Look]
Solver = Callable[[Look], Play]


def middle(element: Element) -> Point:
    return element["left"] + element["width"] / 2, element["top"] + element["height"] / 2


def contains(element: Element, point: Point, margin: float = 0.0) -> bool:
    """Whether a point is in an element's box, at least ``margin`` pixels from its edges."""
    x, y = point[0] - element["left"], point[1] - element["top"]
    return margin <= x <= element["width"] - margin and margin <= y <= element["height"] - margin


def level(row: Element, part: Element) -> bool:
    """Whether the middle of ``part`` is at the height of ``row``."""
    return bool(row["top"] <= middle(part)[1] <= row["top"] + row["height"])


def cell(point: Point) -> tuple[int, int]:
    """The pointer cell (column, row) that a point is in."""
    height, width = SIZE
    column, row = point[0] / width * POINTER, point[1] / height * POINTER
    return int(np.clip(column, 0, POINTER - 1)), int(np.clip(row, 0, POINTER - 1))


def landing(point: Point) -> Point:
    """Where the pointer really is when it is sent to a point: the middle of the cell."""
    column, row = cell(point)
    return (column + 0.5) / POINTER * SIZE[1], (row + 0.5) / POINTER * SIZE[0]


def act(
    point: Point | None = None, button: str = "none", key: str = "none", arrow: str = "none"
) -> np.ndarray:
    """A screen action. Without a point the pointer rests in the corner, where no page has anything."""
    column, row = cell(point) if point is not None else (POINTER - 1, POINTER - 1)
    return np.array(
        [ARROWS.index(arrow), KEYS.index(key), column, row, BUTTONS.index(button)], dtype=np.int64
    )


def click(target: Element | Point, button: str = "click") -> np.ndarray:
    """A click on a point, or on the middle of an element."""
    return act(target if isinstance(target, tuple) else middle(target), button)


def hover(target: Element | Point) -> np.ndarray:
    return click(target, "none")


def clear_point(element: Element, above: Sequence[Element]) -> Point:
    """The point of ``element`` farthest from its edges where none of ``above`` covers it."""
    xs = np.arange(0.5, POINTER) / POINTER * SIZE[1]
    ys = np.arange(0.5, POINTER) / POINTER * SIZE[0]
    inside = [(x, y) for x in xs for y in ys if contains(element, (x, y), 1)]
    free = [point for point in inside if not any(contains(other, point, -1) for other in above)]
    if not free:
        raise LookupError(f"{element['tag']} {element['text']!r} is covered all over")
    mx, my = middle(element)
    return min(free, key=lambda point: abs(point[0] - mx) + abs(point[1] - my))


def wait(steps: int, at: Point | None = None) -> Moves:
    """Do nothing for some steps (at least one), the pointer resting at a point."""
    for _ in range(steps):
        look = yield act(at)
    return look


def settle(look: Look, at: Point | None = None) -> Moves:
    """Wait until nothing moves any more (3 s at most)."""
    for _ in range(30):
        before = look
        look = yield act(at)
        if [middle(e) for e in before.elements] == [middle(e) for e in look.elements]:
            break
    return look


def drag(path: Sequence[Point]) -> Moves:
    """Press at the first point, move through the others, release at the last."""
    yield act(path[0], "press")
    for point in path[1:]:
        yield act(point)
    return (yield act(path[-1], "release"))


_SHIFTED = {'"': "'", "#": "3", ">": ".", "<": ","}
"""characters that are no keys of their own, and the key that gives them together with Shift"""


def type_text(text: str, at: Point | None = None) -> Moves:
    """Type ``text``, one key per step (two for a capital), with the pointer resting at a point."""
    for character in text:
        key = _SHIFTED.get(character, character.lower())
        if character != key:
            yield act(at, key="Shift")
        look = yield act(at, key="Space" if key == " " else key)
    return look


def fill(field_: Element, text: str) -> Moves:
    """Click on a field and type."""
    look = yield click(field_)
    return (yield from type_text(text, middle(field_))) if text else look


def scroll_to(look: Look, frame: Element, wanted: Callable[[Look], Sequence[Element]]) -> Moves:
    """Turn the wheel over ``frame`` until the middle of one of ``wanted`` is well inside it."""
    for _ in range(60):
        found = wanted(look)
        if in_sight(frame, found):
            return look
        above = bool(found) and middle(found[0])[1] < frame["top"] + frame["height"] / 2
        look = yield act(middle(frame), "wheel-up" if above else "wheel-down")
    raise LookupError(f"scrolling does not bring it into sight: {look.instruction!r}")


def scroll_down(look: Look, frame: Element) -> Moves:
    """Turn the wheel over ``frame`` until nothing moves any more."""
    while True:
        before = look
        look = yield act(middle(frame), "wheel-down")
        if [e["top"] for e in before.elements] == [e["top"] for e in look.elements]:
            return look


def in_sight(frame: Element, elements: Sequence[Element], margin: float = 6.0) -> list[Element]:
    """Those elements whose middle is inside ``frame``."""
    return [element for element in elements if contains(frame, middle(element), margin)]


def on_page(size: tuple[int, int], solver: Solver) -> Solver:
    """``solver`` for pages of ``size`` (height, width): it sees elements as if the page had SIZE, so that all
    that is known about pointing holds."""

    def solve(look: Look) -> Play:
        moves = solver(_scaled(look, size))
        with contextlib.suppress(StopIteration):
            action = next(moves)
            while True:
                action = moves.send(_scaled((yield action), size))

    return solve


def _scaled(look: Look, size: tuple[int, int]) -> Look:
    down, right = SIZE[0] / size[0], SIZE[1] / size[1]
    factors = {"left": right, "width": right, "top": down, "height": down}
    elements = [e | {name: e[name] * factor for name, factor in factors.items()} for e in look.elements]
    return replace(look, elements=elements)


def play(solver: Solver, look: Look, step: Callable[[np.ndarray], Look | None]) -> int:
    """Play one episode. ``step`` returns the next look, or None when the episode is over.

    Returns how many actions were taken. Raises LookupError if what the solver needs isn't there.
    """
    moves = solver(look)
    action = next(moves, None)
    taken = 0
    while action is not None:
        taken += 1
        seen = step(action)
        if seen is None:
            break
        try:
            action = moves.send(seen)
        except StopIteration:
            break
    moves.close()
    return taken
