"""Solvers for dragging: boxes, lists to sort, shapes to collect, corners to pull, a cube to turn."""

from __future__ import annotations

import re

from universe2.envs.web.solvers.acting import (
    Element,
    Look,
    Play,
    Point,
    Solver,
    act,
    click,
    contains,
    drag,
    middle,
    settle,
    wait,
)
from universe2.envs.web.solvers.reading import colour, named_colour, numbers, quoted, submit

_WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_SHAPES = ("rect", "circle", "polygon")


def sort_path(item: Element, goal: Element) -> list[Point]:
    """From an item of a sortable list to another's place: up or down first, then to the side.

    Such a list makes room when the pointer enters the far half of an item.
    """
    (x, y), (u, v) = middle(item), middle(goal)
    down, right = (v > y) - (v < y), (u > x) - (u < x)
    path = [(x, y)]
    if abs(v - y) > 5:
        path += [(x, y + 4 * down), (x, v - 3 * down), (x, v + down * goal["height"] / 4)]
    if abs(u - x) > 5:
        y = path[-1][1]
        path += [(x + 4 * right, y), (u - 3 * right, y), (u + right * goal["width"] / 4, y)]
    return path


def drag_box(look: Look) -> Play:
    small, large = look.find(id="draggableSmall"), look.find(id="draggableLarge")
    (x, y), (u, v) = middle(small), middle(large)
    look = yield from drag([(x, y), ((x + u) / 2, (y + v) / 2), (u, v)])
    yield click(submit(look))


def drag_one_way(look: Look) -> Play:
    """Drag the only shape some way."""
    shape = next(e for e in look.elements if e["tag"] in _SHAPES)
    way = next(w for w in _WAYS if w in look.instruction.split())
    (x, y), (dx, dy) = middle(shape), _WAYS[way]
    look = yield from drag([(x, y), (x + 10 * dx, y + 10 * dy), (x + 25 * dx, y + 25 * dy)])
    yield click(submit(look))


def collect_shapes(look: Look) -> Play:
    """Drag the shapes asked for into the box; with two boxes, the others into the second."""
    boxes = look.all(id="shape-container")
    word = look.instruction.split()[2]
    shapes = [e for e in look.elements if e["tag"] in _SHAPES and e not in boxes]
    for shape in shapes:
        mine = _is(shape, word)
        if mine or len(boxes) == 2:
            x, y = middle(boxes[0 if mine else 1])
            look = yield from drag([middle(shape), (x, y + 10), (x + 3, y + 3)])
    yield click(submit(look))


def _is(shape: Element, word: str) -> bool:
    tags = {"rectangles": "rect", "circles": "circle", "triangles": "polygon"}
    return bool(shape["tag"] == tags[word]) if word in tags else colour(shape) == named_colour(word)


def sort_item(look: Look) -> Play:
    """Drag a name to another place of a list or of a grid three wide."""
    found = re.search(r"^Drag (.*?) (to the|up by|down by|left by|right by) (.*)\.$", look.instruction)
    assert found is not None
    items = look.all("ui-state-default")
    start = _labels(look, items).index(found[1])
    grid = len(items) == 9
    goal = start + {"up by": -1, "down by": 1, "left by": -1, "right by": 1}.get(found[2], 0)
    if grid and found[2] in ("up by", "down by"):
        goal = start + (3 if found[2] == "down by" else -3)
    if found[2] == "to the":
        goal = _grid_place(found[3]) if grid else _list_place(found[3], len(items))
    yield from drag(sort_path(items[start], items[goal]))


def _labels(look: Look, items: list[Element]) -> list[str]:
    """The texts on the items of a list, in its order."""
    written = [e for e in look.all(tag="div") if e["text"]]
    return [next(e["text"] for e in written if contains(item, middle(e))) for item in items]


def _list_place(words: str, count: int) -> int:
    if words in ("top", "bottom"):
        return 0 if words == "top" else count - 1
    return numbers(words)[0] - 1


def _grid_place(words: str) -> int:
    row = 0 if "top" in words else 2 if "bottom" in words else 1
    column = 0 if "left" in words else 2 if "right" in words else 1
    return 3 * row + column


def sort_numbers(look: Look) -> Play:
    """Drag the least number to the top, the next one below it, and so on."""
    for place in range(3):
        items = look.all("ui-state-default")
        values = [int(text) for text in _labels(look, items)]
        least = values.index(min(values[place:]), place)
        if least != place:
            yield from drag(sort_path(items[least], items[place]))
            look = yield from settle(look)
    yield click(submit(look))


def resize(look: Look) -> Play:
    """Pull the lower right corner to one side."""
    x, y = middle(look.find("ui-resizable-se"))
    way = 8 if "larger" in look.instruction else -8
    dx, dy = (way, 0) if "width" in look.instruction else (0, way)
    look = yield from drag([(x + n * dx, y + n * dy) for n in range(3)])
    yield click(submit(look))


# How far the pointer goes in pixels, with the button down, to bring a side to the front.
_TURNS = {"1": (0, -100), "2": (-115, -35), "3": (-40, -35), "4": (36, -35), "5": (115, -35), "6": (0, 40)}


def drag_cube(look: Look) -> Play:
    """The cube turns on when let go, so hold it until it is at rest."""
    dx, dy = _TURNS[quoted(look.instruction)[0]]
    start = (80 - dx / 2, 110 - dy / 2)
    yield act(start)
    yield act(start, "press")
    end = (start[0] + dx, start[1] + dy)
    yield act(end)
    yield from wait(6, end)
    look = yield act(end, "release")
    yield click(submit(look))


SOLVERS: dict[str, Solver] = {
    "drag-box": drag_box,
    "drag-circle": drag_one_way,
    "drag-cube": drag_cube,
    "drag-items": sort_item,
    "drag-items-grid": sort_item,
    "drag-shapes": collect_shapes,
    "drag-shapes-2": collect_shapes,
    "drag-single-shape": drag_one_way,
    "drag-sort-numbers": sort_numbers,
    "resize-textarea": resize,
}
