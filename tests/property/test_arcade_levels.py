"""Every level can be won: held by its structure, and shown by the heuristics winning it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade import (
    DIFFICULTIES,
    climber,
    crates,
    crossing,
    digger,
    games,
    keys,
    maze,
    memory,
    runner,
)
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
    "Catcher": 1500,
    "Climber": 1000,
    "Crates": 300,
    "Crossing": 300,
    "Digger": 300,
    "Dodger": 1000,
    "Keys": 250,
    "Memory": 250,
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


def test_diggers_rocks_never_touch_and_leave_a_way_around() -> None:
    for state in states(SPECS["Digger"], 60):
        grid = state["grid"].reshape(digger.SIDE, digger.SIDE)
        rows, columns = np.nonzero(grid == digger.ROCK)
        assert 0 < columns.min() <= columns.max() < digger.SIDE - 1
        assert rows.max() < digger.SIDE - 1
        for row, column in zip(rows, columns, strict=True):
            around = grid[row - 1 : row + 2, column - 1 : column + 2]
            assert (around == digger.ROCK).sum() == 1
        assert (grid == digger.GEM).sum() == state["left"] == digger.GEMS
        assert (grid[0] == digger.EMPTY).all()


def test_crates_can_be_pushed_back_as_they_were_pulled() -> None:
    ways = {1: -crates.SIDE, 2: 1, 4: -1, 8: crates.SIDE}
    for state in states(SPECS["Crates"], 60):
        there, marks = set(np.flatnonzero(state["crate"])), set(np.flatnonzero(state["mark"]))
        assert len(there) == len(marks) == state["left"] == state["crates"]
        assert not there & marks
        for k in range(state["plan"] - 1, -1, -1):
            cell, way = int(state["plan_cell"][k]), ways[int(state["plan_way"][k])]
            assert cell in there
            assert not state["wall"][cell - way]
            assert not {cell - way, cell + way} & there
            there = there - {cell} | {cell + way}
        assert there == marks


def test_every_door_can_be_reached_with_its_key() -> None:
    for state in states(SPECS["Keys"], 60):
        grid = state["grid"].copy()
        carried, opened, seen_first = set(), 0, None
        while True:
            reached, queue = {int(state["cell"])}, [int(state["cell"])]
            while queue:
                cell = queue.pop()
                for there in (cell - 1, cell + 1, cell - keys.SIDE, cell + keys.SIDE):
                    locked = keys.DOOR <= grid[there] < keys.KEY
                    if grid[there] not in (keys.WALL, keys.PILLAR) and not locked and there not in reached:
                        reached.add(there)
                        queue.append(there)
            treasure = any(grid[cell] == keys.TREASURE for cell in reached)
            seen_first = treasure if seen_first is None else seen_first
            carried |= {int(grid[cell]) - keys.KEY for cell in reached if grid[cell] >= keys.KEY}
            doors = [cell for cell in range(keys.CELLS) if int(grid[cell]) - keys.DOOR in carried]
            if not doors:
                break
            grid[doors], opened = keys.FLOOR, opened + len(doors)
        assert treasure
        assert not seen_first, "the treasure lies open"
        assert opened == state["locks"] == 3 + 2 * state["hard"]


def test_the_way_to_remember_leads_from_bank_to_bank() -> None:
    for state in states(SPECS["Memory"], 60):
        way = state["way"][: state["length"]].tolist()
        assert way[0] // memory.SIDE == memory.SIDE - 2
        assert way[-1] // memory.SIDE == 1
        assert set(way) == set(np.flatnonzero(state["on_way"]))
        for here, there in itertools.pairwise(way):
            aside = abs(here % memory.SIDE - there % memory.SIDE)
            assert (here - there == memory.SIDE) != (
                aside == 1 and here // memory.SIDE == there // memory.SIDE
            )
            assert state["first"] <= there % memory.SIDE < state["first"] + state["width"]


def test_every_lane_lets_someone_pass() -> None:
    for state in states(SPECS["Crossing"], 60):
        kind, lanes = state["kind"], int(state["lanes"])
        assert kind[0] == kind[lanes - 1] == crossing.GRASS
        for lane in range(1, lanes - 1):
            if kind[lane] == crossing.GRASS:
                assert crossing.GRASS not in (kind[lane - 1], kind[lane + 1]) or lane + 1 == lanes - 1
                assert int(state["trees"][lane]).bit_count() <= crossing.COLUMNS - 2
                continue
            gap = state["period"][lane] - state["span"][lane]
            # On a road a gap for the walker with a step to spare; on a river logs long enough to stand on.
            assert gap > 2 * crossing.HALF + crossing.TICKS * abs(state["speed"][lane])
            assert state["span"][lane] > 400
            if kind[lane + 1] == kind[lane]:
                assert state["speed"][lane] * state["speed"][lane + 1] < 0


def test_towers_have_ladders_on_firm_ground_and_narrow_holes() -> None:
    for state in states(SPECS["Climber"], 60):
        for floor in range(int(state["floors"])):
            solid = f"{int(state['solid'][floor]):0{climber.COLUMNS}b}"
            assert "000" not in solid
            assert "010" not in solid
            assert solid[0] == solid[-1] == "1"
            if floor < state["floors"] - 1:
                ladder = int(state["ladder"][floor])
                for end in (floor, floor + 1):
                    assert int(state["solid"][end]) >> ladder & 1
