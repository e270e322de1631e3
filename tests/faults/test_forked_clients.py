"""A process forked from one that has remote slots: they are the parent's, whatever the child does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from universe2.core.spec import EnvSpec
from universe2.server import Server, ServerConfig
from universe2.testing.counting import COUNTING

PROGRAM = """
import gc, logging, os, sys
from universe2.client import open_remote
from universe2.core.errors import UsageError
from universe2.faces.vector import RuntimeVectorEnv

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")

def opened():
    envs = RuntimeVectorEnv(open_remote({env!r}, 2, None, [{address!r}], same_host={same_host}))
    envs.reset(seed=5)
    return envs

def refused(call):
    try:
        call()
    except UsageError as error:
        return str(os.getppid()) in str(error) and "open" in str(error)

envs = opened()
envs.step(envs.action_space.sample() * 0)
pid = os.fork()
if pid == 0:
    runtime = envs.runtime
    calls = [
        lambda: envs.step(envs.action_space.sample() * 0),
        envs.reset,
        runtime.recv,
        lambda: runtime.snapshot([0]),
        lambda: runtime.restore([0], [b""]),
        lambda: runtime.render([0]),
        lambda: next(runtime.watch(0)),
    ]
    good = all([refused(call) for call in calls])
    {end}
    gc.collect()
    sys.exit(0 if good else 3)
_, status = os.waitpid(pid, 0)
for _ in range(3):
    envs.step(envs.action_space.sample() * 0)
print(os.waitstatus_to_exitcode(status), "fine", flush=True)
envs.close()
"""


@pytest.fixture
def server(counting: EnvSpec) -> Iterator[Server]:
    server = Server(ServerConfig(port=0, slots=4))
    server.start()
    yield server
    server.stop(1.0)


@pytest.mark.parametrize("same_host", [True, False])
@pytest.mark.parametrize("end", ["envs.close()", "del envs, runtime, calls", "pass"])
def test_a_forked_process_is_refused_and_leaves_its_parents_session_alone(
    server: Server, same_host: bool, end: str
) -> None:
    code = PROGRAM.format(env=COUNTING.id, address=server.address, same_host=same_host, end=end)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["0 fine"], done.stdout + done.stderr
    assert server.capacity.slots_free == 4


POOL = """
import os, sys
from universe2.core.errors import UsageError
from universe2.faces.pool import Pool
from universe2.testing.counting import COUNTING, CountingRuntime
from universe2.core.spec import EnvConfig

pool = Pool([("counting", CountingRuntime(COUNTING, 2, EnvConfig()))])
pool.reset(1)
pid = os.fork()
if pid == 0:
    try:
        pool.recv(20.0)
    except UsageError as error:
        os._exit(0 if str(os.getppid()) in str(error) else 3)
    os._exit(4)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), len(pool.recv(10.0)[1]), flush=True)
pool.close()
"""


def test_a_pool_does_not_wait_for_ever_in_a_forked_process() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", POOL], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["0 2"], done.stdout + done.stderr
