"""CudaRuntime: the compiled runtime with states, canvases and frames in a CUDA device's memory.

Same trajectories, same frames; ``obs`` of a batch is a device array (``__cuda_array_interface__``:
``torch.as_tensor(batch.obs, device="cuda")`` copies nothing). Everything else of a batch is on
the host. Rendering, snapshots and the heuristic fetch the states that they need. This file doesn't
know the kernels' code.

Suffixes: N slots of the runtime, K slots of one call, H × W pixels, W 64-bit words of a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from universe2.runtimes.compiled import CompiledRuntime
from universe2.runtimes.compiled_cuda import check_device, cuda, kernels, to_device
from universe2.runtimes.compiled_driver import FAILED

SILENT = 'A CUDA device does not say which exception: device="cpu", with the same level and seed, does.'


class CudaRuntime(CompiledRuntime):
    """N slots of one arcade game on one CUDA device, the current one.

    Under ``interface="screen"`` the device array is ``obs["screen"]``. A batch's frames are views:
    they stay valid until the next ``send`` or ``reset`` of its slots.
    """

    def _allocate(self) -> None:
        check_device()
        height, width = self._size
        self._kernels = kernels(self.game)
        blank = np.zeros(1, self.game.state)
        blank["hard"] = self.options["difficulty"]
        self._device_blank_W = to_device(blank.view(np.int64))
        self._device_states_N = to_device(np.zeros(self.num_slots, self.game.state))
        self._device_words_NW = self._device_states_N.view(np.int64).reshape(self.num_slots, -1)
        self._canvas_HWN = to_device(np.zeros((height, width, self.num_slots), np.int32))
        self._device_frames_N = to_device(np.zeros((self.num_slots, height, width, 3), np.uint8))

    def _drive(
        self,
        slots_K: np.ndarray,
        task_K: np.ndarray,
        keys_K: np.ndarray,
        level_K: np.ndarray,
        rng_K: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
        slots = to_device(slots_K)
        count = len(slots_K)
        reward, outcome = to_device(np.zeros(count)), to_device(np.full(count, FAILED, np.int64))
        inputs = [to_device(np.ascontiguousarray(array)) for array in (task_K, keys_K, level_K, rng_K)]
        states = (self._device_states_N, self._device_words_NW, self._device_blank_W)
        self._kernels.play(*states, slots, *inputs, self._canvas_HWN, reward, outcome)
        self._kernels.pack(slots, self._canvas_HWN, self._device_frames_N)
        outcome_K = outcome.copy_to_host()
        # A kernel's thread that raises ends without a word.
        causes = dict.fromkeys(np.flatnonzero(outcome_K == FAILED).tolist(), SILENT)
        return reward.copy_to_host(), outcome_K, causes

    def _frames_of(self, rows: Any) -> Any:
        if isinstance(rows, slice):
            return self._device_frames_N[rows]
        chosen = cuda.device_array((len(rows), *self._size, 3), np.uint8)
        self._kernels.gather(to_device(rows), self._device_frames_N, chosen)
        return chosen

    def _put_frames(self, slots: np.ndarray, frames: Any) -> None:
        nothing = np.zeros((*self._size, 3), np.uint8)
        for row, slot in enumerate(slots):
            self._device_frames_N[slot].copy_to_device(nothing if frames is None else frames[row])

    # -- what works on the host's copy of the states

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        self._fetch(self._idle(slots))
        return super().snapshot(slots)

    def _put_state(self, slot: int, state_1: np.ndarray) -> None:
        self._device_words_NW[slot].copy_to_device(state_1.view(np.int64))

    def _pictures(self, slots_K: np.ndarray, height: int, width: int) -> np.ndarray:
        self._fetch(slots_K)
        return super()._pictures(slots_K, height, width)

    def _advice(self, slots_K: np.ndarray) -> np.ndarray:
        self._fetch(slots_K)
        return super()._advice(slots_K)

    def _fetch(self, slots_K: np.ndarray) -> None:
        words_NW = self._states_N.view(np.int64).reshape(self.num_slots, -1)
        if len(slots_K) > 16:
            words_NW[:] = self._device_words_NW.copy_to_host()
            return
        for slot in slots_K:
            words_NW[slot] = self._device_words_NW[slot].copy_to_host()
