"""AtariSlot: a Console as a slot of the native runtime, its own observations or on the screen."""

from __future__ import annotations

import zlib
from typing import Any

import ale_py
import numpy as np

from universe2.core.native import Compiled, Transition
from universe2.core.screen import clean_instruction, keyboard_table
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.atari import KEYBOARD, RULES, check_options, title
from universe2.envs.atari.console import Console
from universe2.envs.atari.picture import Picture


class AtariSlot:
    """Native: the last ``stack`` frames. On the screen: one RGB frame; arrows and Space are the joystick."""

    state_version = f"ale-py {ale_py.__version__}"

    def __init__(self, spec: EnvSpec, config: EnvConfig, compiled: Compiled) -> None:
        options, rom = check_options(spec, config), str(spec.kwargs["rom"])
        on_screen = config.interface == "screen"
        rgb = on_screen or not options["grayscale"]
        self._console = Console(rom, rgb=rgb, **{name: options[name] for name in RULES})
        size = config.screen_size if on_screen else (options["size"], options["size"])
        stack = 1 if on_screen else options["stack"]
        self._picture = Picture(self._console.size, size, 3 if rgb else 1, stack, compiled)
        self._table = None
        if on_screen:
            self._table = keyboard_table([KEYBOARD[name] for name in self._console.action_names])
        self.instruction = clean_instruction(
            f"Play {title(rom)} and score as much as you can. Arrows move, Space is the fire button."
        )

    def reset(self, seed: int, out: np.ndarray) -> None:
        self._console.reset(seed)
        self._picture.clear()
        self._picture.add(*self._console.frames, out)

    def step(self, action: Any, out: np.ndarray) -> Transition:
        native = action if self._table is None else self._table[action[0], action[1]]
        done = self._console.step(int(native))
        self._picture.add(*self._console.frames, out)
        return done

    def info(self) -> dict[str, Any]:
        return self._console.info()

    def render(self) -> np.ndarray:
        return self._console.render()

    def snapshot(self) -> bytes:
        return zlib.compress(self._picture.frames.tobytes() + self._console.snapshot(), 1)

    def restore(self, state: bytes, out: np.ndarray) -> None:
        content, frames = zlib.decompress(state), self._picture.frames
        frames[...] = np.frombuffer(content[: frames.nbytes], np.uint8).reshape(frames.shape)
        self._console.restore(content[frames.nbytes :])
        self._picture.show(out)
