"""Cycles: two to four riders leave walls behind; the last who has not hit anything wins.

Levels differ in the blocks on the grid (mirrored both ways) and in colours; hard ones have more
blocks. Who hits something is out and pays one point to each who rides on. Riders who meet in one cell, or
ride into each other, are both out. One step is one cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import DOWN, LEFT, RIGHT, RUNNING, UP
from universe2.envs.arcade.kit import OPAQUE, SIZE, disc, gradient, hue, mix_colour, rect
from universe2.envs.arcade.match import FIELDS, MOST, Match, leave, rival, shuffle_seats
from universe2.envs.arcade.rng import below, between, chance, seeded

SIDE = 32
CELLS = SIDE * SIDE
CELL = SIZE // SIDE
BLOCK = 64
"""In ``grid``: 0 free, a block, or 2 · player + 1 where a rider went across and + 2 where up or down."""

STATE = np.dtype(
    [
        *FIELDS,
        ("grid", np.int64, (CELLS,)),
        ("cell", np.int64, (MOST,)),
        ("way", np.int64, (MOST,)),
        ("clock", np.int64),
        ("colour", np.int64, (MOST,)),
        ("floor", np.int64),
        ("stone", np.int64),
    ]
)


def beyond(cell: int, way: int) -> int:
    """The neighbour of a cell, or -1 outside the grid."""
    x, y = cell % SIDE, cell // SIDE
    if way == UP:
        return cell - SIDE if y > 0 else -1
    if way == DOWN:
        return cell + SIDE if y < SIDE - 1 else -1
    if way == LEFT:
        return cell - 1 if x > 0 else -1
    return cell + 1 if x < SIDE - 1 else -1


def seated(seat: int, cell: int) -> int:
    """A cell of seat 0, as that seat has it."""
    x, y = cell % SIDE, cell // SIDE
    return (SIDE - 1 - y if seat & 2 else y) * SIDE + (SIDE - 1 - x if seat & 1 else x)


def opposite(way: int) -> int:
    return 9 - way if way in (UP, DOWN) else 6 - way


def lay_out(state: Any) -> None:
    """Blocks in one quarter, mirrored into the others; none where riders start."""
    for _ in range(below(state, 4) + 3 * state.hard):
        wide, high = between(state, 1, 3), between(state, 1, 3)
        left, top = between(state, 8, SIDE // 2 - wide), between(state, 2, SIDE // 2 - high)
        for x in range(left, left + wide):
            for y in range(top, top + high):
                for seat in range(4):
                    state.grid[seated(seat, y * SIDE + x)] = BLOCK


def mark(state: Any, p: int) -> None:
    """p's wall in the cell where it is."""
    state.grid[state.cell[p]] = 2 * p + (1 if state.way[p] in (LEFT, RIGHT) else 2)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    base = below(state, 1536)
    for i in range(MOST):
        state.colour[i] = hue(base + 384 * i + between(state, -60, 60), 190, 250)
    state.floor = hue(below(state, 1536), between(state, 100, 180), between(state, 26, 52))
    state.stone = mix_colour(state.floor, 0xFFFFFF, 120)
    state.rng = seeded(seed)
    if state.players > 2:
        shuffle_seats(state)
    start = between(state, 3, SIDE // 2 - 4) * SIDE + between(state, 2, 6)
    first = RIGHT if chance(state, 50) else DOWN
    for p in range(state.players):
        seat = state.seat[p]
        mirrored = (first == RIGHT and seat & 1) or (first == DOWN and seat & 2)
        state.cell[p] = seated(seat, start)
        state.way[p] = opposite(first) if mirrored else first
        mark(state, p)


def step(state: Any, keys: Any) -> int:
    state.clock += 1
    out = 0
    for p in range(state.players):
        if state.live[p]:
            wish = keys[p] & (UP | RIGHT | LEFT | DOWN)
            if wish in (UP, RIGHT, LEFT, DOWN) and wish != opposite(state.way[p]):
                state.way[p] = wish
            there = beyond(state.cell[p], state.way[p])
            if there < 0 or state.grid[there] != 0:
                out |= 1 << p
    for p in range(state.players):
        for q in range(p):
            if state.live[p] and state.live[q]:
                if beyond(state.cell[p], state.way[p]) == beyond(state.cell[q], state.way[q]):
                    out |= 1 << p | 1 << q
    for p in range(state.players):
        if state.live[p] and not out >> p & 1:
            state.cell[p] = beyond(state.cell[p], state.way[p])
            mark(state, p)
    return leave(state, out) if out else RUNNING


def room(state: Any, start: int, seen: Any, queue: Any, stamp: int) -> int:
    """How many free cells can be reached from a free one."""
    seen[start] = stamp
    queue[0] = start
    head, count = 0, 1
    while head < count:
        cell = queue[head]
        head += 1
        for bit in range(4):
            there = beyond(cell, 1 << bit)
            if there >= 0 and state.grid[there] == 0 and seen[there] != stamp:
                seen[there] = stamp
                queue[count] = there
                count += 1
    return count


def heuristic(state: Any, player: int) -> int:
    """Where most room is, clear of the others' next cells; straight on, with a turn now and then."""
    seen, queue = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
    best, best_score = state.way[player], -1
    mood = seeded(state.rng + 977 * player + 31 * state.clock) & 31
    for bit in range(4):
        way = 1 << bit
        there = beyond(state.cell[player], way)
        if there < 0 or state.grid[there] != 0:
            continue
        score = 16 * room(state, there, seen, queue, bit + 1)
        for q in range(state.players):
            if q != player and state.live[q]:
                x, y = state.cell[q] % SIDE - there % SIDE, state.cell[q] // SIDE - there // SIDE
                score -= 800 if abs(x) + abs(y) == 1 else 0
        score += 2 if way == state.way[player] else 4 * (mood == bit)
        if score > best_score:
            best, best_score = way, score
    return int(best)


def draw(state: Any, canvas: Any, player: int) -> None:
    gradient(canvas, state.floor, mix_colour(state.floor, 0x000000, 100))
    fine = canvas.shape[0] >= 128
    if fine:
        for line in range(2 * (SIDE // 2 - 1)):
            at, across = 2 * CELL * (line // 2 + 1), line & 1
            x0, y0 = (0, at - 4) if across else (at - 4, 0)
            rect(canvas, x0, y0, SIZE if across else at + 4, at + 4 if across else SIZE, 0xFFFFFF, 18)
    draw_runs(state, canvas, player, 0, fine)
    draw_runs(state, canvas, player, 1, fine)
    for p in range(state.players):
        x = state.cell[p] % SIDE * CELL + CELL // 2
        y = state.cell[p] // SIDE * CELL + CELL // 2
        if state.live[p]:
            colour = state.colour[rival(state, player, p)]
            disc(canvas, x, y, CELL + 30, colour, 120)
        disc(canvas, x, y, CELL * 3 // 4, 0xFFFFFF if state.live[p] else 0x302030, OPAQUE)


def draw_runs(state: Any, canvas: Any, player: int, upright: int, fine: bool) -> None:
    """Each straight run of like cells as one bar: across with the blocks, then up and down."""
    for line in range(SIDE):
        begin, last = 0, 0
        for place in range(SIDE + 1):
            what = 0
            if place < SIDE:
                what = state.grid[place * SIDE + line if upright else line * SIDE + place]
                hidden = upright if what == BLOCK else (what & 1) == upright
                what = 0 if hidden else what
            if what != last:
                if last != 0:
                    draw_bar(state, canvas, player, last, line, begin, place, upright, fine)
                begin, last = place, what


def draw_bar(
    state: Any, canvas: Any, player: int, what: int, line: int, begin: int, end: int, upright: int, fine: bool
) -> None:
    owner = (what - 1) // 2
    colour = state.stone
    if what != BLOCK:
        colour = state.colour[rival(state, player, owner)]
        if not state.live[owner]:
            colour = mix_colour(colour, state.floor, 150)
    for layer in range(2 if fine and what != BLOCK else 1):
        inset = 0 if layer == 0 else CELL // 3
        u0, u1 = begin * CELL + inset, end * CELL - inset
        v0, v1 = line * CELL + inset, (line + 1) * CELL - inset
        tone = mix_colour(colour, 0xFFFFFF, 150) if layer else colour
        x0, y0, x1, y1 = (v0, u0, v1, u1) if upright else (u0, v0, u1, v1)
        rect(canvas, x0, y0, x1, y1, tone, OPAQUE)


MATCH = Match(
    state=STATE,
    players=(2, 3, 4),
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Turn with the arrow keys and hit no wall, block or rider: the last one riding wins.",
)
