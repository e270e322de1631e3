"""A runtime without an environment library: an episode counts up, and rewards are the actions.

An episode of seed s has 3 + s % 5 steps and terminates if s is even, else truncates. Option
``fault_seeds``: these seeds fault at step 2, ``fault_times`` times. ``recv`` returns some of the
busy slots, never a fixed set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core import screen
from universe2.core.batch import Batch, Fault, info_columns
from universe2.core.ledger import SlotLedger
from universe2.core.runtime import Runtime
from universe2.core.spaces import check_actions, stack
from universe2.core.spec import EnvConfig, EnvSpec, Spaces

OPTIONS = {"fault_seeds": [], "fault_times": 1, "slow": 0}
DRIFT = [0.0]
"""Tests set it to make the environment differ from what was stored."""


def count_spec(env_id: str = "test/Count-v0", **reference: float) -> EnvSpec:
    return EnvSpec(
        id=env_id,
        runtime=f"{__name__}:CountRuntime",
        entry="",
        spaces_from=f"{__name__}:count_spaces",
        options=OPTIONS,
        reference=reference,
    )


def count_spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    if config.interface == "screen":
        return Spaces(
            screen.screen_observation_space(config.screen_size),
            screen.screen_action_space(),
            screen.ScreenMap(arrows=("left", "right")).action_mask(),
        )
    return Spaces(spaces.Box(-9, 99, (2,), np.float32), spaces.Discrete(3))


class CountRuntime(Runtime):
    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        self.spec, self.num_slots, self.config = spec, num_slots, config
        self.observation_space, self.action_space, self.action_mask, self.render_fps = spec.spaces(config)
        self._options = spec.resolve(config.options)
        self._ledger = SlotLedger(num_slots, config.autoreset)
        self._actions: dict[int, float] = {}
        self._faults = dict.fromkeys(self._options["fault_seeds"], self._options["fault_times"])
        self._rng = np.random.default_rng(0)

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        slots_K, _ = self._ledger.begin_reset(slots, [int(seed) for seed in seeds])
        self._actions.update(dict.fromkeys(slots_K.tolist(), 0.0))

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        checked = check_actions(self.action_space, actions, np.asarray(slots))
        slots_K, _ = self._ledger.begin_step(slots)
        chosen = checked if checked.ndim == 1 else checked[:, 0]
        self._actions.update(zip(slots_K.tolist(), (float(a) for a in chosen), strict=True))

    def recv(self, timeout: float | None = None) -> Batch:
        busy = self._ledger.busy()
        slots_N = np.sort(self._rng.permutation(busy)[: self._rng.integers(1, len(busy) + 1)])
        step_N, seed_N = self._ledger.step[slots_N].copy(), self._ledger.seed[slots_N].copy()
        over_N = step_N >= 3 + seed_N % 5
        fault_N = np.zeros(len(slots_N), np.uint8)
        reward_N = np.array([self._actions[slot] for slot in slots_N.tolist()]) + DRIFT[0] * (step_N > 0)
        for row, seed in enumerate(seed_N.tolist()):
            if step_N[row] == 2 and self._faults.get(seed, 0) > 0:
                self._faults[seed] -= 1
                fault_N[row], reward_N[row], over_N[row] = Fault.INFRASTRUCTURE, np.nan, False
        infos = [{"success": bool(o), "seed_seen": int(s)} for o, s in zip(over_N, seed_N, strict=True)]
        self._ledger.finish(slots_N, over_N, fault_N)
        return Batch(
            slots=slots_N,
            obs=stack(
                self.observation_space, [self._obs(*pair) for pair in zip(seed_N, step_N, strict=True)]
            ),
            reward=reward_N,
            terminated=over_N & (seed_N % 2 == 0),
            truncated=over_N & (seed_N % 2 == 1),
            episode=self._ledger.episode[slots_N].copy(),
            step=step_N,
            seed=seed_N,
            fault=fault_N,
            fault_text={int(row): "worker died" for row in np.flatnonzero(fault_N)},
            info=info_columns(infos),
        )

    def _obs(self, seed: int, step: int) -> Any:
        if self.config.interface == "screen":
            picture = np.full((*self.config.screen_size, 3), (seed + step) % 256, np.uint8)
            return {"screen": picture, "instruction": "count"}
        return np.array([seed % 10, step], np.float32)

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        frames = []
        for slot in slots:
            frame = np.full((*(size or (32, 48)), 3), 30, np.uint8)
            frame[:, : 4 * int(self._ledger.step[slot]) + 4] = (200, 120, 40)
            frames.append(frame)
        return frames

    def close(self) -> None:
        self._ledger.closed = True
