"""InputState: screen actions → DevTools input commands, for one page.

Within a step: the pointer moves, the button acts, the arrows are struck, the key is struck. Key
events are those of a US keyboard. Shift and Control are sticky: they stay down until the next arrow
or other key has been struck (or they are chosen again), and clicks meanwhile are shift-clicks or
control-clicks. This file sends nothing and waits for nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.core.screen import ARROWS, BUTTONS, KEYS, POINTER

Command = tuple[str, dict[str, Any]]
"""(DevTools method, parameters)"""

WHEEL_PIXELS = 50
_CONTROL, _SHIFT = 2, 8
# sticky key → (its modifier, code, virtual key code)
_STICKY = {"Shift": (_SHIFT, "ShiftLeft", 16), "Control": (_CONTROL, "ControlLeft", 17)}

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
# plain and shifted character → code, virtual key code
_PUNCTUATION = {
    ".>": ("Period", 190),
    ",<": ("Comma", 188),
    "-_": ("Minus", 189),
    "/?": ("Slash", 191),
    ";:": ("Semicolon", 186),
    "'\"": ("Quote", 222),
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
        self._cell: tuple[int, int] | None = None
        self._held = False
        self._modifiers = 0
        """the sticky keys that are down"""
        self.copied = False
        """whether anything was ever copied"""

    def commands(self, action: np.ndarray) -> list[Command]:
        """``action`` is int (5,): arrows, key, pointer x, pointer y, button (core/screen.py)."""
        arrows, key, x, y, button = (int(part) for part in action)
        commands: list[Command] = []
        if self._cell != (x, y):
            self._cell = x, y
            commands.append(self._mouse("mouseMoved"))
            if button == 0 or BUTTONS[button].startswith("wheel"):
                commands.append(FLUSH)
        commands += self._button(BUTTONS[button])
        strokes = [] if arrows == 0 else list(ARROWS[arrows].split("-"))
        strokes += [] if key == 0 else [KEYS[key]]
        for stroke in strokes:
            commands += self._stroke(stroke)
        return commands

    def _point(self) -> tuple[float, float]:
        """(x, y) of the pointer, in pixels."""
        assert self._cell is not None
        column, row = self._cell
        return (column + 0.5) / POINTER * self._width, (row + 0.5) / POINTER * self._height

    def _mouse(self, kind: str, button: str = "", clicks: int = 0, **more: Any) -> Command:
        x, y = self._point()
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
            turn = WHEEL_PIXELS if name == "wheel-down" else -WHEEL_PIXELS
            x, y = self._point()
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
        """Press and release one key."""
        if name in _STICKY:
            modifier, code, number = _STICKY[name]
            self._modifiers ^= modifier
            kind = "rawKeyDown" if self._modifiers & modifier else "keyUp"
            return [_key(kind, name, code, number, self._modifiers)]
        self.copied |= name == "Control+C" or (name in "cx" and self._modifiers & _CONTROL != 0)
        if name.startswith("Control+"):
            commands = _chord(name.removeprefix("Control+").lower())
        else:
            key, code, number, text = _describe(name, self._modifiers & _SHIFT != 0)
            commands = _press_and_release(key, code, number, text, self._modifiers)
        for sticky, (modifier, code, number) in _STICKY.items():
            if self._modifiers & modifier:
                self._modifiers ^= modifier
                commands.append(_key("keyUp", sticky, code, number, self._modifiers))
        return commands


def _describe(name: str, shift: bool) -> tuple[str, str, int, str]:
    """(key, code, virtual key code, text) of a key of the screen action."""
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
    raise AssertionError(f"the key {name!r} of core/screen.py is not described here")


def _press_and_release(key: str, code: str, number: int, text: str, modifiers: int) -> list[Command]:
    typed = bool(text) and not modifiers & _CONTROL
    down = _key("keyDown" if typed else "rawKeyDown", key, code, number, modifiers)
    if typed:
        down[1].update(text=text, unmodifiedText=text)
    return [down, _key("keyUp", key, code, number, modifiers)]


def _chord(letter: str) -> list[Command]:
    """Control and a letter."""
    _, control, number = _STICKY["Control"]
    return [
        _key("rawKeyDown", "Control", control, number, _CONTROL),
        *_press_and_release(letter, f"Key{letter.upper()}", ord(letter.upper()), letter, _CONTROL),
        _key("keyUp", "Control", control, number, 0),
    ]


def _key(kind: str, key: str, code: str, number: int, modifiers: int) -> Command:
    params = {
        "type": kind,
        "key": key,
        "code": code,
        "windowsVirtualKeyCode": number,
        "modifiers": modifiers,
    }
    return "Input.dispatchKeyEvent", params
