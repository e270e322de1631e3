"""Every web task, played twice: is it the same to the bit, how fast is it, what does idleness earn?

Two slots (two browsers) get the same seeds and the same random actions; one of them is made to
wait at random between its steps. Frames, rewards, flags and instructions must agree. Then one
slot does nothing until the page's time limit.

    python benchmarks/web_tasks.py [--task click-test …] [--steps 25]
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from universe2.core.batch import info_rows
from universe2.core.registry import list_envs
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig
from universe2.runtimes import open_runtime

SCORES = Path(__file__).parent / "scores" / "web_tasks.json"
SEEDS = (11, 12)
IDLE = np.zeros((1, 5), np.int64)


def main(
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    steps: Annotated[int, typer.Option(help="Most steps per episode.")] = 25,
) -> None:
    """Play all tasks, print the table and write benchmarks/scores/web_tasks.json (unless --task)."""
    ids = [spec.id for spec in list_envs("web") if not task or spec.name in task]
    results: dict[str, Any] = {}
    for env_id in track(ids, "Web tasks", console=Console(stderr=True)):
        results[env_id] = examine(env_id, steps)
    good = [env_id for env_id, row in results.items() if row.get("deterministic")]
    summary = {
        "name": "web_tasks",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {"miniwob": version("miniwob"), "python": platform.python_version()},
        "results": results,
        "ratio": len(good) / len(results),
        "target": 1.0,
        "met": len(good) == len(results),
    }
    show(results)
    if not task:
        SCORES.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({**summary, "results": f"{len(good)} of {len(results)} tasks deterministic"}))


def examine(env_id: str, steps: int) -> dict[str, Any]:
    """The row of one task; a failure is a row with its message."""
    try:
        hashes, speed = played_twice(env_id, steps)
        reward, reason = idle(env_id)
    except Exception as error:  # noqa: BLE001 (reported in the table; the other tasks go on)
        return {"deterministic": False, "error": f"{type(error).__name__}: {error}"[-400:]}
    same = hashes[0] == hashes[1]
    return {"deterministic": same, "steps_per_s": round(speed, 1), "idle_raw": reward, "idle_end": reason}


def played_twice(env_id: str, steps: int) -> tuple[list[str], float]:
    """Trajectory hashes of the two slots, and steps per second of the one that doesn't wait."""
    runtime = open_runtime(env_id, 2)
    waits = np.random.default_rng()  # unseeded on purpose: no two runs wait alike
    hashes = [hashlib.sha256(), hashlib.sha256()]
    taken, spent = 0, 0.0
    try:
        for seed in SEEDS:
            begin(runtime, [0, 1], seed, hashes)
            rng = np.random.default_rng(seed)
            for _ in range(steps):
                action = rng.integers(0, [9, 64, 64, 64, 8])[None]
                started = time.perf_counter()
                ended = [once(runtime, 0, action, hashes[0])]
                spent += time.perf_counter() - started
                taken += 1
                time.sleep(waits.exponential(0.01))
                ended.append(once(runtime, 1, action, hashes[1]))
                if any(ended):
                    break
    finally:
        runtime.close()
    return [h.hexdigest() for h in hashes], taken / spent


def begin(runtime: Runtime, slots: list[int], seed: int, hashes: list[Any]) -> None:
    """Reset ``slots`` with one seed."""
    runtime.reset(slots, [seed] * len(slots))
    for _ in slots:
        batch = runtime.recv()
        for row, slot in enumerate(batch.slots):
            absorb(batch, row, hashes[slot])
        if len(batch) == len(slots):
            break


def once(runtime: Runtime, slot: int, action: np.ndarray, digest: Any) -> bool:
    """One step of one slot; whether its episode ended."""
    runtime.send([slot], action)
    batch = runtime.recv()
    absorb(batch, 0, digest)
    return bool(batch.ended[0])


def absorb(batch: Any, row: int, digest: Any) -> None:
    if batch.fault[row]:
        raise RuntimeError(batch.fault_text[row])
    digest.update(batch.obs["screen"][row].tobytes())
    digest.update(batch.obs["instruction"][row].encode())
    digest.update(f"{batch.reward[row]} {batch.terminated[row]} {batch.truncated[row]}".encode())


def idle(env_id: str) -> tuple[float, str]:
    """The raw reward and the reason of an episode in which nothing is done."""
    runtime = open_runtime(env_id, 1, EnvConfig(options={"step_ms": 1000}))
    try:
        begin(runtime, [0], SEEDS[0], [hashlib.sha256()])
        for _ in range(100):
            runtime.send([0], IDLE)
            batch = runtime.recv()
            if batch.fault[0]:
                raise RuntimeError(batch.fault_text[0])
            if batch.ended[0]:
                info = info_rows(batch.info, 1)[0]
                end = "truncated" if batch.truncated[0] else "terminated"
                return float(info["raw_reward"]), end
    finally:
        runtime.close()
    raise RuntimeError("the episode did not end within 100 s of page time")


def show(results: dict[str, Any]) -> None:
    table = Table("task", "deterministic", "steps/s", "idle: raw reward", "idle: end", "error")
    for env_id, row in results.items():
        cells = (
            row.get(key, "") for key in ("deterministic", "steps_per_s", "idle_raw", "idle_end", "error")
        )
        table.add_row(env_id, *(str(cell) for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
