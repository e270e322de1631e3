"""Solvers for tasks in which something is worked out and typed, or text is edited and copied."""

from __future__ import annotations

import re

import numpy as np

from universe2.envs.web.solvers.acting import (
    Look,
    Moves,
    Play,
    Point,
    Solver,
    act,
    click,
    fill,
    middle,
    type_text,
    wait,
)
from universe2.envs.web.solvers.reading import (
    colour,
    hue,
    inputs,
    named_colour,
    ordinal,
    quoted,
    submit,
)


def answer(look: Look, text: str) -> Play:
    """Type into the only field and send it off."""
    look = yield from fill(inputs(look)[0], text)
    yield click(submit(look))


def enter_text(look: Look) -> Play:
    yield from answer(look, quoted(look.instruction)[0])


def enter_text_2(look: Look) -> Play:
    text = quoted(look.instruction)[0]
    yield from answer(look, text.upper() if "upper case" in look.instruction else text.lower())


def login(look: Look) -> Play:
    """Fill in the fields in order; away with a pop-up when one comes."""
    texts = quoted(look.instruction)
    for index in range(len(inputs(look))):
        look = yield click(inputs(look)[index])
        if look.has(id="popup-cancel"):
            look = yield click(look.find(id="popup-cancel"))
            look = yield click(inputs(look)[index])
        look = yield from type_text(texts[min(index, len(texts) - 1)], middle(inputs(look)[index]))
    yield click(look.find("secondary-action"))


def find_word(look: Look) -> Play:
    word = look.find(tag="p")["text"].split()[ordinal(look.instruction)]
    yield from answer(look, re.sub("[^a-zA-Z]", "", word))


def read_table(look: Look) -> Play:
    """Type the value beside each label that is asked for."""
    cells = [e["text"] for e in look.all(tag="td")]
    table = dict(zip(cells[::2], cells[1::2], strict=True))
    labels = [e["text"].rstrip(":") for e in look.all(tag="label")] or re.findall(
        r"of (.*) into", look.instruction
    )
    for index, label in enumerate(labels):
        look = yield from fill(inputs(look)[index], table[label])
    yield click(submit(look))


def search_movies(look: Look) -> Play:
    found = re.search(r"for (.*) movies directed by (.*) from year (.*)\.", look.instruction)
    assert found is not None
    answers = dict(zip(("genre", "direct", "year", "date"), (*found.groups(), found[3]), strict=True))
    labels = [w for e in look.elements for w in answers if w in e["text"].lower() and e["id"] != "query"]
    for index, label in enumerate(labels):
        look = yield from fill(inputs(look)[index], answers[label])
    yield click([e for e in look.elements if e["text"] in ("Submit", "Search", "Go!")][-1])


def arithmetic(look: Look) -> Play:
    left, sign, right = look.find(id="math-problem")["text"].rstrip(" =").split()
    a, b = int(left), int(right)
    yield from answer(look, str({"+": a + b, "-": a - b, "x": a * b}[sign]))


def algebra(look: Look) -> Play:
    left, sign, right, _, result = look.find(id="math-problem")["text"].split()
    total = int(result)
    if sign == "+":
        x = total - int(right if left == "x" else left)
    else:
        x = total + int(right) if left == "x" else int(left) - total
    yield from answer(look, str(x))


def visual_addition(look: Look) -> Play:
    yield from answer(look, str(len(look.all("addition-block"))))


def text_transform(look: Look) -> Play:
    """The letters stand in a row, each slanted."""
    captcha = look.find(id="captcha")
    letters = [e for e in look.all(tag="span") if len(e["text"]) == 1 and captcha["top"] - 40 < e["top"]]
    yield from answer(look, "".join(e["text"] for e in letters))


def guess_number(look: Look) -> Play:
    low, high = 0, 9
    while True:
        guess = (low + high) // 2
        look = yield click(inputs(look)[0])
        yield act(key="Control+A")
        look = yield from type_text(str(guess))
        look = yield click(submit(look))
        if look.has(id="higher"):
            low = guess + 1
        else:
            high = guess - 1


def scroll_fully(look: Look, wheel: str) -> Moves:
    """Turn the wheel over a long text until the picture stays the same."""
    area = look.find(tag="textarea")
    before = None
    while before is None or not np.array_equal(before, look.screen):
        before = look.screen
        look = yield click(area, wheel)
    return look


def scroll_text(look: Look) -> Play:
    look = yield from scroll_fully(look, "wheel-down")
    last = look.find(tag="textarea")["value"].split()[-1]
    yield from answer(look, re.sub("[^a-zA-Z0-9]", "", last))


def scroll_text_2(look: Look) -> Play:
    look = yield from scroll_fully(look, "wheel-down" if "bottom" in look.instruction else "wheel-up")
    yield click(submit(look))


def sign_agreement(look: Look) -> Play:
    names = quoted(look.instruction)
    if names:
        look = yield from scroll_fully(look, "wheel-down")
        look = yield from fill(look.find(id="name"), names[0])
    yield click(look.find(id="agree" if "Agree" in names else "cancel"))


def terminal(look: Look) -> Play:
    found = re.search(r"extension (\.[a-z.]+)", look.instruction)
    yield click(look.find(id="terminal"))
    yield from type_text("ls")
    look = yield act(key="Enter")
    files = look.all("output")[-1]["text"].split()
    victim = next(f for f in files if (f.endswith(found[1]) if found else "." not in f))
    yield from type_text(f"rm {victim}")
    yield act(key="Enter")


def enter_date(look: Look) -> Play:
    field = look.find(type="date")
    look = yield click((field["left"] + 6, middle(field)[1]))
    look = yield from type_text(re.sub(r"\D", "", look.instruction), middle(field))
    yield click(submit(look))


def enter_time(look: Look) -> Play:
    found = re.search(r"(\d+):(\d+)\s*(AM|PM)", look.instruction)
    assert found is not None
    field = look.find(type="time")
    look = yield click((field["left"] + 6, middle(field)[1]))
    look = yield from type_text(f"{int(found[1]):02d}{found[2]}{found[3][0].lower()}", middle(field))
    yield click(submit(look))


def autocomplete(look: Look) -> Play:
    """Type the beginning, then go down the list that comes up to one with the right end."""
    start, end = (*quoted(look.instruction), "")[:2]
    look = yield from fill(look.find(id="tags"), start.lower())
    look = yield from wait(5)
    value = ""
    while not (value.startswith(start) and value.endswith(end)):
        look = yield act(arrow="down")
        value = look.find(id="tags")["value"]
    look = yield act(key="Enter")
    yield click(submit(look))


def copy_paste(look: Look) -> Play:
    areas = look.all(tag="textarea")
    look = yield click(areas[ordinal(look.instruction) if len(areas) > 1 else 0])
    yield act(key="Control+A")
    yield act(key="Control+C")
    look = yield click(look.find(id="answer-input"))
    look = yield act(key="Control+V")
    yield click(submit(look))


def highlight(look: Look) -> Play:
    """Drag from before the first letter to behind the last."""
    paragraphs = look.all(tag="p")
    paragraph = paragraphs[ordinal(look.instruction)] if paragraphs else look.find(id="randomText")
    left, top = paragraph["left"], paragraph["top"]
    right, bottom = left + paragraph["width"], top + paragraph["height"]
    yield act((left - 3, top + 5), "press")
    yield act((right + 5, bottom - 5))
    look = yield act((right + 5, bottom - 5), "release")
    yield click(submit(look))


_STYLES = {"bold": "ql-bold", "italics": "ql-italic", "underlined": "ql-underline"}
_HUES = {"red": 0, "orange": 36, "yellow": 60, "green": 120, "blue": 210, "purple": 270}


def text_editor(look: Look) -> Play:
    """Select with the keyboard, style with the tool bar."""
    text = look.find(tag="p")
    found = re.search(r"the text (\S+) the", look.instruction)
    words = text["text"].split(" ")
    before = len(" ".join([*words[: words.index(found[1])], ""])) if found else 0
    yield click(text)
    yield act(middle(text), key="Control+A")
    yield act(middle(text), arrow="left")
    for _ in range(before):
        yield act(middle(text), arrow="right")
    look = yield from select_right(len(found[1] if found else text["text"]), middle(text))
    style = look.instruction.removesuffix(" and press Submit.").rstrip(". ").split()[-1]
    if style in _STYLES:
        look = yield click(look.find(_STYLES[style]))
    else:
        look = yield click(look.find("ql-picker-label"))
        strong = [e for e in look.all("ql-picker-item") if max(colour(e)) - min(colour(e)) > 90]
        look = yield click(min(strong, key=lambda e: abs(hue(e) - _HUES[style])))
    yield click(submit(look))


def select_right(count: int, at: Point) -> Moves:
    """Extend the selection by ``count`` characters: each arrow uses Shift up, so it's struck anew."""
    yield act(at, key="Shift")
    for _ in range(count):
        yield act(at, arrow="right", key="Shift")
    return (yield act(at, key="Shift"))


def type_colour(look: Look) -> Play:
    """The colour picker's field takes a colour in hexadecimal digits."""
    shown = look.all("cc")
    name = re.sub(r"^Select | with the color picker.*", "", look.instruction)
    rgb = colour(shown[0]) if shown else named_colour(name)
    look = yield click(look.find(id="col"))
    yield act(middle(look.find(id="col")), key="Control+A")
    yield from type_text("".join(f"{channel:02x}" for channel in rgb), middle(look.find(id="col")))
    look = yield click(look.find(id="query"))  # the picker closes
    yield click(submit(look))


SOLVERS: dict[str, Solver] = {
    "copy-paste": copy_paste,
    "copy-paste-2": copy_paste,
    "enter-date": enter_date,
    "enter-password": login,
    "enter-text": enter_text,
    "enter-text-2": enter_text_2,
    "enter-text-dynamic": enter_text,
    "enter-time": enter_time,
    "find-word": find_word,
    "guess-number": guess_number,
    "highlight-text": highlight,
    "highlight-text-2": highlight,
    "login-user": login,
    "login-user-popup": login,
    "multi-layouts": search_movies,
    "multi-orderings": search_movies,
    "read-table": read_table,
    "read-table-2": read_table,
    "scroll-text": scroll_text,
    "scroll-text-2": scroll_text_2,
    "sign-agreement": sign_agreement,
    "simple-algebra": algebra,
    "simple-arithmetic": arithmetic,
    "terminal": terminal,
    "text-editor": text_editor,
    "text-transform": text_transform,
    "use-autocomplete": autocomplete,
    "use-autocomplete-nodelay": autocomplete,
    "use-colorwheel": type_colour,
    "use-colorwheel-2": type_colour,
    "visual-addition": visual_addition,
}
