"""Every web task: the same to the bit? how fast? won by its solver? and by doing nothing, or anything?

    python benchmarks/web_tasks.py [--only click-*] [--check solver --check idle] [--episodes 50]
    python benchmarks/web_tasks.py --only mine/press-twice-v0    # anyone's page that a provider lists
    python benchmarks/web_tasks.py --check random --random-episodes 200 --only click-test --record

determinism: two slots (two browsers) get the same seeds and the same random actions; one of them has
played something else before and is made to wait at random between its steps. Frames, rewards,
flags and instructions must agree.
solver, idle, random: whole episodes, a few browsers at once, with the task's scripted solver, with
no input at all and with random actions. Where all tasks of this repository are examined, or with
--record, what was measured is merged into scores/web_tasks.json, and the mean returns into
envs/web/miniwob_reference.toml, which the registry reads. Exits with 1 if a task could not be examined.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from universe2.agents.evaluate import hardware
from universe2.core.batch import info_rows
from universe2.core.registry import find, list_envs
from universe2.core.runtime import Runtime
from universe2.core.screen import NVEC
from universe2.core.seeding import fold31
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.envs import web
from universe2.envs.web.page import WebPage
from universe2.envs.web.solvers import UNSOLVED, Look, Play, Solver
from universe2.runtimes import open_runtime

SCORES = Path(__file__).parent / "scores" / "web_tasks.json"
REFERENCE = Path(__file__).parents[1] / "envs" / "web" / "miniwob_reference.toml"
CHECKS = ("determinism", "solver", "idle", "random")
SEEDS = (11, 12)
ENOUGH = 0.95
"""a task counts as solved at this rate"""
TARGET = 169
TASKS = 178
"""tasks solved, and of how many: MiniWoB++ has 130, and there are four recorded airline sites and 44 tasks on
sites of our own"""
IDLE = np.zeros(len(NVEC), np.int64)


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only these: names of web tasks, or ids of any family; * stands for anything."),
    ] = None,
    check: Annotated[
        list[str] | None, typer.Option(help=f"Which of {', '.join(CHECKS)}; default: all.")
    ] = None,
    episodes: Annotated[int, typer.Option(help="Episodes of the solver.")] = 50,
    random_steps: Annotated[
        int, typer.Option(help="Random play: no new episode after so many steps; for a first look.")
    ] = 300,
    random_episodes: Annotated[
        int, typer.Option(help="Random play: exactly so many episodes, whatever --random-steps says.")
    ] = 0,
    steps: Annotated[int, typer.Option(help="Most steps per episode for determinism.")] = 25,
    browsers: Annotated[int, typer.Option(help="How many episodes are played at once.")] = 2,
    record: Annotated[
        bool, typer.Option("--record", help="Write the scores though not all tasks were chosen.")
    ] = False,
) -> None:
    """Measure, print the table, and merge it into the scores where they are to be written."""
    checks = check or list(CHECKS)
    if unknown := set(checks) - set(CHECKS):
        raise typer.BadParameter(f"no such check: {', '.join(unknown)}; there are {', '.join(CHECKS)}")
    ours = sorted(spec.id for spec in web.specs())
    chosen = matching(only) if only else ours
    others = sorted(set(chosen) - set(ours))
    if record and others:
        raise typer.BadParameter(f"--record is for the tasks of this repository, not for {', '.join(others)}")
    record = record or set(ours) <= set(chosen)
    amount = Amount(random_episodes, math.inf) if random_episodes else Amount(40, random_steps)
    rows = {}
    for env_id in chosen:
        rows[env_id] = row = examine(env_id, Plan(checks, episodes, amount, steps, browsers))
        Console(stderr=True).print(env_id, row)
        if record and env_id in ours:
            merge(env_id, row)
    show(rows)
    print(json.dumps(scores()["questions"] if record else rows))
    if any(row["error"] for row in rows.values()):
        raise typer.Exit(1)


def matching(patterns: Sequence[str]) -> list[str]:
    """The ids of pages that the patterns name. Raises BadParameter for a pattern that names none."""
    pages = [spec for spec in list_envs() if spec.runtime == "browser"]
    for pattern in patterns:
        if not any(named(spec, pattern) for spec in pages):
            raise typer.BadParameter(
                f"no web task is named {pattern!r}: give a name of the family web, such as click-test, or "
                "the id of a page that a provider lists, such as mine/press-twice-v0"
            )
    return [spec.id for spec in pages if any(named(spec, pattern) for pattern in patterns)]


def named(spec: EnvSpec, pattern: str) -> bool:
    """Whether a pattern is for the id, or for the name of a task of the family web."""
    return fnmatch.fnmatch(spec.id, pattern) or (spec.family == "web" and fnmatch.fnmatch(spec.name, pattern))


class Amount(NamedTuple):
    """Episodes, but none that would begin after so many steps."""

    episodes: int
    steps: float


class Plan(NamedTuple):
    checks: Sequence[str]
    episodes: int
    random: Amount
    steps: int
    browsers: int


def examine(env_id: str, plan: Plan) -> dict[str, Any]:
    """What was asked about one task; a failure is a row with its message."""
    row: dict[str, Any] = {"error": None}
    try:
        if "determinism" in plan.checks:
            hashes, speed = played_twice(env_id, plan.steps)
            row |= {"deterministic": hashes[0] == hashes[1], "steps_per_s": round(speed, 1)}
        if "solver" in plan.checks and scripted(env_id, 0) is not None:
            seeds = range(1, plan.episodes + 1)
            player = partial(scripted, env_id)
            ends = outcomes(env_id, player, seeds, {"elements": True}, plan.browsers)
            row |= summary("solver", ends)
            row["solver_failed"] = sorted(end.seed for end in ends if not end.success)[:10]
        if "idle" in plan.checks:
            row |= summary(
                "idle",
                outcomes(env_id, lambda _: doing_nothing, range(1, 5), {"step_ms": 5000}, plan.browsers),
            )
        if "random" in plan.checks:
            seeds = range(1, plan.random.episodes + 1)
            row |= summary("random", outcomes(env_id, anything, seeds, {}, plan.browsers, plan.random.steps))
    except Exception as error:  # noqa: BLE001 (reported in the table; the other tasks go on)
        row["error"] = f"{type(error).__name__}: {error}"[-400:]
    return row


def scripted(env_id: str, seed: int) -> Solver | None:
    """The scripted player of an episode."""
    spec = find(env_id)
    page: WebPage = load(spec.entry)(**spec.kwargs)
    return page.player(fold31(seed))


class Outcome(NamedTuple):
    seed: int
    raw: float
    success: bool
    steps: int


def outcomes(
    env_id: str,
    solver_of: Callable[[int], Solver | None],
    seeds: Sequence[int],
    options: dict[str, Any],
    browsers: int,
    most_steps: float = math.inf,
) -> list[Outcome]:
    """Whole episodes, in the order in which they ended, on a few browsers at once.

    No episode begins once ``most_steps`` were taken. Who runs out of moves, or doesn't find what he
    looks for, does nothing until the page ends it.
    """
    config = EnvConfig(autoreset="disabled", options=options)
    runtime = open_runtime(env_id, browsers, config)
    todo, ends = list(seeds), list[Outcome]()
    plays, seeds_of = dict[int, Play](), dict[int, int]()

    def begin_next(slot: int) -> None:
        seeds_of.pop(slot, None)
        if todo and sum(end.steps for end in ends) < most_steps:
            seeds_of[slot] = todo.pop(0)
            runtime.reset([slot], [seeds_of[slot]])

    try:
        for slot in range(browsers):
            begin_next(slot)
        while seeds_of:
            batch = runtime.recv()
            infos = info_rows(batch.info, len(batch))
            for row, slot in enumerate(int(s) for s in batch.slots):
                if batch.fault[row]:
                    raise RuntimeError(batch.fault_text[row])
                if batch.ended[row]:
                    info, steps = infos[row], int(batch.step[row])
                    ends.append(
                        Outcome(seeds_of[slot], float(info["raw_reward"]), bool(info["success"]), steps)
                    )
                    begin_next(slot)
                    continue
                elements = infos[row].get("elements", ())
                look = Look(batch.obs["instruction"][row], elements, batch.obs["screen"][row].copy())
                if batch.step[row] == 0:
                    plays[slot] = untiring(solver_of(seeds_of[slot]) or doing_nothing, look)
                    action = next(plays[slot])
                else:
                    action = plays[slot].send(look)
                runtime.send([slot], action[None])
    finally:
        runtime.close()
    return ends


def untiring(solver: Solver, look: Look) -> Play:
    """A solver's moves, then nothing for ever."""
    try:
        yield from solver(look)
    except LookupError as error:
        Console(stderr=True).print(f"gave up: {error}")
    yield from doing_nothing(look)


def doing_nothing(look: Look) -> Play:
    while True:
        yield IDLE


def anything(seed: int) -> Solver:
    """Random actions."""

    def act(look: Look) -> Play:
        rng = np.random.default_rng(seed)
        for _ in count():
            yield rng.integers(0, NVEC)

    return act


def summary(who: str, ends: Sequence[Outcome]) -> dict[str, Any]:
    return {
        f"{who}_rate": round(float(np.mean([end.success for end in ends])), 3),
        f"{who}_return": round(float(np.mean([end.raw for end in ends])), 3),
        f"{who}_steps": round(float(np.mean([end.steps for end in ends])), 1),
        f"{who}_episodes": len(ends),
    }


def played_twice(env_id: str, steps: int) -> tuple[list[str], float]:
    """Trajectory hashes of the two slots, and steps per second of the one that doesn't wait."""
    runtime = open_runtime(env_id, 2)
    chance = np.random.default_rng()  # unseeded on purpose: no two runs wait alike
    hashes = [hashlib.sha256(), hashlib.sha256()]
    taken, spent = 0, 0.0
    try:
        for seed in SEEDS:
            play_something(runtime, 1, chance)
            begin(runtime, [0, 1], seed, hashes)
            rng = np.random.default_rng(seed)
            for _ in range(steps):
                action = rng.integers(0, NVEC)[None]
                started = time.perf_counter()
                ended = [once(runtime, 0, action, hashes[0])]
                spent += time.perf_counter() - started
                taken += 1
                time.sleep(chance.exponential(0.01))
                ended.append(once(runtime, 1, action, hashes[1]))
                if any(ended):
                    break
    finally:
        runtime.close()
    return [h.hexdigest() for h in hashes], taken / spent


def play_something(runtime: Runtime, slot: int, chance: np.random.Generator) -> None:
    """A few random actions of another episode, which is not played to its end."""
    nowhere = [hashlib.sha256()] * runtime.num_slots
    begin(runtime, [slot], int(chance.integers(2**31)), nowhere)
    for _ in range(int(chance.integers(1, 9))):
        if once(runtime, slot, chance.integers(0, NVEC)[None], nowhere[slot]):
            break


def begin(runtime: Runtime, slots: list[int], seed: int, hashes: list[Any]) -> None:
    """Reset ``slots`` with one seed."""
    runtime.reset(slots, [seed] * len(slots))
    left = len(slots)
    while left:
        batch = runtime.recv()
        left -= len(batch)
        for row, slot in enumerate(batch.slots):
            absorb(batch, row, hashes[slot])


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


def scores() -> dict[str, Any]:
    """What is in the score file."""
    content: dict[str, Any] = json.loads(SCORES.read_text("utf-8")) if SCORES.exists() else {"results": {}}
    return content


def merge(env_id: str, row: dict[str, Any]) -> None:
    """Put a task's row into the score file, beside what was known of it, and into the reference file."""
    results = scores()["results"]
    old = {k: v for k, v in results.get(env_id, {}).items() if k not in ("idle_raw", "idle_end")}
    results[env_id] = {k: v for k, v in (old | row).items() if v is not None}
    results = dict(sorted(results.items()))
    same = sum(bool(row.get("deterministic")) for row in results.values())
    solved = sum(row.get("solver_rate", 0.0) >= ENOUGH for row in results.values())
    questions = [
        question(
            "Web tasks played alike to the bit, also delayed and after other episodes",
            same,
            len(results),
        ),
        question(f"Web tasks that their scripted solver wins in {ENOUGH:.0%} of 50 episodes", solved, TARGET),
    ]
    content = {
        "name": "web_tasks",
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": hardware(),
        "versions": {"miniwob": version("miniwob"), "python": platform.python_version()},
        "questions": questions,
        "unsolved": UNSOLVED,
        "results": results,
    }
    SCORES.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    REFERENCE.write_text(reference_table(results), encoding="utf-8")


def question(text: str, ours: int, target: int) -> dict[str, Any]:
    return {
        "question": text,
        "ours": ours,
        "peer": f"{target} to reach",
        "ratio": ours / target,
        "target": 1.0,
        "met": ours >= target,
    }


def reference_table(results: dict[str, Any]) -> str:
    lines = [
        "# Mean raw returns of random play, over so many episodes, and of the scripted solver, one task a",
        "# line. Written by benchmarks/web_tasks.py; tasks whose solver isn't better than random play are",
        "# left out.",
        "",
    ]
    for env_id, row in results.items():
        random, best = row.get("random_return"), row.get("solver_return")
        if random is not None and best is not None and best > random:
            name = env_id.removeprefix("web/").removesuffix("-v0")
            played = row["random_episodes"]
            lines.append(f"{name} = {{ random = {random}, heuristic = {best}, episodes = {played} }}")
    return "\n".join(lines) + "\n"


def show(results: dict[str, Any]) -> None:
    columns = (
        "deterministic",
        "steps_per_s",
        "solver_rate",
        "solver_steps",
        "idle_rate",
        "random_return",
        "error",
    )
    table = Table("task", *columns)
    for env_id, row in results.items():
        told = [row.get(column) for column in columns]
        table.add_row(env_id, *("" if value is None else str(value) for value in told))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
