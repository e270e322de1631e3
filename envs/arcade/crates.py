"""Crates: push every crate onto a mark.

Levels differ in the room, the marks, how the crates have been moved away from them, and in colours;
hard ones have more crates and longer ways. A level is made by playing backwards, crates on the marks
being pulled away from them, so every level can be won; the pulls are kept as the plan that the
heuristic follows. +1 for a crate on a mark, -1 when it leaves it, +10 for the last one. Crates can't
be pulled, so one can be stuck: Space puts everything back. One step is one cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, FIRE, LEFT, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import SIZE, block, disc, hue, mix_colour, rect, round_rect, triangle
from universe2.envs.arcade.rng import below, between, chance, seeded

SIDE = 8
CELLS = SIDE * SIDE
CELL = SIZE // SIDE
MAX_PULLS = 48

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("wall", np.int64, (CELLS,)),
        ("mark", np.int64, (CELLS,)),
        ("crate", np.int64, (CELLS,)),
        ("first", np.int64, (CELLS,)),
        ("reach", np.int64, (CELLS,)),
        ("queue", np.int64, (CELLS,)),
        ("plan_cell", np.int64, (MAX_PULLS,)),
        ("plan_way", np.int64, (MAX_PULLS,)),
        ("plan", np.int64),
        ("done", np.int64),
        ("crates", np.int64),
        ("left", np.int64),
        ("cell", np.int64),
        ("home", np.int64),
        ("way", np.int64),
        ("floor", np.int64),
        ("brick", np.int64),
        ("wood", np.int64),
        ("glow", np.int64),
        ("coat", np.int64),
    ]
)


def ahead(cell: int, way: int) -> int:
    """The next cell; the walls around keep it on the board."""
    return cell + (1 if way == RIGHT else -1 if way == LEFT else SIDE if way == DOWN else -SIDE)


def opposite(way: int) -> int:
    return 9 - way if way in (UP, DOWN) else 6 - way


def is_free(state: Any, cell: int) -> bool:
    return not state.wall[cell] and not state.crate[cell]


def flood(state: Any, start: int, reach: Any, queue: Any) -> int:
    """``reach``: 1 + steps from ``start`` to each cell without pushing, 0 if there is no way; how many."""
    for cell in range(CELLS):
        reach[cell] = 0
    reach[start] = 1
    queue[0] = start
    head, count = 0, 1
    while head < count:
        cell = queue[head]
        head += 1
        for bit in range(4):
            there = ahead(cell, 1 << bit)
            if reach[there] == 0 and is_free(state, there):
                reach[there] = reach[cell] + 1
                queue[count] = there
                count += 1
    return count


def free_cell(state: Any) -> int:
    """A random cell with neither wall nor crate."""
    while True:
        cell = below(state, CELLS)
        if is_free(state, cell):
            return cell


def build(state: Any) -> None:
    """The room: one piece of floor, with some walls in it."""
    for cell in range(CELLS):
        x, y = cell % SIDE, cell // SIDE
        state.wall[cell] = 1 if x in (0, SIDE - 1) or y in (0, SIDE - 1) else 0
        state.mark[cell], state.crate[cell] = 0, 0
    floor = (SIDE - 2) * (SIDE - 2)
    for _ in range(between(state, 4, 9)):
        cell = free_cell(state)
        state.wall[cell] = 1
        if flood(state, free_cell(state), state.reach, state.queue) < floor - 1:
            state.wall[cell] = 0
        else:
            floor -= 1


def pull(state: Any, before: int) -> int:
    """Pull a crate that the player can get at by one cell, not ``before`` and not back; which, or -1.

    The push that undoes it goes to the end of the plan.
    """
    flood(state, state.cell, state.reach, state.queue)
    count, crate, way = 0, -1, 0
    for cell in range(CELLS):
        for bit in range(4 if state.crate[cell] else 0):
            hand = ahead(cell, 1 << bit)
            room = is_free(state, hand) and state.reach[hand] > 0 and is_free(state, ahead(hand, 1 << bit))
            undone = state.plan > 0 and cell == before and state.plan_way[state.plan - 1] == 1 << bit
            if room and not undone:
                # The crate in hand is twice as likely to go on.
                for _ in range(2 if cell == before else 1):
                    count += 1
                    if below(state, count) == 0:
                        crate, way = cell, 1 << bit
    if crate < 0:
        return -1
    there = ahead(crate, way)
    state.crate[crate], state.crate[there] = 0, 1
    state.cell = ahead(there, way)
    state.plan_cell[state.plan], state.plan_way[state.plan] = there, opposite(way)
    state.plan += 1
    return there


def lay_out(state: Any) -> None:
    """Rooms are tried until enough can be pulled and no crate is left on a mark."""
    wanted = between(state, 10, 18) + 16 * state.hard
    state.crates = 2 + (1 + chance(state, 50)) * state.hard
    while True:
        build(state)
        for _ in range(state.crates):
            cell = free_cell(state)
            state.mark[cell], state.crate[cell] = 1, 1
        state.cell = free_cell(state)
        state.plan = 0
        crate = -1
        off = False
        while state.plan < MAX_PULLS and not (off and state.plan >= wanted):
            crate = pull(state, crate)
            if crate < 0:
                break
            off = missing(state) == state.crates
        if off and state.plan >= wanted:
            return


def missing(state: Any) -> int:
    """How many crates stand on no mark."""
    count = 0
    for cell in range(CELLS):
        if state.crate[cell] and not state.mark[cell]:
            count += 1
    return count


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    base = below(state, 1536)
    state.floor = hue(base, between(state, 25, 80), between(state, 150, 205))
    state.brick = hue(base + between(state, 300, 1200), between(state, 70, 150), between(state, 85, 130))
    state.wood = hue(between(state, 90, 190), between(state, 120, 180), between(state, 190, 235))
    state.glow = hue(base + between(state, 600, 930), 210, 255)
    state.coat = hue(base + 768 + between(state, -200, 200), 200, 245)
    state.rng = seeded(seed)
    for cell in range(CELLS):
        state.first[cell] = state.crate[cell]
    flood(state, state.cell, state.reach, state.queue)
    while True:
        cell = free_cell(state)
        if state.reach[cell] > 0:
            break
    state.home = cell
    put_back(state)


def put_back(state: Any) -> None:
    for cell in range(CELLS):
        state.crate[cell] = state.first[cell]
    state.cell, state.left, state.done, state.way = state.home, state.crates, 0, DOWN


def step(state: Any, keys: int) -> tuple[int, int]:
    if keys & FIRE:
        loss = state.left - state.crates
        put_back(state)
        return int(loss), RUNNING
    if not keys:
        return 0, RUNNING
    state.way = keys
    there = ahead(state.cell, keys)
    reward = 0
    if state.crate[there]:
        past = ahead(there, keys)
        if not is_free(state, past):
            return 0, RUNNING
        state.crate[there], state.crate[past] = 0, 1
        reward = int(state.mark[past] - state.mark[there])
        state.left -= reward
        planned = state.done >= 0 and state.done < state.plan
        last = state.plan - 1 - state.done
        if planned and state.plan_cell[last] == there and state.plan_way[last] == keys:
            state.done += 1
        else:
            state.done = -1
    elif state.wall[there]:
        return 0, RUNNING
    state.cell = there
    if state.left == 0:
        return reward + 10, CLEARED
    return reward, RUNNING


def heuristic(state: Any) -> int:
    """The plan's next push; off the plan, put everything back."""
    if state.done < 0:
        return FIRE
    last = state.plan - 1 - state.done
    way = state.plan_way[last]
    hand = ahead(state.plan_cell[last], opposite(way))
    if hand == state.cell:
        return int(way)
    reach, queue = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
    flood(state, hand, reach, queue)
    for bit in range(4):
        if 0 < reach[ahead(state.cell, 1 << bit)] < reach[state.cell]:
            return 1 << bit
    return FIRE


def draw(state: Any, canvas: Any) -> None:
    fine = canvas.shape[0] >= 128
    block(canvas, 0, 0, SIZE, SIZE, state.brick)
    draw_floor(state, canvas, fine)
    for cell in range(CELLS):
        if state.mark[cell] or state.crate[cell]:
            x, y = cell % SIDE * CELL, cell // SIDE * CELL
            if state.crate[cell]:
                draw_crate(state, canvas, x, y, state.mark[cell], fine)
            else:
                draw_mark(state, canvas, x, y, fine)
    draw_player(state, canvas, state.cell % SIDE * CELL, state.cell // SIDE * CELL, fine)


def draw_floor(state: Any, canvas: Any, fine: bool) -> None:
    """Each run of floor in a row as one bar, in the shade right below a wall; tiles and bricks when big."""
    dark = mix_colour(state.brick, 0x000000, 120)
    for row in range(1, SIDE - 1):
        begin, y = -1, row * CELL
        for column in range(1, SIDE):
            cell = row * SIDE + column
            x = column * CELL
            if state.wall[cell] and begin >= 0:
                block(canvas, begin * CELL, y, x, y + CELL, state.floor)
                begin = -1
            elif not state.wall[cell] and begin < 0:
                begin = column
        for column in range(1, SIDE - 1):
            cell = row * SIDE + column
            if not state.wall[cell] and state.wall[cell - SIDE]:
                block(canvas, column * CELL, y, column * CELL + CELL, y + 128, dark)
            elif fine and not state.wall[cell] and (row + column) % 2:
                rect(canvas, column * CELL, y, column * CELL + CELL, y + CELL, 0x000000, 18)
    for cell in range(CELLS if fine else 0):
        if state.wall[cell]:
            draw_bricks(state, canvas, cell % SIDE * CELL, cell // SIDE * CELL)


def draw_bricks(state: Any, canvas: Any, x: int, y: int) -> None:
    line = mix_colour(state.brick, 0x000000, 70)
    light = mix_colour(state.brick, 0xFFFFFF, 40)
    for row in range(4):
        top = y + row * 128
        block(canvas, x, top, x + CELL, top + 16, line)
        block(canvas, x, top + 16, x + CELL, top + 32, light)
        for seam in range(2):
            left = x + 256 * seam + 128 * (row % 2)
            block(canvas, left, top, left + 16, top + 128, line)


def draw_mark(state: Any, canvas: Any, x: int, y: int, fine: bool) -> None:
    if fine:
        disc(canvas, x + 256, y + 256, 150, state.glow, 256)
        disc(canvas, x + 256, y + 256, 100, state.floor, 256)
        disc(canvas, x + 256, y + 256, 52, state.glow, 256)
        return
    block(canvas, x + 128, y + 128, x + 384, y + 384, state.glow)
    block(canvas, x + 192, y + 192, x + 320, y + 320, state.floor)


def draw_crate(state: Any, canvas: Any, x: int, y: int, home: int, fine: bool) -> None:
    """Planks in a frame; on its mark it takes on the mark's colour."""
    wood = mix_colour(state.wood, state.glow, 120) if home else state.wood
    dark, light = mix_colour(wood, 0x000000, 100), mix_colour(wood, 0xFFFFFF, 80)
    if not fine:
        block(canvas, x, y, x + CELL, y + CELL, dark)
        block(canvas, x, y, x + 448, y + 448, wood)
        block(canvas, x + 128, y + 128, x + 320, y + 320, state.glow if home else light)
        return
    rect(canvas, x + 40, y + 60, x + 530, y + 530, 0x000000, 60)
    round_rect(canvas, x + 16, y + 16, x + 496, y + 496, 40, dark, 256)
    for plank in range(4):
        top = y + 36 + 112 * plank
        block(canvas, x + 36, top, x + 476, top + 96, wood)
        block(canvas, x + 36, top, x + 476, top + 16, light)
    for side in range(2):
        left = x + 30 + 372 * side
        block(canvas, left, y + 24, left + 80, y + 488, mix_colour(wood, 0x000000, 40))
    triangle(canvas, x + 110, y + 60, x + 110, y + 140, x + 402, y + 452, dark, 170)
    triangle(canvas, x + 110, y + 60, x + 402, y + 372, x + 402, y + 452, dark, 170)
    for nail in range(4):
        disc(canvas, x + 70 + 372 * (nail % 2), y + 64 + 384 * (nail // 2), 18, light, 256)


def draw_player(state: Any, canvas: Any, x: int, y: int, fine: bool) -> None:
    """Seen from above: shoulders, and a cap whose peak points ahead."""
    way = state.way
    dx = (1 if way == RIGHT else 0) - (1 if way == LEFT else 0)
    dy = (1 if way == DOWN else 0) - (1 if way == UP else 0)
    cx, cy = x + 256, y + 256
    if fine:
        disc(canvas, cx + 20, cy + 40, 190, 0x000000, 60)
    disc(canvas, cx, cy, 190, state.coat, 256)
    disc(canvas, cx + 60 * dx, cy + 60 * dy, 120, 0xFFD9B0, 256)
    block(canvas, cx - 96 - 32 * dx, cy - 96 - 32 * dy, cx + 96 - 32 * dx, cy + 96 - 32 * dy, 0x2B2F45)
    if fine:
        for side in range(2):
            spread = 130 if side else -130
            disc(canvas, cx + 130 * dx + spread * dy, cy + 130 * dy + spread * dx, 60, 0xFFD9B0, 256)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(
        ("none", "none"),
        ("up", "none"),
        ("right", "none"),
        ("left", "none"),
        ("down", "none"),
        ("none", "Space"),
    ),
    instruction="Push all crates onto the marks with the arrow keys; Space puts everything back.",
)
