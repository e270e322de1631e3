"""Lander: bring the ship down gently on one pad after the other, before the fuel is spent.

Levels differ in the mountains, in where the pads lie and in which order they are lit, in gravity
and in colours; on hard there are three narrow pads instead of two, and a steady wind. A
pad lies flat under open sky and the tank lasts for several crossings, so every level can be won.
+1 for each eighth of the screen nearer sideways to the lit pad than ever before, +5 for a landing
on it, which fills the tank, +10 for the last. Touching anything else, or a pad too fast, is the
end. One step is three ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import (
    OPAQUE,
    SIZE,
    blend,
    disc,
    gradient,
    hue,
    land,
    mix_colour,
    rect,
    round_rect,
    triangle,
)
from universe2.envs.arcade.rng import below, between, chance, seeded

SHIFT = 8
PITCH = 1 << SHIFT
POINTS = SIZE // PITCH + 1
PADS = 3
TICKS = 3
# Places and speeds are in 1/16 of a unit.
UNIT = 16
THRUST, PUSH = 24, 9
SOFT, STRAIGHT, FASTEST = 15 * UNIT, 9 * UNIT, 56 * UNIT
HALF, STANCE, FEET = 192, 128, 224
LEG = 512
STARS = 18

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("tops", np.int64, (POINTS + 1,)),
        ("pads", np.int64, (PADS,)),
        ("count", np.int64),
        ("wide", np.int64),
        ("landed", np.int64),
        ("x", np.int64),
        ("y", np.int64),
        ("vx", np.int64),
        ("vy", np.int64),
        ("gravity", np.int64),
        ("wind", np.int64),
        ("tank", np.int64),
        ("fuel", np.int64),
        ("nearest", np.int64),
        ("burning", np.int64),
        ("clock", np.int64),
        ("sky", np.int64),
        ("glow", np.int64),
        ("rock", np.int64),
        ("crust", np.int64),
        ("hull", np.int64),
        ("lamp", np.int64),
        ("stars", np.int64, (STARS,)),
    ]
)
# pads: the first point of each, in the order in which they are lit; wide: how many points further
# the other end lies.


def lay_out(state: Any) -> None:
    """Mountains, and a flat pad in each part of the screen."""
    for point in range(POINTS + 1):
        state.tops[point] = between(state, 2300, 3700)
    state.count, state.wide = 2 + state.hard, 3 - state.hard
    part = (POINTS - 1) // state.count
    first = below(state, state.count)
    for number in range(state.count):
        start = part * ((first + number) % state.count) + below(state, part - state.wide)
        height = between(state, 2700, 3700) // 64 * 64
        for point in range(start, start + state.wide + 1):
            state.tops[point] = height
        state.pads[number] = start


def paint(state: Any) -> None:
    base = below(state, 1536)
    state.sky = hue(base, 180, between(state, 20, 46))
    state.glow = hue(base + between(state, 120, 420), between(state, 130, 190), between(state, 110, 180))
    land_hue = base + between(state, 300, 1100)
    state.rock = hue(land_hue, between(state, 70, 150), between(state, 60, 100))
    state.crust = hue(land_hue + 60, between(state, 60, 130), between(state, 150, 210))
    state.hull = hue(base + 768, between(state, 10, 60), 245)
    state.lamp = hue(below(state, 3) * 256 + between(state, 200, 300), 200, 255)
    for star in range(STARS):
        state.stars[star] = below(state, SIZE) * SIZE + below(state, SIZE * 5 // 8)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    paint(state)
    state.gravity = between(state, 8, 12)
    state.wind = between(state, 1, 2) * (1 if chance(state, 50) else -1) * state.hard
    state.tank = 500
    state.fuel = state.tank
    state.rng = seeded(seed)
    state.x, state.y = between(state, 400, SIZE - 400) * UNIT, 560 * UNIT
    state.vx = between(state, -10, 10) * UNIT
    state.nearest = distance(state)


def middle(state: Any) -> int:
    """World x of the middle of the lit pad."""
    return int(state.pads[state.landed] * PITCH + state.wide * PITCH // 2)


def distance(state: Any) -> int:
    """How far the ship is from above the lit pad."""
    return int(abs(state.x // UNIT - middle(state)))


def top_at(state: Any, x: int) -> int:
    """World y of the ground at x."""
    i = x // PITCH
    return int(state.tops[i] + (state.tops[i + 1] - state.tops[i]) * (x - i * PITCH) // PITCH)


def fly(state: Any, keys: int) -> None:
    """One tick of engines, gravity and wind; the screen's sides stop the ship."""
    state.burning = keys & (UP | LEFT | RIGHT) if state.fuel > 0 else 0
    state.vy += state.gravity
    state.vx += state.wind
    if state.burning & UP:
        state.vy -= THRUST
        state.fuel -= 2
    if state.burning & (LEFT | RIGHT):
        state.vx += PUSH if state.burning & RIGHT else -PUSH
        state.fuel -= 1
    state.fuel = max(0, state.fuel)
    state.vx = max(-FASTEST, min(FASTEST, state.vx))
    state.vy = max(-FASTEST, min(FASTEST, state.vy))
    state.x += state.vx
    state.y += state.vy
    if not HALF * UNIT <= state.x <= (SIZE - HALF) * UNIT:
        state.x, state.vx = max(HALF * UNIT, min((SIZE - HALF) * UNIT, state.x)), 0
    if state.y < 240 * UNIT:
        state.y, state.vy = 240 * UNIT, max(0, state.vy)


def touch_down(state: Any) -> tuple[int, int]:
    """What comes of the ship's feet meeting the ground, if they do."""
    x, feet = state.x // UNIT, state.y // UNIT + FEET
    if feet < min(top_at(state, x - HALF), top_at(state, x), top_at(state, x + HALF)):
        return 0, RUNNING
    for number in range(state.count):
        left = state.pads[number] * PITCH
        on_pad = left <= x - STANCE and x + STANCE <= left + state.wide * PITCH
        if on_pad and state.vy <= SOFT and abs(state.vx) <= STRAIGHT:
            state.y, state.vx, state.vy = (state.tops[state.pads[number]] - FEET) * UNIT, 0, 0
            if number != state.landed:
                return 0, RUNNING
            state.landed += 1
            state.fuel = state.tank
            if state.landed == state.count:
                state.landed -= 1
                return 15, CLEARED
            state.nearest = distance(state)
            return 5, RUNNING
    return 0, LOST


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    for _ in range(TICKS):
        state.clock += 1
        fly(state, keys)
        gained, outcome = touch_down(state)
        reward += gained
        if outcome != RUNNING:
            return reward, outcome
        near = distance(state)
        if near < state.nearest:
            reward += state.nearest // LEG - near // LEG
            state.nearest = near
    return reward, RUNNING


def heuristic(state: Any) -> int:
    """Fly above the mountains to the lit pad, then sink ever more slowly."""
    x, y, keys = state.x // UNIT, state.y // UNIT, 0
    aside = middle(state) - x
    wanted = max(-30, min(30, aside // 30)) * UNIT - state.wind * 12
    ceiling = state.tops[state.pads[state.landed]] - FEET
    if abs(aside) > state.wide * PITCH // 2 - STANCE - 24:
        low, high = min(x, x + aside) - 2 * HALF, max(x, x + aside) + 2 * HALF
        for point in range(max(0, low // PITCH), min(POINTS - 1, high // PITCH + 1) + 1):
            ceiling = min(ceiling, state.tops[point] - FEET)
        ceiling -= 240
        if y > ceiling + 120:
            # Straight up first.
            wanted = -state.wind * 12
    if state.vx < wanted - 24:
        keys |= RIGHT
    elif state.vx > wanted + 24:
        keys |= LEFT
    sink = max(-26, min(28, (ceiling - y) // 20 + 3)) * UNIT
    if state.vy + state.gravity * TICKS > sink:
        keys |= UP
    return keys


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.glow)
    fine = canvas.shape[0] >= 128
    height, width = canvas.shape
    for star in range(STARS):
        x, y = state.stars[star] // SIZE, state.stars[star] % SIZE
        if fine:
            disc(canvas, x, y, 9 + 3 * (star % 4), 0xFFFFFF, 90 + 25 * (star % 6))
        else:
            blend(canvas, x * width // SIZE, y * height // SIZE, 0xFFFFFF, 50 + 20 * (star % 6))
    land(canvas, state.tops, SHIFT, state.crust, state.rock)
    for number in range(state.count):
        draw_pad(state, canvas, number)
    draw_ship(state, canvas, fine)
    low = state.fuel * 4 < state.tank
    for part in range(2):
        length = 3840 if part == 0 else 3840 * state.fuel // state.tank
        tone = 0xFF4A4A if low else state.lamp
        rect(canvas, 128, 64, 128 + length, 192, tone if part else 0x000000, OPAQUE if part else 110)


def draw_pad(state: Any, canvas: Any, number: int) -> None:
    """A slab with a lamp at each end; the lit one has beams above it."""
    left, top = state.pads[number] * PITCH, state.tops[state.pads[number]]
    lit = number == state.landed
    tone = state.lamp if lit else 0x9097A8
    for part in range(4):
        x0, x1, y0, y1 = left, left + state.wide * PITCH, top, top + 128
        shade, alpha = tone, OPAQUE
        if part == 1:
            y0, shade = top + 64, mix_colour(tone, 0x100820, 130)
        elif part > 1:
            x0 = left if part == 2 else x1 - 64
            x1, y1 = x0 + 64, top
            y0, alpha = top - (448 if lit else 64), 150 if lit else OPAQUE
        rect(canvas, x0, y0, x1, y1, shade, alpha)


def draw_ship(state: Any, canvas: Any, fine: bool) -> None:
    """Flames: below, and on the side away from where the ship is pushed; then the ship."""
    x, y = state.x // UNIT, state.y // UNIT
    flicker = 64 * (state.clock % 3)
    for part in range(3):
        side = 1 if part == 1 else -1
        if state.burning & (UP if part == 0 else LEFT if part == 1 else RIGHT):
            x0, x1, y0, y1 = x - 64, x + 64, y + 128, y + 320 + flicker
            if part > 0:
                inner, outer = x + side * 192, x + side * (320 + flicker // 2)
                x0, x1, y0, y1 = min(inner, outer), max(inner, outer), y - 32, y + 32
            if fine and part == 0:
                triangle(canvas, x0 - 24, y0, x1 + 24, y0, x, y1 + 120, 0xFF8A2A, OPAQUE)
            rect(canvas, x0, y0, x1, y1, 0xFFE08A, 230)
    dark = mix_colour(state.hull, 0x101830, 130)
    for part in range(6):
        x0, y0, x1, y1, tone = x - 160, y - 64, x + 160, y + 96, state.hull
        if part < 2:
            x0 = x - HALF if part == 0 else x + HALF - 64
            x1, y0, y1, tone = x0 + 64, y + 32, y + FEET, dark
        elif part == 3:
            y0, y1, tone = y + 64, y + 128, dark
        elif part == 4:
            x0, x1, y0, y1 = x - 96, x + 96, y - 192, y - 64
        elif part == 5:
            x0, x1, y0, y1, tone = x - 64, x + 64, y - 128, y, mix_colour(state.glow, 0xC8F4FF, 100)
        if fine:
            round_rect(canvas, x0, y0, x1, y1, 24 if part < 2 else 64 if part != 4 else 96, tone, OPAQUE)
        else:
            rect(canvas, x0, y0, x1, y1, tone, OPAQUE)
    if fine:
        disc(canvas, x - 24, y - 92, 20, 0xFFFFFF, 200)


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
        ("up-right", "none"),
        ("up-left", "none"),
    ),
    instruction="Land gently on the lit pads: the up arrow fires the engine, left and right push aside.",
)
