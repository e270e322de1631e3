"""What the games' levels promise, checked on freshly laid out states in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from universe2.envs.arcade import cannon, forager, lander, merge, racer, snake, stealth, tower
from universe2.envs.arcade.game import DOWN, LEFT, RIGHT, UP

LEVELS = 40


def fresh(game: Any, levels: int = LEVELS) -> Iterator[Any]:
    """First states of levels 0, 1, 2, …, easy and hard."""
    for level in range(levels):
        for hard in (0, 1):
            state: Any = np.zeros(1, game.STATE).view(np.recarray)[0]
            state.hard = hard
            game.reset(state, level, level + 1000)
            yield state


def distances(start: int, neighbours: Any) -> dict[int, int]:
    """Steps from ``start`` to each cell that can be reached."""
    found, queue = {start: 0}, [start]
    for cell in queue:
        for there in neighbours(cell):
            if there not in found:
                found[there] = found[cell] + 1
                queue.append(there)
    return found


def test_snakes_floor_is_connected_and_has_no_dead_ends() -> None:
    for state in fresh(snake):
        walls = {cell for cell in range(snake.CELLS) if state.until[cell] == snake.WALL}

        def free(cell: int, walls: set[int] = walls) -> list[int]:
            return [t for t in (snake.beside(cell, way) for way in (UP, DOWN, LEFT, RIGHT)) if t not in walls]

        floor = distances(snake.segment(state, 0), free)
        assert len(floor) + len(walls) == snake.CELLS
        assert min(len(free(cell)) for cell in floor) >= 2
        assert len(floor) > 2 * (snake.START + state.goal * (1 + state.hard))
        assert all(int(apple) in floor for apple in state.apples[: state.out])


def test_every_floor_of_a_tower_can_be_set_perfectly() -> None:
    for state in fresh(tower):
        # Two decisions in a row are never further apart than the range that snaps.
        assert 0 < state.speed * tower.TICKS <= 2 * tower.SNAP
        assert 0 <= state.left[0] < state.right[0] <= tower.SIZE
        assert state.right[0] - state.left[0] == state.base_width > 8 * tower.PIXEL


def test_merging_starts_with_room_to_move() -> None:
    for state in fresh(merge):
        assert (state.cells == merge.STONE).sum() == state.hard
        assert (state.cells == 0).sum() >= 4
        assert state.cells.max() < state.goal - 3
        assert len(merge.PIPS) == state.goal + 2 - state.hard


def test_pads_lie_flat_apart_and_the_engine_lifts() -> None:
    for state in fresh(lander):
        assert state.gravity < lander.THRUST
        assert abs(state.wind) < lander.PUSH
        taken: set[int] = set()
        for start in state.pads[: state.count]:
            pad = set(range(start, start + state.wide))
            assert not pad & taken
            taken |= pad
            assert len(set(state.tops[start : start + state.wide + 1].tolist())) == 1
            assert start >= 0
            assert start + state.wide < lander.POINTS
            assert state.wide * lander.PITCH > 2 * lander.STANCE


def test_foragers_reach_every_kind_of_bush_before_they_starve() -> None:
    for state in fresh(forager):
        assert max(state.worth) == 4
        shut = {forager.WATER, forager.TREE}
        land = {cell for cell in range(forager.CELLS) if state.cells[cell] not in shut}

        def around(cell: int, land: set[int] = land) -> list[int]:
            return [t for t in (forager.beside(cell, way) for way in (UP, DOWN, LEFT, RIGHT)) if t in land]

        steps = distances(int(state.cell), around)
        assert set(steps) == land
        for kind in range(forager.KINDS):
            bushes = [cell for cell in land if state.cells[cell] == forager.BUSH + kind]
            assert len(bushes) == forager.CLUSTERS * forager.BUSHES
            assert min(steps[cell] for cell in bushes) < state.energy // 2
        # Even at one meal for each of the longest walks, the best bushes feed more than walking costs.
        assert 2 * state.regrow < forager.CLUSTERS * forager.BUSHES * 4 * forager.MEAL


def hit_alone(state: Any, wind: int, target: int) -> bool:
    """Does any setting of the cannon hit a target, as if it stood alone?"""
    angles = np.repeat(np.arange(cannon.ANGLES), cannon.POWERS)
    across = np.array([cannon.across(int(angle)) for angle in angles])
    upward = np.array([cannon.upward(int(angle)) for angle in angles])
    speeds = cannon.speed(np.tile(np.arange(cannon.POWERS), cannon.ANGLES))  # type: ignore[arg-type]
    x = (cannon.PITCH + across * cannon.BARREL // cannon.SIZE) * cannon.UNIT
    y = (int(state.tops[1]) - 160 - upward * cannon.BARREL // cannon.SIZE) * cannon.UNIT
    vx, vy = across * speeds // cannon.SIZE, -upward * speeds // cannon.SIZE
    places = np.arange(cannon.POINTS) * cannon.PITCH
    while len(x):
        vx, vy = vx + wind, vy + cannon.GRAVITY
        x, y = x + vx, y + vy
        px, py = x // cannon.UNIT, y // cannon.UNIT
        aside = np.maximum(abs(px - state.target_x[target]), abs(py - state.target_y[target]))
        if (aside < cannon.REACH).any():
            return True
        above = (py <= 0) | (py < np.interp(px, places, state.tops[: cannon.POINTS]) - 1)
        live = (px >= 0) & (px < cannon.SIZE) & above
        x, y, vx, vy = x[live], y[live], vx[live], vy[live]
    return False


def test_some_shot_hits_each_target_in_any_wind() -> None:
    for number, state in enumerate(fresh(cannon, 16)):
        strongest = cannon.BREEZE + state.hard
        for wind in (-strongest, 0, strongest):
            for target in range(state.left):
                assert hit_alone(state, wind, target), (number, wind, target)


def test_the_thief_can_come_to_the_exit_unseen() -> None:
    for state in fresh(stealth, 6):
        assert 1 <= state.guards <= 3 + 2 * state.hard
        assert not any(
            state.lit[clock * stealth.SIDE + cell // stealth.SIDE] >> (cell % stealth.SIDE) & 1
            for clock in range(stealth.PERIOD)
            for cell in (int(state.start), int(state.exit))
        )

        def moves(place: int, state: Any = state) -> list[int]:
            """A place is cell * PERIOD + the step of the period."""
            cell, clock = place // stealth.PERIOD, (place + 1) % stealth.PERIOD
            found = []
            for there in (cell, *(stealth.beside(cell, way) for way in (UP, DOWN, LEFT, RIGHT))):
                lit = (
                    int(state.lit[clock * stealth.SIDE + there // stealth.SIDE]) >> (there % stealth.SIDE) & 1
                )
                if not lit and not stealth.blocked(state, there):
                    found.append(there * stealth.PERIOD + clock)
            return found

        begin = int(state.start) * stealth.PERIOD + int(state.clock)
        cells = {place // stealth.PERIOD for place in distances(begin, moves)}
        assert int(state.exit) in cells
        assert {int(gem) for gem in state.gems} <= cells


def test_circuits_are_loops_that_can_be_driven_in_time() -> None:
    for state in fresh(racer):
        path = [int(cell) for cell in state.path[: state.count]]
        assert len(set(path)) == len(path) == (state.roads > 0).sum() >= 8
        for here, ahead in zip(path, path[1:] + path[:1], strict=True):
            assert ahead in [racer.beyond(here, way) for way in (1, 2, 4, 8) if state.roads[here] & way]
            assert int(state.roads[here]).bit_count() == 2
        # At the speed that the time asks for, the car turns more sharply than any bend does.
        ticks = state.limit * racer.TICKS / (racer.LAPS * state.count)
        speed = racer.CELL / (ticks - 1)
        assert speed * racer.UNIT < racer.FASTEST
        assert speed * 1024 / (2 * math.pi * racer.TURN) < racer.RADIUS
