"""The collector: what a segment holds, what a fault costs, and who gets how much."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest
from toy_pool import BLACK, SIZE, Toy, ToyFault, ToyPool

from universe2.agents.collect import Collector, CollectParams
from universe2.agents.group import collect_groups
from universe2.agents.learner import Learner
from universe2.agents.minibatches import MAX_WEIGHT, minibatches, task_weights
from universe2.agents.model import ModelConfig
from universe2.agents.resume import counters, restore_counters
from universe2.agents.segments import segment_batch
from universe2.core.errors import DeadlineError, InterfaceError, TrainingError, UsageError
from universe2.core.screen import ScreenMap
from universe2.core.spec import EnvConfig


class Counter(Toy):
    """Step k of an episode shows the colour (k, 0, 0) and is worth k; the seventh ends it."""

    def reset(self):
        self.count = 0
        return BLACK

    def step(self, action):
        self.count += 1
        return (self.count, 0, 0), float(self.count), self.count == 7, False


class Cut(Counter):
    """The same, cut by a time limit after three steps."""

    def step(self, action):
        colour, reward, _, _ = super().step(action)
        return colour, reward, False, self.count == 3


class Breaks(Counter):
    """The same, but the fifth step of the first episode breaks."""

    broken = False

    def step(self, action):
        if self.count == 4 and not self.broken:
            self.broken = True
            raise ToyFault
        return super().step(action)


class AlwaysBreaks(Toy):
    def step(self, action):
        raise ToyFault


@pytest.fixture
def make():
    learners = []

    def collector(tasks, length=8, quota=None, pool=ToyPool, **params):
        pool = pool(tasks)
        learner = Learner(ModelConfig("patch", 4, 16, SIZE, text_dim=8), list(tasks))
        learners.append(learner)
        quotas = quota or tuple(slots for _, slots in tasks.values())
        made = Collector(pool, learner, CollectParams(length, quotas, **params))
        made.start(0)
        return made

    yield collector
    for learner in learners:
        learner.close()


def colours(segment):
    return segment.seen["screen"][:, 0, 0, 0].tolist()


def test_a_segment_holds_consecutive_steps_across_episodes(make):
    collector = make({"count": (Counter, 1)}, length=10)
    (first,) = collector.collect()
    (second,) = collector.collect()
    assert colours(first) == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3]
    assert first.done["reward"].tolist() == [1, 2, 3, 4, 5, 6, 7, 1, 2, 3]
    assert first.done["terminated"].tolist() == [False] * 6 + [True] + [False] * 3
    assert first.done["valid"].all()
    assert np.flatnonzero(first.seen["first"]).tolist() == [0, 7]
    assert first.seen["prev_reward"].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3]
    assert (first.seen["prev_action"][1:7] == first.done["action"][:6]).all()
    assert not first.seen["prev_action"][7].any()
    assert colours(second) == [3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6]
    assert second.state["hidden"].any()
    assert [e.score for e in collector.episodes[0]] == [28, 28]
    assert [e.length for e in collector.episodes[0]] == [7, 7]
    assert collector.steps[0] == 20


def test_the_stored_state_is_the_one_before_the_segment(make):
    """Replaying a segment from its state gives the log-probabilities that were stored."""
    from universe2.agents.losses import action_log_prob, masked_log_probs
    from universe2.agents.segments import segment_batch

    collector = make({"count": (Counter, 2)}, length=5)
    segments = collector.collect() + collector.collect()
    batch = segment_batch(segments, [1.0], collector.texts, collector.learner)
    output = collector.learner.network(batch.obs, batch.state)
    again = action_log_prob(masked_log_probs(output.logits[:, :-1]), batch.action)
    assert again.detach().numpy() == pytest.approx(batch.log_prob.numpy(), abs=1e-5)


def test_a_truncated_step_keeps_the_value_of_its_final_observation(make):
    collector = make({"cut": (Cut, 2)}, length=6)
    seen = []
    collector._value_of = lambda obs, state: (seen.append(obs), np.full(len(obs.first), 42.0))[1]
    segment = collector.collect()[0]
    assert segment.done["truncated"].tolist() == [False, False, True] * 2
    assert segment.done["final_value"].tolist() == [0, 0, 42, 0, 0, 42]
    assert seen[0].screen[0, 0, 0].tolist() == [3, 0, 0]  # the final one, not the next episode's
    assert seen[0].prev_reward.tolist() == [3, 3]


def test_a_fault_costs_its_transition_and_its_episodes_score_only(make, caplog):
    collector = make({"breaks": (Breaks, 1)}, length=10)
    with caplog.at_level(logging.WARNING, "universe2.train"):
        (segment,) = collector.collect()
        collector.collect()
    assert segment.done["valid"].tolist() == [True] * 4 + [False] + [True] * 5
    assert segment.done["reward"].tolist() == [1, 2, 3, 4, 0, 1, 2, 3, 4, 5]
    assert colours(segment) == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(segment.seen["first"]).tolist() == [0, 5]
    assert [e.score for e in collector.episodes[0]] == [28, 28]  # none for the one that was cut
    assert collector.faults[0] == 1
    assert [r.message for r in caplog.records] == ["fault (ENVIRONMENT) in breaks, slots [0]: toy broke"]


def test_a_new_start_leaves_nothing_of_what_was_in_the_making(make):
    """A fault in one slot leaves the others a step into their next segments."""
    toys = iter([Breaks, Counter, Counter, Counter])
    collector = make({"mixed": (lambda rng: next(toys)(rng), 4)}, length=5, quota=(4,), lockstep=True)
    assert not all(segment.done["valid"].all() for segment in collector.collect())
    assert collector.lanes[0].cursor.any()
    collector.start(1)
    segments = collector.collect()
    assert [segment.slot for segment in segments] == [0, 1, 2, 3]
    for segment in segments:
        assert colours(segment) == [0, 1, 2, 3, 4, 5]
        assert segment.seen["first"].tolist() == [True] + [False] * 5
        assert segment.done["valid"].all()
        assert not any(value.any() for value in segment.state.values())
    assert not collector.queues[0]


def test_groups_with_a_slot_that_only_breaks_are_dropped(make):
    toys = iter([Counter, AlwaysBreaks, Counter, Counter])
    collector = make({"mixed": (lambda rng: next(toys)(rng), 4)}, length=3, quota=(4,), lockstep=True)
    for seed in range(3):
        groups = collect_groups(collector, 2, seed)
        assert all([segment.slot for segment in group] == [2, 3] for group in groups)
        assert all(colours(segment)[0] == 0 for group in groups for segment in group)


def test_a_group_that_a_fault_interrupted_is_dropped(make):
    """The slot goes on, in another episode than its neighbour's."""
    toys = iter([Breaks, Counter, Counter, Counter])
    collector = make({"mixed": (lambda rng: next(toys)(rng), 4)}, length=6, quota=(4,), lockstep=True)
    assert [[s.slot for s in group] for group in collect_groups(collector, 2, 0)] == [[2, 3]]
    assert [[s.slot for s in group] for group in collect_groups(collector, 2, 1)] == [[0, 1], [2, 3]]


def test_what_was_too_old_is_counted_on_after_a_resume(make):
    collector, other = make({"count": (Counter, 1)}), make({"count": (Counter, 1)})
    collector.dropped[0] = 7
    told = counters(collector)
    restore_counters(other, told)
    assert other.dropped[0] == 7
    del told["count"]["dropped"]  # as in older checkpoints
    restore_counters(other, told)
    assert other.dropped[0] == 0


def test_a_task_that_only_breaks_ends_the_run_with_a_clear_error(make):
    collector = make({"broken": (AlwaysBreaks, 2)}, stall_s=0.05)
    with pytest.raises(TrainingError, match=r"no environment has moved for .* faults so far"):
        collector.collect()


def test_one_broken_task_does_not_stop_the_others(make):
    collector = make({"fine": (Counter, 2), "broken": (AlwaysBreaks, 2)})
    assert {segment.task for segment in collector.collect()} == {0}


def test_a_task_with_many_slots_waits_for_its_share(make):
    collector = make({"many": (Counter, 8), "few": (Counter, 2)}, quota=(4, 4), patience=1e9)
    for _ in range(3):
        tasks = [segment.task for segment in collector.collect()]
        assert tasks == [0] * 4 + [1] * 4
    # the many-slot task ran ahead by no more than one round of segments
    assert collector.steps[0] <= collector.steps[1] + 8 * 8


def test_what_is_too_old_is_not_learned_from(make, caplog):
    collector = make({"many": (Counter, 4)}, quota=(2,), max_steps_off_policy=10)
    assert len(collector.collect()) == 2
    collector.learner.version += 50
    with caplog.at_level(logging.WARNING, "universe2.train"):
        assert collector._take(0) == []
    assert collector.dropped[0] == 2 * 8
    assert "many is slow beside the learner" in caplog.text
    assert all(s.version == 50 for s in collector.collect() + collector.collect() if s.version)


def test_of_a_segment_that_was_long_in_the_making_the_young_part_counts(make):
    collector = make({"slow": (Counter, 1)}, quota=(1,), max_steps_off_policy=4)
    answer = collector._answer

    def slowly():
        collector.learner.version += 1
        return answer()

    collector._answer = slowly
    (segment,) = collector.collect()
    ages = collector.learner.version - segment.done["version"]
    assert ages.max() > 4 >= ages.min()
    assert (segment.done["valid"] == (ages <= 4)).all()
    assert collector.dropped[0] == (ages > 4).sum()


def test_tasks_that_do_not_move_are_not_waited_for(make):
    """A majority that is broken holds nobody up, and is no reason to give up."""
    tasks = {"well": (Counter, 4), "broken": (AlwaysBreaks, 2), "broken too": (AlwaysBreaks, 2)}
    collector = make(tasks, quota=(2, 2, 2), stall_s=5.0)
    for _ in range(3):
        assert {segment.task for segment in collector.collect()} == {0}
    with pytest.raises(TrainingError, match="no environment has moved for"):
        make({"broken": (AlwaysBreaks, 2)}, quota=(2,), stall_s=0.5).collect()


class Pausing(ToyPool):
    """Answers nothing for a moment, if it is told to."""

    silent_s = 0.0

    def recv(self, timeout=None):
        if self.silent_s:
            time.sleep(self.silent_s)
            self.silent_s = 0.0
            raise DeadlineError("nothing")
        return super().recv(timeout)


def hangs(collector, *members):
    """These members answer no more."""
    pool, send = collector.pool, collector.pool.send
    pool.send = lambda index, *rest: None if index in members else send(index, *rest)


def pauses(collector, seconds):
    """As if it had last been played with so long ago."""
    collector._played_until -= seconds
    collector._moved = [moved - seconds for moved in collector._moved]


@pytest.mark.parametrize("lockstep", [True, False])
def test_time_between_two_collects_is_no_silence(make, lockstep):
    collector = make({"count": (Counter, 2)}, pool=Pausing, stall_s=20.0, lockstep=lockstep)
    collector.collect()
    pauses(collector, 50.0)  # for an update, an evaluation
    collector.pool.silent_s = 0.1
    assert len(collector.collect()) == 2


def test_a_task_is_waited_for_after_a_pause_as_before(make):
    collector = make({"many": (Counter, 2), "few": (Counter, 2)}, stall_s=60.0, patience=1e9)
    hangs(collector, 1)
    while len(collector.queues[0]) < 2:
        collector.pump(0.01)
    pauses(collector, 50.0)
    collector._skip_pause()
    assert collector._awaited_full(time.monotonic()) == [True, False]


def test_slow_tasks_in_the_majority_are_not_waited_for(make):
    """Three pages beside one game."""
    quotas = {"game": 4, "page": 4, "page 2": 4, "page 3": 4}
    collector = make({name: (Counter, slots) for name, slots in quotas.items()})
    hangs(collector, 1, 2, 3)  # as far as can be told yet, they are slow
    give_up_at = time.monotonic() + 20.0
    assert [s.task for s in collector.collect(lambda: time.monotonic() > give_up_at)] == [0] * 4
    assert time.monotonic() < give_up_at


def test_a_fast_task_is_not_learned_from_alone_in_tiny_updates(make):
    tasks = {"game": (Counter, 4), "page": (Counter, 4), "page 2": (Counter, 4)}
    collector = make(tasks, quota=(4, 7, 7), patience=0.0)
    hangs(collector, 1, 2)
    calls = []
    collector.collect(lambda: bool(calls.append(len(collector.queues[0])) or len(calls) == 50))
    assert calls[-1] == 4
    assert len(calls) == 50, "4 of 18 segments were enough"


def test_a_minimum_that_the_rest_cannot_reach_ends_the_run(make):
    """To go on with less would be to throw it away, and to come back for ever."""
    collector = make({"well": (Counter, 2), "hangs": (Counter, 2)}, quota=(1, 3), minimum=4, stall_s=0.5)
    hangs(collector, 1)
    with pytest.raises(TrainingError, match="no environment has moved for"):
        collector.collect()


def test_a_policy_that_is_never_refreshed_is_named(make):
    collector = make({"count": (Counter, 2)}, max_steps_off_policy=4)
    collector.sampler = collector.learner.snapshot().result()
    assert len(collector.collect()) == 2
    collector.learner.version += 5
    with pytest.raises(
        UsageError, match=r"of optimiser step 0, the learner at 5.*call collector.refresh\(\)"
    ):
        collector.collect()
    collector.refresh()
    assert any(collector.collect() for _ in range(3))
    collector.sampler.close()


def test_the_lag_is_of_what_is_learned_from(make):
    collector = make({"breaks": (Breaks, 1), "count": (Counter, 1)}, length=8)
    segments = collector.collect()
    collector.learner.version = 3
    segments[0].done["version"][:4] = -1000
    segments[0].done["valid"][:4] = False
    lag = {"policy_lag": 3, "policy_lag_max": 3, "policy_lag/breaks": 3, "policy_lag/count": 3}
    assert collector.lag(segments) == lag
    assert collector.lag([]) == {}


def test_what_cannot_be_collected_is_refused(make):
    with pytest.raises(UsageError, match="length = 0: a segment has at least one transition"):
        CollectParams(0, (1,))
    with pytest.raises(UsageError, match=r"quota = \(2, 0\): it is a number of segments for each task"):
        CollectParams(4, (2, 0))
    started = make({"count": (Counter, 1)})
    learner = started.learner
    with pytest.raises(UsageError, match="2 quotas for 1 tasks"):
        Collector(started.pool, learner, CollectParams(4, (1, 1)))
    with pytest.raises(UsageError, match=r"tasks are \['count'\], the pool's \['other'\]"):
        Collector(ToyPool({"other": (Counter, 1)}), learner, CollectParams(4, (1,)))
    pool = ToyPool({"count": (Counter, 1)})
    with pytest.raises(UsageError, match=r"call start\(seed\) first"):
        Collector(pool, learner, CollectParams(4, (1,))).collect()
    pool.members[0].runtime.config = EnvConfig(interface="screen", autoreset="next_step")
    with pytest.raises(UsageError, match='count: autoreset = "next_step", and training needs "same_step"'):
        Collector(pool, learner, CollectParams(4, (1,)))
    with pytest.raises(UsageError, match="no segments to make a batch of"):
        segment_batch([], [1.0], started.texts, learner)


def test_ready_members_are_answered_in_one_call(make):
    collector = make({"a": (Counter, 3), "b": (Counter, 2)})
    sizes = []
    sample = collector.learner.sample
    collector.learner.sample = lambda obs, state: (sizes.append(len(obs.first)), sample(obs, state))[1]
    collector.pump(1.0)
    assert sizes == [5]
    assert [index for index, _, _ in collector.pool.sent] == [0, 1]


def test_native_interface_and_other_screen_sizes_are_refused(make):
    with pytest.raises(InterfaceError, match=r"screens of \(32, 32\), the network \(64, 64\)"):
        Collector(
            ToyPool({"a": (Counter, 1)}),
            Learner(ModelConfig("patch", 4, 16, (64, 64)), ["a"]),
            CollectParams(4, (1,)),
        )
    pool = ToyPool({"a": (Counter, 1)})
    pool.members[0].runtime.action_mask = None
    with pytest.raises(InterfaceError, match='needs interface="screen"'):
        Collector(pool, Learner(ModelConfig("patch", 4, 16, SIZE), ["a"]), CollectParams(4, (1,)))


def test_masks_of_members_differ_in_one_batch(make):
    class Keys(Counter):
        live = ScreenMap(keys=("a",))

    collector = make({"arrows": (Counter, 4), "keys": (Keys, 4)})
    for segment in collector.collect():
        used = segment.done["action"].any(0).tolist()
        assert used == (
            [True, False, False, False, False] if segment.task == 0 else [False, True] + [False] * 3
        )


def test_minibatches_hold_every_task_in_proportion(make):
    segments = [type("S", (), {"task": t})() for t in [0] * 12 + [1] * 4]
    for _ in range(5):
        dealt = list(minibatches(segments, 4, np.random.default_rng()))
        assert sorted(id(s) for part in dealt for s in part) == sorted(id(s) for s in segments)
        assert [sum(s.task == 0 for s in part) for part in dealt] == pytest.approx([3] * 4, abs=1)


def test_weights_give_each_task_its_share_within_a_bound():
    segments = [type("S", (), {"task": t})() for t in [0] * 6 + [1] * 2]
    assert task_weights(segments, [1.0, 1.0, 1.0]) == pytest.approx([8 / 2 / 6, 2.0, 0.0])
    scarce = [type("S", (), {"task": t})() for t in [0] * 99 + [1]]
    assert task_weights(scarce, [1.0, 1.0])[1] == MAX_WEIGHT
