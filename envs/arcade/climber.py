"""Climber: up the ladders of a tower to the flag on its top floor.

Levels differ in where floors have holes, ladders, coins and crawlers, and in colours; hard towers
are higher and have more and faster crawlers. Holes are narrower than a jump and lead only to the
floor below; every floor has a ladder up, so every tower can be climbed. +1 a new floor, +1 a coin,
+10 the flag. A crawler costs one of three lives. One step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, FIRE, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, SIZE, block, disc, gradient, hue, mix_colour, rect, triangle
from universe2.envs.arcade.rng import below, between, chance, seeded

COLUMNS = 16
COLUMN = SIZE // COLUMNS
STOREY = 768
MAX_FLOORS = 11
TICKS = 2
HALF, HEIGHT, FOOT = 96, 336, 56
WALK, CLIMB = 52, 48
LEAP, GRAVITY, MAX_FALL = 84, 9, 120
SAFE = 50
NEAR = 190

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("floors", np.int64),
        ("solid", np.int64, (MAX_FLOORS,)),
        ("ladder", np.int64, (MAX_FLOORS,)),
        ("coins", np.int64, (MAX_FLOORS,)),
        ("crawler", np.int64, (MAX_FLOORS,)),
        ("crawl", np.int64, (MAX_FLOORS,)),
        ("x", np.int64),
        ("height", np.int64),
        ("rise", np.int64),
        ("grounded", np.int64),
        ("climbing", np.int64),
        ("way", np.int64),
        ("best", np.int64),
        ("lives", np.int64),
        ("safe", np.int64),
        ("clock", np.int64),
        ("sky", np.int64),
        ("haze", np.int64),
        ("plank", np.int64),
        ("brick", np.int64),
        ("rail", np.int64),
        ("suit", np.int64),
        ("beast", np.int64),
    ]
)


def lay_out(state: Any) -> None:
    """Floors from below; a ladder starts away from the last one's head, on solid ground at both ends."""
    state.floors = 8 + 3 * state.hard
    foot = between(state, 1, COLUMNS - 2)
    for floor in range(state.floors):
        head = foot
        state.solid[floor] = (1 << COLUMNS) - 1
        foot = (head + between(state, 5, COLUMNS - 5)) % COLUMNS
        state.ladder[floor] = foot if floor < state.floors - 1 else -1
        if floor == 0 or floor == state.floors - 1:
            state.coins[floor] = scattered(state, 2)
            continue
        for _ in range(between(state, 0, 2) + state.hard):
            begin, width = between(state, 1, COLUMNS - 3), between(state, 1, 2)
            keep = (7 << foot) | (7 << head)
            gap = ((1 << width) - 1) << begin
            # A margin of one column on both sides of holes and ladders.
            if not ((gap << 1) & keep) and not (widened(state.solid[floor]) & gap):
                state.solid[floor] &= ~gap
        state.coins[floor] = scattered(state, 2) & state.solid[floor]
        if chance(state, 45 + 30 * state.hard):
            station_crawler(state, floor)


def scattered(state: Any, count: int) -> int:
    """A bit for each of up to ``count`` columns."""
    bits = 0
    for _ in range(count):
        bits |= 1 << below(state, COLUMNS)
    return bits


def station_crawler(state: Any, floor: int) -> None:
    """A crawler where it has room to go away again: seven columns without a hole."""
    place = between(state, 3, COLUMNS - 4)
    room = 127 << (place - 3)
    if state.solid[floor] & room == room:
        state.crawler[floor] = place * COLUMN
        state.crawl[floor] = (between(state, 10, 20) + 8 * state.hard) * (1 if chance(state, 50) else -1)


def widened(solid: int) -> int:
    """The columns within two of a hole."""
    holes = ~solid & ((1 << COLUMNS) - 1)
    return holes | holes << 1 | holes >> 1 | holes << 2 | holes >> 2


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    base = below(state, 1536)
    night = chance(state, 40)
    state.sky = hue(base, between(state, 110, 180), 70 if night else 225)
    state.haze = hue(base + between(state, -250, 250), between(state, 60, 120), 130 if night else 250)
    state.brick = mix_colour(state.haze, state.sky, 150)
    state.plank = hue(base + between(state, 500, 1000), between(state, 120, 190), between(state, 150, 200))
    state.rail = hue(base + between(state, 600, 900), 60, 245)
    state.suit = hue(base + 768 + between(state, -120, 120), 210, 250)
    state.beast = hue(base + between(state, 300, 500), 200, 240)
    state.rng = seeded(seed)
    state.x = between(state, 1, COLUMNS - 2) * COLUMN + COLUMN // 2
    state.grounded, state.way = 1, 1
    state.lives = 3


def is_solid(state: Any, floor: int, x: int) -> bool:
    """Does the floor carry someone at x? Half a foot is enough."""
    if floor < 0 or floor >= state.floors:
        return False
    left, right = max(0, x - FOOT) // COLUMN, min(SIZE - 1, x + FOOT) // COLUMN
    return bool((state.solid[floor] >> left | state.solid[floor] >> right) & 1)


def ladder_at(state: Any, x: int, height: int) -> int:
    """The floor whose ladder someone at (x, height) can hold, or -1."""
    floor = height // STOREY
    if floor >= state.floors or state.ladder[floor] < 0:
        return -1
    return int(floor) if abs(state.ladder[floor] * COLUMN + COLUMN // 2 - x) <= 110 else -1


def climb(state: Any, keys: int) -> None:
    """One tick on a ladder, or the decision to step onto one."""
    up, down = keys & UP, keys & DOWN
    state.climbing = 0
    if up and ladder_at(state, state.x, state.height) >= 0 and state.rise <= 0:
        state.height, state.climbing = state.height + CLIMB, 1
        if state.height // STOREY != (state.height - CLIMB) // STOREY:
            state.height = state.height // STOREY * STOREY
    elif down and ladder_at(state, state.x, state.height - 1) >= 0 and state.height > 0:
        state.height, state.climbing = max(0, state.height - CLIMB), 1
    elif ladder_at(state, state.x, state.height) >= 0 and state.height % STOREY > 0 and not state.grounded:
        # Hanging on: neither falls, unless it is in a jump.
        state.climbing = 1 if state.rise == 0 and not keys & FIRE else 0
    if state.climbing:
        state.rise = 0
        state.grounded = 1 if state.height % STOREY == 0 else 0
        if not state.grounded:
            ladder = state.ladder[state.height // STOREY] * COLUMN + COLUMN // 2
            state.x += max(-WALK, min(WALK, ladder - state.x))


def walk(state: Any, keys: int) -> None:
    """One tick of walking, jumping and falling."""
    turn = (1 if keys & RIGHT else 0) - (1 if keys & LEFT else 0)
    if turn:
        state.way = turn
    state.x = max(HALF, min(SIZE - HALF, state.x + WALK * turn))
    if state.grounded and keys & FIRE:
        state.grounded, state.rise = 0, LEAP
    if state.grounded and not is_solid(state, state.height // STOREY, state.x):
        state.grounded, state.rise = 0, 0
    if state.grounded:
        return
    before = state.height
    state.height += state.rise
    state.rise = max(-MAX_FALL, state.rise - GRAVITY)
    floor = (before + STOREY - 1) // STOREY - 1 if before % STOREY else before // STOREY
    landing = floor * STOREY
    if state.height <= landing <= before and state.rise < 0 and is_solid(state, floor, state.x):
        state.height, state.rise, state.grounded = landing, 0, 1


def patrol(state: Any, floor: int, x: int, pace: int) -> tuple[int, int]:
    """One tick of a crawler: its new x and pace. It turns at holes and walls."""
    ahead = x + pace + (140 if pace > 0 else -140)
    if ahead < 0 or ahead >= SIZE or not state.solid[floor] >> (ahead // COLUMN) & 1:
        return x, -pace
    return x + pace, pace


def crawl(state: Any) -> bool:
    """One tick of the crawlers; True if one touches the climber."""
    for floor in range(state.floors):
        if state.crawl[floor] == 0:
            continue
        state.crawler[floor], state.crawl[floor] = patrol(
            state, floor, state.crawler[floor], state.crawl[floor]
        )
        lift = state.height - floor * STOREY
        if state.safe == 0 and abs(state.crawler[floor] - state.x) < NEAR and -300 < lift < 190:
            return True
    return False


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    for _ in range(TICKS):
        state.clock += 1
        state.safe = max(0, state.safe - 1)
        climb(state, keys)
        if not state.climbing:
            walk(state, keys)
        floor = state.height // STOREY
        if state.grounded and floor > state.best:
            state.best = floor
            reward += 1
        column = state.x // COLUMN
        if state.coins[floor] >> column & 1 and state.height % STOREY < 300:
            state.coins[floor] &= ~(1 << column)
            reward += 1
        if floor == state.floors - 1 and state.grounded and abs(state.x - SIZE // 2) < 160:
            return reward + 10, CLEARED
        if crawl(state):
            state.lives -= 1
            state.safe = SAFE
            if state.lives == 0:
                return reward, LOST
    return reward, RUNNING


def clear(state: Any, floor: int, x: int, soon: int, late: int, room: int) -> bool:
    """Will no crawler be within ``room`` of x on this floor between ``soon`` and ``late`` ticks from now?"""
    if floor >= state.floors or state.crawl[floor] == 0 or state.safe > late:
        return True
    place, pace = state.crawler[floor], state.crawl[floor]
    for time in range(late + 1):
        if time >= soon and abs(place - x) < room:
            return False
        place, pace = patrol(state, floor, place, pace)
    return True


def ride(state: Any, floor: int) -> int:
    """On a ladder: up when the floor above is clear, else wait out of reach of both floors' crawlers."""
    gap = (floor + 1) * STOREY - state.height
    ticks = gap // CLIMB
    if gap < 300 or clear(state, floor + 1, state.x, max(0, ticks - 8), ticks + 6, 420):
        return UP
    return DOWN if gap < 400 else UP if gap > 560 else 0


def errand(state: Any, floor: int) -> int:
    """Where to go on a floor: its nearest coin, then the ladder or the flag."""
    target, nearest = SIZE // 2, SIZE
    if state.ladder[floor] >= 0:
        target = state.ladder[floor] * COLUMN + COLUMN // 2
    for column in range(COLUMNS):
        x = column * COLUMN + COLUMN // 2
        if state.coins[floor] >> column & 1 and abs(x - state.x) < nearest:
            target, nearest = x, abs(x - state.x)
    return int(target)


def heuristic(state: Any) -> int:
    """Coins first, then the ladder or the flag; jump over holes and crawlers."""
    floor = state.height // STOREY
    if state.climbing and not state.grounded:
        return ride(state, floor)
    target = errand(state, floor)
    way = 1 if state.x < target else -1
    move = RIGHT if way > 0 else LEFT
    if not state.grounded:
        return move
    at_ladder = state.ladder[floor] >= 0 and not state.coins[floor]
    if at_ladder and abs(state.x - target) <= 60:
        return UP
    gap = (state.crawler[floor] - state.x) * way
    if state.crawl[floor] != 0 and state.safe < 12 and 0 <= gap < 620:
        # Jump over one that comes; let one that goes turn round first, at a distance.
        back = state.x - way * 110
        cornered = back < HALF or back > SIZE - HALF or not is_solid(state, floor, back)
        if cornered or (state.crawl[floor] * way < 0 and gap > 400):
            return move | FIRE
        return (LEFT | RIGHT) & ~move if gap < 480 else 0
    if not is_solid(state, floor, state.x + way * 110):
        # Jump over a hole once nobody waits behind it.
        return move | FIRE if clear(state, floor, state.x + way * 940, 14, 22, 440) else 0
    return move if abs(state.x - target) > 30 else 0


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.haze)
    fine = canvas.shape[0] >= 128
    pixel = max(1, SIZE // canvas.shape[0])
    view = max(-320, state.height - 1500) // pixel * pixel
    foot = SIZE + view
    draw_tower(state, canvas, view, fine)
    for floor in range(max(0, view // STOREY), min(state.floors, (view + SIZE) // STOREY + 2)):
        y = foot - floor * STOREY
        if state.ladder[floor] >= 0:
            draw_ladder(state, canvas, state.ladder[floor] * COLUMN, y - STOREY, fine)
        draw_floor(state, canvas, floor, y, fine)
        draw_coins(state, canvas, floor, y - 160, fine)
        if state.crawl[floor] != 0:
            draw_crawler(state, canvas, state.crawler[floor], y, state.crawl[floor] > 0, fine)
        if floor == state.floors - 1:
            block(canvas, SIZE // 2 - 32, y - 640, SIZE // 2 + 32, y, 0xFFFFFF)
            triangle(canvas, 2080, y - 640, 2500, y - 500, 2080, y - 360, state.suit, OPAQUE)
    draw_climber(state, canvas, foot - state.height, fine)


def draw_tower(state: Any, canvas: Any, view: int, fine: bool) -> None:
    """Windows of the tower behind, at half of the climber's pace."""
    shift = view // 2 % 1024
    dark = mix_colour(state.brick, 0x000000, 40)
    for row in range(-1, 5):
        for column in range(3):
            x, y = 448 + 1280 * column, row * 1024 + shift // 64 * 64
            block(canvas, x + 64, y + 256, x + 576, y + 768, dark)
            if fine:
                for side in range(2):
                    block(canvas, x, y + 192 + 576 * side, x + 640, y + 256 + 576 * side, state.brick)
                    block(canvas, x + 576 * side, y + 192, x + 64 + 576 * side, y + 832, state.brick)
                rect(canvas, x + 300, y + 256, x + 340, y + 768, state.brick, OPAQUE)
                rect(canvas, x + 64, y + 480, x + 576, y + 520, state.brick, OPAQUE)


def draw_ladder(state: Any, canvas: Any, x: int, y: int, fine: bool) -> None:
    for rung in range(6 if fine else 3):
        top = y + 64 + rung * (128 if fine else 256)
        block(canvas, x + 32, top, x + 224, top + (40 if fine else 64), mix_colour(state.rail, 0, 60))
    for side in range(2):
        left = x + 192 * side
        block(canvas, left, y, left + (44 if fine else 64), y + STOREY, state.rail)


def draw_floor(state: Any, canvas: Any, floor: int, y: int, fine: bool) -> None:
    """Each run of solid columns as one plank with a lighter upper edge."""
    begin = -1
    dark = mix_colour(state.plank, 0x000000, 90)
    light = mix_colour(state.plank, 0xFFFFFF, 90)
    for column in range(COLUMNS + 1):
        there = column < COLUMNS and state.solid[floor] >> column & 1
        if there and begin < 0:
            begin = column
        elif not there and begin >= 0:
            x0, x1 = begin * COLUMN, column * COLUMN
            block(canvas, x0, y, x1, y + 128, state.plank)
            block(canvas, x0, y, x1, y + (32 if fine else 64), light)
            if fine:
                block(canvas, x0, y + 112, x1, y + 144, dark)
                for nail in range(begin, column):
                    block(canvas, nail * COLUMN, y + 32, nail * COLUMN + 16, y + 112, dark)
            begin = -1


def draw_coins(state: Any, canvas: Any, floor: int, y: int, fine: bool) -> None:
    for column in range(COLUMNS):
        if state.coins[floor] >> column & 1:
            x = column * COLUMN + COLUMN // 2
            if fine:
                disc(canvas, x, y, 100, 0xFFC61A, OPAQUE)
                disc(canvas, x, y, 66, 0xFFE88A, OPAQUE)
            else:
                block(canvas, x - 64, y - 96, x + 64, y + 96, 0xFFC61A)
                block(canvas, x - 96, y - 64, x + 96, y + 64, 0xFFC61A)


def draw_crawler(state: Any, canvas: Any, x: int, y: int, ahead: bool, fine: bool) -> None:
    if fine:
        disc(canvas, x, y - 96, 130, state.beast, OPAQUE)
    else:
        block(canvas, x - 64, y - 192, x + 64, y - 128, state.beast)
    block(canvas, x - 128, y - 128, x + 128, y, state.beast)
    look = 48 if ahead else -48
    for side in range(2):
        ex = x - 56 + 112 * side + look
        block(canvas, ex - 32, y - 160, ex + 32, y - 96, 0xFFFFFF)
        if fine:
            disc(canvas, ex + look // 3, y - 120, 20, 0x16203A, OPAQUE)
            disc(canvas, x - 80 + 160 * side, y - 16 - 12 * (state.clock // 4 % 2), 40, 0x33203A, OPAQUE)


def draw_climber(state: Any, canvas: Any, y: int, fine: bool) -> None:
    if state.safe // 5 % 2 == 1:
        return
    x, way = state.x, state.way
    swing = 24 * (state.clock // 3 % 3 - 1) if state.grounded or state.climbing else 32
    for leg in range(2):
        left = x - 72 + 80 * leg + (swing if leg else -swing) * fine
        block(canvas, left, y - 96, left + 64, y, 0x2B2F45)
    block(canvas, x - HALF, y - 256, x + HALF, y - 80, state.suit)
    if fine:
        disc(canvas, x, y - 280, 96, 0xFFD9B0, OPAQUE)
    else:
        block(canvas, x - 64, y - 320, x + 64, y - 256, 0xFFD9B0)
    block(canvas, x - HALF, y - 384, x + HALF, y - 304, mix_colour(state.suit, 0, 90))
    if fine:
        block(canvas, x + 60 * way - 50, y - 330, x + 60 * way + 90, y - 304, mix_colour(state.suit, 0, 90))
        disc(canvas, x + 44 * way, y - 272, 16, 0x16203A, OPAQUE)
    for life in range(state.lives - 1):
        block(canvas, 64 + 192 * life, 64, 192 + 192 * life, 192, state.suit)


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
        ("right", "Space"),
        ("left", "Space"),
        ("none", "Space"),
    ),
    instruction="Climb the ladders to the flag: arrows walk and climb, Space jumps over holes and crawlers.",
)
