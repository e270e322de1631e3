"""Console: one Atari 2600 game as an episode machine, with the rules of the benchmark around it.

An episode is a function of its seed: it starts from a state saved when the console was made
(reloading the cartridge, the library's own way to reseed, takes as long as some hundred
steps), and sticky actions are drawn here, from the episode's seed. Sticky actions as in
Machado et al. (2018), "Revisiting the Arcade Learning Environment": at every *frame*, with
probability ``sticky``, the console sees the previous frame's action instead of the new one.
It doesn't know spaces, stacks or screens.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import ale_py
import numpy as np
from ale_py import roms


class Outcome(NamedTuple):
    """What one step of ``frameskip`` frames did."""

    reward: float
    terminated: bool
    truncated: bool


class Console:
    """``rgb`` chooses between frames uint8 (H, W) in gray and (H, W, 3)."""

    def __init__(
        self,
        rom: str,
        *,
        rgb: bool,
        sticky: float,
        full_action_space: bool,
        frameskip: int,
        noop_max: int,
        episodic_life: bool,
        reward_clipping: bool,
        fire_reset: bool,
        max_frames: int,
    ) -> None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale = ale_py.ALEInterface()
        self._ale.setInt("random_seed", 0)
        self._ale.setFloat("repeat_action_probability", 0.0)  # drawn here
        self._ale.loadROM(str(roms.get_rom_path(rom)))
        self._ale.reset_game()
        self.actions = list(
            self._ale.getLegalActionSet() if full_action_space else self._ale.getMinimalActionSet()
        )
        self._sticky, self._frameskip, self._noop_max = sticky, frameskip, noop_max
        self._episodic_life, self._clip, self._max_frames = episodic_life, reward_clipping, max_frames
        self._fire_first = fire_reset and ale_py.Action.FIRE in self.actions
        shape = (*self._ale.getScreenDims(), 3) if rgb else self._ale.getScreenDims()
        self._grab_into = self._ale.getScreenRGB if rgb else self._ale.getScreenGrayscale
        self._frames = [np.empty(shape, np.uint8), np.empty(shape, np.uint8)]
        # Restoring a state doesn't redraw the screen, so the first picture is kept with it.
        self._start = self._ale.cloneState(include_rng=True)
        self._start_frame = self._grab(0).copy()
        self._start_picture = np.asarray(self._ale.getScreenRGB())
        self._at_start = True

    def reset(self, seed: int) -> np.ndarray:
        """Begin the episode of ``seed``; the first frame."""
        self._ale.restoreState(self._start)
        self._rng = np.random.default_rng(seed)
        self._held, self._used = ale_py.Action.NOOP, 0
        self._at_start = True
        for _ in range(int(self._rng.integers(self._noop_max + 1)) if self._noop_max else 0):
            self._act(ale_py.Action.NOOP)
        if self._fire_first:
            self._act(ale_py.Action.FIRE)
        self._lives = self._ale.lives()
        return self._start_frame if self._at_start else self._grab(0)

    def step(self, index: int) -> tuple[np.ndarray, Outcome]:
        """Hold action ``index`` for ``frameskip`` frames; the maximum of the last two frames."""
        wanted, reward, over, grabbed = self.actions[index], 0, False, []
        sticks = self._rng.random(self._frameskip) < self._sticky
        for left in range(self._frameskip - 1, -1, -1):
            reward += self._act(self._held if sticks[left] else wanted)
            over = self._ale.game_over() or self._used >= self._max_frames or self._died()
            if left < 2 or over:
                grabbed.append(self._grab(left % 2))
            if over:
                break
        terminated = bool(self._ale.game_over() or self._died())
        frame = grabbed[-1] if len(grabbed) == 1 else np.maximum(*grabbed)
        self._lives = self._ale.lives()
        clipped = max(-1, min(1, reward)) if self._clip else reward
        return frame, Outcome(float(clipped), terminated, over and not terminated)

    def info(self) -> dict[str, Any]:
        """Lives left and frames of this episode."""
        return {"lives": self._lives, "episode_frame_number": self._used}

    def render(self) -> np.ndarray:
        """uint8 (H, W, 3): the console's own picture."""
        return self._start_picture.copy() if self._at_start else np.asarray(self._ale.getScreenRGB())

    def _act(self, action: ale_py.Action) -> int:
        self._held = action
        self._used += 1
        self._at_start = False
        return int(self._ale.act(action))

    def _died(self) -> bool:
        return self._episodic_life and self._ale.lives() < self._lives

    def _grab(self, which: int) -> np.ndarray:
        self._grab_into(self._frames[which])
        return self._frames[which]
