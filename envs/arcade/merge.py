"""Merge: slide all tiles to one side; two equal ones that meet become one of the next rank.

A tile's rank is its number of pips. Levels differ in the first tiles, in how often a second-rank
tile comes, in palette, and on hard in where a stone lies that never moves; hard asks for rank
nine instead of eight. After each move that moves something a new tile appears in a random place.
A merge is worth +1 at rank four and double with each rank more, the tile asked for +10. A full
board on which nothing can move is lost. One step is one move.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, SIZE, gradient, hue, mix_colour, rect, round_rect
from universe2.envs.arcade.rng import below, between, chance, seeded

SIDE = 4
CELLS = SIDE * SIDE
CELL = SIZE // SIDE
STONE = -1
STUCK = -1
PIPS = (0, 16, 257, 273, 325, 341, 365, 381, 495, 511)
"""Like a die's faces: bit 3 * row + column for each pip, by rank."""

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("cells", np.int64, (CELLS,)),
        ("goal", np.int64),
        ("twos", np.int64),
        ("fresh", np.int64),
        ("sky", np.int64),
        ("ground", np.int64),
        ("paint", np.int64),
        ("spread", np.int64),
    ]
)


def add_tile(state: Any) -> None:
    """A tile of rank one, or now and then two, in some empty cell."""
    count = 0
    for cell in range(CELLS):
        if state.cells[cell] == 0:
            count += 1
            if below(state, count) == 0:
                state.fresh = cell
    if count > 0:
        state.cells[state.fresh] = 2 if chance(state, state.twos) else 1


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.goal = 8 + state.hard
    state.twos = between(state, 5, 25)
    if state.hard:
        state.cells[below(state, CELLS)] = STONE
    for _ in range(between(state, 4, 7)):
        add_tile(state)
        state.cells[state.fresh] += between(state, 0, 2)
    base = below(state, 1536)
    state.sky = hue(base, between(state, 90, 160), between(state, 90, 150))
    state.ground = hue(base + between(state, 80, 240), 150, between(state, 44, 72))
    state.paint, state.spread = below(state, 1536), between(state, 70, 150)
    if chance(state, 50):
        state.spread = -state.spread
    state.rng = seeded(seed)
    add_tile(state)


def place(way: int, line: int, step: int) -> int:
    """The cell ``step`` cells from the side that tiles slide to, in one line of the board."""
    if way == LEFT:
        return line * SIDE + step
    if way == RIGHT:
        return line * SIDE + SIDE - 1 - step
    if way == UP:
        return step * SIDE + line
    return (SIDE - 1 - step) * SIDE + line


def slide(cells: Any, way: int) -> int:
    """Slide the tiles of a board; what the merges are worth, or STUCK if nothing moves."""
    result = STUCK
    for line in range(SIDE):
        free, last = 0, 0
        for step in range(SIDE):
            cell = place(way, line, step)
            rank = cells[cell]
            if rank == STONE:
                free, last = step + 1, 0
            elif rank > 0:
                cells[cell] = 0
                if rank == last:
                    cells[place(way, line, free - 1)] = rank + 1
                    result, last = max(result, 0) + (1 << rank >> 3), 0
                else:
                    cells[place(way, line, free)] = rank
                    if free != step:
                        result = max(result, 0)
                    free, last = free + 1, rank
    return result


def can_move(state: Any) -> bool:
    """Is there an empty cell, or a pair of equal neighbours?"""
    for cell in range(CELLS):
        rank = state.cells[cell]
        right = rank > 0 and cell % SIDE < SIDE - 1 and state.cells[cell + 1] == rank
        under = rank > 0 and cell < CELLS - SIDE and state.cells[cell + SIDE] == rank
        if rank == 0 or right or under:
            return True
    return False


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = STUCK
    for bit in range(4):
        if keys & (1 << bit):
            reward = slide(state.cells, 1 << bit)
            break
    if reward == STUCK:
        return 0, RUNNING
    for cell in range(CELLS):
        if state.cells[cell] >= state.goal:
            return reward + 10, CLEARED
    add_tile(state)
    return reward, RUNNING if can_move(state) else LOST


def worth(cells: Any) -> int:
    """How good a board looks: room, big tiles along one side, neighbours of like ranks."""
    score = 0
    for cell in range(CELLS):
        rank = cells[cell]
        if rank == 0:
            score += 96
            continue
        if rank == STONE:
            continue
        row, column = cell // SIDE, cell % SIDE
        score += (1 << rank) * (3 - row) + (1 << rank) * (3 - column if row == 0 else 0) // 2
        for side in range(2):
            there = cell + (1 if side else SIDE)
            if (column < SIDE - 1 if side else row < SIDE - 1) and cells[there] > 0:
                gap = abs(rank - cells[there])
                score += 24 if gap == 0 else -gap * gap * 6
    return score


def best_reply(cells: Any, copy: Any) -> int:
    """The worth of the best board that one move makes of this one."""
    best = -100000
    for bit in range(4):
        for cell in range(CELLS):
            copy[cell] = cells[cell]
        merged = slide(copy, 1 << bit)
        if merged != STUCK:
            best = max(best, worth(copy) + 4 * merged)
    return best


def heuristic(state: Any) -> int:
    """The move after which the best reply, averaged over where the next tile may appear, is best."""
    cells, copy = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
    best, best_score = UP, -1000000
    for bit in range(4):
        for cell in range(CELLS):
            cells[cell] = state.cells[cell]
        merged = slide(cells, 1 << bit)
        if merged == STUCK:
            continue
        total, count = 0, 0
        for cell in range(CELLS):
            if cells[cell] == 0:
                cells[cell] = 1
                total += best_reply(cells, copy)
                cells[cell] = 0
                count += 1
            elif cells[cell] >= state.goal:
                return 1 << bit
        score = total // max(1, count) + 4 * merged
        if score > best_score:
            best, best_score = 1 << bit, score
    return int(best)


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.ground)
    fine = canvas.shape[0] >= 128
    slot = mix_colour(state.ground, 0x000000, 70)
    for cell in range(CELLS):
        rank = state.cells[cell]
        x, y = cell % SIDE * CELL + 64, cell // SIDE * CELL + 64
        if rank == 0:
            panel(canvas, x, y, 0, slot, fine)
        elif rank == STONE:
            panel(canvas, x, y, 2, 0x8C8F9C, fine)
        else:
            saturation, value = min(225, 70 + 24 * rank), min(255, 225 + 5 * rank)
            colour = hue(state.paint + rank * state.spread, saturation, value)
            panel(canvas, x, y, 3 if cell == state.fresh else 1, colour, fine)
            draw_pips(canvas, x, y, PIPS[rank], mix_colour(colour, 0x160C2C, 205), fine)


def panel(canvas: Any, x: int, y: int, kind: int, colour: int, fine: bool) -> None:
    """A cell's square: 0 a hole, 1 a tile, 2 a stone, 3 a tile that has just appeared."""
    side = CELL - 128
    for order in range(3 if kind > 0 else 1):
        # 0 the face, 1 the shadow at the foot, 2 the light above; large, the face overlaps both.
        layer = (order + 1) % 3 if fine and kind > 0 else order
        x0, y0, x1, y1, tone = x, y, x + side, y + side, colour
        if layer > 0:
            tone = mix_colour(colour, 0x100820 if layer == 1 else 0xFFFFFF, 110)
        if fine and kind > 0:
            y0, y1 = (y + 48, y1 - 64) if layer == 0 else (y, y1 - (64 if layer == 2 else 0))
        elif layer > 0:
            y0, y1 = (y1 - 64, y1) if layer == 1 else (y, y + 64)
        if kind == 3 and layer == 0:
            x0, x1 = x + 64, x1 - 64
        if fine:
            round_rect(canvas, x0, y0, x1, y1, 120, tone, OPAQUE)
        else:
            rect(canvas, x0, y0, x1, y1, tone, OPAQUE)


def draw_pips(canvas: Any, x: int, y: int, bits: int, colour: int, fine: bool) -> None:
    for pip in range(9):
        if (bits >> pip) & 1:
            px, py = x + 128 + pip % 3 * 256, y + 128 + pip // 3 * 256
            if fine:
                round_rect(canvas, px - 8, py - 8, px + 136, py + 136, 72, colour, OPAQUE)
            else:
                rect(canvas, px, py, px + 128, py + 128, colour, OPAQUE)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Slide the tiles with the arrows: equal ones merge; make one of eight pips, nine on hard.",
)
