"""Which codec pays on which network? Real frames of Atari, arcade and web tasks, coded and read again.

    python benchmarks/codecs.py [--steps 60] [--tasks atari/Pong-v0,arcade/Breakout-v0,…]

For each task and codec: bytes a frame on the wire, microseconds that writing and reading it cost
(on one core, both sides added), and the speed of a network below which it is faster than sending
every byte: (bytes saved × 8) / (time). Random actions, 16 slots of the same task a batch; "zlib"
is Python's own, at its fastest, over what the codec delta makes, to compare with lz4, and so is
"zstd" if the package zstandard is there. The last line is the result as JSON, also written to
scores/codecs.json.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib.util
import json
import platform
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from rich.console import Console
from rich.table import Table

from universe2.agents.evaluate import hardware
from universe2.core.spaces import leaf_values, leaves
from universe2.core.spec import EnvConfig
from universe2.runtimes import open_runtime
from universe2.wire.codecs import LeafCodec
from universe2.wire.delta import Delta
from universe2.wire.packed import Packed
from universe2.wire.pictures import PictureFiles, is_picture

HERE = Path(__file__).resolve().parent
SLOTS = 16
TASKS = (
    "atari/Pong-v0,atari/MsPacman-v0,arcade/Breakout-v0,arcade/Maze-v0,web/click-test-2-v0,web/book-flight-v0"
)
GIGABIT = 1e9


class Squeezed:
    """Changes, packed by any function: for comparison only."""

    def __init__(self, rows: int, size: int, pack: Callable[[bytes], bytes], unpack: Callable[[Any], bytes]):
        self._delta, self._pack, self._unpack = Delta(rows, size), pack, unpack

    def write(self, slots_K: np.ndarray, rows_KB: np.ndarray) -> bytes:
        return self._pack(self._delta.write(slots_K, rows_KB).tobytes())

    def read(self, slots_K: np.ndarray, coded: memoryview) -> memoryview:
        return self._delta.read(slots_K, memoryview(self._unpack(coded)))


def codecs(shape: tuple[int, ...]) -> dict[str, Callable[[], LeafCodec]]:
    size = int(np.prod(shape))
    found: dict[str, Callable[[], LeafCodec]] = {
        "delta": lambda: Delta(SLOTS, size),
        "lz4": lambda: Packed(SLOTS, size),
        "zlib": lambda: Squeezed(SLOTS, size, lambda data: zlib.compress(data, 1), zlib.decompress),
    }
    if is_picture(spaces.Box(0, 255, shape, np.uint8)):
        for name in ("png", "jpeg-90", "webp-80"):
            found[name] = functools.partial(PictureFiles, name, shape)
    if importlib.util.find_spec("zstandard"):
        import zstandard

        pack, unpack = zstandard.ZstdCompressor(level=1), zstandard.ZstdDecompressor()
        found["zstd"] = lambda: Squeezed(SLOTS, size, pack.compress, unpack.decompress)
    return found


def frames(env_id: str, steps: int) -> list[np.ndarray]:
    """``steps`` batches of the task's largest leaf of pixels, uint8 (SLOTS, …); first frames left out."""
    config = EnvConfig(autoreset="next_step")
    runtime = open_runtime(env_id, SLOTS, config)
    found = [leaf for _, leaf in leaves(runtime.observation_space)]
    pixels = [i for i, leaf in enumerate(found) if leaf.dtype == np.uint8]
    place = max(pixels, key=lambda i: int(np.prod(found[i].shape or ())))
    shape = found[place].shape
    assert shape is not None
    runtime.action_space.seed(0)
    slots = np.arange(SLOTS, dtype=np.int32)
    out = []
    try:
        runtime.reset(slots, slots.astype(np.int64))
        for step in range(steps + 1):
            whole, rows = np.zeros((SLOTS, *shape), np.uint8), 0
            while rows < SLOTS:
                batch = runtime.recv(120.0)
                whole[batch.slots] = list(leaf_values(runtime.observation_space, batch.obs))[place]
                rows += len(batch)
            if step:
                out.append(whole)
            runtime.send(slots, sampled(runtime.action_space))
    finally:
        runtime.close()
    return out


def sampled(space: spaces.Space[Any]) -> Any:
    from universe2.core.spaces import stack

    return stack(space, [space.sample() for _ in range(SLOTS)])


def measure(batches: list[np.ndarray], make: Callable[[], LeafCodec]) -> dict[str, float]:
    """The first batch is the reference only: nobody's steady state."""
    writer, reader = make(), make()
    slots = np.arange(SLOTS, dtype=np.int32)
    sent = 0
    writing = reading = 0.0
    for number, batch in enumerate(batches):
        began = time.perf_counter()
        coded = memoryview(writer.write(slots, batch.reshape(SLOTS, -1))).cast("B")
        written = time.perf_counter()
        reader.read(slots, coded)
        ended = time.perf_counter()
        if number:
            sent += len(coded)
            writing += written - began
            reading += ended - written
    count = (len(batches) - 1) * SLOTS
    raw = batches[0][0].nbytes
    seconds = (writing + reading) / count
    saved = raw - sent / count
    return {
        "raw bytes": raw,
        "bytes": round(sent / count, 1),
        "write us": round(1e6 * writing / count, 2),
        "read us": round(1e6 * reading / count, 2),
        "pays below Mbit/s": round(max(saved, 0.0) * 8 / seconds / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tasks", default=TASKS)
    arguments = parser.parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {}
    table = Table("task", "codec", "raw bytes", "bytes", "write us", "read us", "pays below Mbit/s")
    for env_id in arguments.tasks.split(","):
        batches = frames(env_id, arguments.steps)
        results[env_id] = {}
        for name, make in codecs(batches[0].shape[1:]).items():
            found = results[env_id][name] = measure(batches, make)
            table.add_row(env_id, name, *(f"{value:,.0f}" for value in found.values()))
    Console(width=110).print(table)
    questions = [question(env_id, found) for env_id, found in results.items()]
    score = {
        "name": "codecs",
        "date": datetime.date.today().isoformat(),
        "machine": hardware(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "results": results,
        "questions": questions,
    }
    (HERE / "scores" / "codecs.json").write_text(json.dumps(score, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(score, ensure_ascii=False))


def question(env_id: str, found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Does the best lossless codec pay on 1 Gbit/s?"""
    speed, name = max(
        (found[name]["pays below Mbit/s"], name) for name in ("delta", "lz4", "png") if name in found
    )
    return {
        "question": f"{env_id}: network on which the best lossless codec ({name}) still pays, Mbit/s",
        "ours": f"{speed:,.0f}",
        "peer": "1,000",
        "ratio": round(speed * 1e6 / GIGABIT, 3),
        "target": 1.0,
        "met": speed * 1e6 >= GIGABIT,
    }


if __name__ == "__main__":
    main()
