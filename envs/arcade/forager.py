"""Forager: find out which berries are good, remember where they grow, and don't starve.

What each of the four kinds of berries is worth is drawn anew for every episode and shown nowhere:
it must be tasted. Only the surroundings are in sight; bushes that were picked bear again after a
while. Levels differ in the island, in where the bushes stand and in colours; on hard two kinds are
bad, bushes bear more seldom and hunger comes sooner. Every cell can be reached, and the bushes of
the best kind alone feed for ever: so every level can be won. The reward is what the berries are
worth, -2 to 4, and +10 once the basket is full. One step is one cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, SIZE, disc, gradient, hue, mix_colour, rect, round_rect
from universe2.envs.arcade.rng import below, between, seeded

SIDE = 20
CELLS = SIDE * SIDE
CELL = 512
VIEW = SIZE // CELL
KINDS, CLUSTERS, BUSHES = 4, 2, 4
GRASS, WATER, TREE, BUSH = 0, 1, 2, 3
WORTHS = (4, 2, 0, -1, 4, 1, -1, -2)
"""Of the four kinds on easy, then on hard."""
MEAL = 8
FULL = 120
BASKET = 60

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("cells", np.int64, (CELLS,)),
        ("ripe", np.int64, (CELLS,)),
        ("worth", np.int64, (KINDS,)),
        ("berries", np.int64, (KINDS,)),
        ("cell", np.int64),
        ("way", np.int64),
        ("clock", np.int64),
        ("energy", np.int64),
        ("basket", np.int64),
        ("regrow", np.int64),
        ("near", np.int64),
        ("far", np.int64),
        ("sea", np.int64),
        ("leaf", np.int64),
        ("crown", np.int64),
        ("coat", np.int64),
    ]
)
# cells: GRASS, WATER, TREE, or BUSH + its kind of berries; ripe: the clock from which a bush bears.


def beside(cell: int, way: int) -> int:
    """The neighbour of a cell inside the island's rim of water."""
    if way == UP:
        return cell - SIDE
    if way == DOWN:
        return cell + SIDE
    return cell - 1 if way == LEFT else cell + 1


def clear_around(state: Any, cell: int) -> bool:
    """Is there only grass, or bushes, in the eight cells around?"""
    for place in range(9):
        if state.cells[cell + (place // 3 - 1) * SIDE + place % 3 - 1] in (WATER, TREE):
            return False
    return True


def lay_out(state: Any) -> None:
    """An island; each kind of berries in two clusters of bushes; trees that nowhere close a way."""
    for cell in range(CELLS):
        x, y = cell % SIDE, cell // SIDE
        if min(x, y) == 0 or max(x, y) == SIDE - 1:
            state.cells[cell] = WATER
    for cluster in range(KINDS * CLUSTERS):
        cx, cy = between(state, 3, SIDE - 4), between(state, 3, SIDE - 4)
        for bush in range(BUSHES):
            tries, cell = 0, 0
            while state.cells[cell] != GRASS:
                reach = 2 + tries // 8
                x = max(1, min(SIDE - 2, cx + between(state, -reach, reach)))
                y = max(1, min(SIDE - 2, cy + between(state, -reach, reach)))
                cell, tries = y * SIDE + x, tries + 1
            state.cells[cell] = BUSH + cluster % KINDS
            state.ripe[cell] = 0 if bush < 3 else between(state, 10, 60)
    for _ in range(70):
        cell = between(state, 1, SIDE - 2) * SIDE + between(state, 1, SIDE - 2)
        if state.cells[cell] == GRASS and clear_around(state, cell):
            state.cells[cell] = TREE


def paint(state: Any) -> None:
    base = between(state, 250, 620)
    state.near = hue(base, between(state, 90, 150), between(state, 120, 180))
    state.far = hue(base + between(state, -120, 120), between(state, 90, 150), between(state, 120, 180))
    state.sea = hue(base + between(state, 420, 620), between(state, 130, 190), between(state, 130, 210))
    state.leaf = hue(base + between(state, -80, 160), 190, between(state, 70, 100))
    state.crown = hue(base + between(state, 60, 260), 170, between(state, 60, 110))
    first = below(state, 1536)
    for kind in range(KINDS):
        state.berries[kind] = hue(first + 384 * kind, 205, 255)
    state.coat = hue(between(state, 60, 200), between(state, 100, 210), 255)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    paint(state)
    state.regrow = between(state, 40, 55) + 20 * state.hard
    state.energy = FULL - 20 - 20 * state.hard
    state.rng = seeded(seed)
    while state.cells[state.cell] != GRASS:
        state.cell = between(state, 6, SIDE - 7) * SIDE + between(state, 6, SIDE - 7)
    # What the kinds are worth, shuffled.
    for kind in range(KINDS):
        state.worth[kind] = WORTHS[KINDS * state.hard + kind]
    for kind in range(KINDS - 1, 0, -1):
        other = below(state, kind + 1)
        kept = state.worth[kind]
        state.worth[kind] = state.worth[other]
        state.worth[other] = kept


def step(state: Any, keys: int) -> tuple[int, int]:
    state.clock += 1
    state.energy -= 1
    for bit in range(4):
        if keys & (1 << bit):
            state.way = 1 << bit
            there = beside(state.cell, 1 << bit)
            if state.cells[there] not in (WATER, TREE):
                state.cell = there
            break
    reward = 0
    kind = state.cells[state.cell] - BUSH
    if kind >= 0 and state.ripe[state.cell] <= state.clock:
        reward = state.worth[kind]
        state.ripe[state.cell] = state.clock + state.regrow
        state.energy = min(FULL, state.energy + MEAL * reward)
        state.basket = max(0, state.basket + reward)
    if state.basket >= BASKET:
        return reward + 10, CLEARED
    return reward, LOST if state.energy <= 0 else RUNNING


def heuristic(state: Any) -> int:
    """To the bush that gives most for its distance, around all bad ones."""
    times, first = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
    queue = np.zeros(CELLS, np.int64)
    times[state.cell], queue[0] = 1, state.cell
    head, count = 0, 1
    best, best_score = 0, 0
    while head < count:
        cell = queue[head]
        head += 1
        kind = state.cells[cell] - BUSH
        if kind >= 0 and state.ripe[cell] <= state.clock + times[cell] and first[cell] > 0:
            score = 1000 * state.worth[kind] // (times[cell] + 1)
            if score > best_score:
                best, best_score = first[cell], score
        for bit in range(4):
            there = beside(cell, 1 << bit)
            what = state.cells[there]
            bad = what >= BUSH and state.worth[what - BUSH] < 0
            ripe = state.ripe[there] <= state.clock + times[cell]
            if times[there] == 0 and what not in (WATER, TREE) and not (bad and ripe):
                times[there] = times[cell] + 1
                first[there] = 1 << bit if cell == state.cell else first[cell]
                queue[count] = there
                count += 1
    return int(best)


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.far, state.near)
    fine = canvas.shape[0] >= 128
    px, py = state.cell % SIDE, state.cell // SIDE
    for place in range(VIEW * VIEW):
        x, y = px + place % VIEW - VIEW // 2, py + place // VIEW - VIEW // 2
        inside = 0 <= x < SIDE and 0 <= y < SIDE
        what = state.cells[y * SIDE + x] if inside else WATER
        ripe = inside and state.ripe[y * SIDE + x] <= state.clock
        draw_cell(state, canvas, place, what, ripe, (x * 7 + y * 13) % 11, fine)
    draw_forager(state, canvas, fine)
    for part in range(4):
        share = state.energy * 3968 // FULL if part < 2 else state.basket * 3968 // BASKET
        top = 0 if part < 2 else SIZE - 192
        if part % 2 == 0:
            rect(canvas, 0, top, SIZE, top + 192, 0x101820, OPAQUE)
        else:
            low = state.energy < FULL // 4
            tone = 0xFFD84A if part == 3 else 0xFF4A4A if low else 0x6BE05A
            rect(canvas, 64, top + 64, 64 + max(0, share), top + 128, tone, OPAQUE)


def draw_cell(state: Any, canvas: Any, place: int, what: int, ripe: bool, speck: int, fine: bool) -> None:
    """One cell in sight: what stands there as a few bars, softer in a large picture."""
    x, y = place % VIEW * CELL, place // VIEW * CELL
    parts = 3 if what == TREE else 2 if fine or what >= BUSH else 1
    if what >= BUSH and ripe:
        parts = 6
    elif what == WATER and speck > 3:
        parts = 1
    for part in range(parts):
        x0, y0, x1, y1, tone, radius = x + 64, y + 64, x + 448, y + 448, state.leaf, 150
        if what == WATER:
            x0, y0, x1, y1, radius = x, y, x + CELL, y + CELL, 0
            tone = state.sea
            if part == 1:
                x0, x1, radius = x + 64 * speck, x + 64 * speck + 192, 32
                y0 = y + 128 + 64 * speck
                y1, tone = y0 + 64, mix_colour(state.sea, 0xFFFFFF, 50)
        elif what == GRASS:
            if speck > 3 + part:
                break
            x0, y0 = x + 64 * (1 + speck % 5 + part), y + 64 * (2 + speck * 3 % 4)
            x1, y1, radius = x0 + 64, y0 + 64 + 64 * part, 20
            tone = mix_colour(state.near, 0xFFFFFF if speck == 3 else 0x102010, 60)
        elif what == TREE:
            tone = mix_colour(state.crown, 0xFFFFFF, 60) if part == 2 else state.crown
            if part == 0:
                x0, x1, y1, radius, tone = x + 192, x + 320, y + 512, 0, 0x5A4030
            elif part == 1:
                x0, y0, x1, y1, radius = x, y - 64, x + CELL, y + 384, 200
            else:
                x0, y0, x1, y1, radius = x + 64, y, x + 256, y + 192, 96
        elif part == 0:
            x0, x1, y0, tone = x, x + CELL, y + 128, mix_colour(state.leaf, 0x000000, 90)
        elif part == 1:
            tone = mix_colour(state.leaf, 0xFFFFFF, 30 if ripe else 0)
            y1 -= 64
        else:
            dot = part - 2
            x0, y0 = x + 64 + 64 * (dot % 2 * 3 + dot // 2), y + 128 + 64 * (dot // 2 * 2 + dot % 2)
            x1, y1, radius, tone = x0 + 128, y0 + 128, 64, state.berries[what - BUSH]
        if fine:
            round_rect(canvas, x0, y0, x1, y1, radius, tone, OPAQUE)
        else:
            rect(canvas, x0, y0, x1, y1, tone, OPAQUE)


def draw_forager(state: Any, canvas: Any, fine: bool) -> None:
    """Near the middle, looking where it went."""
    x, y = SIZE // 2 + CELL // 2, SIZE // 2 + CELL // 2
    dx = 64 if state.way == RIGHT else -64 if state.way == LEFT else 0
    up = state.way == UP
    dark = mix_colour(state.coat, 0x201010, 150)
    if fine:
        disc(canvas, x, y + 150, 190, 0x000000, 60)
    for part in range(6):
        x0, y0, x1, y1, tone = x - 160, y - 96, x + 160, y + 192, state.coat
        if part == 0:
            x0, y0, x1, y1, tone = x - 192, y - 128, x + 192, y + 224, dark
        elif part == 2:
            if up:
                continue
            x0, y0, x1, tone = x - 96 + dx, y + 64, x + 96 + dx, 0xFFF4E0
        elif part == 3 or part == 4:
            side = 96 if part == 3 else -96
            x0, y0, x1, y1 = x + side - 64, y - 192, x + side + 64, y - 96
        elif part == 5:
            if up:
                continue
            x0, y0, x1, y1, tone = x - 96 + dx, y - 32, x - 32 + dx, y + 32, 0x14102A
        if fine:
            round_rect(canvas, x0, y0, x1, y1, 130 if part < 2 else 60, tone, OPAQUE)
        else:
            rect(canvas, x0, y0, x1, y1, tone, OPAQUE)
    if not up:
        rect(canvas, x + 32 + dx, y - 32, x + 96 + dx, y + 32, 0x14102A, OPAQUE)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Fill your basket before you starve: taste which berries are good and come back to them.",
)
