"""Every level can be won: held by its structure, and shown by the heuristics winning it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade import DIFFICULTIES, games, maze, runner
from universe2.runtimes.compiled import CompiledRuntime

SPECS = {spec.name: spec for spec in games()}


def states(spec: EnvSpec, levels: int) -> np.ndarray:
    """The first states of levels 0, 1, 2, …, easy and hard by turns."""
    found = []
    for level in range(levels):
        difficulty = DIFFICULTIES[level % 2]
        options = {"start_level": level, "num_levels": 1, "size": 8, "difficulty": difficulty}
        runtime = CompiledRuntime(spec, 1, EnvConfig(options=options))
        runtime.reset([0], [level])
        runtime.recv()
        found.append(runtime._states_N.copy())
    return np.concatenate(found)


def won(spec: EnvSpec, levels: np.ndarray, seed: int, **options: Any) -> np.ndarray:
    """bool: which levels the heuristic wins with one seed."""
    result = np.zeros(len(levels), bool)
    for i, level in enumerate(levels):
        chosen = {"start_level": int(level), "num_levels": 1, "size": 8, **options}
        runtime = CompiledRuntime(spec, 1, EnvConfig(autoreset="disabled", options=chosen))
        runtime.reset([0], [seed])
        batch = runtime.recv()
        while not batch.ended[0]:
            runtime.send([0], runtime.heuristic([0]))
            batch = runtime.recv()
        result[i] = batch.info["outcome"].values[0] == "cleared"
    return result


WINNERS = {
    "Breakout": 6000,
    "Cannon": 500,
    "Forager": 500,
    "Invaders": 1000,
    "Lander": 500,
    "Maze": 2000,
    "Merge": 500,
    "Racer": 600,
    "Runner": 500,
    "Snake": 500,
    "Stealth": 300,
    "Tower": 600,
}
"""The steps that a game's heuristic is given to win a level."""


@pytest.mark.parametrize(("name", "max_steps"), WINNERS.items())
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_every_level_is_won_by_someone(name: str, max_steps: int, difficulty: str) -> None:
    levels = np.arange(12)
    for seed in range(24):
        levels = levels[~won(SPECS[name], levels, seed, max_steps=max_steps, difficulty=difficulty)]
        if not len(levels):
            return
    pytest.fail(f"{name}: levels {levels.tolist()} were never won")


def test_mazes_are_connected_and_have_no_dead_ends() -> None:
    for state in states(SPECS["Maze"], 60):
        reached, queue = {0}, [0]
        while queue:
            cell = queue.pop()
            for way in (1, 2, 4, 8):
                if state["open"][cell] & way:
                    there = maze.beyond(cell, way)
                    assert state["open"][there] & maze.opposite(way)
                    if there not in reached:
                        reached.add(there)
                        queue.append(there)
        assert len(reached) == maze.CELLS
        assert all(int(ways).bit_count() >= 2 for ways in state["open"])
        assert (state["pellets"] > 0).sum() == state["left"] == maze.CELLS - 1


def test_walls_and_fleets_count_what_is_there() -> None:
    for state in states(SPECS["Breakout"], 60):
        assert (state["bricks"] > 0).sum() == state["left"] >= 8
    for state in states(SPECS["Invaders"], 60):
        assert state["alive"].sum() == state["left"] >= 12


def test_courses_keep_gaps_and_steps_within_a_jump() -> None:
    for state in states(SPECS["Runner"], 60):
        tops = state["tops"][: runner.GOAL + 1].tolist()
        assert tops[runner.GOAL] < runner.SIZE
        ground, gap = tops[0], 0
        for column, top in enumerate(tops):
            if top > runner.SIZE:
                gap += 1
                continue
            assert gap <= 4
            assert ground - top <= 2 * runner.TILE, f"a step up of {ground - top} at column {column}"
            assert top > 0
            ground, gap = top, 0
