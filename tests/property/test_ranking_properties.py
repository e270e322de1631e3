"""Ranking maths: what must hold for any scores."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from universe2.agents import ranking
from universe2.agents.ranking import Interval

_returns = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=12).map(np.array)
_tasks = st.lists(_returns, min_size=1, max_size=5)
_interval = st.tuples(st.integers(0, 30), st.integers(0, 6)).map(
    lambda p: Interval(p[0] + p[1] / 2, p[0], p[0] + p[1])
)


@given(scores=_tasks)
@settings(max_examples=25, deadline=None)
def test_iqm_interval_holds_between_extremes_and_repeats(scores: list[np.ndarray]) -> None:
    found = ranking.iqm_interval(scores)
    everything = np.concatenate(scores)
    assert everything.min() - 1e-9 <= found.low <= found.high <= everything.max() + 1e-9
    assert ranking.iqm_interval(scores) == found


@given(pairs=st.lists(st.tuples(_returns, _returns), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_improvement_and_its_opposite_make_one(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    forth = ranking.probability_of_improvement(ours, theirs)
    back = ranking.probability_of_improvement(theirs, ours)
    assert np.isclose(forth.point + back.point, 1)
    assert -1e-9 <= forth.low <= forth.high <= 1 + 1e-9


@given(intervals=st.lists(_interval, min_size=1, max_size=10))
@settings(max_examples=200)
def test_ranks_never_split_what_overlaps(intervals: list[Interval]) -> None:
    ranks = ranking.shared_ranks(intervals)
    assert min(ranks) == 1
    for i, one in enumerate(intervals):
        for j, other in enumerate(intervals):
            if one.low <= other.high and other.low <= one.high:
                assert ranks[i] == ranks[j]
            if ranks[i] < ranks[j]:
                assert one.low > other.high
        # A rank is one more than the number of better entries.
        assert ranks[i] == 1 + sum(r < ranks[i] for r in ranks)
