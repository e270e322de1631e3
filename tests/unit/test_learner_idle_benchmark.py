"""The benchmark of the idle learner: which rows of a run count, and how much."""

from __future__ import annotations

import pytest

from benchmarks.learner_idle import MOST_IDLE, WARM_UP_S, mean_shares, summary


def row(seconds, idle):
    return {"seconds": seconds, "time/learner_idle": idle, "steps_per_second": 10.0}


def test_rows_count_by_the_time_that_they_tell_of_and_not_while_servers_compile():
    rows = [row(5, 1.0), row(WARM_UP_S, 0.9), row(WARM_UP_S + 1, 0.4), row(WARM_UP_S + 4, 0.0)]
    assert mean_shares(rows)["learner_idle"] == pytest.approx(0.1)


@pytest.mark.parametrize("idle", [MOST_IDLE, 2 * MOST_IDLE])
def test_a_learner_that_waits_for_longer_misses_the_target(idle):
    found = summary({"some games": mean_shares([row(20, 1.0), row(30, idle)])})
    assert [question["met"] for question in found["questions"]] == [idle <= MOST_IDLE]
