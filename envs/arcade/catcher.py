"""Catcher: catch the fruit, let the bombs fall; the wind carries both.

Levels differ in the wind's strength, in how much falls how fast, in the share of bombs and in the
look of land, sky and fruit; hard ones are windier, faster and have more bombs. The wind turns now
and then, and shows in the streaks, the pennant and the grass. +1 a fruit, +3 a golden one, +10 for
the last one needed. A bomb in the basket costs one of three lives; a fruit on the ground costs
nothing, and fruit never ends, so every level can be cleared. One step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, LEFT, LOST, RIGHT, RUNNING, Game
from universe2.envs.arcade.kit import (
    OPAQUE,
    SIZE,
    block,
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

FINE = 16
"""Speeds sideways, and the x of what falls, are kept in 1/16 units."""
THINGS = 8
FRUIT, GOLD, BOMB = 1, 2, 3
NEEDED = 20
TICKS = 2
GROUND = 3712
BASKET_Y, HALF, WALK = 3392, 360, 88
RADIUS = 150
LIVES = 3
STREAKS = 7

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("kind", np.int64, (THINGS,)),
        ("x", np.int64, (THINGS,)),
        ("y", np.int64, (THINGS,)),
        ("vx", np.int64, (THINGS,)),
        ("vy", np.int64, (THINGS,)),
        ("wind", np.int64),
        ("turn_to", np.int64),
        ("gust", np.int64),
        ("blown", np.int64),
        ("force", np.int64),
        ("pace", np.int64),
        ("speed", np.int64),
        ("bombs", np.int64),
        ("pause", np.int64),
        ("basket", np.int64),
        ("left", np.int64),
        ("lives", np.int64),
        ("flash", np.int64),
        ("clock", np.int64),
        ("sky", np.int64),
        ("haze", np.int64),
        ("hills", np.int64),
        ("grass", np.int64),
        ("fruit", np.int64),
        ("form", np.int64),
        ("weave", np.int64),
    ]
)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.force = between(state, 120, 400) + 250 * state.hard
    state.pace = between(state, 17, 23) - 4 * state.hard
    state.speed = between(state, 34, 44) + 12 * state.hard
    state.bombs = between(state, 20, 30) + 14 * state.hard
    base = between(state, 720, 1690)
    dusk = chance(state, 35)
    state.sky = hue(base, between(state, 110, 180), 95 if dusk else 235)
    state.haze = hue(base + between(state, -300, 300), between(state, 50, 110), 150 if dusk else 255)
    land = hue(base + between(state, 300, 700), 130, 150)
    state.hills = mix_colour(state.haze, land, 150)
    state.grass = hue(between(state, 300, 560), between(state, 120, 180), 120 if dusk else 190)
    state.fruit = hue(between(state, -90, 130), 220, 250)
    state.form = below(state, 3)
    state.weave = hue(between(state, 90, 180), 140, between(state, 170, 230))
    state.rng = seeded(seed)
    state.basket = SIZE // 2
    state.left, state.lives = NEEDED, LIVES
    turn(state)
    state.wind = state.turn_to


def turn(state: Any) -> None:
    """A new wind, blowing up gradually."""
    state.turn_to = between(state, -state.force, state.force)
    state.gust = between(state, 60, 160)


def drop(state: Any) -> None:
    """Something new in the sky, aimed so that it would land on the screen if the wind stayed."""
    for thing in range(THINGS):
        if state.kind[thing] == 0:
            kind = BOMB if chance(state, state.bombs) else GOLD if chance(state, 12) else FRUIT
            speed = state.speed + between(state, 0, 14) + 16 * (kind == GOLD)
            landing = between(state, 400, SIZE - 400) * FINE
            state.kind[thing] = kind
            state.y[thing] = -RADIUS
            state.vy[thing] = speed
            state.vx[thing] = state.wind
            start = landing - state.wind * (BASKET_Y + RADIUS) // speed
            state.x[thing] = max(RADIUS * FINE, min((SIZE - RADIUS) * FINE, start))
            return


def blow(state: Any, thing: int) -> None:
    """One tick of a falling thing: the wind takes it along; at the sides it bounces back."""
    state.vx[thing] += (state.wind - state.vx[thing]) // 12
    state.x[thing] += state.vx[thing]
    state.y[thing] += state.vy[thing]
    if state.x[thing] < RADIUS * FINE or state.x[thing] > (SIZE - RADIUS) * FINE:
        state.x[thing] = max(RADIUS * FINE, min((SIZE - RADIUS) * FINE, state.x[thing]))
        state.vx[thing] = -state.vx[thing]


def caught(state: Any, thing: int) -> bool:
    inside = BASKET_Y - 60 <= state.y[thing] < BASKET_Y + 180
    return bool(inside and abs(state.x[thing] // FINE - state.basket) < HALF)


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    for _ in range(TICKS):
        state.clock += 1
        state.flash = max(0, state.flash - 1)
        state.gust -= 1
        if state.gust <= 0:
            turn(state)
        state.wind += max(-8, min(8, state.turn_to - state.wind))
        state.blown += state.wind
        state.pause -= 1
        if state.pause <= 0:
            drop(state)
            state.pause = state.pace + below(state, 6)
        if keys & LEFT:
            state.basket = max(HALF, state.basket - WALK)
        if keys & RIGHT:
            state.basket = min(SIZE - HALF, state.basket + WALK)
        for thing in range(THINGS):
            if state.kind[thing] == 0:
                continue
            blow(state, thing)
            if caught(state, thing):
                if state.kind[thing] == BOMB:
                    state.lives -= 1
                    state.flash = 12
                    if state.lives == 0:
                        return reward, LOST
                else:
                    reward += 3 if state.kind[thing] == GOLD else 1
                    state.left -= 1
                    if state.left == 0:
                        return reward + 10, CLEARED
                state.kind[thing] = 0
            elif state.y[thing] > GROUND:
                state.kind[thing] = 0
    return reward, RUNNING


def landing(state: Any, thing: int) -> tuple[int, int]:
    """Where a thing would come down to the basket if the wind stayed, and in how many ticks."""
    ticks = max(0, (BASKET_Y - state.y[thing] + state.vy[thing] - 1) // state.vy[thing])
    x, vx = state.x[thing], state.vx[thing]
    for _ in range(ticks):
        vx += (state.wind - vx) // 12
        x += vx
        if x < RADIUS * FINE or x > (SIZE - RADIUS) * FINE:
            x, vx = max(RADIUS * FINE, min((SIZE - RADIUS) * FINE, x)), -vx
    return int(x // FINE), int(ticks)


def heuristic(state: Any) -> int:
    """Under the fruit that comes down first and can still be reached; away from bombs about to land."""
    target, soonest = state.basket, 1 << 30
    for thing in range(THINGS):
        if state.kind[thing] in (FRUIT, GOLD) and state.y[thing] < BASKET_Y + 100:
            x, ticks = landing(state, thing)
            reachable = abs(x - state.basket) - HALF + 60 <= WALK * (ticks + 1)
            cost = ticks - 30 * (state.kind[thing] == GOLD)
            if reachable and cost < soonest:
                target, soonest = x, cost
    for thing in range(THINGS):
        if state.kind[thing] == BOMB and state.y[thing] < BASKET_Y + 180:
            x, ticks = landing(state, thing)
            need = HALF + 60 - abs(state.basket - x)
            if ticks < 24 and need > -3 * WALK and need + 4 * WALK > WALK * ticks:
                aside = 1 if state.basket >= x else -1
                if (target - x) * aside < HALF + 60:
                    target = x + aside * (HALF + 150)
                if target > SIZE - HALF + 60:
                    target = x - HALF - 150
                if target < HALF - 60:
                    target = x + HALF + 150
    if target < state.basket - WALK:
        return LEFT
    return RIGHT if target > state.basket + WALK else 0


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.haze)
    fine = canvas.shape[0] >= 128
    draw_wind(state, canvas)
    ridge(canvas, 3500, 620, 2300, state.form * 900, state.hills)
    block(canvas, 0, GROUND - 64, SIZE, SIZE, mix_colour(state.grass, 0x000000, 60))
    block(canvas, 0, GROUND - 64, SIZE, GROUND + 64, state.grass)
    draw_pennant(state, canvas, fine)
    for thing in range(THINGS):
        if state.kind[thing] > 0:
            draw_thing(state, canvas, thing, state.x[thing] // FINE, state.y[thing], fine)
    draw_basket(state, canvas, fine)
    for fruit in range(NEEDED):
        full = fruit < NEEDED - state.left
        shade = state.fruit if full else mix_colour(state.grass, 0x000000, 110)
        block(canvas, 64 + 128 * fruit, SIZE - 160, 128 + 128 * fruit, SIZE - 96, shade)
    for life in range(state.lives):
        block(canvas, SIZE - 192 - 192 * life, SIZE - 192, SIZE - 64 - 192 * life, SIZE - 64, 0xFFFFFF)


def draw_wind(state: Any, canvas: Any) -> None:
    """Streaks that run with the wind, the longer the stronger it is."""
    for streak in range(STREAKS):
        y = 320 + streak * 1327 % 2700
        x = (state.blown // FINE * (3 + streak % 3) // 3 + streak * 1709) % (SIZE + 1200) - 600
        long = 64 + abs(state.wind) * 3 // 2
        rect(canvas, x - long, y, x + long, y + 64, 0xFFFFFF, 70)


def draw_pennant(state: Any, canvas: Any, fine: bool) -> None:
    """A pole whose pennant shows where the wind blows and how hard; on big pictures the grass leans too."""
    x = 256
    block(canvas, x - 32, 2624, x + 32, GROUND, 0xF4F6FF)
    tip = max(-700, min(700, state.wind * 2))
    sag = 400 - abs(tip) // 2
    triangle(canvas, x, 2640, x, 2880, x + tip, 2760 + sag, state.fruit, OPAQUE)
    if fine:
        for blade in range(48):
            foot = blade * 89 + blade * blade * 7 % 40
            lean = state.wind // 6 + (blade * 37 + state.clock * 3) % 16 - 8
            top = GROUND - 150 - blade * 29 % 60
            triangle(
                canvas, foot - 14, GROUND, foot + 14, GROUND, foot + lean, top,
                mix_colour(state.grass, 0xFFFFFF, blade * 17 % 50), OPAQUE,
            )  # fmt: skip


def draw_thing(state: Any, canvas: Any, thing: int, x: int, y: int, fine: bool) -> None:
    kind = state.kind[thing]
    colour = 0x23263A if kind == BOMB else 0xFFCB2E if kind == GOLD else state.fruit
    pear = kind != BOMB and state.form == 1
    disc(canvas, x, y, RADIUS, colour, OPAQUE)
    if pear:
        disc(canvas, x, y - 110, RADIUS * 5 // 8, colour, OPAQUE)
    if kind == BOMB:
        block(canvas, x - 32, y - RADIUS - 64, x + 32, y - RADIUS + 32, 0x8A8FA8)
        spark = 0xFFF3A0 if state.clock // 3 % 2 else 0xFF7A20
        block(canvas, x, y - RADIUS - 128, x + 64, y - RADIUS - 64, spark)
    else:
        block(canvas, x, y - RADIUS - 64 - 90 * pear, x + 64, y - RADIUS + 32 - 90 * pear, 0x3C8A3A)
    if fine:
        disc(canvas, x - 50, y - 50, 44, 0xFFFFFF, 60 if kind == BOMB else 130)
        if state.form == 2 and kind != BOMB:
            for pip in range(6):
                px, py = x - 70 + pip % 3 * 70, y - 20 + pip // 3 * 70
                disc(canvas, px, py, 14, 0xFFF0B0, 200)


def draw_basket(state: Any, canvas: Any, fine: bool) -> None:
    x, y = state.basket, BASKET_Y
    dark = mix_colour(state.weave, 0x000000, 90)
    body = 0xFF5040 if state.flash // 3 % 2 else state.weave
    if fine:
        round_rect(canvas, x - HALF + 40, y, x + HALF - 40, y + 340, 110, dark, OPAQUE)
        round_rect(canvas, x - HALF + 60, y, x + HALF - 60, y + 310, 100, body, OPAQUE)
        for band in range(5):
            rect(canvas, x - 260 + 120 * band, y + 40, x - 225 + 120 * band, y + 300, dark, 120)
        rect(canvas, x - HALF + 60, y + 160, x + HALF - 60, y + 190, dark, 120)
    else:
        block(canvas, x - HALF + 64, y + 64, x + HALF - 64, y + 320, dark)
        block(canvas, x - HALF + 64, y + 64, x + HALF - 64, y + 256, body)
    block(canvas, x - HALF, y, x + HALF, y + 80, mix_colour(state.weave, 0xFFFFFF, 90))


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("left", "none"), ("right", "none")),
    instruction="Catch the fruit with the basket, left and right arrows; leave the bombs, and mind the wind.",
)
