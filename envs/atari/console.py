"""Console: one Atari 2600 game as an episode machine, with the rules of the benchmark around it.

An episode is a function of its seed: it starts from a state saved when the console was made, and
sticky actions are drawn here, from the episode's seed. The library resets the game first, because
its states leave out something that a reset clears; a reset alone draws random numbers in some
games. (Reloading the cartridge, the library's own way to reseed, takes ten times as long.)

Sticky actions as in Machado et al. (2018), "Revisiting the Arcade Learning Environment": at every
*frame*, with probability ``sticky``, the console sees the previous frame's action instead of the
new one. It doesn't know spaces, stacks or screens.
"""

from __future__ import annotations

import struct
from typing import Any

import ale_py
import numpy as np
from ale_py import roms

from universe2.core.errors import UnsupportedError
from universe2.core.native import Transition
from universe2.core.seeding import mix
from universe2.envs.atari.unlocked import act_of

_NOOP, _FIRE = int(ale_py.Action.NOOP.value), int(ale_py.Action.FIRE.value)
_GAMMA = 0x9E3779B97F4A7C15  # splitmix64's stride
_STATE = struct.Struct("<QqqqI")
INEXACT = ("qbert", "road_runner", "tetris", "video_checkers", "yars_revenge")
"""Games that may go on differently from a state that ale-py 0.12.1 has saved and restored."""


class Console:
    """``rgb`` chooses between frames uint8 (H, W) in gray and (H, W, 3).

    ``episodic_life``: a lost life ends the episode. Not as in DeepMind's preprocessing, which goes on with
    the next life, every reset begins a new game, for an episode depends on its seed and actions alone: a
    second life is never seen.

    ``frames`` are the last two frames of the latest step (one and the same if there was one).
    """

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
        self._rom = rom
        self._ale = ale_py.ALEInterface()
        self._ale.setInt("random_seed", 0)
        self._ale.setFloat("repeat_action_probability", 0.0)  # drawn here
        self._ale.loadROM(str(roms.get_rom_path(rom)))
        self._ale.reset_game()
        self._advance = act_of(self._ale)
        legal = self._ale.getLegalActionSet() if full_action_space else self._ale.getMinimalActionSet()
        self.action_names = [action.name for action in legal]
        self._actions = [int(action.value) for action in legal]
        self._threshold, self._frameskip, self._noop_max = int(sticky * 2**64), frameskip, noop_max
        self._episodic_life, self._clip, self._max_frames = episodic_life, reward_clipping, max_frames
        self._fire_first = fire_reset and _FIRE in self._actions
        shape = (*self._ale.getScreenDims(), 3) if rgb else self._ale.getScreenDims()
        self.size: tuple[int, int] = self._ale.getScreenDims()
        self._grab_into = self._ale.getScreenRGB if rgb else self._ale.getScreenGrayscale
        self._buffers = [np.empty(shape, np.uint8), np.empty(shape, np.uint8)]
        # Restoring a state doesn't redraw the screen, so the first pictures are kept with it.
        self._start = self._ale.cloneState(include_rng=True)
        self._start_frame = self._grab(0).copy()
        self._start_picture = np.asarray(self._ale.getScreenRGB())
        self._picture: np.ndarray | None = None
        """what is seen, while the library's own screen is out of date"""

    def reset(self, seed: int) -> None:
        """Begin the episode of ``seed``: again if it ends before the player's turn, as in Gymnasium's
        AtariPreprocessing.
        """
        self._key = mix(seed)
        self._begin()
        before = [_NOOP] * (mix(self._key) % (self._noop_max + 1)) + [_FIRE] * self._fire_first
        for action in before:
            self._act(action)
            if self._over():
                self._begin()
        self._lives = self._ale.lives()
        first = self._start_frame if self._picture is not None else self._grab(0)
        self.frames = (first, first)

    def step(self, index: int) -> Transition:
        """Hold action ``index`` for ``frameskip`` frames."""
        ale, wanted, reward, over, grabbed = self._ale, self._actions[index], 0, False, []
        for left in range(self._frameskip - 1, -1, -1):
            reward += self._act(self._held if self._sticks() else wanted)
            over = self._over() or self._died()
            if left < 2 or over:
                grabbed.append(self._grab(left % 2))
            if over:
                break
        terminated = over and bool(ale.game_over() or self._died())
        self.frames = (grabbed[0], grabbed[-1])
        self._lives = ale.lives()
        clipped = max(-1, min(1, reward)) if self._clip else reward
        return Transition(float(clipped), terminated, over and not terminated)

    def info(self) -> dict[str, Any]:
        """Lives left and frames of this episode."""
        return {"lives": self._lives, "episode_frame_number": self._used}

    def render(self) -> np.ndarray:
        """uint8 (H, W, 3): the console's own picture."""
        return np.array(self._ale.getScreenRGB() if self._picture is None else self._picture)

    def snapshot(self) -> bytes:
        """Everything but ``frames``, which the next step replaces. UnsupportedError: see ``INEXACT``."""
        if self._rom in INEXACT:
            raise UnsupportedError(
                f"{self._rom}: ale-py's saved states leave out something that this game depends on, so that "
                "what follows differs from run to run"
            )
        state = self._ale.cloneState(include_rng=True).serialize()
        numbers = _STATE.pack(self._key, self._held, self._used, self._lives, len(state))
        return bytes(numbers + state + self.render().tobytes())

    def restore(self, saved: bytes) -> None:
        """Into a state from ``snapshot``, also another console's."""
        self._key, self._held, self._used, self._lives, length = _STATE.unpack_from(saved)
        end = _STATE.size + length
        self._enter(ale_py.ALEState(saved[_STATE.size : end]))
        picture = np.frombuffer(saved, np.uint8, offset=end)
        self._picture = picture.reshape(self._start_picture.shape)

    def _begin(self) -> None:
        self._enter(self._start)
        self._held, self._used = _NOOP, 0
        self._picture = self._start_picture

    def _over(self) -> bool:
        return self._used >= self._max_frames or bool(self._ale.game_over())

    def _enter(self, state: Any) -> None:
        self._ale.reset_game()
        self._ale.restoreState(state)

    def _sticks(self) -> bool:
        """Whether the coming frame sees the previous action: a function of seed and frame number."""
        return mix(self._key + self._used * _GAMMA) < self._threshold

    def _act(self, action: int) -> int:
        self._held = action
        self._used += 1
        self._picture = None
        return self._advance(action)

    def _died(self) -> bool:
        return self._episodic_life and self._ale.lives() < self._lives

    def _grab(self, which: int) -> np.ndarray:
        self._grab_into(self._buffers[which])
        return self._buffers[which]
