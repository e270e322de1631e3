"""What does the wire cost? Environments behind a server on this machine, against the same without, and peers.

    python benchmarks/wire.py [--seconds 3] [--rounds 5] [--only atari,arcade,trivial,echo,codecs,slots]
                              [--no-peers]

atari    Pong, 64 slots: a server in a process of its own, over loopback TCP, against the same vector here.
arcade   Breakout, 1,024 slots of 64×64×3: the same comparison, through shared memory.
trivial  64 slots of 84×84×1 frames that cost nothing, through a server on this machine as users get it
         (its frames lie in shared memory, as those of all our runtimes do), against a bare gRPC stream
         of as many bytes, dm_env_rpc with its own adaptor and OpenEnv in three ways (installed from PyPI
         into .cache/peers), and Gymnasium's local AsyncVectorEnv. Also with frames in ordinary memory,
         which travel through the Unix socket, and over TCP, as from another machine.
echo     One slot with a small observation, its round trip against that of a bare gRPC stream, of which
         the faster kind counts: asyncio or threads; also over TCP.
codecs   Pong, 64 slots over TCP: sending only the blocks that changed, also packed, against whole frames.
slots    10,000 slots of a trivial environment on one server: how long opening takes, memory per slot.

Both sides of a comparison run alternately, a round each, and the medians are compared; a ratio is
the median of the rounds' ratios. A step is one transition of one slot, in lockstep: send all,
receive all. Servers and peers are processes of their own. The last line is the result as JSON,
also written to scores/wire.json.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import queue
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
from gymnasium import spaces
from rich.console import Console
from rich.table import Table

from universe2.agents.evaluate import hardware
from universe2.client import open_remote
from universe2.client.local_server import local_server
from universe2.core import shareable
from universe2.core.batch import Batch
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SCRIPT = str(Path(__file__).resolve())
PEERS = HERE / "peers"
PEER_PACKAGES = {"dm_env_rpc": "dm_env_rpc==1.1.7", "openenv": "openenv==0.3.0"}
PEER_QUESTIONS = (
    ("bare", "a bare gRPC byte stream", 0.6),
    ("dm_env_rpc", "dm_env_rpc", 20.0),
    ("openenv list", "OpenEnv as its Atari environment sends frames", 20.0),
    ("openenv base64", "OpenEnv with base64 and its asyncio client", 8.0),
    ("openenv async", "the same with its step_async overridden", None),
    ("gymnasium", "Gymnasium's local AsyncVectorEnv", 1.0),
)
SLOTS, FRAME = 64, (84, 84, 1)
FRAME_BYTES = SLOTS * 84 * 84
SMALL = (4,)
TRIVIAL = EnvSpec(
    id="bench/Trivial-v0",
    runtime="bench",
    entry="",
    spaces_from="",
    options={"small": False, "shared": False},
)


class TrivialRuntime(Runtime):
    """Steps all its slots at once, at next to no cost; what is left to measure is the wire."""

    def __init__(self, num_slots: int, config: EnvConfig) -> None:
        self.spec, self.config, self.num_slots = TRIVIAL, config, num_slots
        shape = SMALL if config.options.get("small") else FRAME
        zeros = shareable.zeros if config.options.get("shared") else np.zeros
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.action_space = spaces.Discrete(4)
        self._ready: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._step = np.zeros(num_slots, np.int64)
        self._batch = Batch(
            slots=np.arange(num_slots, dtype=np.int32),
            obs=zeros((num_slots, *shape), np.uint8),
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
        self._batch.obs[:, 0] += 1
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

    server = Server(
        ServerConfig(port=0, slots=20_000), lambda _id, slots, config: TrivialRuntime(slots, config)
    )
    serve_forever(server, threading.Event(), lambda s: print("serving on", s.address, flush=True))


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


def output_of(*command: str) -> float:
    """The number that a peer prints last."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return float(done.stdout.split()[-1])


def bare_per_second(address: str, size: int, kind: str = "bare_grpc.py") -> Callable[[float], float]:
    return lambda seconds: output_of(
        sys.executable, str(PEERS / kind), "run", address, str(seconds), str(size)
    )


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


def against_local(
    env_id: str, slots: int, seconds: float, rounds: int, shared: bool
) -> dict[str, list[float]]:
    from universe2.runtimes import open_runtime

    config = EnvConfig()
    with local_server("--slots", str(slots), log=Path(os.devnull)) as (address, _):
        local = open_runtime(env_id, slots, config)
        remote = open_remote(env_id, slots, config, [address], same_host=shared)
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


@contextlib.contextmanager
def opened(address: str, slots: int, same_host: bool = True, **options: bool) -> Iterator[Runtime]:
    """The trivial environment on a server, reset."""
    # Only one row of pixels changes in its frames: what is to be measured is the way of whole ones.
    config = EnvConfig(options=options)
    runtime = open_remote(TRIVIAL.id, slots, config, [address], same_host=same_host, codec="raw")
    try:
        reset_all(runtime)
        yield runtime
    finally:
        runtime.close()


def trivial(seconds: float, rounds: int, peers: bool) -> dict[str, list[float]]:
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(served(sys.executable, SCRIPT, "serve-trivial"))
        bare = stack.enter_context(
            served(sys.executable, str(PEERS / "bare_grpc.py"), "serve", str(FRAME_BYTES))
        )
        through_socket = stack.enter_context(opened(ours, SLOTS))
        over_tcp = stack.enter_context(opened(ours, SLOTS, same_host=False))
        in_memory = stack.enter_context(opened(ours, SLOTS, shared=True))
        stream = bare_per_second(bare, SLOTS * 8)
        sides: dict[str, Callable[[float], float]] = {
            "universe2": lambda s: steps_per_second(in_memory, s),
            "socket": lambda s: steps_per_second(through_socket, s),
            "tcp": lambda s: steps_per_second(over_tcp, s),
            "bare": lambda s: stream(s) * SLOTS,
            "gymnasium": lambda s: output_of(
                sys.executable, str(PEERS / "gymnasium_async.py"), str(SLOTS), str(s)
            ),
        }
        if peers:
            python, peer = peer_python("dm_env_rpc"), str(PEERS / "dm_env_rpc_peer.py")
            address = stack.enter_context(served(python, peer, "serve"))
            sides["dm_env_rpc"] = lambda s: output_of(python, peer, "run", address, str(SLOTS), str(s))
            for way in ("list", "base64", "async"):
                sides[f"openenv {way}"] = open_env(stack, way)
        return alternate(sides, seconds, rounds)


def open_env(stack: contextlib.ExitStack, way: str) -> Callable[[float], float]:
    """OpenEnv's environment steps per second, frames sent that way."""
    python, peer = peer_python("openenv"), str(PEERS / "openenv_peer.py")
    address = stack.enter_context(served(python, peer, "serve", way))
    return lambda seconds: output_of(python, peer, "run", address, way, str(SLOTS), str(seconds))


def echo(seconds: float, rounds: int) -> dict[str, list[float]]:
    """Round trips per second of one slot, and of as few bytes through a bare stream."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(served(sys.executable, SCRIPT, "serve-trivial"))
        near = stack.enter_context(opened(ours, 1, small=True))
        over_tcp = stack.enter_context(opened(ours, 1, same_host=False, small=True))
        sides = {
            "universe2": lambda s: steps_per_second(near, s),
            "tcp": lambda s: steps_per_second(over_tcp, s),
        }
        for kind in ("bare_grpc.py", "bare_grpc_threads.py"):
            address = stack.enter_context(served(sys.executable, str(PEERS / kind), "serve", "200"))
            sides[kind] = bare_per_second(address, 100, kind)
        found = alternate(sides, seconds, rounds)
    kinds = [found.pop(kind) for kind in ("bare_grpc.py", "bare_grpc_threads.py")]
    return {
        **found,
        "bare": max(kinds, key=statistics.median),
        "the other bare": min(kinds, key=statistics.median),
    }


def many_slots(count: int) -> dict[str, float]:
    """Seconds to open ``count`` slots on one server, and what each takes there, in kB."""
    with served(sys.executable, SCRIPT, "serve-trivial") as address:
        with opened(address, 1, small=True):  # what every first session loads
            server = next(
                child for child in psutil.Process().children() if "serve-trivial" in child.cmdline()
            )
        before = server.memory_info().rss
        began = time.perf_counter()
        runtime = open_remote(TRIVIAL.id, count, EnvConfig(options={"small": True}), [address])
        seconds = time.perf_counter() - began
        reset_all(runtime)
        kilobytes = (server.memory_info().rss - before) / count / 1000
        runtime.close()
    return {"seconds": seconds, "kilobytes": kilobytes}


def peer_python(name: str) -> str:
    """The interpreter of a peer's environment, made at first use."""
    home = ROOT / ".cache" / "peers" / name
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        packages = [PEER_PACKAGES[name], "numpy"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True, timeout=600)
    return str(python)


def codecs(seconds: float, rounds: int) -> dict[str, list[float]]:
    """Atari, 64 slots over TCP: steps/s and kB/step as they are and by the changes alone."""
    found: dict[str, list[float]] = {}
    for codec in ("raw", "delta", "lz4"):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with local_server("--slots", "64", "--metrics-port", str(port), log=Path(os.devnull)) as (address, _):
            runtime = open_remote("atari/Pong-v0", 64, EnvConfig(), [address], same_host=False, codec=codec)
            reset_all(runtime)
            before = sent_and_stepped(port)
            rates = [steps_per_second(runtime, seconds) for _ in range(rounds)]
            sent, stepped = (b - a for a, b in zip(before, sent_and_stepped(port), strict=True))
            runtime.close()
        found[codec] = rates
        found[f"{codec} kB/step"] = [sent / stepped / 1000]
    return found


def sent_and_stepped(port: int) -> tuple[float, float]:
    """What a server's metrics say of the bytes and rows that it sent."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines() if line[0] != "#")
    return float(lines['universe2_bytes_total{direction="out"}']), float(lines["universe2_steps_total"])


# Reporting


def question(
    text: str, ours: list[float], theirs: list[float], peer: str, target: float | None, unit: str = "steps/s"
) -> dict[str, Any]:
    value = ratio(ours, theirs)
    return {
        "question": f"{text}, against {peer}, {unit}",
        "ours": f"{statistics.median(ours):,.0f}",
        "peer": f"{statistics.median(theirs):,.0f}",
        "ratio": round(value, 3),
        "target": "–" if target is None else round(target, 3),
        "met": bool(target is None or value >= target),
    }


def limit(text: str, value: float, most: float, unit: str) -> dict[str, Any]:
    """A question about a bound of our own: the ratio is bound over value, so that 1 and more is met."""
    return {
        "question": f"{text}, {unit}, at most",
        "ours": f"{value:.3g}",
        "peer": f"{most:g}",
        "ratio": round(most / max(value, 1e-9), 3),
        "target": 1.0,
        "met": value <= most,
    }


def measure(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    questions, results = [], {}
    only, seconds, rounds = arguments.only.split(","), arguments.seconds, arguments.rounds
    if "atari" in only:
        found = results["atari"] = against_local("atari/Pong-v0", 64, seconds, rounds, shared=False)
        text = "Atari, 64 slots over gRPC on loopback TCP"
        questions.append(question(text, found["remote"], found["local"], "the same vector here", 0.95))
    if "arcade" in only:
        found = results["arcade"] = against_local("arcade/Breakout-v0", 1024, seconds, rounds, shared=True)
        text = "Arcade, 1,024 slots through a server on the same host"
        questions.append(question(text, found["remote"], found["local"], "the same vector here", 0.7))
    if "trivial" in only:
        found = results["trivial"] = trivial(seconds, rounds, arguments.peers)
        text, ours = "64 remote slots of 84×84, trivial environment", found["universe2"]
        for name, peer, target in PEER_QUESTIONS:
            if name in found:
                questions.append(question(text, ours, found[name], peer, target))
        for way, text in (("socket", "The same, frames through a Unix socket"), ("tcp", "The same over TCP")):
            for name, peer, _ in PEER_QUESTIONS[:2]:
                if name in found:
                    questions.append(question(text, found[way], found[name], peer, None))
    if "echo" in only:
        found = results["echo"] = echo(seconds, rounds)
        text = "Round trips of one slot with a small observation"
        questions.append(
            question(text, found["universe2"], found["bare"], "a bare gRPC stream", 1 / 1.3, "1/s")
        )
        questions.append(
            question("The same over TCP", found["tcp"], found["bare"], "a bare gRPC stream", None, "1/s")
        )
    if "codecs" in only:
        found = results["codecs"] = codecs(seconds, rounds)
        for codec, what in (("delta", "only what changed"), ("lz4", "only what changed, packed by LZ4")):
            text = f"Atari, 64 slots over TCP, {what}"
            questions.append(question(text, found[codec], found["raw"], "whole frames", None))
            raw, coded = found["raw kB/step"][0], found[f"{codec} kB/step"][0]
            questions.append(limit("The same, kB a step (against whole frames)", coded, raw, "kB"))
    if "slots" in only:
        many = results["slots"] = many_slots(10_000)
        questions.append(limit("10,000 slots on one server: opening", many["seconds"], 10.0, "s"))
        questions.append(limit("10,000 slots on one server: memory per slot", many["kilobytes"], 64.0, "kB"))
    return questions, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("serve", nargs="?", choices=("serve-trivial",), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one round of one side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="atari,arcade,trivial,echo,codecs,slots")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="install nothing")
    arguments = parser.parse_args()
    if arguments.serve:
        return serve_trivial()
    questions, results = measure(arguments)
    table = Table("Question", "universe2", "peer", "ratio", "to reach", "")
    for row in questions:
        met = "met" if row["met"] else "not met"
        table.add_row(
            row["question"], row["ours"], row["peer"], f"{row['ratio']:.2f}", str(row["target"]), met
        )
    Console().print(table)
    score = {
        "name": "wire",
        "date": datetime.date.today().isoformat(),
        "machine": hardware(),
        "versions": {"python": platform.python_version(), "grpc": grpc.__version__, "numpy": np.__version__},
        "results": {k: {n: np.round(r, 2).tolist() for n, r in v.items()} for k, v in results.items()},
        "questions": questions,
    }
    (HERE / "scores").mkdir(exist_ok=True)
    (HERE / "scores" / "wire.json").write_text(json.dumps(score, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(score, ensure_ascii=False))
    return None


if __name__ == "__main__":
    main()
