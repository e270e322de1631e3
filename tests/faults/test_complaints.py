"""What users of other hubs complain about, one test a complaint: it can't happen here.

The complaints are those that fill other projects' issue trackers. Each test is a small direct check; the
docstrings name the files that go further.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from cutting_proxy import CuttingProxy
from gymnasium import spaces
from packaging.requirements import Requirement

import universe2
from universe2.client import open_remote
from universe2.core.batch import Batch, Column, Fault
from universe2.core.errors import (
    CapacityError,
    DeadlineError,
    FaultError,
    InvalidSeedError,
    ServerLostError,
)
from universe2.core.registry import find, list_envs
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.faces.env import RuntimeEnv
from universe2.faces.vector import RuntimeVectorEnv
from universe2.runtimes import open_runtime
from universe2.runtimes.process import ProcessRuntime
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.testing.play import play
from universe2.trace import Recorder

sys.path.insert(0, str(Path(__file__).parent))

import misbehaving as m

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = [pytest.mark.browser, pytest.mark.timeout(300)]
Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers of a kind of CountingRuntime."""
    servers: list[Server] = []

    def start(kind: type[CountingRuntime] = CountingRuntime, **config: Any) -> Server:
        settings = ServerConfig(**{"port": 0, "slots": 8, **config})
        servers.append(Server(settings, lambda _id, slots, config: kind(COUNTING, slots, config)))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop(1.0)


def begun(address: str, slots: int = 2, **how: Any) -> Runtime:
    """A client whose slots have begun episodes of 7 steps."""
    runtime = open_remote(COUNTING.id, slots, EnvConfig(), [address], **how)
    runtime.reset(range(slots), [4] * slots)
    runtime.recv(10.0)
    return runtime


def step(runtime: Runtime, action: int = 0) -> Batch:
    runtime.send(range(runtime.num_slots), np.full(runtime.num_slots, action))
    return runtime.recv(20.0)


def test_complaint_01_a_remote_that_never_comes_up_or_drops(serve: Serve) -> None:
    """An error that names the address, or faults: no wait without an end. More: test_lost_servers.py."""
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and says nothing
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises((DeadlineError, ServerLostError), match=address):
            open_remote(COUNTING.id, 1, EnvConfig(), [address], open_deadline=1.0)
        assert time.monotonic() - began < 4.0
    server = serve()
    with closing(CuttingProxy(server.address)) as proxy:
        runtime = begun(proxy.address, lease=1.0, same_host=False)
        proxy.cut()  # for good
        batch = step(runtime)
        assert (batch.fault == Fault.INFRASTRUCTURE).all()
        assert np.isnan(batch.reward).all()
        assert proxy.address in batch.fault_text[0]
        runtime.close()


OFFLINE = """
import sys

def guard(event, args):
    if event == "socket.connect":
        family, address = args[0].family, args[1]
        fine = family == 1 or str(address[0]).startswith("127.") or address[0] == "::1"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        fine = args[0] in (None, "", "localhost", "127.0.0.1", "::1", b"localhost")
    else:
        return
    if not fine:
        raise SystemExit(f"{event} {args[1:]}: nothing may be fetched")

sys.addaudithook(guard)
import universe2
assert universe2.list_envs()
for env_id in sys.argv[1:]:
    env = universe2.make(env_id)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()
    print(env_id, flush=True)
"""


@pytest.mark.parametrize(
    "env_ids",
    [
        ("arcade/Breakout-v0", "arcade/Maze-v0", "atari/Pong-v0", "gymnasium/CartPole-v1"),
        pytest.param(("web/click-test-2-v0", "web/shop-add-v0"), marks=BROWSERS),
    ],
    ids=["games", "web"],
)
def test_complaint_02_nothing_is_fetched_at_run_time(env_ids: tuple[str, ...]) -> None:
    """Where the system allows it, in a network namespace in which there is nothing, workers included."""
    alone = ["unshare", "-rn"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        alone = []  # the guard watches this process, and not what it starts
    done = subprocess.run(
        [*alone, sys.executable, "-c", OFFLINE, *env_ids],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(env_ids)


def the_project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def test_complaint_03_nothing_is_compiled_to_install_it(tmp_path: Path) -> None:
    """Pure Python, and no upper bound that would fight with others' packages."""
    project = the_project()
    extras = {name: wanted for name, wanted in project["optional-dependencies"].items() if name != "dev"}
    for text in [*project["dependencies"], *(text for wanted in extras.values() for text in wanted)]:
        assert {spec.operator for spec in Requirement(text).specifier} <= {">="}, text
    for folder in ("universe2", "envs", "agents"):
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "import setuptools.build_meta as b; b.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    assert "universe2/envs/web/page.py" in names
    assert not [name for name in names if name.endswith((".so", ".pyd", ".dll", ".c", ".pyx"))]


def test_complaint_04_gymnasiums_interface_is_the_one_it_has_now() -> None:
    """Its own wrappers and checks, warnings being errors; ``test_complaint_04_with_…`` has the oldest one."""
    env = gym.make("universe2:arcade/Breakout-v0")  # checked in passing, order enforced
    env = gym.wrappers.RecordEpisodeStatistics(gym.wrappers.TimeLimit(env, 3))
    obs, info = env.reset(seed=1)
    assert env.observation_space.contains(obs)
    for _ in range(3):
        *_, truncated, info = env.step(env.action_space.sample())
    assert truncated
    assert info["episode"]["l"] == 3
    assert gym.make(env.unwrapped.spec or "").unwrapped.observation_space == env.observation_space
    env.close()
    envs = gym.wrappers.vector.RecordEpisodeStatistics(
        gym.make_vec("universe2:gymnasium/CartPole-v1", num_envs=2, max_episode_steps=2)
    )
    envs.reset(seed=1)
    for _ in range(2):
        *_, truncations, infos = envs.step(envs.action_space.sample())
    assert truncations.all()
    assert infos["episode"]["l"].tolist() == [2, 2]
    envs.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_complaint_04_with_the_oldest_gymnasium_that_is_promised(tmp_path: Path) -> None:
    """Fetches it from PyPI. One test is left out: it is about an id that came later."""
    wanted = [Requirement(text) for text in the_project()["dependencies"]]
    (lower,) = next(found for found in wanted if found.name == "gymnasium").specifier
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    subprocess.run([*install, f"gymnasium=={lower.version}"], check=True, timeout=200)
    where = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    code = "import gymnasium; print(gymnasium.__version__)"
    seen = subprocess.run([sys.executable, "-c", code], env=where, capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == lower.version
    tests = ["contract/test_counting.py", "contract/test_remote_contract.py", "contract/test_gym_make.py"]
    tests += ["unit/test_faces.py", "unit/test_process_runtime.py", "unit/test_gymnasium_family.py"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-k",
        "not web and not spare_keys",
        "-m",
        "not slow",
    ]
    command += [str(ROOT / "tests" / name) for name in tests]
    done = subprocess.run(command, env=where, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:]


def test_complaint_05_a_busy_machine_changes_no_result() -> None:
    """Nothing looks at a clock: more in test_web_clocks.py and in the contract suite."""

    def hashes() -> list[list[str]]:
        with closing(open_runtime("arcade/Breakout-v0", 3)) as runtime:
            return [played.stream for played in play(runtime, [1, 2, 3], 40)]

    calm, stop = hashes(), threading.Event()

    def burn() -> None:
        while not stop.is_set():
            sum(range(50_000))

    burners = [threading.Thread(target=burn) for _ in range(4)]
    for burner in burners:
        burner.start()
    busy = hashes()
    stop.set()
    for burner in burners:
        burner.join()
    assert busy == calm


def test_complaint_06_what_is_listed_is_there_and_a_game_is_added_by_a_call(counting: EnvSpec) -> None:
    """test_every_family.py plays them; test_adding_a_game.py and test_web_doc_example.py follow the docs."""
    specs = list_envs()
    assert {spec.family for spec in specs} >= {"arcade", "atari", "gymnasium", "web", "testing"}
    for spec in specs:
        assert callable(load(spec.spaces_from)), spec.id
        assert all(missing.install for missing in spec.missing), spec.id
    with closing(universe2.make(counting.id)) as env:
        assert env.reset(seed=4)[0]["count"].tolist() == [4, 0, -1]


def test_complaint_07_a_thousand_environments_are_one_session_and_a_full_server_has_a_queue(
    serve: Serve,
) -> None:
    """More: test_capacity.py, test_many_clients.py."""
    server = serve(slots=1000)
    before = threading.active_count()
    first = begun(server.address, 1000)
    assert threading.active_count() < before + 20
    assert (step(first).step == 1).all()
    with pytest.raises(CapacityError, match="0 of 1000 are free") as full:
        open_remote(COUNTING.id, 1, EnvConfig(), [server.address], wait=0.0)
    assert full.value.retry_after > 0
    threading.Timer(0.2, first.close).start()
    second = begun(server.address, 1000, wait=20.0)
    second.close()
    assert (server.capacity.sessions_open, server.capacity.slots_free) == (0, 1000)


class _Slow(CountingRuntime):
    """The first one that is opened answers its third step, or its first picture, only when it is told to."""

    opened = 0
    go = threading.Event()

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        _Slow.opened += 1
        self._first = _Slow.opened == 1

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        if self._first and batch.step[0] == 3:
            assert self.go.wait(30.0)
        return batch

    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        if self._first:
            assert self.go.wait(30.0)
            return [np.full((8, 8, 3), 250, np.uint8) for _ in slots]
        return super().render(slots, size)


@pytest.mark.parametrize("same_host", [True, False])
@pytest.mark.parametrize("late", ["a step", "a picture"])
def test_complaint_08_a_late_reply_is_not_the_next_requests(
    serve: Serve, late: str, same_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session that missed its deadline is given up with all that still comes of it."""
    monkeypatch.setattr(_Slow, "opened", 0)
    monkeypatch.setattr(_Slow, "go", threading.Event())
    server = serve(_Slow)
    runtime = begun(server.address, deadline=0.8, same_host=same_host)
    for action in (1, 2):
        assert step(runtime, action).obs["count"].tolist() == [[4, action, action]] * 2
    if late == "a picture":
        with pytest.raises(DeadlineError, match="no answer to render"):
            runtime.render([0])
    batch = step(runtime, 3)
    assert batch.fault.tolist() == [Fault.INFRASTRUCTURE] * 2
    assert np.isnan(batch.reward).all()
    batch = step(runtime, 4)  # begins anew, in another session
    assert (batch.fault.tolist(), batch.step.tolist()) == ([0, 0], [0, 0])
    _Slow.go.set()  # now the old one answers
    for number, action in enumerate((1, 2, 3, 4), 1):
        batch = step(runtime, action)
        assert batch.step.tolist() == [number] * 2
        assert batch.obs["count"][:, 1:].tolist() == [[number, action]] * 2
        assert runtime.render([1])[0][0, 0].tolist() == [number] * 3
    runtime.close()


def test_complaint_09_a_broken_connection_is_taken_up_again(serve: Serve) -> None:
    """In mid-step, and nothing is lost or done twice. More: test_cut_connections.py, test_soak.py."""
    server = serve()
    with closing(CuttingProxy(server.address)) as proxy:
        runtime = begun(proxy.address, same_host=False)
        for number in range(1, 5):
            runtime.send([0, 1], np.full(2, number))
            proxy.cut()
            proxy.mend()
            batch = runtime.recv(20.0)
            assert (batch.fault.tolist(), batch.episode.tolist()) == ([0, 0], [0, 0])
            assert batch.obs["count"].tolist() == [[4, number, number]] * 2
        assert server.metrics.resumed._value.get() >= 1
        runtime.close()


class _Telling(CountingRuntime):
    """Infos of several kinds at every step; seed 13 is refused."""

    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        if 13 in list(seeds):
            raise InvalidSeedError("13 can't be honoured")
        super().reset(slots, seeds)

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        everyone = np.ones(len(batch), bool)
        cells = np.full(len(batch), None, object)
        cells[:] = [{"at": (int(s), None), "array": np.arange(3, dtype=np.int16)} for s in batch.step]
        batch.info |= {"cells": Column(cells, everyone), "half": Column(batch.step / np.float32(2), everyone)}
        return batch


def test_complaint_10_infos_come_whole_and_a_seed_is_honoured_or_refused(serve: Serve) -> None:
    """The contract's "agrees with its reference" compares the infos of every step."""
    here, there = _Telling(COUNTING, 2, EnvConfig()), begun(serve(_Telling).address)
    here.reset([0, 1], [4, 4])
    here.recv()
    for _ in range(7):
        ours, theirs = step(here), step(there)
        assert theirs.seed.tolist() == [4, 4]
        assert list(ours.info) == list(theirs.info)
        for key, (values, mask) in ours.info.items():
            assert str(theirs.info[key].values.tolist()) == str(values.tolist())
            assert theirs.info[key].values.dtype == values.dtype
            assert (theirs.info[key].mask == mask).all()
    there.reset([0], [13])
    with pytest.raises(InvalidSeedError, match="can't be honoured"):
        there.recv(10.0)
    for seed in (-1, 2**63, 0.5):
        with pytest.raises(InvalidSeedError):
            there.reset([0], [seed])  # type: ignore[list-item]
    there.close()


def an_episode(seed: int) -> list[float]:
    env = universe2.make("web/click-test-2-v0")
    try:
        env.reset(seed=seed)
        return [float(env.step(env.action_space.sample())[1]) for _ in range(2)]
    finally:
        env.close()


@pytest.mark.browser
@pytest.mark.timeout(300)
def test_complaint_11_web_tasks_run_beside_asyncio_and_in_threads() -> None:
    """No loop of the caller's is needed, or disturbed."""

    async def inside() -> list[float]:
        return an_episode(3)  # blocks the loop, as calls do, and that is all

    assert len(asyncio.run(inside())) == 2
    with ThreadPoolExecutor(2) as threads:
        assert [len(rewards) for rewards in threads.map(an_episode, (4, 5))] == [2, 2]


def test_complaint_12_a_crash_is_no_low_reward() -> None:
    """More: test_remote_faults.py, and test_evaluate.py and test_train_run.py for what isn't learnt from."""
    runtime = CountingRuntime(COUNTING, 2, EnvConfig())
    runtime.faults = {(0, 0)}
    recorder = Recorder(runtime)
    runtime.reset([0, 1], [4, 4])
    recorder.received(runtime.recv())
    episodes = []
    for _ in range(2):
        recorder.sent(np.arange(2), np.zeros(2, np.int64))
        batch = step(runtime)
        episodes += recorder.received(batch)
    assert np.isnan(batch.reward[0])
    assert (batch.fault.tolist(), batch.fault_text) == ([Fault.ENVIRONMENT, 0], {0: "asked to fail"})
    assert [(episode.whole, episode.fault, episode.total) for episode in episodes] == [
        (False, Fault.ENVIRONMENT, 1.0)
    ]
    single = CountingRuntime(COUNTING, 1, EnvConfig(autoreset="disabled"))
    single.faults = {(0, 0)}
    env = RuntimeEnv(single)
    env.reset(seed=4)
    env.step(0)
    with pytest.raises(FaultError, match="asked to fail"):
        env.step(0)


class _Graphs(CountingRuntime):
    """Observes a graph with as many nodes as steps were taken."""

    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        self.observation_space = spaces.Graph(spaces.Box(0, 99, (1,), np.float64), spaces.Discrete(9))

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        batch.obs = tuple(_graph(int(step)) for step in batch.obs["count"][:, 1])
        if len(batch.final_rows):
            batch.final_obs = tuple(_graph(int(step)) for step in batch.final_obs["count"][:, 1])
        return batch


def _graph(steps: int) -> spaces.GraphInstance:
    nodes = np.arange(steps + 1, dtype=np.float64)[:, None]
    links = np.stack([np.arange(steps), np.arange(steps) + 1], axis=1).astype(np.int32)
    return spaces.GraphInstance(nodes, np.arange(steps, dtype=np.int64) % 9, links)


@pytest.mark.parametrize("where", ["here", "at a server"])
def test_complaint_13_final_observations_are_nobody_elses_and_graphs_pass(serve: Serve, where: str) -> None:
    """The contract suite compares the three autoreset modes."""

    def opened(kind: type[CountingRuntime], autoreset: Any) -> RuntimeVectorEnv:
        config = EnvConfig(autoreset=autoreset)
        if where == "here":
            return RuntimeVectorEnv(kind(COUNTING, 2, config))
        return RuntimeVectorEnv(open_remote(COUNTING.id, 2, config, [serve(kind).address]))

    def steps(env: RuntimeVectorEnv, count: int) -> Any:
        for _ in range(count):
            result = env.step(np.zeros(2, np.int64))
        return result

    env = opened(CountingRuntime, "same_step")  # seed 4: 7 steps, 5: 3 steps
    env.reset(seed=[4, 5])
    obs, _, terminated, truncated, infos = steps(env, 3)
    assert (terminated.tolist(), truncated.tolist()) == ([False, False], [False, True])
    final = infos["final_obs"][1]["count"]
    assert infos["_final_obs"].tolist() == [False, True]
    assert (final[:2].tolist(), obs["count"][1, 1]) == ([5, 3], 0)
    assert not np.shares_memory(final, obs["count"])
    steps(env, 2)
    assert (final[:2].tolist(), obs["count"][1, 1]) == ([5, 3], 0)
    env.close()
    for autoreset in ("next_step", "same_step"):
        graphs = opened(_Graphs, autoreset)
        obs, _ = graphs.reset(seed=[4, 5])
        assert graphs.observation_space.contains(obs)
        obs, *_, infos = steps(graphs, 3)
        rolled = autoreset == "same_step"
        assert [len(graph.nodes) for graph in obs] == [4, 1 if rolled else 4]
        if rolled:
            assert infos["final_obs"][1].edge_links.tolist() == [[0, 1], [1, 2], [2, 3]]
        graphs.close()


def test_complaint_14_a_dead_worker_costs_its_slot_one_row() -> None:
    """More: test_workers.py; behind a server: test_remote_faults.py."""
    env = RuntimeVectorEnv(ProcessRuntime(m.SPEC, 2, slots_per_worker=1))
    env.reset(seed=[7, 8])
    _, rewards, terminated, truncated, infos = env.step(np.array([m.KILL, m.FINE]))
    assert (np.isnan(rewards).tolist(), rewards[1]) == ([True, False], 1.0)
    assert (terminated.tolist(), truncated.tolist()) == ([False, False], [True, False])
    assert "SIGKILL" in infos["fault"][0]
    obs, rewards, *_ = env.step(np.array([m.FINE, m.FINE]))
    assert (obs[0, 0], rewards.tolist()) == (0, [0.0, 2.0])  # begun anew; and gone on
    env.close()


class _Pictures(CountingRuntime):
    def __init__(self, spec: EnvSpec, num_slots: int, config: EnvConfig) -> None:
        super().__init__(spec, num_slots, config)
        self.observation_space = spaces.Box(0, 255, (84, 84), np.uint8)

    def recv(self, timeout: float | None = None) -> Batch:
        batch = super().recv(timeout)
        noise = np.random.default_rng(int(batch.step[0]))
        batch.obs = noise.integers(0, 256, (len(batch), 84, 84), np.uint8)
        return batch


def test_complaint_15_a_node_without_the_game_is_fed_by_one_that_has_it_in_raw_bytes(serve: Serve) -> None:
    """benchmarks/wire.py measures it."""
    name = "lab/Robot-v0"
    assert name not in {spec.id for spec in list_envs()}
    with pytest.raises(universe2.Universe2Error):
        find(name)
    server = serve(_Pictures, slots=64)
    runtime = open_remote(name, 64, EnvConfig(), [server.address], same_host=False)
    runtime.reset(range(64), [4] * 64)
    runtime.recv(10.0)
    before = server.metrics.bytes_out._value.get()
    batch = step(runtime)
    sent = server.metrics.bytes_out._value.get() - before
    assert batch.obs.nbytes < sent < batch.obs.nbytes * 1.02
    assert (batch.obs.dtype, batch.reward.dtype) == (np.uint8, np.float64)
    runtime.close()
