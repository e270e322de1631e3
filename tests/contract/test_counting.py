"""The contract suite holds for a runtime that keeps it, and fails for ones that break it."""

from __future__ import annotations

import numpy as np
import pytest

from universe2.core.batch import Batch, Column
from universe2.core.errors import InvalidActionError
from universe2.core.spec import EnvConfig
from universe2.testing import check_env, check_runtime
from universe2.testing.counting import COUNTING, CountingRuntime


def test_the_suite_passes(counting: object) -> None:
    report = check_env("testing/Counting-v0")
    assert len(report.passed) >= 12
    assert set(report.skipped) == {"snapshots have one future", "agrees with its reference"}


class _IgnoresSeeds(CountingRuntime):
    def reset(self, slots, seeds):  # type: ignore[no-untyped-def]
        super().reset(
            slots, [0 for _ in seeds] if all(isinstance(s, (int, np.integer)) for s in seeds) else seeds
        )


class _LosesFinalObservations(CountingRuntime):
    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.final_obs = batch.obs
        return batch


class _AcceptsAnything(CountingRuntime):
    def send(self, slots, actions):  # type: ignore[no-untyped-def]
        super().send(slots, np.zeros(len(slots), np.int64))


class _SaysLittle(CountingRuntime):
    """Refuses as it should, and names the slot, but not what it wanted."""

    def send(self, slots, actions):  # type: ignore[no-untyped-def]
        try:
            super().send(slots, actions)
        except InvalidActionError:
            raise InvalidActionError("the action of slots [0, 1] is wrong; look at slot 1") from None


class _MergesEnds(CountingRuntime):
    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        if self.config.autoreset == "disabled":
            batch.terminated = batch.ended
            batch.truncated = np.zeros_like(batch.ended)
        return batch


class _Forgets(CountingRuntime):
    count = 0

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        type(self).count += 1
        batch.obs["count"][:, 2] = self.count
        return batch


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (_IgnoresSeeds, "another seed is honoured"),
        (_LosesFinalObservations, "autoreset modes agree"),
        (_AcceptsAnything, "wrong actions are refused by name"),
        (_SaysLittle, "wrong actions are refused by name"),
        (_MergesEnds, "autoreset modes agree"),
        (_Forgets, "same seed gives the same trajectory"),
    ],
)
def test_the_suite_finds_what_is_broken(broken: type[CountingRuntime], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_runtime(lambda slots, config: broken(COUNTING, slots, config), EnvConfig())


class _GoesWrong(CountingRuntime):
    """Well for the first 40 steps of a runtime, which the first check plays in full."""

    received = 0

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        self.received += 1
        if self.received > 40 and (batch.step > 0).all():
            self.spoil(batch)
        return batch

    def spoil(self, batch: Batch) -> None:
        raise NotImplementedError


class _LeavesItsSpace(_GoesWrong):
    def spoil(self, batch: Batch) -> None:
        batch.obs["count"][1] = -5


class _IsInfinite(_GoesWrong):
    def spoil(self, batch: Batch) -> None:
        batch.reward[1] = np.inf


class _Breaks(_GoesWrong):
    def spoil(self, batch: Batch) -> None:
        batch.fault[1], batch.fault_text, batch.reward[1] = 1, {1: "out of luck"}, np.nan


class _SaysNo(_GoesWrong):
    def spoil(self, batch: Batch) -> None:
        batch.terminated = np.array(["no"] * len(batch), object)


class _NumbersItsInfos(_GoesWrong):
    def spoil(self, batch: Batch) -> None:
        batch.info[7] = Column(batch.step, np.ones(len(batch), bool))  # type: ignore[index]


class _EndsOutside(CountingRuntime):
    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        if len(batch.final_rows):
            batch.final_obs["note"] = ("?" * 40,) * len(batch.final_rows)
        return batch


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        (_LeavesItsSpace, r"slot 1, step \d \(seed \d+\): observation/count is array\(\[-5, .*not in Box"),
        (_IsInfinite, r"slot 1, step \d \(seed \d+\): the reward is inf"),
        (_Breaks, r"slot 1, step \d \(seed \d+\): a fault: out of luck"),
        (_SaysNo, r"terminated has dtype object"),
        (_NumbersItsInfos, r"slots \[0, 1\]: info has the keys \[7\], which are not strings"),
    ],
)
def test_what_goes_wrong_late_is_found(broken: type[CountingRuntime], complaint: str) -> None:
    with pytest.raises(AssertionError, match=f"spaces hold what comes out: {complaint}"):
        check_runtime(lambda slots, config: broken(COUNTING, slots, config))


def test_final_observations_are_looked_at() -> None:
    with pytest.raises(AssertionError, match=r"modes agree: slot 0, .*: final observation/note is '\?{40}'"):
        check_runtime(lambda slots, config: _EndsOutside(COUNTING, slots, config))


class _Deterministic(CountingRuntime):
    """Shows nothing of its seed, until an episode ends."""

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.obs["count"][:, 0] = 0
        if len(batch.final_rows):
            batch.final_obs["count"][:, 0] = 0
        return batch


def test_where_all_seeds_are_alike_it_is_said() -> None:
    report = check_runtime(lambda slots, config: _Deterministic(COUNTING, slots, config), steps=2)
    assert "deterministic, or ignores its seed" in report.skipped["another seed is honoured"]
    assert "not applicable: another seed is honoured: " in str(report)
    report = check_runtime(lambda slots, config: _Deterministic(COUNTING, slots, config))
    assert "another seed is honoured" in report.passed  # its episodes are of different lengths


class _Tells(CountingRuntime):
    """Says in every info which step it was."""

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.info["at"] = Column(batch.step.copy(), np.ones(len(batch), bool))
        return batch


class _TellsLess(_Tells):
    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.info["at"] = Column(batch.info["at"].values, batch.step != 2)
        return batch


def test_an_info_that_is_lost_in_mid_episode_is_found() -> None:
    def check(kind: type[_Tells]) -> None:
        check_runtime(
            lambda slots, config: kind(COUNTING, slots, config),
            EnvConfig(),
            reference=lambda slots, config: _Tells(COUNTING, slots, config),
        )

    check(_Tells)
    with pytest.raises(AssertionError, match=r"its reference.*row 2: the infos differ in \['at'\]"):
        check(_TellsLess)
