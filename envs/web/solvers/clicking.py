"""Solvers for tasks of a few plain clicks: buttons, links, dialogs, fields, cards."""

from __future__ import annotations

import re
from collections.abc import Callable

from universe2.envs.web.solvers.acting import STEP_MS, Look, Play, Solver, clear_point, click, wait
from universe2.envs.web.solvers.reading import numbers, ordinal, quoted


def any_button(look: Look) -> Play:
    yield click(look.find(tag="button"))


def named_buttons(look: Look) -> Play:
    """Click the buttons that the instruction names in capitals, where no other button covers them."""
    for name in re.findall(r"\b(ONE|TWO)\b", look.instruction):
        button = look.find(tag="button", text=name)
        others = look.all(tag="button")
        look = yield click(clear_point(button, others[others.index(button) + 1 :]))


def button_delay(look: Look) -> Play:
    one, two = look.find(tag="button", text="ONE"), look.find(tag="button", text="TWO")
    yield click(clear_point(one, [two]))
    yield from wait(numbers(look.instruction)[0] * 1000 // STEP_MS - 1)
    yield click(two)


def quoted_button(look: Look) -> Play:
    # As the page writes it: the instruction's alphabet is ASCII only.
    wanted = quoted(look.find(id="query")["text"])[0]
    yield click(look.find(tag="button", text=wanted))


def quoted_link(look: Look) -> Play:
    yield click(look.find("alink", text=quoted(look.instruction)[0]))


def close_dialog(look: Look) -> Play:
    yield click(look.find("ui-dialog-titlebar-close"))


def dialog_button(look: Look) -> Play:
    wanted = quoted(look.instruction)[0]
    if wanted == "x":
        yield from close_dialog(look)
    else:
        yield click(look.find(tag="button", text=wanted))


def widget(look: Look) -> Play:
    kind = quoted(look.instruction)[0]
    tags = {"textarea": {"tag": "textarea"}, "button": {"tag": "button"}, "text": {"type": "input"}}
    yield click(look.find(**tags.get(kind, {"type": kind})))


def focus_field(look: Look) -> Play:
    fields = look.all(tag="input")
    yield click(fields[ordinal(look.instruction)] if len(fields) > 1 else fields[0])


def greatest_card(look: Look) -> Play:
    values = {}
    for index in range(len(look.all("card"))):
        card = look.all("card")[index]
        look = yield click(card)
        values[int(look.find("card-value")["text"])] = index
    look = yield click(look.all("card")[values[max(values)]])
    yield click(look.find(id="submit"))


def generate_number(look: Look) -> Play:
    text = look.instruction
    bound = numbers(text)
    fits: dict[str, Callable[[int], bool]] = {
        "less": lambda n: n < bound[0],
        "greater": lambda n: n > bound[0],
        "odd": lambda n: n % 2 == 1,
        "even": lambda n: n % 2 == 0,
    }
    good = next(test for word, test in fits.items() if word in text)
    while not ((shown := look.find(id="display-number")["text"]).isdigit() and good(int(shown))):
        look = yield click(look.find(id="generate"))
    yield click(look.find(id="submit"))


def odd_or_even(look: Look) -> Play:
    for row, number in enumerate(look.all("display-number")):
        wanted = "odd" if int(number["text"]) % 2 else "even"
        look = yield click(look.all(wanted)[row])
    yield click(look.find(id="submit"))


def stock_market(look: Look) -> Play:
    limit = float(look.instruction.rpartition("$")[2].rstrip("."))
    while True:
        shown = look.all(id="stock-price")
        if shown and float(shown[0]["text"].lstrip("$")) <= limit:
            break
        look = yield from wait(1)
    yield click(look.find(id="buy"))


def ascending_numbers(look: Look) -> Play:
    labels = sorted(look.all(tag="text"), key=lambda label: int(label["text"]))
    for label in labels:
        yield click(label)


SOLVERS: dict[str, Solver] = {
    "ascending-numbers": ascending_numbers,
    "button-delay": button_delay,
    "click-button": quoted_button,
    "click-button-sequence": named_buttons,
    "click-dialog": close_dialog,
    "click-dialog-2": dialog_button,
    "click-link": quoted_link,
    "click-test": any_button,
    "click-test-2": named_buttons,
    "click-test-transfer": named_buttons,
    "click-widget": widget,
    "find-greatest": greatest_card,
    "focus-text": focus_field,
    "focus-text-2": focus_field,
    "generate-number": generate_number,
    "odd-or-even": odd_or_even,
    "stock-market": stock_market,
    "unicode-test": quoted_button,
}
