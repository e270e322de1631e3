"""Digger: dig up every gem, and don't stand under a falling rock.

Levels differ in where gems and rocks lie and in colours; hard ones have more rocks, and gems right
under them. A rock falls when nothing is left below it and rolls off other rocks; it can be pushed
aside into a tunnel. Every level can be cleared row by row: no two rocks touch, none lies at the
sides or on the bottom, so there is always a way around below, and a rock falls only once you have
left. +1 a gem, +10 for the last one; one life. One step is one cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, SIZE, block, disc, gradient, hue, mix_colour, rect, triangle
from universe2.envs.arcade.rng import below, between, chance, seeded

SIDE = 16
CELLS = SIDE * SIDE
CELL = SIZE // SIDE
EMPTY, EARTH, GEM, ROCK, FALLING, RESTING = 0, 1, 2, 3, 4, 5
"""ROCK lies where it always lay, in the earth; RESTING has fallen or been pushed."""
GEMS = 12
FAR = 999

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("grid", np.int64, (CELLS,)),
        ("cell", np.int64),
        ("way", np.int64),
        ("left", np.int64),
        ("clock", np.int64),
        ("sky", np.int64),
        ("earth", np.int64),
        ("deep", np.int64),
        ("tunnel", np.int64),
        ("stone", np.int64),
        ("gem", np.int64),
        ("suit", np.int64),
    ]
)


def alone(grid: Any, cell: int) -> bool:
    """Does no rock touch this cell, not even at a corner? The cell lies at no side."""
    rocks = 0
    for around in range(9):
        rocks += grid[cell + (around // 3 - 1) * SIDE + around % 3 - 1] == ROCK
    return bool(rocks == 0)


def bury(state: Any) -> None:
    """Rocks that don't touch one another, then gems in what is left."""
    for cell in range(SIDE, CELLS):
        state.grid[cell] = EARTH
    for _ in range(between(state, 40, 60) + 80 * state.hard):
        cell = between(state, 2, SIDE - 2) * SIDE + between(state, 1, SIDE - 2)
        if alone(state.grid, cell):
            state.grid[cell] = ROCK
    while state.left < GEMS:
        cell = between(state, 2, SIDE - 1) * SIDE + below(state, SIDE)
        covered = state.grid[cell - SIDE] == ROCK
        if state.grid[cell] == EARTH and (covered or not state.hard or chance(state, 10)):
            state.grid[cell] = GEM
            state.left += 1


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    bury(state)
    base = below(state, 1536)
    state.sky = hue(base + 700, 90, between(state, 170, 250))
    state.earth = hue(base, between(state, 90, 150), between(state, 130, 165))
    state.deep = hue(base + between(state, -120, 120), 150, between(state, 70, 95))
    state.tunnel = mix_colour(state.deep, 0x0A0810, 190)
    state.stone = hue(base + 768, between(state, 10, 50), between(state, 165, 210))
    state.gem = hue(base + between(state, 450, 1086), 170, 255)
    state.suit = hue(base + between(state, 500, 1000), 190, 235)
    state.rng = seeded(seed)
    state.cell = below(state, SIDE)
    state.way = RIGHT


def beyond(cell: int, way: int) -> int:
    """The neighbour of a cell, or -1 outside."""
    if way == UP:
        return cell - SIDE if cell >= SIDE else -1
    if way == DOWN:
        return cell + SIDE if cell < CELLS - SIDE else -1
    if way == LEFT:
        return cell - 1 if cell % SIDE > 0 else -1
    return cell + 1 if cell % SIDE < SIDE - 1 else -1


def go(grid: Any, cell: int, way: int) -> int:
    """Where one step leads, digging or pushing a rock aside; the player's cell is left empty."""
    there = beyond(cell, way)
    if there < 0:
        return cell
    if grid[there] >= ROCK:
        past = beyond(there, way)
        if way in (UP, DOWN) or past < 0 or grid[past] != EMPTY:
            return cell
        grid[past] = RESTING
    return there


def fall(grid: Any, player: int) -> bool:
    """Every loose rock falls by one cell, the lowest ones first. True if one hits the player."""
    for cell in range(CELLS - SIDE - 1, SIDE - 1, -1):
        if grid[cell] < ROCK:
            continue
        under = cell + SIDE
        if under == player:
            if grid[cell] == FALLING:
                return True
        elif grid[under] == EMPTY:
            grid[cell], grid[under] = EMPTY, FALLING
        else:
            aside = roll(grid, cell, player) if grid[under] >= ROCK else 0
            if aside != 0:
                grid[cell], grid[under + aside] = EMPTY, FALLING
            elif grid[cell] == FALLING:
                grid[cell] = RESTING
    return False


def roll(grid: Any, cell: int, player: int) -> int:
    """To which side a rock rolls off the rock below: -1, 1, or 0 for neither."""
    for aside in (-1, 1):
        column = cell % SIDE + aside
        beside = cell + aside
        if 0 <= column < SIDE and grid[beside] == EMPTY and grid[beside + SIDE] == EMPTY:
            if player != beside and player != beside + SIDE:
                return aside
    return 0


def step(state: Any, keys: int) -> tuple[int, int]:
    state.clock += 1
    reward = 0
    if keys:
        state.way = keys
        state.cell = go(state.grid, state.cell, keys)
        if state.grid[state.cell] == GEM:
            reward = 1
            state.left -= 1
        state.grid[state.cell] = EMPTY
        if state.left == 0:
            return 11, CLEARED
    if fall(state.grid, state.cell):
        return reward, LOST
    return reward, RUNNING


def distances(grid: Any, start: int, times: Any, queue: Any) -> None:
    """``times``: how many steps from ``start`` to each cell, around the rocks; FAR if there is no way."""
    for cell in range(CELLS):
        times[cell] = FAR
    times[start] = 0
    queue[0] = start
    head, count = 0, 1
    while head < count:
        cell = queue[head]
        head += 1
        for bit in range(4):
            there = beyond(cell, 1 << bit)
            if there >= 0 and grid[there] < ROCK and times[there] == FAR:
                times[there] = times[cell] + 1
                queue[count] = there
                count += 1


def survives(grid: Any, cell: int, trial: Any, times: Any, queue: Any) -> int:
    """After the rocks have fallen once: how far the next gem is, FAR if there is no way, -1 if crushed."""
    if fall(trial, cell):
        return -1
    for cut in range(CELLS):
        grid[cut] = trial[cut]
    # Some next step must not be crushed either.
    ways = 0
    for choice in range(5):
        way = 1 << choice if choice < 4 else 0
        there = go(trial, cell, way) if way else cell
        trial[there] = EMPTY
        ways += not fall(trial, there)
        for cut in range(CELLS):
            trial[cut] = grid[cut]
    if ways == 0:
        return -1
    distances(grid, cell, times, queue)
    nearest, room = FAR, 0
    for place in range(CELLS):
        room += times[place] < FAR
        if grid[place] == GEM:
            nearest = min(nearest, times[place])
    return int(nearest) if nearest < FAR else 2 * FAR - room


def heuristic(state: Any) -> int:
    """To the nearest gem, trying every step out first: none that is crushed at once or one later."""
    grid, trial = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
    times, queue = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
    best, best_score = 0, 1 << 30
    for choice in range(5):
        way = 1 << choice if choice < 4 else 0
        for cell in range(CELLS):
            trial[cell] = state.grid[cell]
        there = go(trial, state.cell, way) if way else int(state.cell)
        found = trial[there] == GEM
        trial[there] = EMPTY
        score = survives(grid, there, trial, times, queue)
        if score < 0:
            continue
        score = 2 * score + (0 if way else 1)
        if found:
            score = -1
        if score < best_score:
            best, best_score = way, score
    return best


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.earth, state.deep)
    fine = canvas.shape[0] >= 128
    block(canvas, 0, 0, SIZE, CELL, state.sky)
    block(canvas, 0, CELL, SIZE, CELL + 64, 0x6FC24A)
    if fine:
        draw_soil(state, canvas)
    draw_tunnels(state, canvas, fine)
    for cell in range(SIDE, CELLS):
        kind = state.grid[cell]
        x, y = cell % SIDE * CELL, cell // SIDE * CELL
        if kind >= ROCK:
            draw_rock(canvas, x, y, state.stone, cell if kind == ROCK else 0, fine)
        elif kind == GEM:
            draw_gem(canvas, x, y, state.gem, state.clock + cell * 5, fine)
    draw_player(state, canvas, state.cell % SIDE * CELL, state.cell // SIDE * CELL, fine)


def draw_soil(state: Any, canvas: Any) -> None:
    """Pebbles: two in a cell, light and dark."""
    for cell in range(SIDE, CELLS):
        if state.grid[cell] == EARTH:
            for k in range(2):
                spot = (cell * 7919 + k * 4241 + state.earth) % 997
                x, y = cell % SIDE * CELL + spot % 200, cell // SIDE * CELL + spot * 7 % 210
                rect(canvas, x, y, x + 48, y + 32, 0xFFFFFF if k else 0x000000, 40)


def draw_tunnels(state: Any, canvas: Any, fine: bool) -> None:
    """Each run of dug cells in a row as one bar."""
    for row in range(1, SIDE):
        begin = -1
        y = row * CELL
        for column in range(SIDE + 1):
            kind = state.grid[row * SIDE + column] if column < SIDE else EARTH
            dug = kind == EMPTY or kind > ROCK
            if dug and begin < 0:
                begin = column
            elif not dug and begin >= 0:
                block(canvas, begin * CELL, y, column * CELL, y + CELL, state.tunnel)
                begin = -1
            if fine and dug and state.grid[(row - 1) * SIDE + column] in (EARTH, GEM, ROCK) and row > 1:
                rect(canvas, column * CELL, y, column * CELL + CELL, y + 40, 0x000000, 110)


def draw_rock(canvas: Any, x: int, y: int, stone: int, turn: int, fine: bool) -> None:
    dark = mix_colour(stone, 0x000000, 110)
    if not fine:
        block(canvas, x, y, x + CELL, y + CELL, dark)
        block(canvas, x, y, x + 192, y + 192, stone)
        return
    shift = turn % 3 * 8
    disc(canvas, x + 128, y + 136, 122, dark, OPAQUE)
    disc(canvas, x + 120 - shift // 2, y + 120, 104, stone, OPAQUE)
    disc(canvas, x + 92 + shift, y + 88, 44, 0xFFFFFF, 70)
    disc(canvas, x + 150 - shift, y + 150, 20, dark, 150)


def draw_gem(canvas: Any, x: int, y: int, colour: int, twinkle: int, fine: bool) -> None:
    if not fine:
        block(canvas, x + 64, y, x + 192, y + CELL, colour)
        block(canvas, x, y + 64, x + CELL, y + 128, colour)
        if twinkle // 2 % 8 < 5:
            block(canvas, x + 64, y + 64, x + 128, y + 128, 0xFFFFFF)
        return
    cx = x + 128
    for facet in range(4):
        side = 96 if facet & 1 else -96
        tip = y + 224 if facet & 2 else y + 40
        tone = mix_colour(colour, 0x000000 if facet & 2 else 0xFFFFFF, 40 + 60 * (facet in (0, 3)))
        triangle(canvas, cx, tip, cx + side, y + 108, cx, y + 108, tone, OPAQUE)
    disc(canvas, cx - 30, y + 84, 10 + abs(twinkle % 16 - 8), 0xFFFFFF, 220)


def draw_player(state: Any, canvas: Any, x: int, y: int, fine: bool) -> None:
    """A miner: helmet, face and suit; the lamp looks where it goes."""
    look = 1 if state.way == RIGHT else -1 if state.way == LEFT else 0
    block(canvas, x + 32, y + 128, x + 224, y + 256, state.suit)
    block(canvas, x + 64, y + 64, x + 192, y + 144, 0xFFD9B0)
    block(canvas, x + 32, y, x + 224, y + 80, 0xFFC928)
    if fine:
        disc(canvas, x + 128 + 60 * look, y + 44, 30, 0xFFFFFF, OPAQUE)
        for leg in range(2):
            block(canvas, x + 48 + 96 * leg, y + 216, x + 112 + 96 * leg, y + 256, 0x2B2F45)
        block(canvas, x + 112 + 28 * look, y + 96, x + 136 + 28 * look, y + 124, 0x2B2F45)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Dig up all gems with the arrow keys; don't stay under a rock once it falls.",
)
