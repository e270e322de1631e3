"""Solvers for sliders and spinners."""

from __future__ import annotations

from universe2.envs.web.solvers.acting import Element, Look, Moves, Play, Solver, act, click, middle
from universe2.envs.web.solvers.reading import numbers, ordinal, submit


def slide(look: Look, index: int, goal: int) -> Moves:
    """Bring the slider of this index to a value: find its ends, click near the goal, take single steps."""

    def value(seen: Look) -> int:
        shown = [e for e in seen.elements if e["id"].startswith("val")]
        return int(shown[index]["text"])

    track: Element = look.all("ui-slider")[index]
    handle = look.all("ui-slider-handle")[index]
    look = yield click(handle)
    look = yield act(middle(handle), key="Home")
    low = value(look)
    look = yield act(middle(handle), key="End")
    part = (goal - low) / (value(look) - low)
    if "ui-slider-horizontal" in track["classes"].split():
        near = (track["left"] + track["width"] * part, middle(track)[1])
    else:
        near = (middle(track)[0], track["top"] + track["height"] * (1 - part))
    look = yield click(near)
    while (off := value(look) - goal) != 0:
        look = yield act(near, arrow="left" if off > 0 else "right")
    return look


def use_slider(look: Look) -> Play:
    look = yield from slide(look, 0, numbers(look.instruction)[0])
    yield click(submit(look))


def use_sliders(look: Look) -> Play:
    for index, goal in enumerate(numbers(look.instruction)):
        look = yield from slide(look, index, goal)
    yield click(submit(look))


def form_sequence(look: Look) -> Play:
    look = yield from slide(look, 0, numbers(look.instruction)[0])
    look = yield click(look.all(type="checkbox")[ordinal(look.instruction)])
    yield click(submit(look))


def use_spinner(look: Look) -> Play:
    goal = numbers(look.instruction)[0]
    button = look.find("ui-spinner-up" if goal > 0 else "ui-spinner-down")
    for _ in range(abs(goal)):
        look = yield click(button)
    yield click(submit(look))


SOLVERS: dict[str, Solver] = {
    "form-sequence": form_sequence,
    "use-slider": use_slider,
    "use-slider-2": use_sliders,
    "use-spinner": use_spinner,
}
