"""Scripted solvers: reference players for a few tasks, through the public actions alone.

A solver is a generator: it is given what the page looks like, yields one screen action at a
time and is sent what the page looks like then. It needs the option ``elements=True`` and the
native interface. ``play`` drives one on any step function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from universe2.core.screen import BUTTONS, KEYS, POINTER
from universe2.envs.web.page import SIZE

Element = dict[str, Any]


class Look(NamedTuple):
    """What a solver sees: the task's text, and the page's elements as in ``info["elements"]``."""

    instruction: str
    elements: Sequence[Element]

    def find(self, **wanted: str) -> Element:
        """The first element whose attributes are as wanted, e.g. ``tag="button", text="Ok"``."""
        for element in self.elements:
            if all(element[name] == value for name, value in wanted.items()):
                return element
        raise LookupError(f"no element with {wanted} on the page of {self.instruction!r}")


Play = Generator[np.ndarray, Look, None]
Solver = Callable[[Look], Play]


def click(element: Element, button: str = "click") -> np.ndarray:
    """A click on the middle of an element, as a screen action."""
    return at(element["left"] + element["width"] / 2, element["top"] + element["height"] / 2, button)


def at(x: float, y: float, button: str) -> np.ndarray:
    """``button`` at the pointer cell nearest to a point in pixels."""
    height, width = SIZE
    column, row = (int(np.clip(v, 0, POINTER - 1)) for v in (x / width * POINTER, y / height * POINTER))
    return np.array([0, 0, column, row, BUTTONS.index(button)], np.int64)


def type_text(text: str, over: Element) -> Play:
    """Type ``text``, one key per step, with the pointer resting on ``over``."""
    resting = click(over, "none")
    for character in text:
        if character.isupper():
            yield from strike("Shift", resting)
        yield from strike("Space" if character == " " else character.lower(), resting)


def strike(key: str, resting: np.ndarray) -> Play:
    action = resting.copy()
    action[1] = KEYS.index(key)
    yield action


def quoted(text: str) -> list[str]:
    """The parts of an instruction that stand in double quotes."""
    return re.findall(r'"([^"]*)"', text)


def click_test(look: Look) -> Play:
    yield click(look.find(tag="button"))


def click_test_2(look: Look) -> Play:
    yield click(look.find(tag="button", text="ONE"))


def click_button(look: Look) -> Play:
    wanted = quoted(look.instruction)[0]
    yield click(look.find(tag="button", text=wanted))


def click_link(look: Look) -> Play:
    yield click(look.find(classes="alink", text=quoted(look.instruction)[0]))


def click_dialog(look: Look) -> Play:
    closer = next(e for e in look.elements if "ui-dialog-titlebar-close" in e["classes"])
    yield click(closer)


def focus_text(look: Look) -> Play:
    yield click(look.find(tag="input", type="text"))


def click_button_sequence(look: Look) -> Play:
    for name in ("ONE", "TWO"):
        look = yield click(look.find(tag="button", text=name))


def enter_text(look: Look) -> Play:
    field = look.find(tag="input", type="text")
    yield click(field)
    yield from type_text(quoted(look.instruction)[0], field)
    yield click(look.find(tag="button"))


def enter_password(look: Look) -> Play:
    for field in [e for e in look.elements if e["type"] == "password"]:
        yield click(field)
        yield from type_text(quoted(look.instruction)[0], field)
    yield click(look.find(tag="button"))


def login_user(look: Look) -> Play:
    fields = [e for e in look.elements if e["tag"] == "input"]
    for field, text in zip(fields, quoted(look.instruction), strict=False):
        yield click(field)
        yield from type_text(text, field)
    yield click(look.find(tag="button"))


def click_checkboxes(look: Look) -> Play:
    wanted = re.sub(r"^Select | and click Submit\.$", "", look.instruction).split(", ")
    labels = [e for e in look.elements if e["tag"] == "label" and e["text"] in wanted]
    for label in labels:
        yield click(label)
    yield click(look.find(tag="button"))


def click_option(look: Look) -> Play:
    wanted = re.sub(r"^Select | and click Submit\.$", "", look.instruction)
    yield click(look.find(tag="label", text=wanted))
    yield click(look.find(tag="button"))


SOLVERS: dict[str, Solver] = {
    "web/click-test-v0": click_test,
    "web/click-test-2-v0": click_test_2,
    "web/click-button-v0": click_button,
    "web/click-button-sequence-v0": click_button_sequence,
    "web/click-link-v0": click_link,
    "web/click-dialog-v0": click_dialog,
    "web/click-checkboxes-v0": click_checkboxes,
    "web/click-option-v0": click_option,
    "web/focus-text-v0": focus_text,
    "web/enter-text-v0": enter_text,
    "web/enter-password-v0": enter_password,
    "web/login-user-v0": login_user,
}
"""Environment id → its solver."""


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
