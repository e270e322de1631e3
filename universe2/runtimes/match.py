"""MatchRuntime: a CompiledRuntime whose slots have several players.

What an agent gets travels as ``universe2.core.agents`` lays down. This file doesn't know any game.

Suffixes: N slots of the runtime, K slots of one call, P players.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np

from universe2.core import shareable
from universe2.core.agents import AgentColumns
from universe2.core.batch import Column, InfoColumns
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.envs.arcade.game import RUNNING
from universe2.envs.arcade.match import Match
from universe2.runtimes.compiled import TIME, CompiledRuntime
from universe2.runtimes.compiled_driver import FAILED, canvases
from universe2.runtimes.match_driver import WATCH, match_drivers


class MatchRuntime(CompiledRuntime):
    """N slots of one match. Any subset of them may be sent.

    Info columns: those of CompiledRuntime and of ``core.agents``; "outcome" is "won", "drawn",
    "cleared" or "lost" (together) or "time"; the option ``expert`` adds "agent_expert".
    """

    _expert = "agent_expert"

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig | None = None) -> None:
        self.match = cast(Match, load(spec.entry))
        self.agents = tuple(spec.spaces(config).action.spaces)  # type: ignore[attr-defined]
        super().__init__(spec, num_slots, config)
        self._blank["players"] = len(self.agents)
        self._blank["seat"] = np.arange(self._blank["seat"].shape[1])
        self._blank["live"][:, : len(self.agents)] = 1

    def _open_drivers(self) -> Any:
        return match_drivers(self.match)

    def _allocate(self) -> None:
        count = self.num_slots, len(self.agents)
        # One block per player, so that what a player sees in neighbouring slots is one array.
        self._frames_PN = shareable.zeros((count[1], count[0], *self._size, 3), np.uint8)
        self._gained_NP = np.zeros(count)
        self._before_NP = np.zeros(count, bool)  # who played before the last step

    def _no_keys(self, count: int) -> np.ndarray:
        return np.zeros((count, len(self.agents)), np.int64)

    def _keys_of(self, actions: Any) -> np.ndarray:
        of = super()._keys_of
        return np.stack([of(actions[agent]) for agent in self.agents], axis=1)

    def _drive(
        self,
        slots_K: np.ndarray,
        task_K: np.ndarray,
        keys_KP: np.ndarray,
        level_K: np.ndarray,
        rng_K: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
        before_KP = self._playing(slots_K)
        gained_KP, outcome_K = np.zeros(keys_KP.shape), np.empty(len(slots_K), np.int64)
        causes = self._drivers.drive(
            self._states_N, slots_K, task_K, keys_KP, level_K, rng_K, self._canvases, slots_K,
            self._frames_PN, gained_KP, outcome_K,
        )  # fmt: skip
        stepped_K = task_K < 0
        self._gained_NP[slots_K] = np.where(stepped_K[:, None], gained_KP, 0.0)
        self._before_NP[slots_K] = np.where(stepped_K[:, None], before_KP, self._playing(slots_K))
        return self._gained_NP[slots_K].sum(axis=1), outcome_K, causes

    def _playing(self, slots_K: np.ndarray) -> np.ndarray:
        """bool (K, P)."""
        return self._states_N["live"][slots_K, : len(self.agents)] != 0

    def _frames_of(self, rows: Any) -> Any:
        return self._frames_PN[:, rows]

    def _pick(self, frames: Any, row: int) -> Any:
        return frames[:, row : row + 1]

    def _put_frames(self, slots: np.ndarray, frames: Any) -> None:
        self._frames_PN[:, slots] = 0 if frames is None else frames

    def _wrap(self, frames: Any, empty: Iterable[int] = ()) -> Any:
        return {agent: self._seen(frames[p], empty) for p, agent in enumerate(self.agents)}

    def _info(self, slots_K: np.ndarray, outcome_K: np.ndarray, began_K: np.ndarray) -> InfoColumns:
        info = super()._info(slots_K, outcome_K, began_K)
        after_KP, before_KP = self._playing(slots_K), self._before_NP[slots_K]
        over_K1, late_K1 = (outcome_K > RUNNING)[:, None], (outcome_K == TIME)[:, None]
        columns = AgentColumns(
            reward=self._gained_NP[slots_K],
            terminated=before_KP & (~after_KP | (over_K1 & ~late_K1)),
            truncated=before_KP & after_KP & late_K1,
            live=after_KP & ~over_K1,
        )
        good_K = outcome_K != FAILED
        return {**{name: Column(values, good_K) for name, values in columns.infos().items()}, **info}

    def _pictures(self, slots_K: np.ndarray, height: int, width: int) -> np.ndarray:
        count = len(slots_K)
        frames_1K = np.zeros((1, count, height, width, 3), np.uint8)
        zeros, rows_K = np.zeros(count, np.int64), np.arange(count, dtype=np.int32)
        keys_KP = self._no_keys(count)
        causes = self._drivers.drive(
            self._states_N, slots_K, np.full(count, WATCH), keys_KP, zeros, zeros, canvases(height, width),
            rows_K, frames_1K, np.zeros(keys_KP.shape), np.zeros(count, np.int64),
        )  # fmt: skip
        self._check_pictures(slots_K, causes)
        return frames_1K[0]

    def heuristic(self, slots: Sequence[int] | np.ndarray) -> Any:
        """The scripted players' actions for the slots' present states, as ``send`` takes them."""
        advice_KP = self._advice(self._idle(slots))
        return {agent: advice_KP[:, p] for p, agent in enumerate(self.agents)}
