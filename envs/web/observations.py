"""What can be seen of a page besides its screenshot: spaces and encodings. Knows no browser.

``observe`` names the parts, separated by commas. Each is a part of the observation:

- ``elements``: a table of what is in sight, ``MAX_ELEMENTS`` rows, of which the first ``count`` count:
  ``ref`` int32 (E,), a stable number of the element within the episode, 0 in empty rows; ``tag``
  and ``role`` uint8 (E,), places in ``TAGS`` and ``ROLES`` (0: something else); ``box`` int16 (E, 4),
  left, top, width, height in pixels; ``state`` uint8 (E, 6), a flag for each of ``STATES``;
  ``text`` uint8 (E, 80), the accessible name or text, and ``value`` uint8 (E, 40), both UTF-8 padded
  with zeros (``decode`` gives strings); ``count`` int32.
- ``axtree``: the accessibility tree as text, a line per element, ``[ref] role "name" states``. Of one too
  long, lines in sight come before others, and the last line says how many are left out.
- ``marks``: the screenshot with a numbered box around each element of the table that can be
  acted on (set of marks), uint8 (H, W, 3); the numbers are refs.
- ``focus``: the ref of the focused element, or 0; int32.
- ``url``: the page's address.
- ``fields``: what the instruction names, as a JSON object of texts such as ``{"month": "2"}``; ``{}`` where
  the task names nothing.

Of the page's characters the table keeps all; in the other texts a question mark stands for whatever isn't
printable ASCII.

Suffixes: E rows of the table, C characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.screen import CHARSET, plain

PARTS = ("elements", "axtree", "marks", "focus", "url", "fields")
MAX_ELEMENTS = 128
TEXT_BYTES, VALUE_BYTES = 80, 40
TREE_LENGTH, URL_LENGTH, FIELDS_LENGTH = 16_384, 2_048, 4_096
TAGS = (
    "", "a", "button", "input", "select", "option", "textarea", "label", "div", "span", "p", "h1", "h2", "h3",
    "h4", "h5", "h6", "ul", "ol", "li", "table", "tr", "td", "th", "img", "svg", "rect", "circle", "polygon",
    "path", "line", "text", "canvas", "form", "nav", "main", "header", "footer", "section", "article",
)  # fmt: skip
ROLES = (
    "", "button", "link", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox", "option",
    "slider", "spinbutton", "switch", "tab", "tabpanel", "menu", "menuitem", "menubar", "dialog", "alert",
    "status", "heading", "list", "listitem", "table", "row", "cell", "columnheader", "rowheader", "gridcell",
    "img", "image", "form", "navigation", "main", "banner", "region", "group", "paragraph", "generic",
    "progressbar", "tree", "treeitem", "separator", "LabelText", "date", "time",
)  # fmt: skip
OUT_OF_SIGHT = "(out of sight)"
"""at the end of a line of the tree (see browser_look.js)"""
STATES = ("focused", "checked", "disabled", "selected", "expanded", "editable")
ACTIONABLE = frozenset(ROLES[1:14]) | {"menuitem", "treeitem", "date", "time"}
Look = Mapping[str, Any]
"""what the page tells of itself: ``rows``, ``tree``, ``focus``, ``url``; and the task's ``fields``"""


def parts_of(observe: str) -> tuple[str, ...]:
    """The names in ``observe``. Raises ValueError, which lists what there is."""
    names = tuple(name.strip() for name in observe.split(",") if name.strip())
    for name in names:
        if name not in PARTS:
            raise ValueError(f"there is no part {name!r}; the parts are {', '.join(PARTS)}")
    return names


def extra_spaces(parts: Sequence[str], size: tuple[int, int]) -> dict[str, spaces.Space[Any]]:
    """The spaces of ``parts``; ``size`` is that of the screenshot."""
    rows = MAX_ELEMENTS
    every: dict[str, spaces.Space[Any]] = {
        "elements": spaces.Dict(
            {
                "count": spaces.Box(0, rows, (), np.int32),
                "ref": spaces.Box(0, 2**31 - 1, (rows,), np.int32),
                "tag": spaces.Box(0, len(TAGS) - 1, (rows,), np.uint8),
                "role": spaces.Box(0, len(ROLES) - 1, (rows,), np.uint8),
                "box": spaces.Box(-(2**15), 2**15 - 1, (rows, 4), np.int16),
                "state": spaces.Box(0, 1, (rows, len(STATES)), np.uint8),
                "text": spaces.Box(0, 255, (rows, TEXT_BYTES), np.uint8),
                "value": spaces.Box(0, 255, (rows, VALUE_BYTES), np.uint8),
            }
        ),
        "axtree": spaces.Text(TREE_LENGTH, min_length=0, charset=CHARSET),
        "marks": spaces.Box(0, 255, (*size, 3), np.uint8),
        "focus": spaces.Box(0, 2**31 - 1, (), np.int32),
        "url": spaces.Text(URL_LENGTH, min_length=0, charset=CHARSET),
        "fields": spaces.Text(FIELDS_LENGTH, min_length=2, charset=CHARSET),
    }
    return {name: every[name] for name in PARTS if name in parts}


def extra_observation(parts: Sequence[str], look: Look) -> dict[str, Any]:
    """The values of ``parts`` but ``marks``, which is a picture."""
    found: dict[str, Any] = {}
    if "elements" in parts:
        found["elements"] = table(look["rows"])
    if "axtree" in parts:
        found["axtree"] = fitted(plain(look["tree"]))
    if "focus" in parts:
        found["focus"] = np.array(look["focus"], np.int32)
    if "url" in parts:
        found["url"] = plain(look["url"])[:URL_LENGTH]
    if "fields" in parts:
        found["fields"] = json.dumps(look["fields"])
        if len(found["fields"]) > FIELDS_LENGTH:
            raise ValueError(
                f"the fields take {len(found['fields'])} characters, at most {FIELDS_LENGTH} fit"
            )
    return found


def fitted(tree: str) -> str:
    """``tree``, or those of its lines that fit: what is in sight before what isn't, in the page's order."""
    if len(tree) <= TREE_LENGTH:
        return tree
    lines = tree.split("\n")
    room, kept = TREE_LENGTH - len(_left_out(len(lines))), set[int]()
    for number in sorted(range(len(lines)), key=lambda number: lines[number].endswith(OUT_OF_SIGHT)):
        room -= len(lines[number]) + 1
        if room < 0:
            break
        kept.add(number)
    return "\n".join([*(lines[number] for number in sorted(kept)), _left_out(len(lines) - len(kept))])


def _left_out(count: int) -> str:
    return f"... {count} more elements"


def table(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Rows as the page gives them → arrays of fixed shape."""
    rows = rows[:MAX_ELEMENTS]
    found: dict[str, np.ndarray] = {
        "count": np.array(len(rows), np.int32),
        "ref": np.zeros(MAX_ELEMENTS, np.int32),
        "tag": np.zeros(MAX_ELEMENTS, np.uint8),
        "role": np.zeros(MAX_ELEMENTS, np.uint8),
        "box": np.zeros((MAX_ELEMENTS, 4), np.int16),
        "state": np.zeros((MAX_ELEMENTS, len(STATES)), np.uint8),
        "text": np.zeros((MAX_ELEMENTS, TEXT_BYTES), np.uint8),
        "value": np.zeros((MAX_ELEMENTS, VALUE_BYTES), np.uint8),
    }
    for index, row in enumerate(rows):
        found["ref"][index] = row["ref"]
        found["tag"][index] = TAGS.index(row["tag"]) if row["tag"] in TAGS else 0
        found["role"][index] = ROLES.index(row["role"]) if row["role"] in ROLES else 0
        found["box"][index] = np.clip(np.round(row["box"]), -(2**15), 2**15 - 1)
        found["state"][index] = [name in row["states"] for name in STATES]
        _encode(row["text"], found["text"][index])
        _encode(row["value"], found["value"][index])
    return found


def decode(text_C: np.ndarray) -> str:
    """A row of ``text`` or ``value`` as a string."""
    return bytes(text_C).rstrip(b"\0").decode("utf-8", "ignore")


def _encode(text: str, into_C: np.ndarray) -> None:
    data = text.encode()[: len(into_C)].decode("utf-8", "ignore").encode()
    into_C[: len(data)] = np.frombuffer(data, np.uint8)
