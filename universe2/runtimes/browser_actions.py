"""Structured actions, carried out on a page: the elements are looked up there, the input is real.

Clicks and keys go the way of the screen interface's. What can't be done is told in words and does
nothing. What the verbs mean is in ``universe2.envs.web.actions``.
"""

from __future__ import annotations

import json
from typing import Any

from universe2.envs.web.actions import VERBS
from universe2.runtimes.browser_input import WHEEL_PIXELS, Command, InputState
from universe2.runtimes.browser_page import EpisodePage

_BUTTONS = {
    "click": "click",
    "double_click": "double-click",
    "right_click": "right-click",
    "control_click": "click",
    "hover": "none",
    "type": "click",
}
_PUT = ("date", "time", "month", "week", "datetime-local", "range", "color")
"""inputs that ``type`` gives their value at once: keys would fill them badly, or not at all"""
_SCROLLS = {
    "up": (0, -WHEEL_PIXELS),
    "down": (0, WHEEL_PIXELS),
    "left": (-WHEEL_PIXELS, 0),
    "right": (WHEEL_PIXELS, 0),
}


async def carry_out(action: dict[str, Any], page: EpisodePage, state: InputState) -> str:
    """Do what ``action`` says; why it could not be done, or ""."""
    verb, ref, text = VERBS[int(action["verb"])], int(action["ref"]), str(action["text"])
    if verb == "wait":
        return ""
    if verb == "press":
        try:
            commands = state.strike(text)
        except ValueError as error:
            return str(error)
        await page.act(commands)
        return ""
    if verb == "scroll":
        return await _scroll(page, ref, text)
    found = await page.locate(ref)
    if "error" in found:
        return str(found["error"])
    if verb == "select":
        return await _told(page, "choose", ref, text)
    if verb == "drag":
        return await _drag(page, state, found, text)
    if verb == "type" and found["kind"] in _PUT:
        return await _told(page, "put", ref, text)
    if verb == "type" and not found["editable"]:
        return f"element {ref} ({found['tag']}) is no field to type into"
    await page.act(state.at(found["x"], found["y"], _BUTTONS[verb], control=verb == "control_click"))
    if verb == "type":
        clear: list[Command] = [*state.strike("Control+a"), *state.strike("Backspace")]
        await page.act([*(clear if found["filled"] else []), *state.typed(text)])
        if found["kind"] == "number":
            return await _told(page, "taken", ref, text)
    return ""


async def _told(page: EpisodePage, name: str, ref: int, text: str) -> str:
    """Call a function of browser_look.js; the error it returns, or ""."""
    told: dict[str, Any] = await page.evaluate(f"__universe2.{name}({ref}, {json.dumps(text)})")
    return str(told.get("error", ""))


async def _scroll(page: EpisodePage, ref: int, direction: str) -> str:
    if direction not in _SCROLLS:
        return f"scroll: direction must be one of {', '.join(_SCROLLS)}, got {direction!r}"
    x, y = _SCROLLS[direction]
    told: dict[str, Any] = await page.evaluate(f"__universe2.scroll({ref}, {y}, {x})")
    return str(told.get("error", ""))


async def _drag(page: EpisodePage, state: InputState, start: dict[str, Any], to: str) -> str:
    if not to.isdigit():
        return f"drag: to must be an element's number, got {to!r}"
    end = await page.locate(int(to))
    if "error" in end:
        return str(end["error"])
    half = (start["x"] + end["x"]) / 2, (start["y"] + end["y"]) / 2
    await page.act(
        [
            *state.at(start["x"], start["y"], "press"),
            *state.at(*half, "none"),
            *state.at(end["x"], end["y"], "none"),
            *state.at(end["x"], end["y"], "release"),
        ]
    )
    return ""
