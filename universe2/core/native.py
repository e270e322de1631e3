"""NativeSlot: what the native runtime drives, a game whose library steps in C++ without Python's lock.

``spec.entry`` names a class that is called as ``entry(spec, config, compiled)``. The runtime owns
threads, buffers, episodes and faults; a slot only knows its own game, and is used by one
thread at a time. Any exception becomes an environment fault of the slot, which is then made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

Compiled = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Turns a plain function on arrays into machine code that runs without Python's lock."""


class Transition(NamedTuple):
    """What one step did."""

    reward: float
    terminated: bool
    truncated: bool


class NativeSlot(Protocol):
    """``out`` is the slot's row of the observation buffer.

    It has the shape and dtype of the observation space, a Box; on the screen interface those
    of its "screen". It is to be filled, never read.
    """

    state_version: str
    """of the class: what a state depends on besides the spec, such as the library's version"""
    instruction: str
    """what the player is told; counts on the screen interface only"""

    def reset(self, seed: int, out: np.ndarray) -> None:
        """Begin the episode of ``seed`` and show it."""

    def step(self, action: Any, out: np.ndarray) -> Transition:
        """One step with one action of the action space."""

    def info(self) -> dict[str, Any]:
        """Of the observation shown last."""

    def render(self) -> np.ndarray:
        """uint8 (H, W, 3): the library's own picture."""

    def snapshot(self) -> bytes:
        """All that the future depends on."""

    def restore(self, state: bytes, out: np.ndarray) -> None:
        """Into a state from ``snapshot``, also another slot's; shows it."""
