"""CompiledRuntime: slots of an arcade game, stepped and drawn by one compiled loop over threads.

``send`` only notes what to do; ``recv`` does it, in the order of the calls, so one thread may
send while another computes. Frames live in one buffer indexed by slot: a contiguous range of
slots comes back as a view. A game that raises costs its slot a row with a fault, and no other slot
anything. This file doesn't know any game, nor how they are compiled.

Suffixes: N slots of the runtime, K slots of one call, M rows that begin anew.
"""

from __future__ import annotations

import struct
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from universe2.core import screen, shareable
from universe2.core.batch import Batch, Column, Fault, InfoColumns, fault_batch
from universe2.core.errors import FaultError, UsageError
from universe2.core.ledger import SlotLedger
from universe2.core.pictures import check_size
from universe2.core.runtime import Runtime
from universe2.core.seeding import mix_each
from universe2.core.spaces import as_rows, check_actions
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.envs.arcade import check_options
from universe2.envs.arcade.game import OUTCOMES, RUNNING, Game
from universe2.runtimes.compiled_build import debugging
from universe2.runtimes.compiled_driver import DRAW, FAILED, RESET, STEP, canvases, drivers
from universe2.runtimes.mailbox import Mailbox
from universe2.runtimes.states import SlotState, StateFormat

TIME = OUTCOMES.index("time")
_DOING = {RESET: "reset", STEP: "step", DRAW: "picture"}
_LEVEL = struct.Struct("<q")
_NAMES = np.array(OUTCOMES, dtype=object)


class _Work(NamedTuple):
    """One call of reset, send or restore, waiting for ``recv``."""

    slots_K: np.ndarray
    task_K: np.ndarray
    keys_K: np.ndarray
    spoilt: str = ""
    """why nobody knows what became of it, if that is so"""


class _Played(NamedTuple):
    """What became of the rows of a call."""

    reward_K: np.ndarray
    """float64; NaN for a row that failed"""
    outcome_K: np.ndarray
    """int64: RUNNING, how the episode ended, or FAILED"""
    advice_K: np.ndarray | None
    """actions, with the option ``expert``; of rows that failed, anything"""
    faults: dict[int, str]
    """what happened, for the rows that failed"""


class CompiledRuntime(Runtime):
    """N slots of one game. Any subset of them may be sent.

    Info columns: "level" with every first observation and at the end of an episode, where
    "outcome" says why it ended: "cleared", "lost", or "time" (the step limit ``max_steps``,
    which truncates); "expert" with the option of that name.
    """

    _expert = "expert"

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig | None = None) -> None:
        self.spec, self.num_slots, self.config = spec, num_slots, config or EnvConfig()
        self.options = check_options(spec, self.config)
        self.game = cast(Game, load(spec.entry))
        found = spec.spaces(self.config)
        self.observation_space, self.action_space, self.action_mask, self.render_fps = found
        self._drivers = self._open_drivers()
        self._keys_A = self.game.keys()
        self._table = screen.keyboard_table(self.game.actions)
        self._ledger = SlotLedger(num_slots, self.config.autoreset)
        self._on_screen = self.config.interface == "screen"
        side = self.options["size"]
        self._size = self.config.screen_size if self._on_screen else (side, side)
        self._canvases = canvases(*self._size)
        self._allocate()
        self._states_N = np.zeros(num_slots, self.game.state)
        self._blank = np.zeros(1, self.game.state)
        self._blank["hard"] = self.options["difficulty"]
        self._skip = self.options["frame_skip"]
        self._most_actions = -(-self.options["max_steps"] // self._skip)
        self._level_N = np.zeros(num_slots, np.int64)
        self._outcome_N = np.zeros(num_slots, np.int64)
        self._lost: dict[int, str] = {}
        """slots whose reset right after an end failed → why; their next step says so"""
        self._instructions = (screen.clean_instruction(self.game.instruction),) * num_slots
        self._posted: Mailbox[_Work] = Mailbox(spec.id, self._ledger)
        size = _LEVEL.size + self._states_N.itemsize
        self._format = StateFormat(spec.id, spec.hash(self.config), self._drivers.digest, len(OUTCOMES), size)

    def _open_drivers(self) -> Any:
        return drivers(self.game)

    def _allocate(self) -> None:
        self._frames_N = shareable.zeros((self.num_slots, *self._size, 3), np.uint8)

    # -- asking

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        slots_K, _ = self._ledger.begin_reset(slots, seeds)
        self._post(slots_K, np.full(len(slots_K), RESET), self._no_keys(len(slots_K)))

    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        checked = self._ledger.check_slots(slots)
        keys_K = self._keys_of(check_actions(self.action_space, actions, checked))
        slots_K, again_K = self._ledger.begin_step(checked)
        self._post(slots_K, np.where(again_K, RESET, STEP), keys_K)

    def _no_keys(self, count: int) -> np.ndarray:
        return np.zeros(count, np.int64)

    def _keys_of(self, actions: Any) -> np.ndarray:
        native = self._table[actions[:, 0], actions[:, 1]] if self._on_screen else actions
        return self._keys_A[native]

    def _post(self, slots_K: np.ndarray, task_K: np.ndarray, keys_K: np.ndarray) -> None:
        if len(slots_K) == 0:
            return
        self._posted.put(_Work(slots_K, task_K, keys_K))

    # -- doing

    def recv(self, timeout: float | None = None) -> Batch:
        work = self._posted.take(timeout)
        try:
            return self._spoilt(work) if work.spoilt else self._played(work)
        except BaseException as error:  # also Ctrl-C, before or after the slots moved: that can't be told
            why = f"{self.spec.id}: interrupted by {type(error).__name__}: nobody knows how far the step came"
            self._ledger.take_back(work.slots_K)
            self._posted.put_back(work._replace(spoilt=why))
            raise

    def _spoilt(self, work: _Work) -> Batch:
        """Faults in the place of what an interrupted ``recv`` would have given."""
        slots_K, count, ledger = work.slots_K, len(work.slots_K), self._ledger
        self._put_frames(slots_K, None)
        self._outcome_N[slots_K] = FAILED
        batch = fault_batch(
            slots_K,
            self._wrap(self._frames_of(slots_K), range(count)),
            ledger.episode[slots_K],
            ledger.step[slots_K],
            ledger.seed[slots_K],
            [work.spoilt] * count,
        )
        batch.info = self._info(slots_K, self._outcome_N[slots_K], np.zeros(count, bool))
        ledger.finish(slots_K, batch.ended, batch.fault)
        return batch

    def _played(self, work: _Work) -> Batch:
        slots_K, task_K, keys_K, _ = work
        lost = self._take_lost(slots_K, task_K) if self._lost else {}
        reward_K, outcome_K, advice_K, faults = self._run(slots_K, task_K, keys_K, lost)
        ledger = self._ledger
        rows = ledger.rows(slots_K)  # mostly all, and what is not a gather takes a tenth of the time
        if not isinstance(rows, slice):
            rows = as_rows(slots_K)
        episode_K, step_K, seed_K = ledger.episode[rows], ledger.step[rows], ledger.seed[rows]
        if isinstance(rows, slice):
            episode_K, step_K, seed_K = episode_K.copy(), step_K.copy(), seed_K.copy()
        if step_K.max() >= self._most_actions:
            late_K = (outcome_K == RUNNING) & (task_K == STEP) & (step_K >= self._most_actions)
            outcome_K[late_K] = TIME
        if task_K[0] == DRAW:  # a restore: then all are
            outcome_K[:] = self._outcome_N[rows]
        fault_K = np.zeros(len(slots_K), np.uint8)
        if faults:
            failed = list(faults)
            outcome_K[failed], fault_K[failed] = FAILED, Fault.ENVIRONMENT
        self._outcome_N[rows] = outcome_K
        ended_K = outcome_K > RUNNING
        batch = Batch(
            slots=slots_K,
            obs=None,
            reward=reward_K,
            terminated=ended_K & (outcome_K != TIME),
            truncated=outcome_K == TIME,
            episode=episode_K,
            step=step_K,
            seed=seed_K,
            fault=fault_K,
            fault_text=faults,
        )
        began_K = task_K == RESET
        ledger.finish(slots_K, ended_K, fault_K if faults else None)
        if self.config.autoreset == "same_step" and np.count_nonzero(ended_K):
            rows_M = np.flatnonzero(ended_K).astype(np.int32)
            again = self._begin_again(batch, rows_M, outcome_K)
            began_K, outcome_K[rows_M] = began_K | ended_K, again.outcome_K
            if advice_K is not None:
                advice_K[rows_M] = again.advice_K
        batch.obs = self._wrap(self._frames_of(rows), faults)
        batch.info = self._info(slots_K, outcome_K, began_K)
        if advice_K is not None:
            batch.info[self._expert] = Column(advice_K, outcome_K != FAILED)
        return batch

    def _take_lost(self, slots_K: np.ndarray, task_K: np.ndarray) -> dict[int, str]:
        """Row → why, for the slots to be stepped that a failed reset left without a state.

        Their task becomes that reset: it fails again.
        """
        found = {row: self._lost.pop(slot, "") for row, slot in enumerate(slots_K.tolist())}
        lost = {row: text for row, text in found.items() if text and task_K[row] == STEP}
        task_K[list(lost)] = RESET
        return lost

    def _run(
        self,
        slots_K: np.ndarray,
        task_K: np.ndarray,
        keys_K: np.ndarray,
        lost: Mapping[int, str],
    ) -> _Played:
        """Drive the slots. Rows that fail, and those ``lost`` before, get a fault and see nothing."""
        count = len(slots_K)
        rng_K = np.zeros(count, np.int64)
        fresh_K = task_K == RESET
        if np.count_nonzero(fresh_K):
            fresh = slots_K[fresh_K]
            words = mix_each(self._ledger.seed[fresh])
            start, span = self.options["start_level"], self.options["num_levels"]
            span = span or 2**31 - start
            self._level_N[fresh] = start + (words >> np.uint64(1)).astype(np.int64) % span
            rng_K[fresh_K] = (mix_each(words) >> np.uint64(33)).astype(np.int64)
            self._states_N[fresh] = self._blank
        work_K = np.where(task_K == STEP, STEP * self._skip, task_K) if self._skip > 1 else task_K
        reward_K, outcome_K, causes = self._drive(
            slots_K,
            work_K.astype(np.int64, copy=False),
            keys_K,
            self._level_N[self._ledger.rows(slots_K)],
            rng_K,
        )
        faults = {row: self._told(_DOING[int(task_K[row])], int(slots_K[row]), causes[row]) for row in causes}
        for row in np.flatnonzero(np.isnan(reward_K) & (outcome_K != FAILED)).tolist():
            why = "That says of a step that it is a fault; is it computed by dividing by zero?"
            faults[row] = self._told("step", int(slots_K[row]), why, did="gave the reward NaN")
        advice_K = self._counsel(slots_K, outcome_K, faults) if self.options["expert"] else None
        faults.update(lost)
        if faults:
            failed = list(faults)
            reward_K[failed], outcome_K[failed] = np.nan, FAILED
            self._put_frames(slots_K[failed], None)
        return _Played(reward_K, outcome_K, advice_K, faults)

    def _told(self, doing: str, slot: int, cause: str, did: str = "raised an exception") -> str:
        """The text of a fault."""
        seed, step, level = self._ledger.seed[slot], self._ledger.step[slot], self._level_N[slot]
        hint = "" if debugging() else " UNIVERSE2_DEBUG=1 plays it as plain Python, where breakpoints work."
        return (
            f"{self.spec.id}: the game's code {did} in the {doing} of slot {slot} "
            f"(level {level}, seed {seed}, step {step}).{hint}\n{cause}"
        )

    def _counsel(self, slots_K: np.ndarray, outcome_K: np.ndarray, faults: dict[int, str]) -> np.ndarray:
        """The scripted expert's actions; a row whose expert raises joins the ``faults``."""
        good = np.flatnonzero(outcome_K != FAILED)
        try:
            advice = self._advice(slots_K[good])
        except Exception:  # noqa: BLE001 (told as faults of the rows that are to blame)
            advice = np.concatenate([self._advice_of_one(slots_K, row, faults) for row in good.tolist()])
        advice_K = np.zeros((len(slots_K), *advice.shape[1:]), np.int64)
        advice_K[good] = advice
        return advice_K

    def _advice_of_one(self, slots_K: np.ndarray, row: int, faults: dict[int, str]) -> np.ndarray:
        try:
            return self._advice(slots_K[row : row + 1])
        except Exception:  # noqa: BLE001
            faults[row] = self._told("expert's advice", int(slots_K[row]), traceback.format_exc().rstrip())
            return self._actions_of(self._no_keys(1))

    def _drive(
        self,
        slots_K: np.ndarray,
        task_K: np.ndarray,
        keys_K: np.ndarray,
        level_K: np.ndarray,
        rng_K: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
        """Rewards float64 (K,), outcomes int64 (K,), and the causes of those that are FAILED."""
        reward_K, outcome_K = np.empty(len(slots_K)), np.empty(len(slots_K), np.int64)
        causes = self._drivers.drive(
            self._states_N, slots_K, task_K, keys_K, level_K, rng_K, self._canvases, slots_K,
            self._frames_N, reward_K, outcome_K,
        )  # fmt: skip
        return reward_K, outcome_K, causes

    def _begin_again(self, batch: Batch, rows_M: np.ndarray, outcome_K: np.ndarray) -> _Played:
        """Same-step autoreset: keep what the ended rows looked like, then begin their next episodes.

        Of a reset that fails the slot's next step tells; until then what was seen last stays.
        """
        slots_M = batch.slots[rows_M]
        last = self._frames_of(slots_M)
        batch.final_rows = rows_M
        batch.final_obs = self._wrap(last)
        ended_M = np.ones(len(rows_M), bool)
        batch.final_info = self._info(slots_M, outcome_K[rows_M], ended_M)
        self._ledger.roll_over(slots_M, self._ledger.next_seeds(slots_M))
        again = self._run(slots_M, np.full(len(rows_M), RESET), self._no_keys(len(rows_M)), {})
        self._outcome_N[slots_M] = again.outcome_K
        for row, text in again.faults.items():
            self._lost[int(slots_M[row])] = text
            self._put_frames(slots_M[row : row + 1], self._pick(last, row))
        return again

    def _frames_of(self, rows: Any) -> Any:
        """The frames of some slots: a slice gives views, an index array copies."""
        return self._frames_N[rows]

    def _pick(self, frames: Any, row: int) -> Any:
        """One row of what ``_frames_of`` gave."""
        return frames[row : row + 1]

    def _put_frames(self, slots: np.ndarray, frames: Any) -> None:
        """Show these (None: nothing) in the slots, from what ``_frames_of`` gave."""
        self._frames_N[slots] = 0 if frames is None else frames

    def _wrap(self, frames: Any, empty: Iterable[int] = ()) -> Any:
        """Observations from what ``_frames_of`` gave; the rows ``empty`` say nothing."""
        return self._seen(frames, empty)

    def _seen(self, frames: Any, empty: Iterable[int]) -> Any:
        if not self._on_screen:
            return frames
        texts = self._instructions[: len(frames)]
        if blank := set(empty):
            texts = tuple("" if row in blank else text for row, text in enumerate(texts))
        return {"screen": frames, "instruction": texts}

    def _info(self, slots_K: np.ndarray, outcome_K: np.ndarray, began_K: np.ndarray) -> InfoColumns:
        ended_K = outcome_K > RUNNING
        shown_K = began_K | ended_K
        if not np.count_nonzero(shown_K):
            return {}
        shown_K &= outcome_K != FAILED
        level_K = self._level_N[self._ledger.rows(slots_K)]
        info = {"level": Column(np.where(shown_K, level_K, 0), shown_K)}
        if np.count_nonzero(ended_K):
            names = np.full(len(outcome_K), None, dtype=object)
            names[ended_K] = _NAMES[outcome_K[ended_K]]
            info["outcome"] = Column(names, ended_K)
        return info

    # -- states and pictures

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        slots_K = self._idle(slots)
        return [self._format.pack(self._state(int(slot))) for slot in slots_K]

    def _state(self, slot: int) -> SlotState:
        ledger, body = self._ledger, _LEVEL.pack(self._level_N[slot]) + self._states_N[slot].tobytes()
        return SlotState(int(ledger.step[slot]), int(ledger.seed[slot]), int(self._outcome_N[slot]), body)

    def states(self, slots: Sequence[int] | np.ndarray) -> np.ndarray:
        """Copies of the slots' records, the dtype being the game's: every field by its name, to look at."""
        return self._states_N[self._idle(slots)]

    def restore(self, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        slots_K = self._ledger.check_slots(slots)
        if len(states) != len(slots_K):
            raise UsageError(f"expected {len(slots_K)} states, one per slot, got {len(states)}")
        parsed = [self._format.unpack(state) for state in states]
        seeds_K = np.array([state.seed for state in parsed], np.int64)
        steps_K = np.array([state.step for state in parsed], np.int64)
        self._ledger.begin_restore(slots_K, steps_K, seeds_K)
        for slot, state in zip(slots_K, parsed, strict=True):
            (self._level_N[slot],) = _LEVEL.unpack_from(state.body)
            self._outcome_N[slot] = state.ending
            self._put_state(slot, np.frombuffer(state.body, self.game.state, offset=_LEVEL.size))
        self._post(slots_K, np.full(len(slots_K), DRAW), self._no_keys(len(slots_K)))

    def _put_state(self, slot: int, state_1: np.ndarray) -> None:
        self._states_N[slot] = state_1[0]

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        slots_K = self._idle(slots)
        return list(self._pictures(slots_K, *(self._size if size is None else check_size(size))))

    def _pictures(self, slots_K: np.ndarray, height: int, width: int) -> np.ndarray:
        """uint8 (K, height, width, 3): the slots as they are."""
        count = len(slots_K)
        frames = np.zeros((count, height, width, 3), np.uint8)
        zeros, rows_K = np.zeros(count, np.int64), np.arange(count, dtype=np.int32)
        causes = self._drivers.drive(
            self._states_N, slots_K, np.full(count, DRAW), zeros, zeros, zeros, canvases(height, width),
            rows_K, frames, np.zeros(count), np.zeros(count, np.int64),
        )  # fmt: skip
        self._check_pictures(slots_K, causes)
        return frames

    def _check_pictures(self, slots_K: np.ndarray, causes: dict[int, str]) -> None:
        for row, cause in causes.items():
            raise FaultError(self._told("picture", int(slots_K[row]), cause))

    def heuristic(self, slots: Sequence[int] | np.ndarray) -> Any:
        """The scripted expert's actions for the slots' present states, as ``send`` takes them."""
        return self._advice(self._idle(slots))

    def _advice(self, slots_K: np.ndarray) -> np.ndarray:
        return self._actions_of(self._drivers.advise(self._states_N, slots_K, self._no_keys(len(slots_K))))

    def _actions_of(self, keys: np.ndarray) -> np.ndarray:
        """The actions that press ``keys``, int64 of the same shape (with an axis of five on the screen)."""
        action_of = {int(bits): action for action, bits in enumerate(self._keys_A)}
        native = np.array([action_of[int(bits)] for bits in keys.flat], np.int64).reshape(keys.shape)
        if not self._on_screen:
            return native
        actions = np.zeros((*native.shape, len(screen.NVEC)), np.int64)
        pairs = np.array(
            [(screen.ARROWS.index(a), screen.KEYS.index(k)) for a, k in self.game.actions], np.int64
        )
        actions[..., :2] = pairs[native]
        return actions

    def _idle(self, slots: Any) -> np.ndarray:
        """Checked slots, none of them busy, never reset or lost to a fault."""
        slots_K = self._ledger.check_slots(slots)
        self._ledger.check_idle(slots_K)
        failed_K = self._outcome_N[slots_K] == FAILED
        if failed_K.any():
            slot = slots_K[np.argmax(failed_K)]
            raise UsageError(f"slot {slot} had a fault and has no state; its next step begins anew")
        return slots_K

    def close(self) -> None:
        self._posted.close()
