"""Snake: eat apples, grow with each, and bite neither a wall nor yourself.

Levels differ in the walls (mirrored, all of the floor connected and without dead ends), in the
number of apples asked for and in colours. On easy six apples lie about at a time; on hard there
is only one, there are more walls, and each apple makes the snake longer by two instead of one. +1 an
apple, +10 for the last one. The snake never stops and can't turn back; one step is one cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, disc, gradient, hue, mix_colour, rect, round_rect
from universe2.envs.arcade.rng import below, between, chance, seeded

SIDE = 16
CELLS = SIDE * SIDE
CELL = 256
PIXEL = 64
START = 3
APPLES = 6
WALL = 1 << 40

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("until", np.int64, (CELLS,)),
        ("body", np.int64, (CELLS,)),
        ("clock", np.int64),
        ("length", np.int64),
        ("growing", np.int64),
        ("way", np.int64),
        ("apples", np.int64, (APPLES,)),
        ("out", np.int64),
        ("eaten", np.int64),
        ("goal", np.int64),
        ("sky", np.int64),
        ("ground", np.int64),
        ("wall", np.int64),
        ("skin", np.int64),
        ("tail", np.int64),
        ("fruit", np.int64),
    ]
)
# until: the clock from which on a cell is free; body: the last cells that the head was in, by
# the clock modulo CELLS.


def beside(cell: int, way: int) -> int:
    """The neighbour of a cell inside the border, which is always wall."""
    if way == UP:
        return cell - SIDE
    if way == DOWN:
        return cell + SIDE
    return cell - 1 if way == LEFT else cell + 1


def turned(way: int) -> int:
    """The opposite way."""
    return 9 - way if way in (UP, DOWN) else 6 - way


def block(state: Any, turn: bool) -> None:
    """Two mirrored bars of wall, if there is room for them.

    Bars keep a cell off one another and off the border: so the floor stays connected and has no
    dead ends.
    """
    wide, high = between(state, 1, 4), between(state, 1, 5)
    x, y = between(state, 2, 7 - wide), between(state, 2, SIDE - 2 - high)
    for place in range((wide + 2) * (high + 2)):
        if state.until[(y - 1 + place // (wide + 2)) * SIDE + x - 1 + place % (wide + 2)] == WALL:
            return
    for place in range(wide * high):
        column, row = x + place % wide, y + place // wide
        state.until[row * SIDE + column] = WALL
        state.until[(SIDE - 1 - row if turn else row) * SIDE + SIDE - 1 - column] = WALL


def apple_at(state: Any, cell: int) -> int:
    """Which apple lies on a cell, or -1."""
    for apple in range(state.out):
        if state.apples[apple] == cell:
            return apple
    return -1


def grow_apple(state: Any, apple: int) -> None:
    """An apple on some cell that is free."""
    cell = below(state, CELLS)
    while state.until[cell] > state.clock or apple_at(state, cell) >= 0:
        cell = below(state, CELLS)
    state.apples[apple] = cell


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.goal = between(state, 18, 22)
    for place in range(SIDE):
        for side in range(2):
            state.until[place * SIDE + side * (SIDE - 1)] = WALL
            state.until[place + side * (CELLS - SIDE)] = WALL
    turn = chance(state, 50)
    for _ in range(between(state, 0, 4) + 6 * state.hard):
        block(state, turn)
    base = below(state, 1536)
    state.sky = hue(base, between(state, 90, 150), between(state, 80, 130))
    state.ground = hue(base + between(state, 60, 250), 150, between(state, 50, 90))
    state.wall = hue(base + between(state, -200, 200), between(state, 40, 110), between(state, 170, 220))
    state.skin = hue(base + 768 + between(state, -250, 50), 170, 250)
    state.tail = hue(base + 768 + between(state, 100, 300), 200, 190)
    state.fruit = hue(base + 768 + between(state, 300, 500), 215, 255)
    state.rng = seeded(seed)
    # The two columns in the middle are free of bars: begin at one of their ends.
    state.way = UP if chance(state, 50) else DOWN
    cell = (SIDE - 2 if state.way == UP else 1) * SIDE + between(state, 7, 8)
    state.length = START
    for _ in range(START):
        enter(state, cell)
        cell = beside(cell, state.way)
    for apple in range(1 if state.hard else APPLES):
        grow_apple(state, apple)
        state.out += 1


def enter(state: Any, cell: int) -> None:
    """The head comes into a cell, the clock goes on."""
    state.clock += 1
    state.body[state.clock % CELLS] = cell
    state.until[cell] = state.clock + state.length


def segment(state: Any, number: int) -> int:
    """The cell of a part of the body; 0 is the head."""
    return int(state.body[(state.clock - number) % CELLS])


def step(state: Any, keys: int) -> tuple[int, int]:
    for bit in range(4):
        if keys & (1 << bit) and 1 << bit != turned(state.way):
            state.way = 1 << bit
    if state.growing > 0:
        state.growing -= 1
        for number in range(state.length):
            state.until[segment(state, number)] += 1
        state.length += 1
    cell = beside(segment(state, 0), state.way)
    if state.until[cell] > state.clock + 1:
        return 0, LOST
    enter(state, cell)
    apple = apple_at(state, cell)
    if apple < 0:
        return 0, RUNNING
    state.eaten += 1
    state.growing += 1 + state.hard
    if state.eaten == state.goal:
        return 11, CLEARED
    grow_apple(state, apple)
    return 1, RUNNING


def explore(until: Any, clock: int, start: int, times: Any, queue: Any) -> int:
    """``times``: the clock at which a head in ``start`` can be in each cell, or 0; how many cells."""
    for cell in range(CELLS):
        times[cell] = 0
    times[start], queue[0] = clock, start
    head, count = 0, 1
    while head < count:
        cell = queue[head]
        head += 1
        for bit in range(4):
            there = beside(cell, 1 << bit)
            if times[there] == 0 and until[there] <= times[cell] + 1:
                times[there] = times[cell] + 1
                queue[count] = there
                count += 1
    return count


def way_to_apple(state: Any, times: Any, queue: Any, later: Any) -> int:
    """The first step of the shortest way to an apple after which there is room for the body; or 0."""
    here, grown = segment(state, 0), state.growing + 1 + state.hard
    explore(state.until, state.clock, here, times, queue)
    cell = -1
    for apple in range(state.out):
        there = state.apples[apple]
        if times[there] > 0 and (cell < 0 or times[there] < times[cell]):
            cell = there
    if cell < 0:
        return 0
    for place in range(CELLS):
        later[place] = state.until[place] + (grown if state.until[place] != WALL else 0)
    apple, clock, way = cell, times[cell], 0
    while cell != here:
        later[cell] = times[cell] + state.length + grown
        for bit in range(4):
            there = beside(cell, 1 << bit)
            if times[there] == times[cell] - 1:
                cell, way = there, turned(1 << bit)
                break
    room = explore(later, clock, apple, times, queue)
    return way if room > state.length + 2 * grown else 0


def heuristic(state: Any) -> int:
    """To an apple if that is safe; else to where there is most room, or late to where the tail is."""
    times, queue = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
    way = way_to_apple(state, times, queue, np.zeros(CELLS, np.int64))
    if way > 0:
        return way
    here, tail = segment(state, 0), segment(state, state.length - 1)
    best, best_score = state.way, -1
    for bit in range(4):
        start = beside(here, 1 << bit)
        if state.until[start] > state.clock + 1:
            continue
        room = explore(state.until, state.clock + 1, start, times, queue)
        score = room + (times[tail] - state.clock + CELLS if times[tail] > 0 else 0)
        if score > best_score:
            best, best_score = 1 << bit, score
    return int(best)


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.ground)
    fine = canvas.shape[0] >= 128
    if fine:
        for cell in range(CELLS):
            if (cell + cell // SIDE) % 2 == 0:
                x, y = cell % SIDE * CELL, cell // SIDE * CELL
                rect(canvas, x, y, x + CELL, y + CELL, 0x000000, 18)
    draw_walls(state, canvas)
    for number in range(state.length - 1, -1, -1):
        draw_segment(state, canvas, number, fine)
    draw_apples(state, canvas, fine)
    draw_face(state, canvas, fine)


def draw_walls(state: Any, canvas: Any) -> None:
    """Each run of wall in a row as one bar, with a shaded foot where floor begins below it."""
    dark = mix_colour(state.wall, 0x100820, 110)
    for row in range(SIDE):
        begin = 0
        for column in range(SIDE):
            cell = row * SIDE + column
            if state.until[cell] != WALL:
                begin = column + 1
            elif column == SIDE - 1 or state.until[cell + 1] != WALL:
                foot = row < SIDE - 1 and state.until[cell + SIDE] != WALL
                for layer in range(2 if foot else 1):
                    y = row * CELL + (CELL - PIXEL) * layer
                    shade = dark if layer else state.wall
                    rect(canvas, begin * CELL, y, column * CELL + CELL, row * CELL + CELL, shade, OPAQUE)


def draw_segment(state: Any, canvas: Any, number: int, fine: bool) -> None:
    """A part of the body, as one piece with the part before it."""
    cell, front = segment(state, number), segment(state, max(0, number - 1))
    tone = mix_colour(state.skin, state.tail, 256 * number // state.length)
    if number % 2:
        tone = mix_colour(tone, 0x100820, 36)
    x0, x1 = min(cell % SIDE, front % SIDE) * CELL, max(cell % SIDE, front % SIDE) * CELL + CELL
    y0, y1 = min(cell // SIDE, front // SIDE) * CELL, max(cell // SIDE, front // SIDE) * CELL + CELL
    if fine:
        round_rect(canvas, x0 + 24, y0 + 24, x1 - 24, y1 - 24, 104, tone, OPAQUE)
    else:
        rect(canvas, x0, y0, x1 - PIXEL, y1 - PIXEL, tone, OPAQUE)


def draw_apples(state: Any, canvas: Any, fine: bool) -> None:
    for part in range(3 * state.out):
        x, y = state.apples[part // 3] % SIDE * CELL, state.apples[part // 3] // SIDE * CELL
        layer = part % 3
        if fine:
            cx, cy, radius, tone = x + 128, y + 140, 108, state.fruit
            if layer == 1:
                cx, cy, radius, tone = x + 96, y + 104, 32, mix_colour(tone, 0xFFFFFF, 170)
            elif layer == 2:
                cx, cy, radius, tone = x + 160, y + 36, 40, 0x6BD84A
            disc(canvas, cx, cy, radius, tone, OPAQUE)
        elif layer < 2:
            left, wide, tone = x + PIXEL * layer, 192 - 128 * layer, 0x6BD84A if layer else state.fruit
            rect(canvas, left, y, left + wide, y + wide, tone, OPAQUE)


def draw_face(state: Any, canvas: Any, fine: bool) -> None:
    """Eyes on the head's sides."""
    head = segment(state, 0)
    x, y = head % SIDE * CELL + 96, head // SIDE * CELL + 96
    dx = 1 if state.way == RIGHT else -1 if state.way == LEFT else 0
    dy = 1 if state.way == DOWN else -1 if state.way == UP else 0
    for part in range(4):
        side = 56 if part % 2 else -56
        ahead, radius, tone = (40, 44, 0xFFFFFF) if part < 2 else (56, 24, 0x14102A)
        if fine:
            ex, ey = x + 32 + dx * ahead - dy * side, y + 32 + dy * ahead + dx * side
            disc(canvas, ex, ey, radius, tone, OPAQUE)
        elif part >= 2:
            side = PIXEL if part % 2 else -PIXEL
            left, top = x - 32 - dy * side, y - 32 + dx * side
            rect(canvas, left, top, left + PIXEL, top + PIXEL, tone, OPAQUE)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Steer the snake with the arrows: eat the apples, bite neither the walls nor yourself.",
)
