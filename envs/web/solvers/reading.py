"""Reading: what instructions and pages say, as words, numbers, colours and names. No actions."""

from __future__ import annotations

import colorsys
import re

from PIL import ImageColor

from universe2.envs.web.solvers.acting import Element, Look

Colour = tuple[int, ...]


def quoted(text: str) -> list[str]:
    """The parts of an instruction that stand in double quotes."""
    return re.findall(r'"([^"]*)"', text)


def numbers(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"-?\d+", text)]


def ordinal(text: str) -> int:
    """The index (from 0) that "1st", "2nd", … in a text stands for."""
    return int(_only(r"(\d+)(?:st|nd|rd|th)", text)) - 1


def between(before: str, after: str, text: str) -> str:
    """What stands between two pieces of text."""
    return _only(re.escape(before) + "(.*?)" + re.escape(after), text)


def listed(text: str) -> list[str]:
    """The items of "Select a, b and click Submit."."""
    frame = r"^Select (words similar to )?| (from the (scroll )?list )?and click Submit\.$"
    return re.sub(frame, "", text).split(", ")


def colour(element: Element) -> Colour:
    """(r, g, b) of an element's surface."""
    return tuple(numbers(element["color"])[:3])


def named_colour(name: str) -> Colour:
    """(r, g, b) of a colour's name. Raises ValueError for a word that names none."""
    return tuple(ImageColor.getrgb(name)[:3])


def hue(element: Element) -> float:
    """The hue of an element's surface in degrees."""
    r, g, b = (channel / 255 for channel in colour(element))
    return colorsys.rgb_to_hsv(r, g, b)[0] * 360


def inputs(look: Look) -> list[Element]:
    """The text fields, in page order."""
    kinds = ("", "text", "password", "number")
    return [e for e in look.all(tag="input") if e["type"] in kinds]


def submit(look: Look) -> Element:
    """What sends a form off."""
    words = ("Submit", "Search", "Go!", "Login", "OK", "Order!")
    return next(e for e in look.elements if e["text"] in words and e["tag"] in ("button", "div"))


def _only(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise LookupError(f"{pattern!r} is not in {text!r}")
    return found[1]
