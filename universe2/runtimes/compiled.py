"""CompiledRuntime: slots of an arcade game, stepped and drawn by one compiled loop over threads.

``send`` only notes what to do; ``recv`` does it, in the order of the calls, so one thread may
send while another computes. Frames live in one buffer indexed by slot: a contiguous range of
slots comes back as a view. This file doesn't know any game, nor how they are compiled.

Suffixes: N slots of the runtime, K slots of one call, M rows that begin anew.
"""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from universe2.core import screen
from universe2.core.batch import Batch, Column, InfoColumns
from universe2.core.errors import ClosedError, DeadlineError, UsageError
from universe2.core.ledger import SlotLedger
from universe2.core.runtime import Runtime
from universe2.core.spaces import check_actions
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.envs.arcade import check_options
from universe2.envs.arcade.game import OUTCOMES, Game
from universe2.runtimes.compiled_driver import DRAW, RESET, STEP, canvases, drivers

TIME = OUTCOMES.index("time")
_DEADLINE = 60.0
_HEADER = struct.Struct("<4sH16s16sqqqqH")
_MAGIC, _VERSION = b"U2CS", 1


class _Work(NamedTuple):
    """One call of reset, send or restore, waiting for ``recv``."""

    slots_K: np.ndarray
    task_K: np.ndarray
    keys_K: np.ndarray


class CompiledRuntime(Runtime):
    """N slots of one game. Any subset of them may be sent.

    Info columns: "level" with every first observation and at the end of an episode, where
    "outcome" says why it ended: "cleared", "lost", or "time" (the step limit ``max_steps``,
    which truncates).
    """

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig | None = None) -> None:
        self.spec, self.num_slots, self.config = spec, num_slots, config or EnvConfig()
        self.options = check_options(spec, self.config)
        self.game = cast(Game, load(spec.entry))
        self.observation_space, self.action_space, self.action_mask = spec.spaces(self.config)
        self._drivers = drivers(self.game)
        self._keys_A = self.game.keys()
        self._table = screen.keyboard_table(self.game.actions)
        self._ledger = SlotLedger(num_slots, self.config.autoreset)
        self._on_screen = self.config.interface == "screen"
        side = self.options["size"]
        height, width = self.config.screen_size if self._on_screen else (side, side)
        self._canvases = canvases(height, width)
        self._frames_N = np.zeros((num_slots, height, width, 3), np.uint8)
        self._states_N = np.zeros(num_slots, self.game.state)
        self._level_N = np.zeros(num_slots, np.int64)
        self._outcome_N = np.zeros(num_slots, np.int64)
        self._instructions = (screen.clean_instruction(self.game.instruction),) * num_slots
        self._queue: deque[_Work] = deque()
        self._ready = threading.Condition()

    # -- asking

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        slots_K, _ = self._ledger.begin_reset(slots, seeds)
        self._post(slots_K, np.full(len(slots_K), RESET), np.zeros(len(slots_K), np.int64))

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        checked = self._ledger.check_slots(slots)
        keys_K = self._keys_of(check_actions(self.action_space, actions, checked))
        slots_K, again_K = self._ledger.begin_step(checked)
        self._post(slots_K, np.where(again_K, RESET, STEP), keys_K)

    def _keys_of(self, actions: np.ndarray) -> np.ndarray:
        native = self._table[actions[:, 0], actions[:, 1]] if self._on_screen else actions
        return self._keys_A[native]

    def _post(self, slots_K: np.ndarray, task_K: np.ndarray, keys_K: np.ndarray) -> None:
        if len(slots_K) == 0:
            return
        with self._ready:
            self._queue.append(_Work(slots_K, task_K, keys_K))
            self._ready.notify()

    # -- doing

    def recv(self, timeout: float | None = None) -> Batch:
        slots_K, task_K, keys_K = self._next_work(timeout)
        reward_K, outcome_K = self._run(slots_K, task_K, keys_K)
        ledger = self._ledger
        episode_K, step_K, seed_K = (a[slots_K] for a in (ledger.episode, ledger.step, ledger.seed))
        late_K = (outcome_K == 0) & (task_K == STEP) & (step_K >= self.options["max_steps"])
        outcome_K[late_K] = TIME
        restored_K = task_K == DRAW
        outcome_K[restored_K] = self._outcome_N[slots_K[restored_K]]
        self._outcome_N[slots_K] = outcome_K
        ended_K = outcome_K != 0
        batch = Batch(
            slots=slots_K,
            obs=None,
            reward=reward_K,
            terminated=ended_K & (outcome_K != TIME),
            truncated=outcome_K == TIME,
            episode=episode_K,
            step=step_K,
            seed=seed_K,
            fault=np.zeros(len(slots_K), np.uint8),
        )
        began_K = task_K == RESET
        ledger.finish(slots_K, ended_K)
        if self.config.autoreset == "same_step" and ended_K.any():
            self._begin_again(batch, np.flatnonzero(ended_K).astype(np.int32), outcome_K)
            began_K, outcome_K = began_K | ended_K, np.where(ended_K, 0, outcome_K)
        batch.obs = self._observe(slots_K)
        batch.info = self._info(self._level_N[slots_K], outcome_K, began_K)
        return batch

    def _next_work(self, timeout: float | None) -> _Work:
        deadline = time.monotonic() + (_DEADLINE if timeout is None else timeout)
        with self._ready:
            while not self._queue:
                if self._ledger.closed:
                    raise ClosedError("the runtime is closed")
                if not len(self._ledger.busy()):
                    raise UsageError("no slot is busy: call reset or send before recv")
                if not self._ready.wait(deadline - time.monotonic()):
                    raise DeadlineError(f"{self.spec.id}: nothing was ready in time")
            if self._ledger.closed:
                raise ClosedError("the runtime is closed")
            return self._queue.popleft()

    def _run(
        self, slots_K: np.ndarray, task_K: np.ndarray, keys_K: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Drive the slots; rewards float64 (K,) and outcomes int64 (K,)."""
        count = len(slots_K)
        rng_K = np.zeros(count, np.int64)
        fresh_K = task_K == RESET
        if fresh_K.any():
            fresh = slots_K[fresh_K]
            words = _mix(self._ledger.seed[fresh])
            start, span = self.options["start_level"], self.options["num_levels"]
            span = span or 2**31 - start
            self._level_N[fresh] = start + (words >> np.uint64(1)).astype(np.int64) % span
            rng_K[fresh_K] = (_mix(words) >> np.uint64(33)).astype(np.int64)
            self._states_N[fresh] = np.zeros(1, self.game.state)
        reward_K, outcome_K = np.empty(count), np.empty(count, np.int64)
        tasks = task_K.astype(np.int64, copy=False)
        level_K, rows_K = self._level_N[slots_K], slots_K
        self._drivers.drive(
            self._states_N, slots_K, tasks, keys_K, level_K, rng_K, self._canvases, rows_K,
            self._frames_N, reward_K, outcome_K,
        )  # fmt: skip
        return reward_K, outcome_K

    def _begin_again(self, batch: Batch, rows_M: np.ndarray, outcome_K: np.ndarray) -> None:
        """Same-step autoreset: keep what the ended rows looked like, then begin their next episodes."""
        slots_M = batch.slots[rows_M]
        batch.final_rows = rows_M
        batch.final_obs = self._wrap(self._frames_N[slots_M])
        ended_M = np.ones(len(rows_M), bool)
        batch.final_info = self._info(self._level_N[slots_M], outcome_K[rows_M], ended_M)
        self._ledger.roll_over(slots_M, self._ledger.next_seeds(slots_M))
        self._run(slots_M, np.full(len(rows_M), RESET), np.zeros(len(rows_M), np.int64))
        self._outcome_N[slots_M] = 0

    def _observe(self, slots_K: np.ndarray) -> Any:
        first, last = int(slots_K[0]), int(slots_K[-1])
        contiguous = last - first == len(slots_K) - 1 and bool((np.diff(slots_K) == 1).all())
        return self._wrap(self._frames_N[first : last + 1] if contiguous else self._frames_N[slots_K])

    def _wrap(self, frames: np.ndarray) -> Any:
        if not self._on_screen:
            return frames
        return {"screen": frames, "instruction": self._instructions[: len(frames)]}

    def _info(self, level_K: np.ndarray, outcome_K: np.ndarray, began_K: np.ndarray) -> InfoColumns:
        ended_K = outcome_K != 0
        shown_K = began_K | ended_K
        if not shown_K.any():
            return {}
        info = {"level": Column(np.where(shown_K, level_K, 0), shown_K)}
        if ended_K.any():
            names = np.full(len(outcome_K), None, dtype=object)
            for row in np.flatnonzero(ended_K):
                names[row] = OUTCOMES[outcome_K[row]]
            info["outcome"] = Column(names, ended_K)
        return info

    # -- states and pictures

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        slots_K = self._idle(slots)
        return [self._header(slot) + self._states_N[slot].tobytes() for slot in slots_K]

    def _header(self, slot: int) -> bytes:
        ledger = self._ledger
        numbers = (ledger.step[slot], ledger.seed[slot], self._level_N[slot], self._outcome_N[slot])
        return _HEADER.pack(_MAGIC, _VERSION, *self._identity(), *map(int, numbers), self._states_N.itemsize)

    def _identity(self) -> tuple[bytes, bytes]:
        return self.spec.hash(self.config).encode(), self._drivers.digest[:16].encode()

    def restore(self, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        slots_K = self._ledger.check_slots(slots)
        if len(states) != len(slots_K):
            raise UsageError(f"expected {len(slots_K)} states, one per slot, got {len(states)}")
        parsed = [self._parse(state) for state in states]
        steps_K = np.array([p[0] for p in parsed], np.int64)
        seeds_K = np.array([p[1] for p in parsed], np.int64)
        self._ledger.begin_restore(slots_K, steps_K, seeds_K)
        for slot, (_, _, level, outcome, body) in zip(slots_K, parsed, strict=True):
            self._level_N[slot], self._outcome_N[slot] = level, outcome
            self._states_N[slot] = np.frombuffer(body, self.game.state)[0]
        self._post(slots_K, np.full(len(slots_K), DRAW), np.zeros(len(slots_K), np.int64))

    def _parse(self, state: bytes) -> tuple[int, int, int, int, bytes]:
        body = bytes(state[_HEADER.size :])
        if len(state) < _HEADER.size or len(body) != self._states_N.itemsize or state[:4] != _MAGIC:
            raise UsageError(f"not a snapshot of {self.spec.id}: {len(state)} bytes, header {state[:4]!r}")
        _, version, spec_hash, rules, step, seed, level, outcome, _ = _HEADER.unpack(state[: _HEADER.size])
        if version != _VERSION:
            raise UsageError(f"the snapshot has format {version}, this is format {_VERSION}")
        if (spec_hash, rules) != self._identity():
            raise UsageError(
                f"the snapshot is of spec {spec_hash.decode(errors='replace')} with rules "
                f"{rules.decode(errors='replace')}, this runtime is {self.spec.id} with spec "
                f"{self._identity()[0].decode()} and rules {self._identity()[1].decode()}"
            )
        if not 0 <= outcome < len(OUTCOMES):
            raise UsageError(f"the snapshot is damaged: outcome {outcome}")
        return step, seed, level, outcome, body

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        slots_K = self._idle(slots)
        height, width = size or self._frames_N.shape[1:3]
        if not (8 <= height <= 2048 and 8 <= width <= 2048):
            raise UsageError(f"a picture is 8 to 2048 pixels high and wide, got {(height, width)}")
        count = len(slots_K)
        frames = np.zeros((count, height, width, 3), np.uint8)
        zeros, rows_K = np.zeros(count, np.int64), np.arange(count, dtype=np.int32)
        self._drivers.drive(
            self._states_N, slots_K, np.full(count, DRAW), zeros, zeros, zeros, canvases(height, width),
            rows_K, frames, np.zeros(count), np.zeros(count, np.int64),
        )  # fmt: skip
        return list(frames)

    def heuristic(self, slots: Sequence[int] | np.ndarray) -> np.ndarray:
        """The scripted expert's actions for the slots' present states, as ``send`` takes them."""
        slots_K = self._idle(slots)
        keys_K = self._drivers.advise(self._states_N, slots_K)
        action_of = {int(keys): action for action, keys in enumerate(self._keys_A)}
        native = np.array([action_of[int(keys)] for keys in keys_K], np.int64)
        if not self._on_screen:
            return native
        actions = np.zeros((len(native), len(screen.NVEC)), np.int64)
        pairs = np.array(
            [(screen.ARROWS.index(a), screen.KEYS.index(k)) for a, k in self.game.actions], np.int64
        )
        actions[:, :2] = pairs[native]
        return actions

    def _idle(self, slots: Any) -> np.ndarray:
        """Checked slots, none of them busy or never reset."""
        slots_K = self._ledger.check_slots(slots)
        self._ledger.check_idle(slots_K)
        return slots_K

    def close(self) -> None:
        with self._ready:
            self._ledger.closed = True
            self._ready.notify_all()


def _mix(numbers: np.ndarray) -> np.ndarray:
    """splitmix64 of each number, uint64; the array form of ``core.seeding.mix``."""
    z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
