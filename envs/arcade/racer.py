"""Racer: drive two laps before the time is up.

Levels differ in the circuit (the border of a random patch of squares, so always one closed loop
without crossings), in which way round it goes and in colours; on hard the circuit is longer, the
road narrower and the time shorter. The time left is enough for the middle of the road at a speed that
every bend allows, so every level can be won. The faster the wider the turn, and grass brakes. +1
for each stretch of road reached in order, +10 for the finish. One step is three ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import (
    OPAQUE,
    SIZE,
    blend,
    disc,
    fill,
    gradient,
    hue,
    mix_colour,
    rect,
    root,
    sine,
    triangle,
)
from universe2.envs.arcade.rng import below, between, chance, seeded

SQUARES = 4
SIDE = SQUARES + 1
CELLS = SIDE * SIDE
CELL, RADIUS = 1280, 640
LAPS = 2
TICKS = 3
# Places and speeds are in 1/16 of a unit; a whole turn is 1024.
UNIT = 16
FASTEST, SLOW = 76 * UNIT, 20 * UNIT
TURN = 15
CHORD = np.array([root((64 * 64 - i * i) << 8) for i in range(65)] + [0])
"""1024 times the half chord of a circle of radius 1 at i / 64 from its middle."""

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("squares", np.int64),
        ("roads", np.int64, (CELLS,)),
        ("path", np.int64, (CELLS,)),
        ("count", np.int64),
        ("half", np.int64),
        ("reached", np.int64),
        ("time", np.int64),
        ("limit", np.int64),
        ("x", np.int64),
        ("y", np.int64),
        ("angle", np.int64),
        ("speed", np.int64),
        ("near", np.int64),
        ("far", np.int64),
        ("road", np.int64),
        ("kerb", np.int64),
        ("bush", np.int64),
        ("paint", np.int64),
    ]
)
# roads: the ways out of each cell, none or two of them; path: the cells in the order of a lap.


def square(state: Any, x: int, y: int) -> int:
    """Is a square part of the patch?"""
    inside = 0 <= x < SQUARES and 0 <= y < SQUARES
    return int((state.squares >> (y * SQUARES + x)) & 1) if inside else 0


def joins(state: Any, x: int, y: int) -> bool:
    """Would one more square leave the patch in one piece, without holes or corners that touch?"""
    changes, last, edges = 0, square(state, x - 1, y - 1), 0
    for place in range(1, 9):
        # Around the square, from its upper left corner.
        ring = place % 8
        dx = -1 if ring in (0, 6, 7) else 1 if ring in (2, 3, 4) else 0
        dy = -1 if ring < 3 else 1 if ring in (4, 5, 6) else 0
        here = square(state, x + dx, y + dy)
        changes += here ^ last
        edges += here if ring % 2 else 0
        last = here
    return edges > 0 and changes == 2 and not square(state, x, y)


def lay_out(state: Any) -> None:
    """Grow a patch of squares, then walk once around it."""
    state.squares = 1 << (between(state, 1, 2) * SQUARES + between(state, 1, 2))
    wanted = between(state, 4, 6) + 2 * state.hard
    for _ in range(200):
        x, y = below(state, SQUARES), below(state, SQUARES)
        if wanted > 0 and joins(state, x, y):
            state.squares |= 1 << (y * SQUARES + x)
            wanted -= 1
    for cell in range(CELLS):
        x, y = cell % SIDE, cell // SIDE
        above = square(state, x - 1, y - 1) + 2 * square(state, x, y - 1)
        under = square(state, x - 1, y) + 2 * square(state, x, y)
        ways = UP if above in (1, 2) else 0
        ways |= DOWN if under in (1, 2) else 0
        ways |= LEFT if (above ^ under) & 1 else 0
        ways |= RIGHT if (above ^ under) & 2 else 0
        state.roads[cell] = ways
    cell, passed = below(state, CELLS), 0
    # Begin on a straight stretch if there is one.
    while not (is_straight(state.roads[cell]) or (passed >= CELLS and state.roads[cell])):
        cell, passed = (cell + 1) % CELLS, passed + 1
    way = UP if state.roads[cell] & UP else LEFT if state.roads[cell] & LEFT else DOWN
    if chance(state, 50):
        way = state.roads[cell] & ~way
    first = cell
    while state.count == 0 or cell != first:
        state.path[state.count] = cell
        state.count += 1
        cell = beyond(cell, way)
        way = state.roads[cell] & ~opposite(way)


def is_straight(ways: int) -> bool:
    return ways in (UP | DOWN, LEFT | RIGHT)


def opposite(way: int) -> int:
    return 9 - way if way in (UP, DOWN) else 6 - way


def beyond(cell: int, way: int) -> int:
    """The neighbour of a cell that a road leads to."""
    if way in (UP, DOWN):
        return cell - SIDE if way == UP else cell + SIDE
    return cell - 1 if way == LEFT else cell + 1


def paint(state: Any) -> None:
    base = below(state, 1536)
    state.near = hue(base, between(state, 90, 160), between(state, 120, 190))
    state.far = hue(base + between(state, -150, 150), between(state, 90, 160), between(state, 100, 160))
    state.bush = mix_colour(state.far, 0x08180C, 110)
    state.road = hue(below(state, 1536), between(state, 10, 60), between(state, 60, 100))
    state.kerb = hue(base + 768, between(state, 0, 90), 245)
    state.paint = hue(base + between(state, 500, 1000), 220, 255)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    paint(state)
    state.half = 384 - 128 * state.hard
    state.limit = LAPS * state.count * (14 - 4 * state.hard)
    state.rng = seeded(seed)
    here, ahead = state.path[0], state.path[1]
    state.x = (here % SIDE * CELL + RADIUS + between(state, -128, 128)) * UNIT
    state.y = (here // SIDE * CELL + RADIUS + between(state, -128, 128)) * UNIT
    state.angle = 0 if ahead == here + 1 else 512 if ahead == here - 1 else 256 if ahead > here else 768


def ways_at(state: Any, x: int, y: int) -> int:
    """The ways out of the cell at a place, 0 beyond the circuit."""
    if not (0 <= x < SIDE * CELL and 0 <= y < SIDE * CELL):
        return 0
    return int(state.roads[y // CELL * SIDE + x // CELL])


def on_road(state: Any, x: int, y: int) -> bool:
    ways = ways_at(state, x, y)
    u, v = x % CELL - RADIUS, y % CELL - RADIUS
    if is_straight(ways):
        return bool(abs(u if ways == UP | DOWN else v) <= state.half)
    u -= RADIUS if ways & RIGHT else -RADIUS
    v -= RADIUS if ways & DOWN else -RADIUS
    inner, outer = RADIUS - state.half, RADIUS + state.half
    return bool(ways != 0 and inner * inner <= u * u + v * v <= outer * outer)


def drive(state: Any, keys: int) -> None:
    """One tick of the car."""
    turn = TURN if state.speed > 2 * UNIT else 0
    state.angle += (turn if keys & RIGHT else 0) - (turn if keys & LEFT else 0)
    state.angle &= 1023
    state.speed += 2 * UNIT if keys & UP else -4 * UNIT if keys & DOWN else -UNIT // 2
    if state.speed > SLOW and not on_road(state, state.x // UNIT, state.y // UNIT):
        state.speed -= 5 * UNIT
    state.speed = max(0, min(FASTEST, state.speed))
    state.x += state.speed * sine((state.angle + 256) & 1023) // SIZE
    state.y += state.speed * sine(state.angle) // SIZE
    edge = SIDE * CELL * UNIT - 1
    state.x, state.y = max(0, min(edge, state.x)), max(0, min(edge, state.y))


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    for _ in range(TICKS):
        drive(state, keys)
        cell = state.y // UNIT // CELL * SIDE + state.x // UNIT // CELL
        if cell == state.path[(state.reached + 1) % state.count]:
            state.reached += 1
            reward += 1
            if state.reached == LAPS * state.count:
                return reward + 10, CLEARED
    state.time += 1
    return reward, LOST if state.time == state.limit else RUNNING


def gate(state: Any, number: int) -> tuple[int, int]:
    """The middle of the border between a lap's cell and the next one."""
    here, ahead = state.path[number % state.count], state.path[(number + 1) % state.count]
    x = (here % SIDE + ahead % SIDE) * RADIUS + RADIUS
    return x, (here // SIDE + ahead // SIDE) * RADIUS + RADIUS


def heuristic(state: Any) -> int:
    """Steer for the border of the next cell but one, or the next; brake when that is far aside."""
    x, y = state.x // UNIT, state.y // UNIT
    gx, gy = gate(state, state.reached)
    if abs(gx - x) + abs(gy - y) < 700:
        gx, gy = gate(state, state.reached + 1)
    dx, dy = gx - x, gy - y
    cos, sin = sine((state.angle + 256) & 1023), sine(state.angle)
    aside, ahead = cos * dy - sin * dx, cos * dx + sin * dy
    keys = RIGHT if aside > abs(ahead) // 10 else LEFT if -aside > abs(ahead) // 10 else 0
    sharp = abs(aside) * 2 > ahead
    if not sharp or state.speed < 44 * UNIT:
        return keys | UP
    return DOWN if keys == 0 or state.speed > 66 * UNIT else keys


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.far, state.near)
    fine = canvas.shape[0] >= 128
    cos, sin = sine((state.angle + 256) & 1023), sine(state.angle)
    # A little ahead of the car, on whole pixels of a small picture.
    left = (state.x // UNIT + cos // 6 - SIZE // 2) // 64 * 64
    top = (state.y // UNIT + sin // 6 - SIZE // 2) // 64 * 64
    for cell in range(CELLS):
        x, y = cell % SIDE * CELL - left, cell // SIDE * CELL - top
        if -CELL < x < SIZE and -CELL < y < SIZE:
            draw_cell(state, canvas, x + RADIUS, y + RADIUS, cell, fine)
    draw_car(state, canvas, state.x // UNIT - left, state.y // UNIT - top, cos, sin, fine)
    left_over = 3968 * (state.limit - state.time) // state.limit
    for part in range(2):
        tone = 0x101820 if part == 0 else 0xFF4A4A if left_over < 900 else 0xFFE14A
        wide = SIZE if part == 0 else left_over
        rect(canvas, 64 * part, 64 * part, wide, 192 - 64 * part, tone, OPAQUE)


def draw_cell(state: Any, canvas: Any, x: int, y: int, cell: int, fine: bool) -> None:
    """A stretch of road with kerbs, or bushes; (x, y) is its middle on the screen."""
    ways = state.roads[cell]
    straight = is_straight(ways)
    if ways and not straight:
        for part in range(2):
            reach = state.half + (64 if part == 0 else 0)
            draw_bend(canvas, x, y, ways, reach, state.road if part else state.kerb)
        return
    start = straight and cell == state.path[0]
    for part in range((12 if start else 5) if straight else 5):
        along, reach, tone = RADIUS, state.half, state.road
        middle = 0
        if part == 0:
            reach, tone = state.half + 64, state.kerb
        elif part > 4:
            # The line to start from, in squares.
            tone = 0xFFFFFF if part % 2 else 0x181820
        elif part > 1:
            along, reach, tone = 128, 32 if fine else 64, mix_colour(state.road, 0xFFFFFF, 70)
            middle = (part - 3) * 448
        x0, y0, x1, y1 = x + middle - along, y - reach, x + middle + along, y + reach
        if ways == UP | DOWN:
            x0, y0, x1, y1 = x - reach, y + middle - along, x + reach, y + middle + along
        if part > 4:
            across = state.half * 2 * (part - 5) // 7 - state.half
            wide = state.half * 2 // 7
            x0, y0, x1, y1 = x - 64, y + across, x + 64, y + across + wide
            if ways == UP | DOWN:
                x0, y0, x1, y1 = x + across, y - 64, x + across + wide, y + 64
        if not straight:
            size = 128 + 64 * ((cell + part) % 2)
            cx, cy = x - 448 + (cell * 5 + part * 7) % 15 * 64, y - 448 + (cell * 3 + part * 11) % 15 * 64
            x0, y0, x1, y1, tone = cx - size, cy - size, cx + size, cy + size, state.bush
            if fine:
                disc(canvas, cx, cy, size + 32, state.bush, OPAQUE)
                disc(canvas, cx - 40, cy - 40, size // 2, mix_colour(state.bush, 0xFFFFFF, 40), OPAQUE)
                continue
        rect(canvas, x0, y0, x1, y1, tone, OPAQUE)


def draw_bend(canvas: Any, x: int, y: int, ways: int, reach: int, colour: int) -> None:
    """A quarter of a ring between two sides of the cell around (x, y), row by row."""
    height, width = canvas.shape
    ax = x + (RADIUS if ways & RIGHT else -RADIUS)
    ay = y + (RADIUS if ways & DOWN else -RADIUS)
    way = -1 if ways & RIGHT else 1
    down = SIZE * 256 // height
    for row in range(max(0, (y - RADIUS) * height // SIZE), min(height, (y + RADIUS) * height // SIZE)):
        away = abs(((row * down + (down >> 1)) >> 8) - ay)
        if away >= RADIUS + reach:
            continue
        near, far = half_chord(RADIUS - reach, away), half_chord(RADIUS + reach, away)
        x0, x1 = (ax - far, ax - near) if way < 0 else (ax + near, ax + far)
        left, right = max(0, x0 * width >> 4), min(width << 8, x1 * width >> 4)
        if left >= right:
            continue
        first, last = (left + 255) >> 8, right >> 8
        fill(canvas, row, first, last, colour)
        if left & 255:
            blend(canvas, left >> 8, row, colour, 256 - (left & 255))
        if right & 255:
            blend(canvas, last, row, colour, right & 255)


def half_chord(radius: int, away: int) -> int:
    """Half the chord of a circle at some distance from its middle."""
    if away >= radius:
        return 0
    place = (away << 14) // radius
    i, rest = place >> 8, place & 255
    return int(radius * (CHORD[i] * (256 - rest) + CHORD[i + 1] * rest) >> 18)


def draw_car(state: Any, canvas: Any, x: int, y: int, cos: int, sin: int, fine: bool) -> None:
    """Four wheels, the body, and a lighter front."""
    dark = mix_colour(state.paint, 0x101020, 190)
    for part in range(8):
        ahead, aside, half, tone = 112, 112, 40, dark
        if part < 4:
            ahead, aside = ahead if part & 1 else -ahead, aside if part & 2 else -aside
        else:
            ahead, aside, half, tone = 96 * (part - 5) - 32, 0, 96, state.paint
            if part == 7:
                ahead, half, tone = 128, 64, 0xFFFFFF
        cx = x + (cos * ahead - sin * aside) // SIZE
        cy = y + (sin * ahead + cos * aside) // SIZE
        if fine and part < 7:
            disc(canvas, cx, cy, half + 12, tone, OPAQUE)
        elif not fine and part != 5:
            rect(canvas, cx - half, cy - half, cx + half, cy + half, tone, OPAQUE)
    if fine:
        fx, fy = x + cos * 150 // SIZE, y + sin * 150 // SIZE
        px, py = sin * 88 // SIZE, -cos * 88 // SIZE
        tip_x, tip_y = x + cos * 40 // SIZE, y + sin * 40 // SIZE
        triangle(canvas, fx + px, fy + py, fx - px, fy - py, tip_x, tip_y, 0xD8F0FF, 230)


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
        ("up-right", "none"),
        ("up-left", "none"),
    ),
    instruction="Drive two laps in time: up speeds up, down brakes, left and right steer; stay on the road.",
)
