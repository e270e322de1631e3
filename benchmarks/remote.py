"""What does the wire cost? Environments behind a server on this machine against the same, without.

    python benchmarks/remote.py [--seconds 4] [--rounds 5] [--only atari,arcade,trivial] [--no-peers]

1. Atari Pong, 64 slots: a server in a process of its own over loopback against the same vector here.
2. Arcade Breakout, 1,024 slots of 64×64×3: the same comparison.
3. 64 slots of a trivial environment with 84×84×1 frames, through universe2, against a bare gRPC
   stream that moves the same bytes, and against dm_env_rpc with its own adaptor (installed from
   PyPI into .cache/peers/dm_env_rpc; one stream per environment, all in flight at once).

Both sides of a comparison run alternately, a round each, and the medians are compared; a ratio is
the median of the rounds' ratios. A step is one transition of one slot. Each environment is stepped
in lockstep: send all, receive all. The last line is the result as JSON, also written to
scores/remote.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import platform
import queue
import statistics
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from gymnasium import spaces
from rich.console import Console
from rich.table import Table

from universe2.client import open_remote
from universe2.core.batch import Batch
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEER = ROOT / ".cache" / "peers" / "dm_env_rpc"
SLOTS, FRAME = 64, (84, 84, 1)
TRIVIAL = EnvSpec(id="bench/Trivial-v0", runtime="bench", entry="", spaces_from="")


class TrivialRuntime(Runtime):
    """Steps all its slots at once, at next to no cost; what is left to measure is the wire."""

    def __init__(self, num_slots: int, config: EnvConfig) -> None:
        self.spec, self.config, self.num_slots = TRIVIAL, config, num_slots
        self.group_size = num_slots
        self.observation_space = spaces.Box(0, 255, FRAME, np.uint8)
        self.action_space = spaces.Discrete(4)
        self._ready: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._step = np.zeros(num_slots, np.int64)
        self._batch = Batch(
            slots=np.arange(num_slots, dtype=np.int32),
            obs=np.zeros((num_slots, *FRAME), np.uint8),
            reward=np.ones(num_slots),
            terminated=np.zeros(num_slots, bool),
            truncated=np.zeros(num_slots, bool),
            episode=np.zeros(num_slots, np.int64),
            step=self._step,
            seed=np.arange(num_slots),
            fault=np.zeros(num_slots, np.uint8),
        )

    def reset(self, slots: Any, seeds: Any) -> None:
        self._step[:] = 0
        self._ready.put(None)

    def send(self, slots: Any, actions: Any) -> None:
        self._step += 1
        self._batch.obs[:, 0, 0, 0] += 1
        self._ready.put(None)

    def recv(self, timeout: float | None = None) -> Batch:
        self._ready.get()
        return self._batch

    def render(self, slots: Any, size: tuple[int, int] | None = None) -> list[np.ndarray]:
        return [np.zeros((84, 84, 3), np.uint8) for _ in slots]

    def close(self) -> None:
        """Nothing is held."""


# Servers: each a process of this script


def serve_trivial() -> None:
    from universe2.server import Server, ServerConfig
    from universe2.server.service import serve_forever

    server = Server(ServerConfig(port=0), lambda _id, slots, config: TrivialRuntime(slots, config))
    serve_forever(server, threading.Event(), lambda s: print("serving on", s.address, flush=True))


def serve_bare() -> None:
    """A gRPC stream that answers every message with the bytes of 64 frames: asyncio, no parsing."""
    payload = bytes(SLOTS * int(np.prod(FRAME)))

    async def answer(requests: Any, _context: Any) -> Any:
        async for _ in requests:
            yield payload

    async def main() -> None:
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
        methods = {"Stream": grpc.stream_stream_rpc_method_handler(answer)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bare", methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print("serving on", f"127.0.0.1:{port}", flush=True)
        await server.wait_for_termination()

    asyncio.run(main())


@contextlib.contextmanager
def served(*command: str) -> Iterator[str]:
    """The address of a server process that says ``serving on ADDRESS …``; ended afterwards."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("serving on "):
            raise SystemExit(f"{' '.join(command)}: did not start ({line!r})")
        yield line.split()[2]
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def own_server(slots: int) -> contextlib.AbstractContextManager[str]:
    code = "import sys; from universe2.cli import main; sys.argv[0] = 'universe2'; main()"
    return served(sys.executable, "-c", code, "serve", "--port", "0", "--slots", str(slots))


# Measuring


def steps_per_second(runtime: Runtime, seconds: float) -> float:
    """Lockstep over all slots with random actions: env steps/s."""
    count = runtime.num_slots
    slots = np.arange(count, dtype=np.int32)
    rng = np.random.default_rng(0)
    assert isinstance(runtime.action_space, spaces.Discrete)
    actions = [rng.integers(0, int(runtime.action_space.n), count) for _ in range(16)]

    def step(k: int) -> None:
        runtime.send(slots, actions[k % 16])
        rows = 0
        while rows < count:
            batch = runtime.recv(60.0)
            rows += len(batch)
            if batch.fault.any():
                raise SystemExit(f"a fault in the benchmark: {batch.fault_text}")

    for k in range(5):
        step(k)
    steps, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        step(steps)
        steps += 1
    return steps * count / elapsed


def reset_all(runtime: Runtime) -> None:
    runtime.reset(range(runtime.num_slots), range(runtime.num_slots))
    rows = 0
    while rows < runtime.num_slots:
        rows += len(runtime.recv(120.0))


def bare_per_second(address: str, seconds: float) -> float:
    """The bare stream, one message in flight, frames viewed as an array: frames/s."""

    async def main() -> float:
        options = [("grpc.max_receive_message_length", -1)]
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            call = channel.stream_stream("/Bare/Stream")()
            actions = bytes(SLOTS * 8)

            async def step() -> None:
                await call.write(actions)
                message = await call.read()
                np.frombuffer(message, np.uint8).reshape(SLOTS, *FRAME)

            for _ in range(5):
                await step()
            steps, began = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - began) < seconds:
                await step()
                steps += 1
            call.cancel()
            return steps * SLOTS / elapsed

    return asyncio.run(main())


def alternate(
    sides: dict[str, Callable[[float], float]], seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Each side for ``seconds`` in turn, ``rounds`` times, in alternating order: name → rates."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds):
        names = list(sides) if turn % 2 == 0 else list(sides)[::-1]
        for name in names:
            rates[name].append(sides[name](seconds))
    return rates


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def against_local(env_id: str, slots: int, seconds: float, rounds: int) -> dict[str, list[float]]:
    from universe2.runtimes import open_runtime

    config = EnvConfig()
    with own_server(slots) as address:
        local = open_runtime(env_id, slots, config)
        remote = open_remote(env_id, slots, config, [address])
        try:
            reset_all(local)
            reset_all(remote)
            sides = {
                "remote": lambda s: steps_per_second(remote, s),
                "local": lambda s: steps_per_second(local, s),
            }
            return alternate(sides, seconds, rounds)
        finally:
            remote.close()
            local.close()


def trivial(seconds: float, rounds: int, peers: bool) -> dict[str, list[float]]:
    script = str(Path(__file__).resolve())
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(served(sys.executable, script, "serve-trivial"))
        bare = stack.enter_context(served(sys.executable, script, "serve-bare"))
        runtime = open_remote(TRIVIAL.id, SLOTS, EnvConfig(), [ours])
        stack.callback(runtime.close)
        reset_all(runtime)
        sides: dict[str, Callable[[float], float]] = {
            "universe2": lambda s: steps_per_second(runtime, s),
            "bare": lambda s: bare_per_second(bare, s),
        }
        if peers:
            python, peer = peer_python(), str(HERE / "peers" / "dm_env_rpc_peer.py")
            address = stack.enter_context(served(python, peer, "serve"))
            sides["dm_env_rpc"] = lambda s: float(
                subprocess.run(
                    [python, peer, "run", address, str(SLOTS), str(s)],
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=True,
                ).stdout.split()[-1]
            )
        return alternate(sides, seconds, rounds)


def peer_python() -> str:
    """The interpreter of dm_env_rpc's environment, made at first use."""
    python = PEER / "bin" / "python"
    if not python.exists():
        venv.create(PEER, with_pip=True)
        packages = ["dm_env_rpc==1.1.7", "numpy"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True, timeout=600)
    return str(python)


# Reporting


def question(
    text: str, ours: list[float], theirs: list[float], peer: str, target: float | None
) -> dict[str, Any]:
    value = ratio(ours, theirs)
    return {
        "question": text,
        "ours": f"{statistics.median(ours):,.0f} steps/s",
        "peer": f"{peer} {statistics.median(theirs):,.0f} steps/s",
        "ratio": round(value, 3),
        "target": f"≥ {target:g}×" if target else "reported",
        "met": bool(target is None or value >= target),
    }


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.processor(), "cores": os.cpu_count()}


def measure(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    questions, results = [], {}
    only = arguments.only.split(",")
    seconds, rounds = arguments.seconds, arguments.rounds
    if "atari" in only:
        found = results["atari"] = against_local("atari/Pong-v0", 64, seconds, rounds)
        text = "Atari Pong, 64 slots, over gRPC on loopback"
        questions.append(question(text, found["remote"], found["local"], "the same vector, local", 0.95))
    if "arcade" in only:
        found = results["arcade"] = against_local("arcade/Breakout-v0", 1024, seconds, rounds)
        text = "Arcade Breakout, 1,024 slots of 64×64×3, over gRPC on loopback (no shared memory)"
        questions.append(question(text, found["remote"], found["local"], "the same vector, local", None))
    if "trivial" in only:
        found = results["trivial"] = trivial(seconds, rounds, arguments.peers)
        text = "64 remote slots of 84×84×1, trivial environment"
        questions.append(question(text, found["universe2"], found["bare"], "bare gRPC byte stream", 0.6))
        if "dm_env_rpc" in found:
            questions.append(question(text, found["universe2"], found["dm_env_rpc"], "dm_env_rpc", 20.0))
    return questions, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("serve", nargs="?", choices=("serve-trivial", "serve-bare"), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one round of one side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="atari,arcade,trivial")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="install nothing")
    arguments = parser.parse_args()
    if arguments.serve:
        return serve_trivial() if arguments.serve == "serve-trivial" else serve_bare()
    questions, results = measure(arguments)
    table = Table("Question", "universe2", "peer", "ratio", "to reach", "")
    for row in questions:
        met = "met" if row["met"] else "not met"
        table.add_row(row["question"], row["ours"], row["peer"], f"{row['ratio']:.2f}", row["target"], met)
    Console().print(table)
    score = {
        "name": "remote",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), "grpc": grpc.__version__, "numpy": np.__version__},
        "results": {k: {n: [round(r) for r in rates] for n, rates in v.items()} for k, v in results.items()},
        "ratio": questions[0]["ratio"],
        "target": questions[0]["target"],
        "met": all(row["met"] for row in questions),
        "questions": questions,
    }
    (HERE / "scores").mkdir(exist_ok=True)
    (HERE / "scores" / "remote.json").write_text(json.dumps(score, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(score, ensure_ascii=False))
    return None


if __name__ == "__main__":
    main()
