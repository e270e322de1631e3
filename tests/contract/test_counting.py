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
