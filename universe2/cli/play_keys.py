"""What a person typed, as keys of the screen action: one a step, none lost.

A capital is two keys, Shift and its letter. A key that is held down repeats faster than steps
are taken; of those repetitions no more than two wait. This file knows neither windows nor terminals.
"""

from __future__ import annotations

from collections import deque

from universe2.core.screen import KEYS

_NAMED = {" ": "Space", "\r": "Enter", "\n": "Enter", "\x7f": "Backspace", "\x08": "Backspace", "\t": "Tab"}
_NAMED |= {"\x01": "Control+A", "\x03": "Control+C", "\x16": "Control+V"}


class TypedKeys:
    """A queue of names in KEYS."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()

    def type(self, character: str) -> None:
        """Add what ``character`` takes; nothing, if no key makes it."""
        if character.isascii() and character.isupper():
            self.press("Shift")
            character = character.lower()
        self.press(_NAMED.get(character, character))

    def press(self, name: str) -> None:
        """Add a key by its name in KEYS; other names are no keys."""
        if name in KEYS and list(self._waiting)[-2:] != [name, name]:
            self._waiting.append(name)

    def next(self) -> str:
        """The key of this step: ``none`` if nothing waits."""
        return self._waiting.popleft() if self._waiting else "none"
