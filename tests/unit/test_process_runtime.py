"""ProcessRuntime: values of every space through the pipe and through servers, rows, modes, subsets."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universe2.client import open_remote
from universe2.core.batch import Fault
from universe2.core.errors import FaultError, UnsupportedError, UsageError
from universe2.core.registry import find
from universe2.core.runtime import Runtime, close_all
from universe2.core.screen import KEYS
from universe2.core.spaces import stack, unstack
from universe2.core.spec import EnvConfig
from universe2.envs.gymnasium.screen import ScreenEnv
from universe2.runtimes import open_runtime
from universe2.runtimes.process import ProcessRuntime
from universe2.server import Server, ServerConfig
from universe2.testing import check_runtime

sys.path.insert(0, str(Path(__file__).parent))

import every_space


@pytest.fixture(scope="module")
def opened() -> Iterator[dict[str, Runtime]]:
    """Runtimes by their ids, for tests that leave them as they are."""
    runtimes: dict[str, Runtime] = {}
    yield runtimes
    close_all(runtimes.values())


@pytest.fixture
def runtime() -> Iterator[ProcessRuntime]:
    opened = ProcessRuntime(every_space.SPEC, 3, slots_per_worker=2)
    yield opened
    opened.close()


@pytest.fixture(params=["here", "through the local socket", "over TCP"])
def anywhere(request: pytest.FixtureRequest, runtime: ProcessRuntime) -> Iterator[Runtime]:
    """The runtime itself, or as a client of a server in front of it sees it."""
    if request.param == "here":
        yield runtime
        return
    server = Server(ServerConfig(port=0), lambda _id, _slots, _config: runtime)
    server.start()
    same_host = request.param == "through the local socket"
    remote = open_remote(every_space.SPEC, 3, EnvConfig(), [server.address], same_host=same_host)
    yield remote
    remote.close()
    server.stop(1.0)


def receive(runtime: Any, count: int) -> dict[int, tuple[Any, int]]:
    """slot → (its batch, its row)"""
    found: dict[int, tuple[Any, int]] = {}
    while len(found) < count:
        batch = runtime.recv(30)
        assert not batch.fault.any(), batch.fault_text
        found.update({int(slot): (batch, row) for row, slot in enumerate(batch.slots)})
    return found


def test_all_kinds_of_spaces_pass_both_ways(anywhere: Runtime) -> None:
    runtime = anywhere
    space = runtime.observation_space
    runtime.reset([0, 1, 2], [1, 2, 3])
    for batch, row in receive(runtime, 3).values():
        obs = unstack(space, batch.obs, len(batch))[row]
        assert space.contains(obs)
        assert repr(dict(obs)) == batch.info["obs"].values[row]
    runtime.action_space.seed(7)
    actions = [runtime.action_space.sample() for _ in range(3)]
    runtime.send([0, 1, 2], stack(runtime.action_space, actions))
    for slot, (batch, row) in receive(runtime, 3).items():
        # repr of the dict as the environment saw it: same keys, dtypes and values
        assert batch.info["action"].values[row] == repr(actions[slot])
        assert repr(unstack(space, batch.obs, len(batch))[row]) == batch.info["obs"].values[row]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_contract_holds_for_all_kinds_of_spaces() -> None:
    def here(slots: int, config: EnvConfig) -> Runtime:
        return ProcessRuntime(every_space.SPEC, slots, config)

    server = Server(ServerConfig(port=0), lambda _id, slots, config: here(slots, config))
    server.start()

    def there(slots: int, config: EnvConfig) -> Runtime:
        return open_remote(every_space.SPEC, slots, config, [server.address])

    report = check_runtime(there, reference=here, steps=20)
    assert {"agrees with its reference", "wrong actions are refused by name"} <= set(report.passed)
    server.stop(1.0)


def test_a_subset_leaves_the_other_slots_alone(runtime: ProcessRuntime) -> None:
    runtime.reset([2, 0], [5, 6])
    got = receive(runtime, 2)
    assert set(got) == {0, 2}
    assert [int(got[s][0].seed[got[s][1]]) for s in (0, 2)] == [6, 5]
    with pytest.raises(UsageError, match="never reset"):
        runtime.send([1], stack(runtime.action_space, [runtime.action_space.sample()]))
    with pytest.raises(UsageError, match="never reset"):
        runtime.render([1])


def test_what_it_can_not_do_is_said(runtime: ProcessRuntime) -> None:
    runtime.reset([0], [0])
    receive(runtime, 1)
    with pytest.raises(UnsupportedError, match="no picture"):
        runtime.render([0])
    with pytest.raises(UnsupportedError):
        runtime.snapshot([0])


@pytest.mark.parametrize("size", [(0, 0), (7, 64), (64, 2049), (-1, 64), (64,), (64, 64, 3), 64, (64.5, 64)])
@pytest.mark.parametrize("env_id", ["gymnasium/CartPole-v1", "arcade/Maze-v0", "atari/Pong-v0"])
def test_a_picture_of_a_wrong_size_is_refused(env_id: str, size: Any, opened: dict[str, Runtime]) -> None:
    if env_id.startswith("atari/"):
        pytest.importorskip("ale_py")
    if env_id not in opened:
        opened[env_id] = open_runtime(env_id, 1)
        opened[env_id].reset([0], [0])
        receive(opened[env_id], 1)
    with pytest.raises(UsageError, match=r"size must be \(height, width\), each 8 to 2048 pixels, got "):
        opened[env_id].render([0], size)
    (picture,) = opened[env_id].render([0], [32, 48])  # type: ignore[arg-type]
    assert picture.shape == (32, 48, 3)


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (KeyError("lights"), "KeyError: 'lights'"),
        (None, "render.. gave None"),
        ("a picture", "render.. gave 'a picture'"),
        (np.zeros((4, 4, 3)), r"render.. gave an array of float64, \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint8), r"render.. gave an array of uint8, \(4, 4\)"),
    ],
)
def test_a_picture_that_is_none_is_told_and_the_slots_go_on(picture: Any, told: str, remote: bool) -> None:
    spec = dataclasses.replace(
        every_space.SPEC, entry="every_space:OddPictures", kwargs={"picture": picture}, id="test/Odd-v0"
    )
    runtime: Runtime = ProcessRuntime(spec, 1)
    server = Server(ServerConfig(port=0), lambda _id, _slots, _config, inner=runtime: inner)
    server.start()
    if remote:
        runtime = open_remote(spec, 1, EnvConfig(), [server.address])
    try:
        runtime.reset([0], [0])
        receive(runtime, 1)
        for size in (None, (16, 16)):
            with pytest.raises(FaultError, match=told):
                runtime.render([0], size)
        runtime.send([0], stack(runtime.action_space, [runtime.action_space.sample()]))
        receive(runtime, 1)
    finally:
        runtime.close()
        server.stop(1.0)


FIVE = "Gymnasium's returns 5 values: observation, reward, terminated, truncated, info"
TWO = "Gymnasium's returns 2 values: observation, info"
ODD_STEPS = {
    1: f"test/Odd-v0: step() returned 4 values; {FIVE}",
    2: f"test/Odd-v0: step() returned an array of float32, (2,); {FIVE}",
    3: f"test/Odd-v0: step() returned None; {FIVE}",
    4: "the reward must be one number, got None",
    5: "the reward must be one number, got 'good'",
    6: "the reward must be one number, got array([1., 1.])",
    7: "the reward must be one number, got 1000000",
    8: "info must be a dict, got [1]",
    9: "info must be a dict, got None",
}
ODD_RESETS = {
    1: f"test/Odd-v0: reset() returned an array of float32, (2,); {TWO}",
    2: f"test/Odd-v0: reset() returned 3 values; {TWO}",
    3: f"test/Odd-v0: reset() returned None; {TWO}",
    4: "info must be a dict, got []",
}
ODD = dataclasses.replace(
    every_space.SPEC,
    id="test/Odd-v0",
    entry="every_space:OddReturns",
    spaces_from="every_space:odd_returns_spaces",
)


def test_what_the_environment_returns_wrong_is_told_and_the_slot_goes_on() -> None:
    runtime = ProcessRuntime(ODD, 1)
    try:
        for seed, told in ODD_RESETS.items():
            runtime.reset([0], [seed])
            batch = runtime.recv(30)
            assert batch.fault.tolist() == [Fault.ENVIRONMENT]
            assert told in batch.fault_text[0].splitlines()[-1]
        for action, told in ODD_STEPS.items():
            runtime.reset([0], [0])
            receive(runtime, 1)
            runtime.send([0], np.array([action]))
            batch = runtime.recv(30)
            assert batch.fault.tolist() == [Fault.ENVIRONMENT]
            assert told in batch.fault_text[0].splitlines()[-1]
        runtime.reset([0], [0])
        receive(runtime, 1)
        runtime.send([0], np.array([0]))
        assert receive(runtime, 1)[0][0].reward.tolist() == [1.0]
    finally:
        runtime.close()


def test_what_the_environment_returns_wrong_is_told_on_the_screen_too() -> None:
    env = ScreenEnv(every_space.OddReturns(), ODD, (64, 64))
    with pytest.raises(FaultError, match=rf"^{re.escape(ODD_RESETS[1])}"):
        env.reset(seed=1)
    with pytest.raises(FaultError, match=rf"^{re.escape(ODD_STEPS[1])}"):
        env.step(np.array([0, KEYS.index("1"), 0, 0, 0]))


@pytest.mark.parametrize("per_worker", [0, -1])
def test_wrong_slots_per_worker(per_worker: int) -> None:
    with pytest.raises(UsageError, match="slots_per_worker"):
        ProcessRuntime(every_space.SPEC, 2, slots_per_worker=per_worker)


def test_truncation_by_time_limit_and_final_observation() -> None:
    config = EnvConfig(autoreset="same_step", options={"max_episode_steps": 3})
    runtime = open_runtime(find("gymnasium/Pendulum-v1"), 2, config)
    try:
        runtime.reset([0, 1], [1, 2])
        receive(runtime, 2)
        for step in range(1, 4):
            runtime.send([0, 1], np.zeros((2, 1), np.float32))
            for batch, row in receive(runtime, 2).values():
                assert (batch.step[row], batch.episode[row]) == (step, 0)
                assert batch.truncated[row] == (step == 3)
                assert not batch.terminated[row]
                assert (row in batch.final_rows) == (step == 3)
        runtime.send([0, 1], np.zeros((2, 1), np.float32))
        for batch, row in receive(runtime, 2).values():
            assert (batch.step[row], batch.episode[row]) == (1, 1)
        picture, small = runtime.render([0])[0], runtime.render([1], (20, 30))[0]
        assert picture.ndim == 3
        assert (small.shape, small.dtype) == ((20, 30, 3), np.uint8)
    finally:
        runtime.close()


def test_an_entry_in_the_program_itself_is_refused() -> None:
    spec = dataclasses.replace(find("gymnasium/CartPole-v1"), entry="__main__:make_it")
    with pytest.raises(UsageError, match=r"CartPole-v1: its entry __main__:make_it is .* module of its own"):
        ProcessRuntime(spec, 1)


def test_workers_start_where_the_path_has_path_objects_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python passes over them; people append them all the same."""
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/nowhere"), None])
    runtime = ProcessRuntime(every_space.SPEC, 1, start_deadline=20.0, max_failures=1)
    try:
        runtime.reset([0], [1])
        receive(runtime, 1)
    finally:
        runtime.close()
