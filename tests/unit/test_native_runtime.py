"""The native runtime, with slots that need no library: modes, faults, threads, states, closing."""

from __future__ import annotations

import struct
import threading
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from universe2.core.batch import Fault
from universe2.core.errors import ClosedError, InvalidActionError, UsageError
from universe2.core.native import Transition
from universe2.core.seeding import next_seed
from universe2.core.spec import EnvConfig, EnvSpec, Spaces
from universe2.runtimes.native import NativeRuntime

REFUSED, BREAKS, HANGS = 7, 8, 9


class Tally:
    """Shows (seed, steps, sum of actions); ends after ``length`` steps.

    Action 8 raises, 9 waits, 7 is refused if ``picky``.
    """

    state_version = "tally 1"
    instruction = "count"
    gate = threading.Event()
    unlucky: int | None = None
    """a seed that can't be begun"""

    def __init__(self, spec: EnvSpec, config: EnvConfig, compiled: Any) -> None:
        options = spec.resolve(config.options)
        self.length, self.picky = options["length"], options["picky"]

    def reset(self, seed: int, out: np.ndarray) -> None:
        self.state = [seed, 0, 0]
        self.show(out)
        if seed == self.unlucky:
            raise RuntimeError("this seed is cursed")

    def step(self, action: Any, out: np.ndarray) -> Transition:
        if action == REFUSED and self.picky:
            raise InvalidActionError("7 isn't legal here")
        if action == BREAKS:
            raise RuntimeError("broken on purpose")
        if action == HANGS:
            assert self.gate.wait(20)
        self.state[1] += 1
        self.state[2] += int(action)
        self.show(out)
        return Transition(float(action), self.state[1] >= self.length, False)

    def show(self, out: np.ndarray) -> None:
        out[:] = self.state

    def info(self) -> dict[str, Any]:
        return {"steps": self.state[1]}

    def render(self) -> np.ndarray:
        return np.full((16, 16, 3), self.state[1], np.uint8)

    def snapshot(self) -> bytes:
        return struct.pack("<3q", *self.state)

    def restore(self, state: bytes, out: np.ndarray) -> None:
        self.state = list(struct.unpack("<3q", state))
        self.show(out)


def tally_spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    return Spaces(spaces.Box(0, 2**62, (3,), np.int64), spaces.Discrete(10))


SPEC = EnvSpec(
    id="tests/Tally-v0",
    runtime="native",
    entry=f"{__name__}:Tally",
    spaces_from=f"{__name__}:tally_spaces",
    options={"length": 4, "picky": False},
)


def begun(slots: int, autoreset: Any = "next_step", threads: int = 2, **options: Any) -> NativeRuntime:
    runtime = NativeRuntime(SPEC, slots, EnvConfig(autoreset=autoreset, options=options), threads=threads)
    runtime.reset(range(slots), range(100, 100 + slots))
    assert runtime.recv().obs[:, 0].tolist() == list(range(100, 100 + slots))
    return runtime


def stepped(runtime: NativeRuntime, slots: list[int], actions: list[int]) -> Any:
    runtime.send(slots, actions)
    return runtime.recv(20.0)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_any_number_of_threads_and_any_subset_give_the_same(threads: int) -> None:
    runtime = begun(20, threads=threads, length=50)
    rng = np.random.default_rng(0)
    expected = np.zeros(20, np.int64)
    for _ in range(30):
        slots = rng.permutation(20)[: rng.integers(1, 20)]
        actions = rng.integers(0, 8, len(slots))
        batch = stepped(runtime, slots.tolist(), actions.tolist())
        expected[slots] += actions
        assert batch.slots.tolist() == slots.tolist()
        assert batch.obs[:, 2].tolist() == expected[slots].tolist()
        assert batch.reward.tolist() == actions.tolist()
    runtime.close()


def test_neighbours_come_as_a_view_without_a_copy() -> None:
    runtime = begun(4)
    assert np.shares_memory(stepped(runtime, [1, 2], [1, 1]).obs, runtime._obs_N)
    runtime.close()


def test_the_three_ways_to_begin_again() -> None:
    after, same, off = begun(1, "next_step"), begun(1, "same_step"), begun(1, "disabled")
    for runtime in (after, same, off):
        for _ in range(3):
            stepped(runtime, [0], [2])
    for runtime in (after, off):
        batch = stepped(runtime, [0], [2])
        assert batch.terminated[0]
        assert batch.obs.tolist() == [[100, 4, 8]]
        assert not len(batch.final_rows)
    batch = stepped(after, [0], [2])
    assert (batch.obs.tolist(), batch.reward[0]) == ([[next_seed(100), 0, 0]], 0.0)
    with pytest.raises(UsageError, match="disabled"):
        off.send([0], [2])
    batch = stepped(same, [0], [2])
    assert (batch.terminated[0], batch.seed[0], batch.step[0]) == (True, 100, 4)
    assert batch.obs.tolist() == [[next_seed(100), 0, 0]]
    assert batch.final_obs.tolist() == [[100, 4, 8]]
    assert batch.final_info["steps"].values.tolist() == [4]
    assert batch.info["steps"].values.tolist() == [0]
    batch = stepped(same, [0], [2])
    assert (batch.episode[0], batch.step[0], batch.seed[0]) == (1, 1, next_seed(100))
    for runtime in (after, same, off):
        runtime.close()


def test_a_slot_that_raises_is_made_anew_and_others_do_not_notice() -> None:
    runtime = begun(3)
    broken = runtime._slots[1]
    batch = stepped(runtime, [0, 1, 2], [1, BREAKS, 1])
    assert batch.fault.tolist() == [0, Fault.ENVIRONMENT, 0]
    assert "broken on purpose" in batch.fault_text[1]
    assert "Traceback" in batch.fault_text[1]
    assert np.isnan(batch.reward[1])
    assert batch.obs.tolist() == [[100, 1, 1], [0, 0, 0], [102, 1, 1]]
    with pytest.raises(UsageError, match="had a fault"):
        runtime.snapshot([1])
    batch = stepped(runtime, [0, 1, 2], [1, 1, 1])
    assert batch.fault.tolist() == [0, 0, 0]
    assert batch.obs.tolist() == [[100, 2, 2], [next_seed(101), 0, 0], [102, 2, 2]]
    assert runtime._slots[1] is not broken
    runtime.close()


def test_what_only_the_environment_can_refuse_is_the_users_fault() -> None:
    runtime = begun(2, picky=True)
    batch = stepped(runtime, [0, 1], [REFUSED, 1])
    assert batch.fault.tolist() == [Fault.USER, 0]
    assert "7 isn't legal here" in batch.fault_text[0]
    assert stepped(runtime, [0, 1], [1, 1]).step.tolist() == [0, 2]
    runtime.close()


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ((float("nan"), False, False), "the reward is nan, which says of a step that it is a fault"),
        ((1.0, False, "no"), "truncated must be True or False, got 'no'"),
    ],
)
def test_what_is_no_reward_or_no_flag_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, returned: Any, words: str
) -> None:
    runtime = begun(1)
    monkeypatch.setattr(Tally, "step", lambda *_: Transition(*returned))
    batch = stepped(runtime, [0], [1])
    assert batch.fault.tolist() == [Fault.ENVIRONMENT]
    assert words in batch.fault_text[0]
    assert batch.ended.tolist() == [False]
    assert stepped(runtime, [0], [1]).step.tolist() == [0]
    runtime.close()


def test_a_failed_reset_after_an_end_keeps_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tally, "unlucky", next_seed(100))
    runtime = begun(1, "same_step", length=1)
    batch = stepped(runtime, [0], [3])
    assert (batch.terminated[0], batch.reward[0], batch.fault[0]) == (True, 3.0, 0)
    assert batch.final_obs.tolist() == [[100, 1, 3]]
    batch = stepped(runtime, [0], [3])
    assert batch.fault[0] == Fault.ENVIRONMENT
    assert "cursed" in batch.fault_text[0]
    assert stepped(runtime, [0], [3]).fault[0] == 0
    runtime.close()


def test_snapshots_keep_ends_and_refuse_others() -> None:
    runtime, longer = begun(2, length=2), begun(1, length=3)
    stepped(runtime, [0, 1], [1, 2])
    (state,) = runtime.snapshot([0])
    stepped(runtime, [0], [5])
    (ended,) = runtime.snapshot([0])
    runtime.restore([0, 1], [state, ended])
    batch = runtime.recv()
    assert batch.obs.tolist() == [[100, 1, 1], [100, 2, 6]]
    assert batch.terminated.tolist() == [False, True]
    assert batch.step.tolist() == [1, 2]
    assert stepped(runtime, [1], [0]).obs.tolist() == [[next_seed(100), 0, 0]]
    (other,) = longer.snapshot([0])
    refused = [(other, "of spec"), (state[:-1], "damaged"), (b"junk", "not a snapshot")]
    for bad, hint in refused:
        with pytest.raises(UsageError, match=hint):
            runtime.restore([0], [bad])
    with pytest.raises(UsageError, match="expected 1 states"):
        runtime.restore([0], [])
    assert stepped(runtime, [0], [1]).terminated[0], "the refused ones changed nothing"
    runtime.close()
    longer.close()


def test_a_slow_call_does_not_hold_up_another_and_closing_ends_a_wait() -> None:
    Tally.gate.clear()
    runtime = begun(2)
    runtime.send([0], [HANGS])
    runtime.send([1], [1])
    assert runtime.recv(20.0).slots.tolist() == [1]
    found: list[BaseException] = []

    def receive() -> None:
        try:
            runtime.recv(20.0)
        except ClosedError as error:
            found.append(error)

    waiting = threading.Thread(target=receive)
    waiting.start()
    closing = threading.Thread(target=runtime.close)
    closing.start()
    waiting.join(20)
    assert found
    Tally.gate.set()
    closing.join(20)
    assert not closing.is_alive()
    runtime.close()
    with pytest.raises(ClosedError):
        runtime.send([1], [1])
