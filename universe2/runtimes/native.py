"""NativeRuntime: slots whose library steps in C++ without Python's lock, worked by threads in here.

Every observation is written straight into its slot's row of one buffer. One call of ``reset``,
``send`` or ``restore`` is worked as a whole: threads take its rows one after the other, and
``recv`` returns them together. What an environment is, a NativeSlot knows (``universe2.core.native``).

Suffixes: N slots of the runtime, K slots of one call, M rows with a final observation.
"""

from __future__ import annotations

import functools
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from universe2.core import shareable
from universe2.core.batch import Batch, Fault, blame, check_info, checked_flag, checked_reward, info_columns
from universe2.core.errors import ClosedError, UsageError
from universe2.core.ledger import SlotLedger
from universe2.core.native import NativeSlot, Transition
from universe2.core.pictures import check_size, resized
from universe2.core.runtime import Runtime
from universe2.core.seeding import next_seed
from universe2.core.spaces import as_rows, check_actions, unstack
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.runtimes.mailbox import Mailbox
from universe2.runtimes.states import SlotState, StateFormat

_TERMINATED, _TRUNCATED = 1, 2
_CLOSE_SECONDS = 10.0

_Job = Callable[[NativeSlot, np.ndarray], Transition]


class _Call:
    """One reset, send or restore: a job per row, and what came of it."""

    def __init__(self, slots_K: np.ndarray, seeds_K: np.ndarray, jobs: Sequence[_Job | None]) -> None:
        count = len(slots_K)
        self.slots_K, self.seeds_K = slots_K, seeds_K
        self.jobs = jobs
        """None begins the episode of the row's seed"""
        self.rows = iter(range(count))
        """shared by the threads: taking the next one is a single operation of the interpreter"""
        self.left = count
        self.reward_K = np.zeros(count)
        self.terminated_K, self.truncated_K = np.zeros((2, count), bool)
        self.infos: list[dict[str, Any]] = [{} for _ in range(count)]
        self.final_infos: dict[int, dict[str, Any]] = {}
        self.faults: dict[int, str] = {}
        self.blame_K = np.zeros(count, np.uint8)
        """a Fault"""


class NativeRuntime(Runtime):
    """N slots over ``threads`` threads, by default one per core. Any subset of slots may be sent.

    A slot's library is loaded at its first reset.
    """

    def __init__(
        self, spec: EnvSpec, num_slots: int, config: EnvConfig | None = None, *, threads: int | None = None
    ) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, got {threads}")
        self.spec, self.num_slots, self.config = spec, num_slots, config or EnvConfig()
        found = spec.spaces(self.config)
        self.observation_space, self.action_space, self.action_mask, self.render_fps = found
        self._on_screen = self.config.interface == "screen"
        self._same_step = self.config.autoreset == "same_step"
        self._entry = cast(Any, load(spec.entry))
        self._format = StateFormat(spec.id, spec.hash(self.config), self._entry.state_version, _TRUNCATED + 1)
        self._ledger = SlotLedger(num_slots, self.config.autoreset)
        self._slots: list[NativeSlot | None] = [None] * num_slots
        self._ending_N = np.zeros(num_slots, np.uint8)
        self._lost: dict[int, tuple[str, Fault]] = {}
        """slots whose reset right after an end failed → why; their next step says so"""
        box = self.observation_space["screen"] if self._on_screen else self.observation_space  # type: ignore[index]
        assert isinstance(box, spaces.Box), f"{spec.id}: a native slot shows a Box, not {box}"
        self._obs_N = shareable.zeros((num_slots, *box.shape), box.dtype)
        self._final_N = np.zeros(self._obs_N.shape, box.dtype) if self._same_step else self._obs_N
        self._instructions = [""] * num_slots
        self._threads = min(threads or len(os.sched_getaffinity(0)), num_slots)
        self._crew = ThreadPoolExecutor(self._threads, thread_name_prefix=spec.id)
        self._done: Mailbox[_Call] = Mailbox(spec.id, self._ledger)
        self._working, self._rested = 0, threading.Condition()

    # -- asking

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        slots_K, seeds_K = self._ledger.begin_reset(slots, seeds)
        self._post(_Call(slots_K, seeds_K, [None] * len(slots_K)))

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        slots_K = self._ledger.check_slots(slots)
        actions = check_actions(self.action_space, actions, slots_K)
        slots_K, again_K = self._ledger.begin_step(slots_K)
        jobs = [
            None if again else functools.partial(_step, action)
            for again, action in zip(
                again_K.tolist(), unstack(self.action_space, actions, len(slots_K)), strict=True
            )
        ]
        self._post(_Call(slots_K, self._ledger.seed[slots_K], jobs))

    def restore(self, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        slots_K = self._ledger.check_slots(slots)
        if len(states) != len(slots_K):
            raise UsageError(f"expected {len(slots_K)} states, one per slot, got {len(states)}")
        parsed = [self._format.unpack(state) for state in states]
        seeds_K = np.array([state.seed for state in parsed], np.int64)
        steps_K = np.array([state.step for state in parsed], np.int64)
        self._ledger.begin_restore(slots_K, steps_K, seeds_K)
        for slot in slots_K.tolist():
            self._lost.pop(slot, None)
        self._post(_Call(slots_K, seeds_K, [functools.partial(_restore, state) for state in parsed]))

    def _post(self, call: _Call) -> None:
        try:
            for _ in range(min(call.left, self._threads)):
                self._crew.submit(self._work, call)
        except RuntimeError as error:  # the pool was shut down meanwhile
            raise ClosedError("the runtime is closed") from error

    # -- doing, in the threads

    def _work(self, call: _Call) -> None:
        with self._rested:
            self._working += 1
        done = 0
        for row in call.rows:
            if self._ledger.closed:
                break
            self._do(call, row)
            done += 1
        with self._rested:
            self._working -= 1
            call.left -= done
            complete = done and not call.left
            self._rested.notify_all()
        if complete:
            self._done.put(call)

    def _do(self, call: _Call, row: int) -> None:
        slot, seed, job = int(call.slots_K[row]), int(call.seeds_K[row]), call.jobs[row]
        out = self._obs_N[slot]
        try:
            if lost := self._lost.pop(slot, None):
                if job is not None:
                    self._fault(call, row, *lost)
                    return
            one = self._slots[slot] or self._made(slot)
            if job is None:
                one.reset(seed, out)
            else:
                reward, terminated, truncated = job(one, out)
                call.terminated_K[row] = checked_flag("terminated", terminated)
                call.truncated_K[row] = checked_flag("truncated", truncated)
                call.reward_K[row] = checked_reward(reward)
            call.infos[row] = _info(one)
        except Exception as error:  # noqa: BLE001 (told as the row's fault)
            self._slots[slot] = None
            self._fault(call, row, traceback.format_exc(), blame(error))
            return
        ending = _TERMINATED * call.terminated_K[row] + _TRUNCATED * call.truncated_K[row]
        self._ending_N[slot] = ending
        if ending and self._same_step:
            self._begin_again(call, row, one)

    def _begin_again(self, call: _Call, row: int, one: NativeSlot) -> None:
        """Same-step autoreset: keep what the end looked like, then begin the next episode."""
        slot, out = int(call.slots_K[row]), self._obs_N[int(call.slots_K[row])]
        self._final_N[slot] = out
        call.final_infos[row] = call.infos[row]
        try:
            one.reset(next_seed(int(call.seeds_K[row])), out)
            call.infos[row] = _info(one)
        except Exception as error:  # noqa: BLE001 (told at the slot's next step; what was seen last stays)
            self._slots[slot] = None
            self._lost[slot] = traceback.format_exc(), blame(error)
            out[...] = self._final_N[slot]
        self._ending_N[slot] = 0

    def _made(self, slot: int) -> NativeSlot:
        one: NativeSlot = self._entry(self.spec, self.config, _compiled)
        self._slots[slot] = one
        self._instructions[slot] = one.instruction
        return one

    def _fault(self, call: _Call, row: int, text: str, fault: Fault) -> None:
        call.faults[row], call.blame_K[row] = text, fault
        call.reward_K[row] = np.nan
        call.terminated_K[row] = call.truncated_K[row] = False
        call.infos[row] = {}
        self._obs_N[call.slots_K[row]] = 0

    # -- receiving

    def recv(self, timeout: float | None = None) -> Batch:
        call = self._done.take(timeout)
        try:
            batch = self._batch(call)
        except BaseException:  # also Ctrl-C: what is done isn't lost
            self._done.put_back(call)
            raise
        self._ledger.settle(batch)
        return batch

    def _batch(self, call: _Call) -> Batch:
        slots_K, rows_K, ledger = call.slots_K, as_rows(call.slots_K), self._ledger
        batch = Batch(
            slots=slots_K,
            obs=self._wrap(self._obs_N[rows_K], slots_K, call.faults),
            reward=call.reward_K,
            terminated=call.terminated_K,
            truncated=call.truncated_K,
            episode=ledger.episode[slots_K],
            step=ledger.step[slots_K],
            seed=call.seeds_K,
            fault=call.blame_K,
            fault_text=call.faults,
            info=info_columns(call.infos),
        )
        if call.final_infos:
            rows_M = np.array(sorted(call.final_infos), np.int32)
            slots_M = slots_K[rows_M]
            batch.final_rows = rows_M
            batch.final_obs = self._wrap(self._final_N[slots_M], slots_M, ())
            batch.final_info = info_columns([call.final_infos[row] for row in rows_M.tolist()])
        return batch

    def _wrap(self, frames: np.ndarray, slots_K: np.ndarray, empty: Iterable[int]) -> Any:
        if not self._on_screen:
            return frames
        texts = [self._instructions[slot] for slot in slots_K.tolist()]
        for row in empty:
            texts[row] = ""
        return {"screen": frames, "instruction": tuple(texts)}

    # -- states and pictures

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        ledger = self._ledger
        return [
            self._format.pack(
                SlotState(int(ledger.step[s]), int(ledger.seed[s]), int(self._ending_N[s]), one.snapshot())
            )
            for s, one in self._idle(slots)
        ]

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        wanted = None if size is None else check_size(size)
        pictures = [one.render() for _, one in self._idle(slots)]
        if wanted is None:
            return pictures
        return [np.require(resized(picture, wanted), requirements="W") for picture in pictures]

    def _idle(self, slots: Any) -> list[tuple[int, NativeSlot]]:
        """Checked slots, none of them busy, never reset or lost to a fault."""
        slots_K = self._ledger.check_slots(slots)
        self._ledger.check_idle(slots_K)
        found = []
        for slot in slots_K.tolist():
            one = self._slots[slot]
            if one is None:
                raise UsageError(f"slot {slot} had a fault and has no state; its next step begins anew")
            found.append((slot, one))
        return found

    def close(self) -> None:
        self._done.close()
        self._crew.shutdown(wait=False, cancel_futures=True)
        with self._rested:
            # A slot that is being stepped may not be freed; one that hangs is left to its thread.
            if self._rested.wait_for(lambda: not self._working, _CLOSE_SECONDS):
                self._slots = [None] * self.num_slots


def _info(one: NativeSlot) -> dict[str, Any]:
    info = one.info()
    check_info(info)
    return info


def _step(action: Any, one: NativeSlot, out: np.ndarray) -> Transition:
    return one.step(action, out)


def _restore(state: SlotState, one: NativeSlot, out: np.ndarray) -> Transition:
    one.restore(state.body, out)
    return Transition(0.0, state.ending == _TERMINATED, state.ending == _TRUNCATED)


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as machine code, kept on disk between processes."""
    from universe2.runtimes.compiled_build import build, digest  # Numba takes half a second to import

    return build(function, {}, digest({function.__name__: function}), parallel=False)
