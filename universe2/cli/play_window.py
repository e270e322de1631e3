"""A screen, a keyboard and a mouse in a window, by pygame (optional)."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from typing import Any

import numpy as np

from universe2.cli.play_keys import TypedKeys
from universe2.core.screen import ARROWS, BUTTONS, KEYS, POINTER


def window_available() -> bool:
    """Whether pygame is installed and there is a display."""
    display = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    )
    return display and importlib.util.find_spec("pygame") is not None


class WindowScreen:
    """A window of ``size`` × ``size`` pixels."""

    def __init__(self, size: int, title: str) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        self._pygame: Any = pygame
        pygame.init()
        self._size = size
        self._typed = TypedKeys()
        self._window = pygame.display.set_mode((size, size))
        pygame.display.set_caption(f"universe2 {title}")

    def show(self, picture: np.ndarray, caption: str) -> None:
        """Draw ``picture``, uint8 (H, W, 3)."""
        surface = self._pygame.surfarray.make_surface(picture.swapaxes(0, 1))
        self._window.blit(self._pygame.transform.scale(surface, (self._size, self._size)), (0, 0))
        self._pygame.display.set_caption(caption)
        self._pygame.display.flip()

    def action(self, due: float) -> np.ndarray | None:
        """The screen action for what is held down at ``due`` (monotonic s), or None to quit."""
        pygame = self._pygame
        button = "none"
        while True:
            for event in pygame.event.get():
                if event.type == pygame.QUIT or (
                    event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE
                ):
                    return None
                if event.type == pygame.KEYDOWN:
                    self._type(event)
                if event.type == pygame.MOUSEBUTTONDOWN:
                    names = {1: "press", 3: "right-click", 4: "wheel-up", 5: "wheel-down"}
                    button = names.get(event.button, button)
                if event.type == pygame.MOUSEBUTTONUP and event.button == 1:
                    button = "click" if button == "press" else "release"
            left = due - time.monotonic()
            if left <= 0:
                break
            pygame.time.wait(max(1, min(5, int(left * 1000))))
        held = pygame.key.get_pressed()
        key = self._typed.next()
        if key == "none" and held[pygame.K_SPACE]:
            key = "Space"
        x, y = (min(POINTER - 1, max(0, p * POINTER // self._size)) for p in pygame.mouse.get_pos())
        return np.array([self._arrow(held), KEYS.index(key), x, y, BUTTONS.index(button)], np.int64)

    def close(self) -> None:
        self._pygame.quit()

    def _arrow(self, held: Any) -> int:
        pygame = self._pygame
        vertical = "up" if held[pygame.K_UP] else "down" if held[pygame.K_DOWN] else ""
        across = "right" if held[pygame.K_RIGHT] else "left" if held[pygame.K_LEFT] else ""
        return ARROWS.index("-".join(part for part in (vertical, across) if part) or "none")

    def _type(self, event: Any) -> None:
        pygame = self._pygame
        named = {
            pygame.K_DELETE: "Delete",
            pygame.K_HOME: "Home",
            pygame.K_END: "End",
            pygame.K_PAGEUP: "PageUp",
            pygame.K_PAGEDOWN: "PageDown",
            pygame.K_LSHIFT: "Shift",
            pygame.K_RSHIFT: "Shift",
            pygame.K_LCTRL: "Control",
            pygame.K_RCTRL: "Control",
        }
        if event.key in named:
            self._typed.press(named[event.key])
        else:
            self._typed.type(event.unicode)
