"""Env, VectorEnv and pool over a runtime whose every value is known."""

from __future__ import annotations

import numpy as np
import pytest

from universe2.core.errors import ClosedError, DeadlineError, FaultError, InvalidActionError, UsageError
from universe2.core.seeding import next_seed
from universe2.core.spec import EnvConfig
from universe2.faces.env import RuntimeEnv
from universe2.faces.make import make, make_pool, make_vec
from universe2.faces.pool import Pool
from universe2.faces.vector import RuntimeVectorEnv
from universe2.testing.counting import COUNTING, CountingRuntime


def runtime(slots: int, autoreset: str = "next_step") -> CountingRuntime:
    return CountingRuntime(COUNTING, slots, EnvConfig(autoreset=autoreset))  # type: ignore[arg-type]


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
    with pytest.raises(InvalidActionError, match="expected shape"):
        env.step([1, 2])
    assert env.step(4)[0]["count"].tolist() == [1, 1, 4]


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
    obs, infos = env.reset(seed=[77], options={"reset_mask": np.array([True, False])})
    assert obs["count"].tolist() == [[77, 0, -1], [4, 3, 0]]
    assert infos["seed"].tolist() == [77, 4]


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
        with pytest.raises(UsageError, match="nothing to receive"):
            pool.recv(timeout=1)
    with pytest.raises(ClosedError):
        pool.recv(timeout=1)
    pool.close()


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


def test_make_functions(counting: object) -> None:
    assert make("testing/Counting-v0").reset(seed=3)[1]["seed"] == 3
    assert make_vec("testing/Counting-v0", 4, autoreset="same_step").num_envs == 4
    with make_pool({"testing/Counting-v0": 2}) as pool:
        assert pool.num_slots == 2
    with pytest.raises(UsageError, match="no option 'speed'"):
        make("testing/Counting-v0", speed=3)
    with pytest.raises(UsageError, match="num_slots must be at least 1"):
        make_vec("testing/Counting-v0", 0)
