"""A screen, a keyboard and a mouse in a terminal: 24-bit half blocks, keys without Enter.

A terminal reports no key releases, so a key counts for the step in which it arrives. Of the mouse it
reports where a button goes down and up (xterm's SGR reports, which all common terminals know).
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import sys
import textwrap
import time
from typing import Any

import numpy as np
from PIL import Image

from universe2.cli.play_keys import TypedKeys
from universe2.core.screen import ARROWS, BUTTONS, KEYS, POINTER

_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}
_KEYS = {"H": "Home", "F": "End", "1~": "Home", "3~": "Delete", "4~": "End", "5~": "PageUp", "6~": "PageDown"}
_TYPED = re.compile(r"\x1b[\[O]([0-9;]*[A-Za-z~])|(.)", re.DOTALL)  # an escape sequence or a character
_MOUSE = re.compile(r"\x1b\[<(\d+);(\d+);(\d+)([Mm])")  # button, column, line, down or up
_CAPTION = 3
"""lines below the picture; the instruction is the task, and may need them"""
_DOWN = {0: "press", 2: "right-click", 64: "wheel-up", 65: "wheel-down"}


class TerminalScreen:
    """Draws into the terminal and reads keys from it, and with ``mouse`` the mouse. ``close`` restores it."""

    def __init__(self, mouse: bool = False) -> None:
        self._saved: Any = None
        self._mouse = mouse
        self._drawn = (1, 1)
        """columns and lines of the picture"""
        self._pointer = (0, 0)
        self._typed = TypedKeys()
        if sys.stdin.isatty():
            import termios
            import tty

            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin.fileno())
        sys.stdout.write("\x1b[2J\x1b[?25l" + ("\x1b[?1000h\x1b[?1006h" if mouse else ""))

    def show(self, picture: np.ndarray, caption: str) -> None:
        """Draw ``picture``, uint8 (H, W, 3), as large as the terminal allows."""
        columns, lines = shutil.get_terminal_size()
        height, width = picture.shape[:2]
        wide = max(8, min(columns, int((lines - _CAPTION - 1) * 2 * width / height)))
        tall = max(4, int(wide * height / width) // 2 * 2)
        self._drawn = (wide, tall // 2)
        pixels = np.asarray(Image.fromarray(picture).resize((wide, tall), Image.Resampling.BOX))
        rows = [
            "".join(
                f"\x1b[38;2;{a[0]};{a[1]};{a[2]}m\x1b[48;2;{b[0]};{b[1]};{b[2]}m▀"
                for a, b in zip(pixels[y], pixels[y + 1], strict=True)
            )
            for y in range(0, tall, 2)
        ]
        told = textwrap.wrap(caption, columns, max_lines=_CAPTION, placeholder=" …") + [""] * _CAPTION
        below = "".join(f"{line}\x1b[K\n" for line in told[:_CAPTION])
        sys.stdout.write("\x1b[H" + "\x1b[0m\n".join(rows) + f"\x1b[0m\n{below}")
        sys.stdout.flush()

    def action(self, due: float) -> np.ndarray | None:
        """The screen action for the keys that came until ``due`` (monotonic s), or None to quit."""
        arrow, button = "none", "none"
        while (left := due - time.monotonic()) > 0:
            if self._saved is None:  # no keyboard: keep the pace
                time.sleep(left)
                break
            if not select.select([sys.stdin], [], [], left)[0]:
                break
            typed = os.read(sys.stdin.fileno(), 256).decode(errors="ignore")
            for report in _MOUSE.findall(typed):
                button = self._button(report, button)
            typed = _MOUSE.sub("", typed)
            for code, character in _TYPED.findall(typed):
                if character in ("\x1b", "\x03"):
                    return None
                arrow = _ARROWS.get(code, arrow)
                self._typed.press(_KEYS.get(code, ""))
                self._typed.type(character)
        key = KEYS.index(self._typed.next())
        return np.array([ARROWS.index(arrow), key, *self._pointer, BUTTONS.index(button)], np.int64)

    def _button(self, report: tuple[str, str, str, str], before: str) -> str:
        """What a report makes of the step's button; the pointer goes where it was."""
        code, column, line, ending = report
        places = zip((column, line), self._drawn, strict=True)
        x, y = (min(POINTER - 1, (int(place) - 1) * POINTER // count) for place, count in places)
        self._pointer = x, y
        if ending == "M":
            return _DOWN.get(int(code), before)
        return before if code != "0" else "click" if before == "press" else "release"

    def close(self) -> None:
        sys.stdout.write(("\x1b[?1006l\x1b[?1000l" if self._mouse else "") + "\x1b[0m\x1b[?25h\n")
        sys.stdout.flush()
        if self._saved is not None:
            import termios

            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)
