"""RuntimeVectorEnv: all slots of a runtime as a ``gymnasium.vector.VectorEnv``.

Suffixes: N slots, K rows of one batch.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from universe2.core.batch import Batch, Column, InfoColumns, info_columns, info_rows
from universe2.core.errors import FaultError, UsageError
from universe2.core.runtime import Runtime
from universe2.core.seeding import fresh_seed, next_seed, vector_seeds
from universe2.core.spaces import copied, empty, put, unstack
from universe2.faces.face import Face, check_asked
from universe2.faces.one_slot import OnFault, fault_line
from universe2.faces.owed import owed, refusal

_MODES = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}
_Rows = tuple[np.ndarray, InfoColumns]
"""Slots, and what is told of each."""
log = logging.getLogger("universe2.faces")


class RuntimeVectorEnv(Face, VectorEnv):
    """N slots stepped together, with Gymnasium's autoreset modes.

    Under SAME_STEP ``infos["final_obs"]`` (object array, None where no episode ended) and
    ``infos["final_info"]`` hold what ended the episodes, as in Gymnasium's own vectors.

    A fault of one slot never stops the others. With ``on_fault="truncate"`` (default) its
    episode is truncated, its reward NaN, ``infos["fault"]`` holds the text, and its next step
    is a reset, whatever the autoreset mode but "disabled", where you reset it. Under SAME_STEP
    its ``final_obs`` is zeros, and its ``final_info`` holds the text. With
    ``on_fault="raise"`` a FaultError names the slots, after all others have stepped.

    After a step that was interrupted, reset comes next.

    With ``copy=False`` observations are views that the next step overwrites.
    """

    def __init__(
        self,
        runtime: Runtime,
        copy: bool = True,
        on_fault: OnFault = "truncate",
        render_mode: str | None = None,
        render_size: tuple[int, int] | None = None,
    ) -> None:
        self.closed = True  # until it is made: Gymnasium 1.2 closes what is collected
        self.render_size = check_asked(render_mode, render_size, on_fault)
        self.runtime = runtime
        self.closed = False
        self.num_envs = runtime.num_slots
        self.single_observation_space = runtime.observation_space
        self.single_action_space = runtime.action_space
        self.observation_space = batch_space(runtime.observation_space, self.num_envs)
        self.action_space = batch_space(runtime.action_space, self.num_envs)
        self.action_mask = runtime.action_mask
        self.autoreset_mode = _MODES[runtime.config.autoreset]
        self.metadata = {
            "autoreset_mode": self.autoreset_mode,
            "render_modes": ["rgb_array"],
            "render_fps": runtime.render_fps,
        }
        self.render_mode = render_mode
        self.copy = copy
        self.on_fault = on_fault
        self._all_N = np.arange(self.num_envs, dtype=np.int32)
        self._seeds_N = np.full(self.num_envs, -1, np.int64)  # of the current episodes; -1: none yet
        self._broken_N = np.zeros(self.num_envs, bool)  # at a fault, where there is nothing to see
        size = self.render_size  # of what such a slot shows: without it, as large as the last that was drawn
        self._black = None if size is None else np.zeros((*size, 3), np.uint8)
        self._obs = empty(runtime.observation_space, self.num_envs)
        self._owing = False  # something was asked whose result was not received
        self._borrowed = False  # _obs is the runtime's buffer, not ours

    def reset(
        self,
        *,
        seed: int | list[int | None] | np.ndarray | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes in all slots, or in those of ``options["reset_mask"]`` (bool (N,)).

        Seeds are for all slots, as in Gymnasium: those of slots that aren't reset count for nothing. A
        slot without a seed continues its own chain. ``infos["seed"]`` holds the seeds of all slots'
        episodes, ``infos["_seed"]`` which of them began now.
        """
        slots = self._reset_slots(dict(options or {}))
        all_seeds = vector_seeds(seed, self.num_envs)
        seeds = [all_seeds[slot] for slot in slots]
        if self._owing:  # a step was cut short, by Ctrl-C perhaps
            for batch in owed(self.runtime):
                self._keep(batch)
        chosen = [self._next(slot) if s is None else s for slot, s in zip(slots, seeds, strict=True)]
        self._owing = True
        self.runtime.reset(slots, chosen)
        self._seeds_N[slots] = chosen
        *_, infos = self._collect(len(slots), resetting=True)
        infos["seed"], infos["_seed"] = self._seeds_N.copy(), np.isin(self._all_N, slots)
        return self._observations(), infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all slots. rewards float64 (N,), flags bool (N,). Raises InvalidActionError, FaultError."""
        owing, self._owing = self._owing, True
        try:
            self.runtime.send(self._all_N, actions)
        except UsageError as error:
            self._owing = owing
            raise refusal(error, owing) from None
        rewards_N, terminated_N, truncated_N, infos = self._collect(self.num_envs)
        return self._observations(), rewards_N, terminated_N, truncated_N, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """One uint8 (H, W, 3) picture per slot, or None without ``render_mode``.

        A slot that had a fault is black until its next step.
        """
        if self.render_mode is None:
            return None
        pictures_N: list[np.ndarray | None] = [None] * self.num_envs
        well_K = self._all_N[~self._broken_N]
        if len(well_K) == 0 and self._black is None:
            well_K = self._all_N  # nobody knows a picture's size: the runtime says what is wrong
        if len(well_K):
            for slot, picture in zip(well_K, self.runtime.render(well_K, self.render_size), strict=True):
                pictures_N[slot] = picture
            self._black = np.zeros_like(picture)
        assert self._black is not None
        return tuple(self._black.copy() if picture is None else picture for picture in pictures_N)

    def close_extras(self, **kwargs: Any) -> None:
        self.runtime.close()

    def _about(self) -> list[str]:
        config = self.runtime.config
        return [self.runtime.spec.id, f"num_envs={self.num_envs}", f"interface={config.interface}"]

    def _reset_slots(self, options: dict[str, Any]) -> np.ndarray:
        mask = options.pop("reset_mask", None)
        if options:
            raise UsageError(f"reset takes no options but reset_mask, got {sorted(options)}")
        if mask is None:
            return self._all_N
        mask = np.asarray(mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise UsageError(f"reset_mask must be bool ({self.num_envs},) with a True in it, got {mask!r}")
        return self._all_N[mask]

    def _next(self, slot: int) -> int:
        previous = int(self._seeds_N[slot])
        return fresh_seed() if previous < 0 else next_seed(previous)

    def _collect(
        self, count: int, resetting: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Receive ``count`` rows into columns over all slots."""
        N = self.num_envs
        rewards_N, terminated_N, truncated_N = np.zeros(N), np.zeros(N, bool), np.zeros(N, bool)
        told: list[_Rows] = []
        finals: list[tuple[Any, _Rows]] = []
        faults: list[str] = []
        received = 0
        while received < count:
            batch = self.runtime.recv()
            received += len(batch)
            slots_K = batch.slots
            rewards_N[slots_K] = batch.reward
            terminated_N[slots_K] = batch.terminated
            truncated_N[slots_K] = batch.truncated | (batch.fault != 0)
            self._keep(batch)
            told.append((slots_K, batch.info))
            if len(batch.final_rows):
                last = copied(self.single_observation_space, batch.final_obs)
                finals.append((last, (slots_K[batch.final_rows], batch.final_info)))
            broken = np.flatnonzero(batch.fault)
            if len(broken) == 0:
                continue
            lines = [fault_line(batch, int(row)) for row in broken]
            told.append((slots_K[broken], info_columns([{"fault": line} for line in lines])))
            if self.autoreset_mode == AutoresetMode.SAME_STEP and not resetting:
                # what they showed last is gone: it may lie where the next was written
                finals.append((empty(self.single_observation_space, len(broken)), told[-1]))
            faults += lines
        infos = _vector_infos(told, N)
        if finals:
            infos |= self._finals(finals)
        self._owing = False
        for line in faults:
            log.warning("%s: %s", self.runtime.spec.id, line)
        if faults and self.on_fault == "raise":
            raise FaultError("; ".join(faults))
        return rewards_N, terminated_N, truncated_N, infos

    def _keep(self, batch: Batch) -> None:
        self._seeds_N[batch.slots] = batch.seed
        self._broken_N[batch.slots] = batch.fault != 0
        for row in batch.final_rows:
            # The slot is one episode further than its row says.
            self._seeds_N[batch.slots[row]] = next_seed(int(batch.seed[row]))
        if len(batch) == self.num_envs and np.array_equal(batch.slots, self._all_N):
            self._obs = batch.obs
            self._borrowed = True
            return
        if self._borrowed:
            self._obs = copied(self.single_observation_space, self._obs)
            self._borrowed = False
        self._obs = put(self.single_observation_space, self._obs, batch.slots, batch.obs)

    def _observations(self) -> Any:
        return copied(self.single_observation_space, self._obs) if self.copy else self._obs

    def _finals(self, finals: list[tuple[Any, _Rows]]) -> dict[str, Any]:
        """What ended the episodes of some slots; ``final_obs`` holds objects, whatever the space."""
        objects, there = np.full(self.num_envs, None, object), np.zeros(self.num_envs, bool)
        for obs, (slots_K, _) in finals:
            singles = unstack(self.single_observation_space, obs, len(slots_K))
            for slot, single in zip(slots_K, singles, strict=True):
                objects[slot] = single
            there[slots_K] = True
        infos = _vector_infos([told for _, told in finals], self.num_envs)
        return {"final_obs": objects, "_final_obs": there, "final_info": infos, "_final_info": there.copy()}


def _vector_infos(told: list[_Rows], count: int) -> dict[str, Any]:
    """Infos over all slots in Gymnasium's format; of a slot that is told of twice, the last counts."""
    slots_K, columns = told[0]
    if len(told) == 1 and len(slots_K) == count:
        order = np.argsort(slots_K)
        return _by_key({key: Column(values[order], mask[order]) for key, (values, mask) in columns.items()})
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for slots_K, columns in told:
        for slot, row in zip(slots_K, info_rows(columns, len(slots_K)), strict=True):
            rows[slot] |= row
    return _by_key(info_columns(rows))


def _by_key(columns: InfoColumns) -> dict[str, Any]:
    """An array and its mask ``_key`` for each key; where the values are dicts, the same of their keys."""
    infos: dict[str, Any] = {}
    for key, (values, mask) in columns.items():
        infos[key], infos[f"_{key}"] = values, mask
        if values.dtype == object and all(isinstance(value, dict) for value in values[mask]):
            rows = [value if there else {} for value, there in zip(values, mask, strict=True)]
            infos[key] = _by_key(info_columns(rows))
    return infos


__all__ = ["RuntimeVectorEnv"]
