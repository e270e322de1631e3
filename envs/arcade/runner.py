"""Runner: run to the flag; jump over gaps and spikes, up the steps, and through the coins.

Levels differ in the course, the coins, the speed and the scenery; hard ones have shorter platforms,
more gaps and more spikes. Every course can be run: gaps and steps stay within what a held jump
covers. +1 a coin, +1 for each eight columns, +10 for the flag. A fall, a spike or the front of a
step ends the run. The longer UP is held the higher the jump; DOWN falls faster. One step is two
ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LOST, RUNNING, UP, Game
from universe2.envs.arcade.kit import (
    OPAQUE,
    SIZE,
    disc,
    gradient,
    hue,
    mix_colour,
    rect,
    ridge,
    round_rect,
    triangle,
)
from universe2.envs.arcade.rng import below, between, chance, seeded

LENGTH = 168
TILE = 256
TICKS = 2
VIEW = 896
HALF, HEIGHT = 104, 288
LEAP, RISE, FALL, DIVE = 112, 6, 15, 30
MAX_FALL = 160
GOAL = LENGTH - 8
FLOOR = SIZE + 512
PLANS = 36

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("tops", np.int64, (LENGTH + 20,)),
        ("spikes", np.int64, (LENGTH + 20,)),
        ("coins", np.int64, (LENGTH + 20,)),
        ("x", np.int64),
        ("y", np.int64),
        ("vy", np.int64),
        ("grounded", np.int64),
        ("held", np.int64),
        ("speed", np.int64),
        ("clock", np.int64),
        ("sky", np.int64),
        ("haze", np.int64),
        ("far", np.int64),
        ("near", np.int64),
        ("earth", np.int64),
        ("grass", np.int64),
        ("suit", np.int64),
        ("sun", np.int64),
    ]
)


def surface(level: int) -> int:
    """World y of a ground ``level`` tiles high."""
    return SIZE - level * TILE


def lay_out(state: Any) -> None:
    """Platforms from left to right, with what lies between and on them."""
    column, level = 0, 4
    width = 14
    while column < LENGTH + 20:
        for i in range(width):
            if column + i < LENGTH + 20:
                state.tops[column + i] = surface(level)
        last = column + width >= GOAL - 4
        if column > 0 and not last:
            furnish(state, column, width, level)
        column += width
        if last:
            width = LENGTH + 20
            continue
        gap = between(state, 2, 4) if chance(state, 60 + 25 * state.hard) else 0
        for i in range(gap):
            if column + i < LENGTH + 20:
                state.tops[column + i] = FLOOR
                if chance(state, 60):
                    state.coins[column + i] = surface(level) - 3 * TILE
        column += gap
        level = max(2, min(8, level + between(state, -3, 2)))
        width = between(state, 5, 12 - 2 * state.hard)


def furnish(state: Any, column: int, width: int, level: int) -> None:
    """Spikes in the middle of wide platforms, coins over the spikes or in a row."""
    if width >= 9 - state.hard and chance(state, 70 + 25 * state.hard):
        middle = column + width // 2
        for i in range(between(state, 1, 2)):
            state.spikes[middle + i] = 1
            state.coins[middle + i] = surface(level) - 3 * TILE
    elif chance(state, 60):
        height = between(state, 1, 3)
        for i in range(2, width - 1):
            state.coins[column + i] = surface(level) - height * TILE


def paint(state: Any) -> None:
    base = below(state, 1536)
    dusk = chance(state, 35)
    bright = 90 if dusk else 235
    state.sky = hue(base, between(state, 110, 190), bright)
    state.haze = hue(base + between(state, -300, 300), between(state, 50, 120), bright + 20)
    state.far = mix_colour(state.haze, hue(base + 200, 120, 110), 110)
    state.near = mix_colour(state.haze, hue(base + 260, 150, 90), 190)
    land = below(state, 1536)
    state.earth = hue(land, 110, between(state, 80, 120))
    state.grass = hue(land + between(state, 200, 500), 170, 210)
    state.suit = hue(base + 768, 200, 255)
    state.sun = below(state, SIZE // 2) + SIZE // 4


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    paint(state)
    state.speed = between(state, 56, 68)
    state.rng = seeded(seed)
    state.x = between(state, 2 * TILE, 5 * TILE)
    state.y = surface(4)
    state.grounded = 1


def top_under(state: Any, x: int) -> int:
    """The highest ground under a runner at x."""
    left, right = (x - HALF) // TILE, (x + HALF) // TILE
    return int(min(state.tops[left], state.tops[right]))


def pierced(state: Any, x: int, y: int) -> bool:
    """Does a runner with its feet at (x, y) touch a spike?"""
    for side in range(2):
        column = (x - HALF + 2 * HALF * side) // TILE
        reach = abs(column * TILE + TILE // 2 - x) < HALF + 64
        if state.spikes[column] and reach and y > state.tops[column] - 144:
            return True
    return False


def tick(
    state: Any, x: int, y: int, vy: int, grounded: int, held: int, keys: int
) -> tuple[int, int, int, int, int, bool]:
    """One tick of the runner: its new x, y, vy, grounded and held, and whether it is lost."""
    x += state.speed
    if grounded and keys & UP:
        vy, grounded, held = -LEAP, 0, 1
    if not keys & UP:
        held = 0
    if not grounded:
        vy += RISE if held and vy < 0 else DIVE if keys & DOWN else FALL
        vy = min(MAX_FALL, vy)
    top = top_under(state, x)
    if top < y - 48:
        # In front of a step: deep below its edge is a crash, a little below is a scramble up.
        return x, y, vy, grounded, held, True
    if not grounded and vy >= 0 and y + vy >= top:
        y, vy, grounded = top, 0, 1
    elif grounded:
        grounded = 1 if top <= y + 16 else 0
        y = top if grounded else y
    else:
        y += vy
    return x, y, vy, grounded, held, y > SIZE + 256 or pierced(state, x, y)


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    for _ in range(TICKS):
        state.clock += 1
        before = state.x // (8 * TILE)
        x, y, vy, grounded, held, lost = tick(
            state, state.x, state.y, state.vy, state.grounded, state.held, keys
        )
        state.x, state.y, state.vy, state.grounded, state.held = x, y, vy, grounded, held
        if lost:
            return reward, LOST
        reward += take_coins(state)
        if state.x // (8 * TILE) > before:
            reward += 1
        if state.x >= GOAL * TILE:
            return reward + 10, CLEARED
    return reward, RUNNING


def take_coins(state: Any) -> int:
    column = state.x // TILE
    coin = state.coins[column]
    if coin > 0 and state.y - HEIGHT - 128 < coin < state.y + 128:
        state.coins[column] = 0
        return 1
    return 0


def outlook(state: Any, plan: int, x: int, y: int, vy: int, grounded: int, held: int) -> int:
    """What a plan is worth: -1 if it is lost, else the coins on its way and a little for caution.

    Plan p: run on for ``p // 6 * 3`` ticks, hold a jump for ``p % 6 * 4``, run on. Once it has
    landed, some plan must be left that survives too.
    """
    wait, hold = plan // 6 * 3, plan % 6 * 4
    coins, since = 0, 0
    for time in range(90):
        keys = UP if wait <= time < wait + hold else 0
        x, y, vy, grounded, held, lost = tick(state, x, y, vy, grounded, held, keys)
        if lost:
            return -1
        coin = state.coins[x // TILE]
        if coin > 0 and y - HEIGHT - 128 < coin < y + 128 and x % TILE < state.speed:
            coins += 1
        since = since + 1 if grounded and time >= wait + hold else 0
        if since == 2 or time == 89:
            break
    for follow in range(PLANS):
        if follow_up(state, follow, x, y, vy, grounded, held):
            return 2 + 4 * coins - (hold > 0)
    return -1


def follow_up(state: Any, plan: int, x: int, y: int, vy: int, grounded: int, held: int) -> bool:
    """Does a second jump, or none, lead to safe ground?"""
    wait, hold = plan // 6 * 3, plan % 6 * 4
    since = 0
    for time in range(70):
        keys = UP if wait <= time < wait + hold else 0
        x, y, vy, grounded, held, lost = tick(state, x, y, vy, grounded, held, keys)
        if lost:
            return False
        since = since + 1 if grounded and time >= wait + hold else 0
        if since == 7:
            return True
    return True


def heuristic(state: Any) -> int:
    """Try plans of jumping soon, some time or not at all; begin the best one that survives."""
    best, best_score = 0, -1
    for plan in range(PLANS):
        score = outlook(state, plan, state.x, state.y, state.vy, state.grounded, state.held)
        if score > best_score:
            best_score = score
            best = UP if plan < 6 and plan % 6 > 0 else 0
    return best


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.haze)
    camera = state.x - VIEW
    fine = canvas.shape[0] >= 128
    disc(canvas, state.sun, 640, 288, 0xFFF6D8, 200)
    if fine:
        disc(canvas, state.sun, 640, 420, 0xFFF6D8, 50)
        draw_clouds(state, canvas, camera // 8)
    ridge(canvas, 2100, 700, 2600, camera // 6, state.far)
    ridge(canvas, 2700, 620, 1700, camera // 3, state.near)
    draw_ground(state, canvas, camera, fine)
    draw_things(state, canvas, camera, fine)
    draw_runner(state, canvas, state.x - camera, fine)


def draw_clouds(state: Any, canvas: Any, shift: int) -> None:
    for cloud in range(5):
        x = (cloud * 1171 + state.sun * 3 - shift) % (SIZE + 1600) - 800
        y = 360 + cloud * 997 % 1000
        for puff in range(4):
            disc(canvas, x + 190 * puff, y - 60 * (puff % 2), 150 + 40 * (puff % 3), 0xFFFFFF, 60)


def draw_ground(state: Any, canvas: Any, camera: int, fine: bool) -> None:
    """Each run of equally high columns as one block of earth under grass."""
    first, last = max(0, camera // TILE), (camera + SIZE) // TILE
    begin = first
    for column in range(first, last + 1):
        top = state.tops[column]
        if column < last and state.tops[column + 1] == top:
            continue
        x0, x1 = begin * TILE - camera, (column + 1) * TILE - camera
        if top >= SIZE:
            rect(canvas, x0, SIZE - 640, x1, SIZE, 0x000000, 70)
            rect(canvas, x0, SIZE - 320, x1, SIZE, 0x000000, 110)
        else:
            rect(canvas, x0, top, x1, SIZE, state.earth, OPAQUE)
            if fine:
                rect(canvas, x0, top + 96, x1, top + 150, mix_colour(state.earth, 0x000000, 90), OPAQUE)
                draw_stones(state, canvas, begin, column, camera)
            rect(canvas, x0, top, x1, top + 96, state.grass, OPAQUE)
        begin = column + 1


def draw_stones(state: Any, canvas: Any, begin: int, end: int, camera: int) -> None:
    for column in range(begin, end + 1):
        for row in range(3):
            spot = (column * 73 + row * 151) % 199
            y = state.tops[column] + 320 + row * 380 + spot
            x = column * TILE - camera + spot % 150
            round_rect(canvas, x, y, x + 130, y + 70, 32, mix_colour(state.earth, 0xFFFFFF, 36), OPAQUE)


def draw_things(state: Any, canvas: Any, camera: int, fine: bool) -> None:
    """Spikes, coins and the flag."""
    for column in range(max(0, camera // TILE), (camera + SIZE) // TILE + 1):
        x = column * TILE - camera
        if state.spikes[column]:
            top = state.tops[column]
            triangle(canvas, x, top, x + 128, top - 224, x + 256, top, 0xF4F6FF, OPAQUE)
            if fine:
                triangle(canvas, x + 128, top, x + 128, top - 224, x + 256, top, 0xA9B2CC, OPAQUE)
        coin = state.coins[column]
        if coin > 0:
            disc(canvas, x + 128, coin, 96, 0xFFC61A, OPAQUE)
            if fine:
                thin = 16 + 10 * abs(state.clock // 2 % 8 - 4)
                disc(canvas, x + 128, coin, 72, 0xFFE27A, OPAQUE)
                round_rect(
                    canvas,
                    x + 128 - thin // 2,
                    coin - 48,
                    x + 128 + thin // 2,
                    coin + 48,
                    8,
                    0xD98E00,
                    OPAQUE,
                )
        if column == GOAL:
            top = state.tops[column]
            rect(canvas, x, top - 1400, x + 64, top, 0xFFFFFF, OPAQUE)
            triangle(canvas, x + 64, top - 1400, x + 704, top - 1180, x + 64, top - 960, state.suit, OPAQUE)


def draw_runner(state: Any, canvas: Any, x: int, fine: bool) -> None:
    y = state.y
    swing = 90 * (abs(state.clock % 8 - 4) - 2) // 2 if state.grounded else 60
    if fine:
        for leg in range(2):
            sway = swing if leg else -swing
            round_rect(canvas, x - 40 + sway, y - 100, x + 24 + sway, y, 28, 0x2B2F45, OPAQUE)
        triangle(canvas, x - 60, y - 210, x - 60, y - 150, x - 300, y - 190 + swing // 2, 0xFFFFFF, 220)
    round_rect(canvas, x - HALF, y - HEIGHT, x + HALF, y - 56, 88, state.suit, OPAQUE)
    if not fine:
        rect(canvas, x - HALF, y - 64, x - HALF // 3 + swing // 2, y, 0x2B2F45, OPAQUE)
    round_rect(canvas, x, y - HEIGHT + 48, x + HALF, y - HEIGHT + 136, 40, 0xFFFFFF, OPAQUE)
    if fine:
        disc(canvas, x + 72, y - HEIGHT + 92, 24, 0x16203A, OPAQUE)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("down", "none")),
    instruction="Run to the flag: the up arrow jumps, held longer higher, down falls; mind gaps and spikes.",
)
