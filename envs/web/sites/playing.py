"""Player: a site's solution, carried out with screen actions. Knows no site and no browser.

It looks for what a move names on the page and turns the wheel if it isn't in sight. What it has done it
doesn't do again: after a slip of whoever follows it, it begins its present move anew.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np

from universe2.envs.web.page import SIZE
from universe2.envs.web.site import Move
from universe2.envs.web.solvers.acting import (
    Element,
    Look,
    Play,
    act,
    click,
    contains,
    middle,
    type_text,
)

_WINDOW: Element = {"left": 0, "top": 0, "width": SIZE[1], "height": SIZE[0]}
_TURNS = 12
"""of the wheel: more than any of our pages is long"""
_FIELDS = ("input", "textarea", "select")


class Player:
    """The Solver of one episode. ``solution`` names what is on the page by its visible names."""

    def __init__(self, solution: tuple[Move, ...]) -> None:
        self._left = list(solution)

    def __call__(self, look: Look) -> Play:
        while self._left:
            verb, name, *rest = self._left[0]
            look = yield from _VERBS[verb](look, name, *rest)
            self._left.pop(0)


def _click(look: Look, name: str) -> Generator[np.ndarray, Look, Look]:
    target = yield from _find(look, name, _targets)
    return (yield click(target))


def _type(look: Look, name: str, text: str) -> Generator[np.ndarray, Look, Look]:
    field = yield from _find(look, name, _fields)
    yield click(field)
    look = yield act(middle(field), key="Control+A")
    return (yield from type_text(text, middle(field)))


def _select(look: Look, name: str, option: str) -> Generator[np.ndarray, Look, Look]:
    """With the keyboard: a click opens no list (see browser_page.js), but the field has the focus then."""
    field = yield from _find(look, name, _fields)
    look = yield click(field)
    look = yield act(middle(field), key="Home")
    while (now := _fields(look, name)[0]["value"]) != option:
        look = yield act(middle(field), arrow="down")
        if _fields(look, name)[0]["value"] == now:
            raise LookupError(f"{name} has no option {option!r}")
    return look


_VERBS: dict[str, Callable[..., Generator[np.ndarray, Look, Look]]] = {
    "click": _click,
    "type": _type,
    "select": _select,
}


def _find(
    look: Look, name: str, among: Callable[[Look, str], list[Element]]
) -> Generator[np.ndarray, Look, Element]:
    """The first of ``among``, once it is in sight. Raises LookupError."""
    for _ in range(_TURNS):
        found = among(look, name)
        if found and contains(_WINDOW, middle(found[0]), 1):
            return found[0]
        above = bool(found) and middle(found[0])[1] < SIZE[0] / 2
        look = yield act(middle(_WINDOW), "wheel-up" if above else "wheel-down")
    raise LookupError(f"there is no {name!r} on the page of {look.instruction!r}")


def _targets(look: Look, name: str) -> list[Element]:
    """Links and buttons of a name."""
    return [e for e in look.elements if e["tag"] in ("a", "button") and (e["label"] or e["text"]) == name]


def _fields(look: Look, name: str) -> list[Element]:
    """The fields with a label, or in one."""
    fields = [e for e in look.elements if e["tag"] in _FIELDS and e["label"] == name]
    for label in look.all(tag="label", text=name):
        fields += [e for e in look.elements if e["tag"] in _FIELDS and contains(label, middle(e))]
    return fields
