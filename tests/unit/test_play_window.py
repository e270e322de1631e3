"""The window that a person plays in: what is typed there arrives as keys of the screen action."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from universe2.cli.play_window import WindowScreen
from universe2.core.screen import KEYS

pygame = pytest.importorskip("pygame")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[WindowScreen]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    opened = WindowScreen(64, "test")
    yield opened
    opened.close()


def keys(screen: WindowScreen, steps: int) -> list[str]:
    actions = [screen.action(time.monotonic()) for _ in range(steps)]
    return [KEYS[action[1]] for action in actions if action is not None]


def press(key: int, text: str = "", mod: int = 0) -> Any:
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, unicode=text, mod=mod))


def test_capitals_and_control_keys_are_typed(screen: WindowScreen) -> None:
    press(pygame.K_a, "A", pygame.KMOD_SHIFT)
    press(pygame.K_c, "\x03", pygame.KMOD_CTRL)
    press(pygame.K_PAGEUP)
    press(pygame.K_RETURN, "\r")
    press(pygame.K_7, "7")
    assert keys(screen, 7) == ["Shift", "a", "Control+C", "PageUp", "Enter", "7", "none"]


def test_a_key_that_is_held_down_leaves_nothing_to_catch_up_with(screen: WindowScreen) -> None:
    for _ in range(50):
        press(pygame.K_x, "x")
    assert keys(screen, 4) == ["x", "x", "none", "none"]


def test_escape_quits(screen: WindowScreen) -> None:
    press(pygame.K_ESCAPE, "\x1b")
    assert screen.action(time.monotonic()) is None
