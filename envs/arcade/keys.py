"""Keys: find the keys, open their doors and reach the treasure.

Nine rooms make a tree of doorways, some of them locked in colours of their own. Levels differ in the
tree, the locks, where the keys lie and in colours; hard ones have more locks, and rooms stay dark
until they are entered. A key lies in a room that was there before its door, so every level can be
won; it opens one door and is gone. +1 a key, +1 a door unlocked, +10 the treasure. One step is one
cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import SIZE, block, disc, hue, mix_colour, rect
from universe2.envs.arcade.rng import below, between, chance, seeded

SIDE = 16
CELLS = SIDE * SIDE
CELL = SIZE // SIDE
ROOMS, PITCH = 3, 5
"""Rooms in a row, and cells from one room's wall to the next one's; a room is 4 × 4 inside."""
FLOOR, WALL, PILLAR, PASSAGE, TREASURE, DOOR, KEY = 0, 1, 2, 3, 4, 5, 10
"""DOOR + c is a door locked in colour c, KEY + c its key."""
MAX_LOCKS = 5
FAR = 999

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("grid", np.int64, (CELLS,)),
        ("order", np.int64, (ROOMS * ROOMS,)),
        ("locks", np.int64),
        ("cell", np.int64),
        ("way", np.int64),
        ("carried", np.int64),
        ("entered", np.int64),
        ("clock", np.int64),
        ("paint", np.int64, (MAX_LOCKS,)),
        ("wall", np.int64),
        ("floor", np.int64),
        ("night", np.int64),
        ("coat", np.int64),
    ]
)


def inside(room: int, place: int) -> int:
    """The cell at one of a room's 16 places."""
    x, y = room % ROOMS * PITCH + 1 + place % 4, room // ROOMS * PITCH + 1 + place // 4
    return y * SIDE + x


def free_place(state: Any, room: int) -> int:
    """A random cell of a room with nothing in it."""
    while True:
        cell = inside(room, below(state, 16))
        if state.grid[cell] == FLOOR:
            return cell


def build_rooms(state: Any) -> None:
    """Walls, and in each room perhaps a pillar that stands in no one's way."""
    for cell in range(CELLS):
        if cell % SIDE % PITCH == 0 or cell // SIDE % PITCH == 0:
            state.grid[cell] = WALL
    for room in range(ROOMS * ROOMS):
        if chance(state, 55):
            state.grid[inside(room, 5 + below(state, 2) + 4 * below(state, 2))] = PILLAR


def neighbour(room: int, way: int) -> int:
    """The room on that side, or -1."""
    x, y = room % ROOMS, room // ROOMS
    x += (1 if way == RIGHT else 0) - (1 if way == LEFT else 0)
    y += (1 if way == DOWN else 0) - (1 if way == UP else 0)
    return y * ROOMS + x if 0 <= x < ROOMS and 0 <= y < ROOMS else -1


def doorway(state: Any, room: int, way: int) -> int:
    """A random cell in the wall on one side of a room."""
    along = between(state, 1, 4)
    x, y = room % ROOMS * PITCH, room // ROOMS * PITCH
    if way in (UP, DOWN):
        return (y + (PITCH if way == DOWN else 0)) * SIDE + x + along
    return (y + along) * SIDE + x + (PITCH if way == RIGHT else 0)


def connect(state: Any) -> None:
    """Room after room joins the tree; a lock's key goes to a room that has joined before."""
    rooms = ROOMS * ROOMS
    state.order[0] = below(state, rooms)
    joined = 1 << state.order[0]
    wanted = 3 + 2 * state.hard
    count = 1
    while count < rooms:
        room, way = state.order[below(state, count)], 1 << below(state, 4)
        there = neighbour(room, way)
        if there < 0 or joined >> there & 1:
            continue
        door = doorway(state, room, way)
        state.grid[door] = PASSAGE
        # The last door is always locked: the treasure lies behind it.
        rest = wanted - state.locks
        if rest > 0 and (count == rooms - 1 or (rest > 1 and below(state, rooms - 1 - count) < rest - 1)):
            state.grid[free_place(state, state.order[below(state, count)])] = KEY + state.locks
            state.grid[door] = DOOR + state.locks
            state.locks += 1
        joined |= 1 << there
        state.order[count] = there
        count += 1
    state.grid[free_place(state, state.order[rooms - 1])] = TREASURE


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    build_rooms(state)
    connect(state)
    base = below(state, 1536)
    state.wall = hue(base, between(state, 70, 140), between(state, 90, 140))
    state.floor = hue(base + between(state, 300, 1200), between(state, 30, 80), between(state, 175, 225))
    state.night = mix_colour(state.wall, 0x000000, 190)
    start = below(state, 1536)
    for colour in range(MAX_LOCKS):
        state.paint[colour] = hue(start + colour * 307, 230, 235 - 60 * (colour % 2))
    state.coat = hue(base + 768, 170, 250)
    state.rng = seeded(seed)
    state.cell = free_place(state, state.order[0])
    state.way = DOWN
    look_around(state)


def look_around(state: Any) -> None:
    """Note the room that the player is in."""
    x, y = state.cell % SIDE, state.cell // SIDE
    if x % PITCH > 0 and y % PITCH > 0:
        state.entered |= 1 << (y // PITCH * ROOMS + x // PITCH)


def ahead(cell: int, way: int) -> int:
    """The next cell; walls all around keep it on the board."""
    return cell + (1 if way == RIGHT else -1 if way == LEFT else SIDE if way == DOWN else -SIDE)


def step(state: Any, keys: int) -> tuple[int, int]:
    state.clock += 1
    if not keys:
        return 0, RUNNING
    state.way = keys
    there = ahead(state.cell, keys)
    what = state.grid[there]
    if not passable(what, state.carried):
        return 0, RUNNING
    state.cell = there
    state.grid[there] = PASSAGE if DOOR <= what < KEY or what == PASSAGE else FLOOR
    look_around(state)
    if what == TREASURE:
        return 10, CLEARED
    if what >= KEY:
        state.carried |= 1 << (what - KEY)
    elif what >= DOOR:
        state.carried &= ~(1 << (what - DOOR))
    return (1 if what >= DOOR else 0), RUNNING


def passable(what: int, carried: int) -> bool:
    """Can someone with these keys enter?"""
    if DOOR <= what < KEY:
        return bool(carried >> (what - DOOR) & 1)
    return what not in (WALL, PILLAR)


def heuristic(state: Any) -> int:
    """To the nearest key or door that can be opened; to the treasure when nothing else is left."""
    came, queue = np.full(CELLS, -1, np.int64), np.zeros(CELLS, np.int64)
    came[state.cell] = 0
    queue[0] = state.cell
    head, count, treasure = 0, 1, 0
    while head < count:
        cell = queue[head]
        head += 1
        for bit in range(4):
            there = ahead(cell, 1 << bit)
            what = state.grid[there]
            if came[there] >= 0 or not passable(what, state.carried):
                continue
            # ``came`` holds the first step of the way here.
            came[there] = came[cell] if came[cell] > 0 else 1 << bit
            if what >= DOOR:
                return int(came[there])
            if what == TREASURE:
                treasure = came[there]
                continue
            queue[count] = there
            count += 1
    return int(treasure)


def draw(state: Any, canvas: Any) -> None:
    fine = canvas.shape[0] >= 128
    block(canvas, 0, 0, SIZE, SIZE, state.wall)
    for room in range(ROOMS * ROOMS):
        x, y = room % ROOMS * PITCH * CELL + CELL, room // ROOMS * PITCH * CELL + CELL
        tone = mix_colour(state.floor, state.wall, 30 * (room % 2))
        if is_dark(state, room):
            tone = state.night
        block(canvas, x, y, x + 4 * CELL, y + 4 * CELL, tone)
        block(canvas, x, y, x + 4 * CELL, y + 64, mix_colour(tone, 0x000000, 90))
        if fine and not is_dark(state, room):
            draw_tiles(canvas, x, y, mix_colour(tone, 0x000000, 26))
    for cell in range(CELLS):
        what = state.grid[cell]
        if what in (FLOOR, WALL):
            continue
        x, y = cell % SIDE, cell // SIDE
        if what == PASSAGE or DOOR <= what < KEY:
            draw_doorway(state, canvas, x * CELL, y * CELL, what, y % PITCH == 0, fine)
        elif not is_dark(state, y // PITCH * ROOMS + x // PITCH):
            draw_thing(state, canvas, x * CELL, y * CELL, what, fine)
    if fine:
        for bar in range(ROOMS + 1):
            rect(canvas, 0, bar * PITCH * CELL, SIZE, bar * PITCH * CELL + 40, 0xFFFFFF, 50)
    draw_player(state, canvas, state.cell % SIDE * CELL, state.cell // SIDE * CELL, fine)
    place = 0
    for colour in range(MAX_LOCKS):
        if state.carried >> colour & 1:
            draw_key(canvas, 64 + place * 320, 0, state.paint[colour], fine)
            place += 1


def is_dark(state: Any, room: int) -> bool:
    return bool(state.hard and not state.entered >> room & 1)


def draw_tiles(canvas: Any, x: int, y: int, line: int) -> None:
    for seam in range(1, 4):
        block(canvas, x + seam * CELL - 8, y, x + seam * CELL + 8, y + 4 * CELL, line)
        block(canvas, x, y + seam * CELL - 8, x + 4 * CELL, y + seam * CELL + 8, line)


def draw_doorway(state: Any, canvas: Any, x: int, y: int, what: int, across: bool, fine: bool) -> None:
    """An open passage, or a door in its colour with a keyhole."""
    block(canvas, x, y, x + CELL, y + CELL, mix_colour(state.floor, state.wall, 110))
    if what < DOOR:
        return
    colour = state.paint[what - DOOR]
    block(canvas, x, y, x + CELL, y + CELL, colour)
    if fine:
        dark = mix_colour(colour, 0x000000, 90)
        for plank in range(4):
            left, top = (x + plank * 64, y) if across else (x, y + plank * 64)
            block(canvas, left, top, left + (12 if across else CELL), top + (CELL if across else 12), dark)
        disc(canvas, x + 128, y + 112, 44, 0x1A1420, 256)
    block(canvas, x + 112 - 48 * (not fine), y + 64, x + 144 - 16 * (not fine), y + 192, 0x1A1420)


def draw_thing(state: Any, canvas: Any, x: int, y: int, what: int, fine: bool) -> None:
    if what == PILLAR:
        block(canvas, x, y, x + CELL, y + CELL, mix_colour(state.wall, 0x000000, 70))
        block(canvas, x, y, x + CELL, y + 192, state.wall)
    elif what == TREASURE:
        block(canvas, x, y + 64, x + CELL, y + CELL, 0x9A5B1E)
        block(canvas, x, y, x + CELL, y + 112, 0xFFC928)
        block(canvas, x + 96, y + 96, x + 160, y + 176, 0xFFF6C8)
        if fine:
            block(canvas, x, y + 112, x + CELL, y + 128, 0x5A3210)
            block(canvas, x + 16, y + 16, x + 240, y + 40, 0xFFF0B0)
            disc(canvas, x + 60 + state.clock % 12 * 14, y + 40, 18, 0xFFFFFF, 200)
    else:
        draw_key(canvas, x, y, state.paint[what - KEY], fine)


def draw_key(canvas: Any, x: int, y: int, colour: int, fine: bool) -> None:
    if fine:
        for layer in range(2):
            tone = colour if layer else 0x1A1420
            grow = 0 if layer else 14
            disc(canvas, x + 76, y + 128, 62 + grow, tone, 256)
            block(canvas, x + 110, y + 108 - grow, x + 240 + grow, y + 148 + grow, tone)
            for tooth in range(2):
                left = x + 168 + 44 * tooth
                block(canvas, left - grow, y + 140, left + 28 + grow, y + 190 + grow, tone)
        disc(canvas, x + 70, y + 128, 26, 0x1A1420, 256)
        return
    block(canvas, x, y + 64, x + 128, y + 192, colour)
    block(canvas, x + 128, y + 64, x + 256, y + 128, colour)
    block(canvas, x + 192, y + 128, x + 256, y + 192, colour)


def draw_player(state: Any, canvas: Any, x: int, y: int, fine: bool) -> None:
    look = 1 if state.way == RIGHT else -1 if state.way == LEFT else 0
    if fine:
        disc(canvas, x + 128, y + 210, 96, 0x000000, 70)
        disc(canvas, x + 128, y + 170, 96, state.coat, 256)
        disc(canvas, x + 128, y + 84, 78, 0xFFD9B0, 256)
        for side in range(2 if state.way != UP else 0):
            disc(canvas, x + 98 + 60 * side + 24 * look, y + 88, 16, 0x16203A, 256)
        return
    block(canvas, x, y + 128, x + CELL, y + CELL, state.coat)
    block(canvas, x + 64, y, x + 192, y + 128, 0xFFD9B0)
    if state.way == UP:
        block(canvas, x + 64, y, x + 192, y + 64, 0x4A3020)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Walk with the arrow keys: take keys, open the doors of their colours, reach the chest.",
)
