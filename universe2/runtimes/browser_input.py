"""InputState: screen actions, keys and points → DevTools input commands, for one page.

Within a step: the pointer moves, the button acts, the arrows are struck, the key is struck. Key
events are those of a US keyboard. Shift and Control are sticky: they stay down until the next arrow
or key has been struck (or they are chosen again), and clicks meanwhile are shift- or control-clicks.
This file sends nothing and waits for nothing.
"""

from __future__ import annotations

import re
import string
from typing import Any

import numpy as np

from universe2.core.screen import ARROWS, BUTTONS, KEYS, POINTER

Command = tuple[str, dict[str, Any]]
"""(DevTools method, parameters)"""

WHEEL_PIXELS = 50
# name → (bit, code, virtual key code)
_MODIFIERS = {
    "Alt": (1, "AltLeft", 18),
    "Control": (2, "ControlLeft", 17),
    "Meta": (4, "MetaLeft", 91),
    "Shift": (8, "ShiftLeft", 16),
}
_CONTROL, _SHIFT = _MODIFIERS["Control"][0], _MODIFIERS["Shift"][0]

# name → (code, virtual key code, text)
_NAMED = {
    "Space": ("Space", 32, " "),
    "Enter": ("Enter", 13, "\r"),
    "Backspace": ("Backspace", 8, ""),
    "Tab": ("Tab", 9, ""),
    "Escape": ("Escape", 27, ""),
    "Delete": ("Delete", 46, ""),
    "Home": ("Home", 36, ""),
    "End": ("End", 35, ""),
    "PageUp": ("PageUp", 33, ""),
    "PageDown": ("PageDown", 34, ""),
    "up": ("ArrowUp", 38, ""),
    "down": ("ArrowDown", 40, ""),
    "left": ("ArrowLeft", 37, ""),
    "right": ("ArrowRight", 39, ""),
}
_NAMED |= {code: (code, number, "") for code, number, _ in _NAMED.values() if code.startswith("Arrow")}
# plain and shifted character → code, virtual key code
_PUNCTUATION = {
    ".>": ("Period", 190),
    ",<": ("Comma", 188),
    "-_": ("Minus", 189),
    "/?": ("Slash", 191),
    ";:": ("Semicolon", 186),
    "'\"": ("Quote", 222),
    "=+": ("Equal", 187),
    "[{": ("BracketLeft", 219),
    "]}": ("BracketRight", 221),
    "\\|": ("Backslash", 220),
    "`~": ("Backquote", 192),
}
_SHIFTED_DIGITS = ")!@#$%^&*("

FLUSH: Command = ("Input.dispatchKeyEvent", {"type": "char"})
"""A pointer move waits for the next frame, unless another event pushes it through. This one does,
and the page doesn't see it (see browser_page.js)."""


class InputState:
    """What is held down, and where the pointer is."""

    def __init__(self, size: tuple[int, int]) -> None:
        """``size`` is (height, width) in pixels of what the pointer moves over."""
        self._height, self._width = size
        self._point: tuple[float, float] | None = None
        self._held = False
        self._modifiers = 0

    def commands(self, action: np.ndarray) -> list[Command]:
        """``action`` is int (5,): arrows, key, pointer x, pointer y, button (core/screen.py)."""
        arrows, key, column, row, button = (int(part) for part in action)
        x, y = (column + 0.5) / POINTER * self._width, (row + 0.5) / POINTER * self._height
        commands = self.at(x, y, BUTTONS[button])
        strokes = [] if arrows == 0 else list(ARROWS[arrows].split("-"))
        strokes += [] if key == 0 else [KEYS[key]]
        for stroke in strokes:
            commands += self._stroke(stroke)
        return commands

    def at(self, x: float, y: float, button: str, control: bool = False) -> list[Command]:
        """Move the pointer to a point in pixels and do ``button`` there, with Control held if wanted."""
        before = self._modifiers
        self._modifiers |= _CONTROL if control else 0
        commands: list[Command] = []
        if self._point != (x, y):
            self._point = x, y
            commands.append(self._mouse("mouseMoved"))
        done = self._button(button)
        # A press while it is held, or a release while it isn't, is no event: then only the flush helps.
        if commands and not any(method.startswith("Input.") for method, _ in done):
            commands.append(FLUSH)
        self._modifiers = before
        return commands + done

    def strike(self, keys: str) -> list[Command]:
        """Strike a key with modifiers, such as "Control+Shift+Home". Raises ValueError."""
        match = re.fullmatch(r"((?:\w+\+)*)(.+)", keys)
        held, name = (match[1].split("+")[:-1], match[2]) if match else ([], "")
        unknown = [part for part in held if part not in _MODIFIERS]
        if unknown or not (name in _NAMED or (len(name) == 1 and name in string.printable and name > " ")):
            known = ", ".join(sorted({*_NAMED} - {"up", "down", "left", "right"}))
            raise ValueError(
                f"there is no key {keys!r}; a key is a character or one of {known}, "
                f"after any of {', '.join(_MODIFIERS)} and a +"
            )
        bits = sum(_MODIFIERS[part][0] for part in dict.fromkeys(held))
        downs: list[Command] = []
        ups: list[Command] = []
        bit = 0
        for part in dict.fromkeys(held):
            bit |= _MODIFIERS[part][0]
            downs.append(_modifier(part, True, bit))
            ups.insert(0, _modifier(part, False, bit & ~_MODIFIERS[part][0]))
        return [*downs, *_press_and_release(name, bits), *ups]

    def typed(self, text: str) -> list[Command]:
        """The keys of ``text``, printable ASCII, one after the other."""
        commands = []
        for character in text:
            name = {" ": "Space", "\n": "Enter", "\r": "Enter", "\t": "Tab"}.get(character, character)
            commands += _press_and_release(name, 0)
        return commands

    def _mouse(self, kind: str, button: str = "", clicks: int = 0, **more: Any) -> Command:
        assert self._point is not None
        x, y = self._point
        params = {
            "type": kind,
            "x": x,
            "y": y,
            "button": button or ("left" if self._held else "none"),
            "buttons": 1 if self._held else 0,
            "clickCount": clicks,
            "modifiers": self._modifiers,
        }
        return "Input.dispatchMouseEvent", params | more

    def _button(self, name: str) -> list[Command]:
        if name == "none":
            return []
        if name.startswith("wheel"):
            assert self._point is not None
            turn = WHEEL_PIXELS if name == "wheel-down" else -WHEEL_PIXELS
            x, y = self._point
            # Chromium's own wheel events wait for several frames to come.
            return [("Runtime.evaluate", {"expression": f"__universe2.wheel({x}, {y}, {turn})"})]
        if name == "press":
            return [] if self._held else [self._press()]
        commands = [self._release()] if self._held else []
        if name == "click":
            commands += [self._press(), self._release()]
        elif name == "double-click":
            commands += [self._press(), self._release(), self._press(2), self._release(2)]
        elif name == "right-click":
            commands.append(self._mouse("mousePressed", "right", 1, buttons=2))
            commands.append(self._mouse("mouseReleased", "right", 1))
        return commands

    def _press(self, clicks: int = 1) -> Command:
        self._held = True
        return self._mouse("mousePressed", "left", clicks)

    def _release(self, clicks: int = 1) -> Command:
        self._held = False
        return self._mouse("mouseReleased", "left", clicks)

    def _stroke(self, name: str) -> list[Command]:
        """Press and release one key of the screen action."""
        if name in _MODIFIERS:
            bit = _MODIFIERS[name][0]
            self._modifiers ^= bit
            return [_modifier(name, bool(self._modifiers & bit), self._modifiers)]
        if name.startswith("Control+"):
            commands = self.strike(f"Control+{name[-1].lower()}")
        else:
            commands = _press_and_release(name, self._modifiers)
        for held, (bit, _, _) in _MODIFIERS.items():
            if self._modifiers & bit:
                self._modifiers &= ~bit
                commands.append(_modifier(held, False, self._modifiers))
        return commands


def _describe(name: str, shift: bool) -> tuple[str, str, int, str]:
    """(key, code, virtual key code, text) of a named key or a character."""
    if name in _NAMED:
        code, number, text = _NAMED[name]
        key = {"Space": " "}.get(name, code if code.startswith("Arrow") else name)
        return key, code, number, text
    if name.isalpha():
        text = name.upper() if shift else name
        return text, f"Key{name.upper()}", ord(name.upper()), text
    if name.isdigit():
        text = _SHIFTED_DIGITS[int(name)] if shift else name
        return text, f"Digit{name}", ord(name), text
    if name in _SHIFTED_DIGITS:
        digit = str(_SHIFTED_DIGITS.index(name))
        return name, f"Digit{digit}", ord(digit), name
    for pair, (code, number) in _PUNCTUATION.items():
        if name in pair:
            text = pair[1] if shift else name
            return text, code, number, text
    raise AssertionError(f"the key {name!r} is not described here")


def _press_and_release(name: str, modifiers: int) -> list[Command]:
    key, code, number, text = _describe(name, bool(modifiers & _SHIFT))
    if modifiers & ~_SHIFT:
        text = ""  # a chord types nothing
    down = _key("keyDown" if text else "rawKeyDown", key, code, number, modifiers)
    if text:
        down[1].update(text=text, unmodifiedText=text)
    return [down, _key("keyUp", key, code, number, modifiers)]


def _modifier(name: str, down: bool, modifiers: int) -> Command:
    _, code, number = _MODIFIERS[name]
    return _key("rawKeyDown" if down else "keyUp", name, code, number, modifiers)


def _key(kind: str, key: str, code: str, number: int, modifiers: int) -> Command:
    params = {
        "type": kind,
        "key": key,
        "code": code,
        "windowsVirtualKeyCode": number,
        "modifiers": modifiers,
    }
    return "Input.dispatchKeyEvent", params
