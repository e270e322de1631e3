"""Env, VectorEnv and pool over a runtime whose every value is known."""

from __future__ import annotations

import gc
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence

import universe2
from universe2.core.batch import Batch, Fault, info_columns
from universe2.core.errors import (
    ClosedError,
    DeadlineError,
    FaultError,
    IdleError,
    InvalidActionError,
    InvalidSeedError,
    ServerLostError,
    Universe2Error,
    UsageError,
)
from universe2.core.ledger import Phase
from universe2.core.seeding import next_seed
from universe2.core.spaces import stack
from universe2.core.spec import EnvConfig
from universe2.faces.env import RuntimeEnv
from universe2.faces.make import make, make_parallel, make_pool, make_vec
from universe2.faces.one_slot import misfit
from universe2.faces.pool import Pool
from universe2.faces.vector import RuntimeVectorEnv
from universe2.testing.counting import COUNTING, CountingRuntime


def runtime(slots: int, autoreset: str = "next_step") -> CountingRuntime:
    return CountingRuntime(COUNTING, slots, EnvConfig(autoreset=autoreset))  # type: ignore[arg-type]


class _Plain(CountingRuntime):
    """Shows the number of the step as a bare value of ``space``."""

    def __init__(self, slots: int, space: Any) -> None:
        super().__init__(COUNTING, slots, EnvConfig(autoreset="same_step"))
        self.observation_space = space

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.obs, batch.final_obs = self._bare(batch.obs), self._bare(batch.final_obs)
        return batch

    def _bare(self, seen: Any) -> Any:
        space = self.observation_space
        return seen and stack(
            space, [np.full(space.shape, step, space.dtype)[()] for step in seen["count"][:, 1]]
        )


def test_env_steps_and_ends() -> None:
    env = RuntimeEnv(runtime(1, "disabled"))
    obs, info = env.reset(seed=2)
    assert obs["count"].tolist() == [2, 0, -1]
    assert info["seed"] == 2
    for step in range(1, 6):
        obs, reward, terminated, truncated, info = env.step(3)
        assert (obs["count"].tolist(), reward) == ([2, step, 3], step)
    assert (terminated, truncated, info) == (True, False, {"length": 5})
    with pytest.raises(UsageError, match="reset it"):
        env.step(0)


def test_env_continues_the_seed_chain_without_a_seed() -> None:
    env = RuntimeEnv(runtime(1, "disabled"))
    env.reset(seed=9)
    assert env.reset()[1]["seed"] == next_seed(9)
    assert env.reset()[1]["seed"] == next_seed(next_seed(9))


def test_env_refuses_a_wrong_action_by_name_and_goes_on() -> None:
    env = RuntimeEnv(runtime(1, "disabled"))
    env.reset(seed=1)
    with pytest.raises(InvalidActionError, match=r"slot 0: action: expected Discrete\(5\), received"):
        env.step(5)
    with pytest.raises(InvalidActionError, match=r"action: expected Discrete\(5\), received \[1, 2\]"):
        env.step([1, 2])
    assert env.step(4)[0]["count"].tolist() == [1, 1, 4]


def test_wrong_single_actions_are_told_as_they_were_given() -> None:
    """Nobody who steps one environment has heard of slots' rows."""
    two = spaces.Dict({"go": spaces.Discrete(3), "where": spaces.Box(0, 1, (2,), np.float32)})
    space = spaces.Tuple((two, spaces.Text(4)))
    right = {"go": 1, "where": np.zeros(2, np.float32)}
    assert misfit(space, (right, "abc")) == ""
    for action, told in (
        (({**right, "go": [1, 2]}, "abc"), r"action[0]['go']: expected Discrete(3), received [1, 2]"),
        (({"go": 1}, "abc"), "action[0]: expected Dict("),
        ((right, "abcde"), "action[1]: expected Text("),
        ((right,), "action: expected Tuple("),
    ):
        assert told in misfit(space, action)
        assert "shape" not in misfit(space, action)


@pytest.mark.parametrize("remote", ["", []])
def test_an_empty_remote_is_no_wish_to_play_here(remote: Any) -> None:
    for made in (
        lambda: universe2.make("arcade/Breakout-v0", remote=remote),
        lambda: universe2.make_vec("arcade/Breakout-v0", remotes=remote),
        lambda: universe2.make_vec("arcade/Breakout-v0", remote=remote),
        lambda: universe2.make_parallel("arcade/Duel-v0", remote=remote),
        lambda: universe2.make_pool({"arcade/Breakout-v0": 1}, remotes=remote),
    ):
        with pytest.raises(UsageError, match="is empty"):
            made()


@pytest.mark.parametrize("on_fault", ["raise", "truncate"])
def test_env_reports_a_fault_and_never_a_reward_of_0(on_fault: str) -> None:
    inner = runtime(1, "disabled")
    inner.faults = {(0, 0)}
    env = RuntimeEnv(inner, on_fault=on_fault)  # type: ignore[arg-type]
    env.reset(seed=1)
    env.step(0)
    if on_fault == "raise":
        with pytest.raises(FaultError, match="slot 0, episode 0, step 2: environment fault: asked to fail"):
            env.step(0)
    else:
        _, reward, terminated, truncated, info = env.step(0)
        assert np.isnan(reward)
        assert (terminated, truncated) == (False, True)
        assert "asked to fail" in info["fault"]
    assert env.reset(seed=5)[0]["count"].tolist() == [5, 0, -1]


def test_vector_same_step_keeps_final_observation_and_info() -> None:
    env = RuntimeVectorEnv(runtime(2, "same_step"))
    env.reset(seed=[0, 4])  # lengths 3 and 7
    for _ in range(2):
        *_, infos = env.step([1, 1])
        assert "final_obs" not in infos
    obs, rewards, terminated, _, infos = env.step([2, 2])
    assert rewards.tolist() == [3.0, 3.0]
    assert terminated.tolist() == [True, False]
    assert infos["final_obs"][0]["count"].tolist() == [0, 3, 2]
    assert infos["final_obs"][1] is None
    assert infos["_final_obs"].tolist() == [True, False]
    assert infos["final_info"]["length"][0] == 3
    assert obs["count"][0].tolist() == [next_seed(0), 0, -1]
    assert obs["count"][1].tolist() == [4, 3, 2]


@pytest.mark.parametrize("space", [spaces.Box(0, 255, (2, 2), np.uint8), spaces.Discrete(9)])
def test_vector_final_observations_are_objects_whatever_the_space(space: Any) -> None:
    """As in Gymnasium's own vectors: who asks for one that isn't there gets None, never zeros."""
    env = RuntimeVectorEnv(_Plain(2, space))
    env.reset(seed=[0, 4])  # lengths 3 and 7
    for _ in range(3):
        *_, infos = env.step([1, 1])
    assert infos["final_obs"].dtype == object
    assert np.array_equal(infos["final_obs"][0], np.full(space.shape, 3))
    assert infos["final_obs"][1] is None
    assert infos["_final_obs"].tolist() == infos["_final_info"].tolist() == [True, False]


def test_vector_same_step_fault_has_a_final_observation_of_zeros() -> None:
    inner = runtime(3, "same_step")
    inner.faults = {(0, 0), (2, 0)}
    env = RuntimeVectorEnv(inner, copy=False)
    env.reset(seed=[4, 4, 6])
    env.step([3, 3, 2])
    _, _, _, truncated, infos = env.step([0, 0, 0])
    assert truncated.tolist() == infos["_final_obs"].tolist() == [True, False, True]
    assert infos["final_obs"][0]["count"].tolist() == [0, 0, 0]
    assert infos["final_obs"][2] == {"count": pytest.approx([0, 0, 0]), "note": ""}
    assert infos["final_obs"][1] is None
    assert infos["_final_info"].tolist() == infos["final_info"]["_fault"].tolist() == [True, False, True]
    assert "asked to fail" in infos["final_info"]["fault"][2]
    *_, infos = env.step([0, 0, 0])
    assert infos == {}


def test_vector_reset_that_is_a_fault_ends_no_episode() -> None:
    class Broken(CountingRuntime):
        def recv(self, timeout: float | None = None) -> Batch:
            batch = super().recv(timeout)
            batch.fault[:] = Fault.ENVIRONMENT
            return batch

    infos = RuntimeVectorEnv(Broken(COUNTING, 1, EnvConfig(autoreset="same_step"))).reset(seed=4)[1]
    assert "environment fault" in infos["fault"][0]
    assert "final_obs" not in infos


def test_vector_next_step_shows_the_final_observation_then_resets() -> None:
    env = RuntimeVectorEnv(runtime(2))
    env.reset(seed=[0, 4])
    for _ in range(3):
        obs, _, terminated, _, _ = env.step([2, 2])
    assert terminated.tolist() == [True, False]
    assert obs["count"][0].tolist() == [0, 3, 2]
    obs, rewards, terminated, truncated, _ = env.step([2, 2])
    assert obs["count"][0].tolist() == [next_seed(0), 0, -1]
    assert rewards.tolist() == [0.0, 4.0]
    assert not (terminated | truncated).any()


def test_vector_disabled_resets_by_mask() -> None:
    env = RuntimeVectorEnv(runtime(2, "disabled"))
    env.reset(seed=[0, 4])
    for _ in range(3):
        env.step([0, 0])
    with pytest.raises(UsageError, match="slot 0: its episode ended"):
        env.step([0, 0])
    one = {"reset_mask": np.array([True, False])}
    obs, infos = env.reset(seed=[77, 99], options=one)
    assert obs["count"].tolist() == [[77, 0, -1], [4, 3, 0]]
    assert infos["seed"].tolist() == [77, 4]
    assert infos["_seed"].tolist() == [True, False]
    with pytest.raises(InvalidSeedError, match="expected 2 seeds, one per slot, got 1"):
        env.reset(seed=[77], options=one)


class _Telling(CountingRuntime):
    """Tells ``told``, slot by slot, and gives its rows one by one if it is ``slow``."""

    told: tuple[dict[str, Any], ...] = ()
    slow = False

    def reset(self, slots: Any, seeds: Any) -> None:
        for part in np.split(np.arange(len(slots)), len(slots)) if self.slow else [np.arange(len(slots))]:
            super().reset(np.asarray(slots)[part], np.asarray(seeds)[part])

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.info = info_columns([self.told[slot] for slot in batch.slots])
        return batch


@pytest.mark.parametrize("slow", [False, True])
def test_vector_infos_are_gymnasium_s(slow: bool) -> None:
    told = (
        {"d": {"x": 1, "deep": {"y": np.ones(2)}}, "text": "a", "mixed": {"x": 1}},
        {"lone": 1.5, "mixed": 3},
        {"d": {"x": 3, "z": True}, "text": "c"},
    )
    inner = _Telling(COUNTING, 3, EnvConfig())
    inner.told, inner.slow = told, slow
    infos = RuntimeVectorEnv(inner).reset(seed=0)[1]
    assert infos.pop("mixed").tolist() == [{"x": 1}, 3, None]  # which Gymnasium has no format for
    theirs: dict[str, Any] = {}
    gymnasium_s = gym.vector.VectorEnv()
    gymnasium_s.num_envs = 3
    for slot, info in enumerate(told):
        rest = {key: value for key, value in info.items() if key != "mixed"}
        theirs = gymnasium_s._add_info(theirs, rest, slot)
    for key in ("seed", "_seed", "_mixed"):
        del infos[key]
    assert data_equivalence(infos, theirs)


def test_the_seed_in_infos_is_the_one_that_was_used() -> None:
    inner = _Telling(COUNTING, 2, EnvConfig())
    inner.told = ({"seed": "mine"}, {})
    infos = RuntimeVectorEnv(inner).reset(seed=[5, 6])[1]
    assert infos["seed"].tolist() == [5, 6]
    assert infos["_seed"].tolist() == [True, True]
    single = _Telling(COUNTING, 1, EnvConfig(autoreset="disabled"))
    single.told = ({"seed": "mine"},)
    assert RuntimeEnv(single).reset(seed=5)[1]["seed"] == 5


def test_vector_copies_so_that_old_observations_stay() -> None:
    env = RuntimeVectorEnv(runtime(2))
    first, _ = env.reset(seed=1)
    kept = first["count"].copy()
    env.step([0, 0])
    assert (first["count"] == kept).all()


def test_vector_fault_is_nan_for_one_slot_and_the_others_go_on() -> None:
    inner = runtime(2)
    inner.faults = {(1, 0)}
    env = RuntimeVectorEnv(inner)
    env.reset(seed=[4, 4])
    env.step([0, 0])
    _, rewards, terminated, truncated, infos = env.step([0, 0])
    assert rewards[0] == 2.0
    assert np.isnan(rewards[1])
    assert truncated.tolist() == [False, True]
    assert not terminated.any()
    assert "asked to fail" in infos["fault"][1]
    obs, *_ = env.step([0, 0])
    assert obs["count"].tolist() == [[4, 3, 0], [next_seed(4), 0, -1]]


class _Unseen(CountingRuntime):
    """Refuses pictures of slots at a fault, as all that have something to draw do."""

    def render(self, slots: Any, size: Any = None) -> list[np.ndarray]:
        if len(ended := [int(slot) for slot in slots if self._ledger.phase[slot] == Phase.ENDED]):
            raise UsageError(f"slot {ended[0]} had a fault and has no state; its next step begins anew")
        assert len(slots), "nothing to draw"
        return super().render(slots, size)


@pytest.mark.parametrize("size", [None, (16, 24)])
def test_vector_shows_black_where_a_slot_had_a_fault(size: tuple[int, int] | None) -> None:
    inner = _Unseen(COUNTING, 2, EnvConfig())
    inner.faults = {(1, 0)}
    env = RuntimeVectorEnv(inner, render_mode="rgb_array", render_size=size)
    env.reset(seed=[4, 4])

    def shown() -> list[list[int]]:
        pictures = env.render()
        assert pictures is not None
        assert [picture.shape for picture in pictures] == [(*(size or (8, 8)), 3)] * 2
        return [np.unique(picture).tolist() for picture in pictures]

    env.step([0, 0])
    assert shown() == [[1], [1]]
    env.step([0, 0])
    assert shown() == [[2], [0]]
    env.reset(seed=[4, 4])
    env.step([0, 0])
    assert shown() == [[1], [1]]
    inner.faults = {(slot, episode) for slot in range(2) for episode in range(9)}
    env.step([0, 0])
    assert shown() == [[0], [0]]
    env.step([0, 0])
    assert shown() == [[0], [0]]


def test_vector_wrong_action_names_the_slot() -> None:
    env = RuntimeVectorEnv(runtime(3))
    env.reset(seed=0)
    with pytest.raises(InvalidActionError, match="slot 2"):
        env.step([0, 1, 9])
    with pytest.raises(InvalidActionError, match=r"expected shape \(3,\)"):
        env.step([0, 1])


def test_pool_gives_whatever_is_ready_of_several_members() -> None:
    pool = Pool([("a", runtime(2, "same_step")), ("b", runtime(3, "same_step"))])
    with pool:
        pool.reset(seed=7)
        seen = {}
        for _ in range(2):
            index, batch = pool.recv(timeout=5)
            seen[index] = batch
        assert {index: len(batch) for index, batch in seen.items()} == {0: 2, 1: 3}
        seeds = [seed for batch in seen.values() for seed in batch.seed.tolist()]
        assert len(set(seeds)) == 5
        pool.send(1, [0, 2], [1, 2])
        index, batch = pool.recv(timeout=5)
        assert (index, batch.slots.tolist(), batch.step.tolist()) == (1, [0, 2], [1, 1])
        with pytest.raises(IdleError, match="nothing to receive"):
            pool.recv(timeout=1)
    with pytest.raises(ClosedError):
        pool.recv(timeout=1)
    pool.close()


@pytest.mark.parametrize("seed", [True, -1, 2**63, 1.5, None])
def test_pool_refuses_what_is_no_seed(seed: Any) -> None:
    with Pool([("a", runtime(1))]) as pool, pytest.raises(InvalidSeedError, match="seed must"):
        pool.reset(seed)


def test_pool_refuses_groups_of_no_slots() -> None:
    with Pool([("a", runtime(1))]) as pool, pytest.raises(UsageError, match=r"group must be .*got 0"):
        pool.reset(0, group=0)


def test_pool_has_deadlines() -> None:
    class Silent(CountingRuntime):
        def recv(self, timeout: float | None = None):  # type: ignore[no-untyped-def]
            if self._ledger.closed:
                raise ClosedError("closed")
            raise DeadlineError("silent")

    pool = Pool([("a", Silent(COUNTING, 1, EnvConfig()))])
    pool.reset(seed=1)
    with pool, pytest.raises(DeadlineError):
        pool.recv(timeout=1)


class _Once(CountingRuntime):
    """Its ``recv`` raises what is in ``raises``, once. What is sent while it ``loses`` never comes back."""

    raises: BaseException | None = None
    loses = False

    def send(self, slots: Any, actions: Any) -> None:
        super().send(slots, actions)
        if self.loses:
            slots_K, _ = self._todo.get()  # type: ignore[misc]
            self._ledger.finish(slots_K, np.ones(len(slots_K), bool))

    def recv(self, timeout: float | None = None) -> Batch:
        if self.raises is not None:
            error, self.raises = self.raises, None
            raise error
        if self._todo.empty() and len(self._ledger.busy()):
            raise DeadlineError("its result never comes")
        return super().recv(timeout)


def test_a_pool_that_is_dropped_is_closed() -> None:
    before = set(threading.enumerate())
    member = runtime(2)
    pool = Pool([("a", member)])
    pool.reset(seed=0)
    pool.recv(timeout=5)
    threads = [t for t in set(threading.enumerate()) - before if t.name == f"receive {COUNTING.id}"]
    assert threads
    del pool
    gc.collect()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    with pytest.raises(ClosedError):
        member.reset([0], [1])


class _SlowToClose(CountingRuntime):
    """As one whose server must be told, under a lock that perhaps the very thread holds."""

    def __init__(self) -> None:
        super().__init__(COUNTING, 2, EnvConfig())
        self.may_close, self.closed = threading.Event(), threading.Event()

    def close(self) -> None:
        assert self.may_close.wait(20.0)
        super().close()
        self.closed.set()


def test_the_garbage_collector_does_not_wait_until_a_pool_is_closed() -> None:
    member = _SlowToClose()
    box = [Pool([("a", member)])]
    dropping = threading.Thread(target=box.clear, daemon=True)
    dropping.start()
    dropping.join(5.0)
    assert not dropping.is_alive()
    assert not member.closed.is_set()
    member.may_close.set()
    assert member.closed.wait(10.0)


def test_pool_goes_on_when_a_member_raised_once() -> None:
    member = _Once(COUNTING, 2, EnvConfig())
    member.raises = DeadlineError("60 s are over")
    with Pool([("a", member)]) as pool:
        pool.reset(seed=1)
        with pytest.raises(DeadlineError, match="60 s are over"):
            pool.recv(timeout=5)
        assert pool.recv(timeout=5)[1].step.tolist() == [0, 0]


def test_pool_knows_that_nothing_comes_any_more() -> None:
    member = _Once(COUNTING, 2, EnvConfig())
    with Pool([("a", member)]) as pool:
        pool.reset(seed=1)
        pool.recv(timeout=5)
        member.loses, member.raises = True, ServerLostError("no server took the slots")
        pool.send(0, [0, 1], [0, 0])
        with pytest.raises(ServerLostError):
            pool.recv(timeout=5)
        with pytest.raises(IdleError, match="nothing to receive"):
            pool.recv(timeout=5)


def test_pool_asks_a_member_that_always_raises_only_when_it_was_heard() -> None:
    class Broken(CountingRuntime):
        asked = 0

        def recv(self, timeout: float | None = None) -> Batch:
            if self._ledger.closed:
                raise ClosedError("closed")
            self.asked += 1
            raise Universe2Error("the worker pool failed")

    member = Broken(COUNTING, 1, EnvConfig())
    with Pool([("a", member)]) as pool:
        pool.reset(seed=1)
        for _ in range(3):
            with pytest.raises(Universe2Error, match="worker pool failed"):
                pool.recv(timeout=5)
        assert member.asked <= 4


def test_pool_waits_for_no_member_that_failed_as_nobody_expected(caplog: pytest.LogCaptureFixture) -> None:
    class Burst(_Once):
        def send(self, slots: Any, actions: Any) -> None:
            """As one that doesn't count what it owes."""

    burst, well = Burst(COUNTING, 2, EnvConfig()), _Once(COUNTING, 1, EnvConfig())
    burst.raises = MemoryError("no room")
    with Pool([("a", burst), ("b", well)]) as pool:
        pool.reset_member(0, [0, 1], [1, 2])
        with pytest.raises(Universe2Error, match=r"failed: MemoryError: no room"):
            pool.recv(timeout=5)
        with pytest.raises(IdleError):
            pool.recv(timeout=5)
        pool.send(0, [0], [0])
        with pytest.raises(Universe2Error, match=r"failed: MemoryError: no room"):
            pool.recv(timeout=5)
        pool.reset_member(1, [0], [1])
        assert pool.recv(timeout=5)[0] == 1
    assert "receiving failed" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DeadlineError("60 s are over")])
def test_faces_can_be_reset_after_a_step_was_interrupted(error: BaseException) -> None:
    single, several = _Once(COUNTING, 1, EnvConfig(autoreset="disabled")), _Once(COUNTING, 3, EnvConfig())
    env, vector = RuntimeEnv(single), RuntimeVectorEnv(several)
    env.reset(seed=1)
    vector.reset(seed=1)
    single.raises = several.raises = error
    with pytest.raises(type(error)):
        env.step(0)
    with pytest.raises(type(error)):
        vector.step([0, 0, 0])
    assert env.reset(seed=2)[0]["count"].tolist() == [2, 0, -1]
    assert env.step(3)[0]["count"].tolist() == [2, 1, 3]
    assert vector.reset(seed=4)[0]["count"][:, 1].tolist() == [0, 0, 0]
    assert vector.step([1, 2, 3])[1].tolist() == [1.0, 1.0, 1.0]


def test_a_step_after_one_that_was_interrupted_says_to_reset() -> None:
    """Who steps a face has heard of no slots that are busy, nor of receiving."""
    single, several = _Once(COUNTING, 1, EnvConfig(autoreset="disabled")), _Once(COUNTING, 3, EnvConfig())
    faces: list[tuple[_Once, Any, Any]] = [
        (single, RuntimeEnv(single), 0),
        (several, RuntimeVectorEnv(several), [0, 0, 0]),
    ]
    for inner, face, action in faces:
        face.reset(seed=1)
        with pytest.raises(InvalidActionError):
            face.step("nonsense")
        face.step(action)
        inner.raises = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            face.step(action)
        with pytest.raises(InvalidActionError):
            face.step("nonsense")
        for _ in range(2):
            with pytest.raises(UsageError, match="before was interrupted; call reset"):
                face.step(action)
        face.reset(seed=2)
        face.step(action)
        face.close()
        for _ in range(2):
            with pytest.raises(ClosedError):
                face.step(action)


def test_a_wrong_step_is_not_told_as_an_interrupted_one() -> None:
    env = RuntimeEnv(runtime(1, "disabled"))
    for _ in range(2):
        with pytest.raises(UsageError, match="never reset"):
            env.step(0)


def test_a_reset_waits_for_what_is_owed_but_not_for_ever() -> None:
    runtime = _Once(COUNTING, 1, EnvConfig(autoreset="disabled"))
    env = RuntimeEnv(runtime)
    env.reset(seed=1)
    runtime.raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        env.step(0)
    runtime._todo.get()
    with pytest.raises(DeadlineError, match="asked before is not done"):
        env.reset(seed=2)


def test_make_functions(counting: object) -> None:
    assert make("testing/Counting-v0").reset(seed=3)[1]["seed"] == 3
    assert make_vec("testing/Counting-v0", 4, autoreset="same_step").num_envs == 4
    with make_pool({"testing/Counting-v0": 2}) as pool:
        assert pool.num_slots == 2
    assert make_vec("testing/Counting-v0", 2).render() is None
    drawn = make_vec("testing/Counting-v0", 2, render_mode="rgb_array")
    drawn.reset(seed=0)
    drawn.step([0, 0])
    assert [picture[0, 0].tolist() for picture in drawn.render() or ()] == [[1, 1, 1]] * 2
    with pytest.raises(UsageError, match="render_mode must be None or"):
        make_vec("testing/Counting-v0", 2, render_mode="human")
    with pytest.raises(UsageError, match="no option 'speed'"):
        make("testing/Counting-v0", speed=3)
    with pytest.raises(UsageError, match="num_slots must be at least 1"):
        make_vec("testing/Counting-v0", 0)


def test_options_that_are_passed_in_another_face_s_way(counting: object) -> None:
    for face in (make, make_vec, make_parallel):
        with pytest.raises(UsageError, match=r"pass options as keywords: difficulty='hard', size=8, without"):
            face("testing/Counting-v0", options={"difficulty": "hard", "size": 8})
    with pytest.raises(
        UsageError, match=r"no argument 'size'.* options=\{'testing/Counting-v0': \{'size': 8\}\}"
    ):
        make_pool({"testing/Counting-v0": 2}, size=8)
    with pytest.raises(UsageError, match=r'as in \{"arcade/Maze-v0": 8\}; got \[\'testing/Counting-v0\'\]'):
        make_pool(["testing/Counting-v0"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("env_id", "asked", "complaint"),
    [
        (
            "arcade/Maze-v0",
            {"interface": "screen", "size": 128},
            'option size has no effect under .*"screen"',
        ),
        (
            "arcade/Maze-v0",
            {"screen_size": (128, 128)},
            'screen_size=.* has no effect under interface="native"',
        ),
        (
            "arcade/Maze-v0",
            {"interface": "screen", "screen_size": 84},
            r"must be \(height, width\), .*got 84",
        ),
        ("atari/Pong-v0", {"interface": "screen", "stack": 1}, "option stack has no effect"),
    ],
)
def test_what_would_change_nothing_is_refused(env_id: str, asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        make(env_id, **asked)


def test_gymnasium_finds_the_pace_of_pictures() -> None:
    env = gym.make("universe2:arcade/Breakout-v0", render_mode="rgb_array")  # a warning would be an error
    env.reset(seed=0)
    picture: Any = env.render()
    assert picture.shape == (64, 64, 3)
