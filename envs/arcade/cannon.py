"""Cannon: set angle and power, mind the wind, and hit every target before the balls run out.

Levels differ in the hills, in where the targets stand and in colours; on hard there are four
targets instead of three for the same seven balls, and the wind blows harder. Whatever the wind,
some angle and power hit each target, so every level can be won. +5 a target, +1 for a ball that
comes down close to one, +10 for the last. The wind turns after each shot; the path of the last
ball stays in sight. One step is one notch of the angle or the power, and six ticks of flight.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, FIRE, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import (
    OPAQUE,
    SIZE,
    disc,
    gradient,
    hue,
    land,
    mix_colour,
    rect,
    ridge,
    round_rect,
    sine,
)
from universe2.envs.arcade.rng import below, between, seeded

SHIFT = 8
PITCH = 1 << SHIFT
POINTS = SIZE // PITCH + 1
TARGETS = 4
TICKS = 6
# Places and speeds are in 1/16 of a unit.
UNIT = 16
ANGLES, POWERS = 32, 16
GRAVITY = 12
REACH, CLOSE = 192, 480
BREEZE = 2
BARREL = 288
TRAIL = 32

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("tops", np.int64, (POINTS + 1,)),
        ("target_x", np.int64, (TARGETS,)),
        ("target_y", np.int64, (TARGETS,)),
        ("standing", np.int64, (TARGETS,)),
        ("left", np.int64),
        ("balls", np.int64),
        ("angle", np.int64),
        ("power", np.int64),
        ("wind", np.int64),
        ("flying", np.int64),
        ("x", np.int64),
        ("y", np.int64),
        ("vx", np.int64),
        ("vy", np.int64),
        ("trail_x", np.int64, (TRAIL,)),
        ("trail_y", np.int64, (TRAIL,)),
        ("trail", np.int64),
        ("boom", np.int64),
        ("boom_x", np.int64),
        ("boom_y", np.int64),
        ("sky", np.int64),
        ("haze", np.int64),
        ("hills", np.int64),
        ("earth", np.int64),
        ("grass", np.int64),
        ("mark", np.int64),
        ("metal", np.int64),
    ]
)


def lay_out(state: Any) -> None:
    """A ledge for the cannon, hills, and targets on small flats in parts of the right side."""
    ledge = between(state, 2700, 3500)
    for point in range(POINTS + 1):
        state.tops[point] = ledge if point < 4 else between(state, 2200, 3700)
    state.left = 3 + state.hard
    part = (POINTS - 6) // state.left
    for number in range(state.left):
        point = 6 + part * number + below(state, part - 1)
        # Not so deep behind a cliff that no ball falls steeply enough.
        top = min(between(state, 2500, 3600), state.tops[point - 1] + 600) // 64 * 64
        state.tops[point] = state.tops[point + 1] = top
        state.target_x[number] = point * PITCH + PITCH // 2
        state.target_y[number] = top - 192
        state.standing[number] = 1


def paint(state: Any) -> None:
    base = below(state, 1536)
    state.sky = hue(base, between(state, 90, 170), between(state, 170, 245))
    state.haze = hue(base + between(state, -260, 260), between(state, 40, 100), 250)
    ground = below(state, 1536)
    state.earth = hue(ground, between(state, 90, 140), between(state, 70, 110))
    state.grass = hue(ground + between(state, -150, 250), 160, between(state, 150, 210))
    state.hills = mix_colour(state.haze, state.earth, 90)
    state.mark = hue(base + 768 + between(state, -150, 150), 220, 240)
    state.metal = hue(below(state, 1536), 60, between(state, 50, 90))


def turn_wind(state: Any) -> None:
    strongest = BREEZE + state.hard
    state.wind = between(state, -strongest, strongest)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    paint(state)
    state.rng = seeded(seed)
    state.balls = 7
    state.angle, state.power = between(state, 4, ANGLES - 5), between(state, 2, POWERS - 3)
    turn_wind(state)


def across(angle: int) -> int:
    """4096 times the cosine of a notch of the angle, from 5 to 81 degrees."""
    return sine(256 + 14 + 7 * angle)


def upward(angle: int) -> int:
    """4096 times its sine."""
    return sine(14 + 7 * angle)


def speed(power: int) -> int:
    """Muzzle speed of a notch of the power."""
    return 400 + 48 * power


def top_at(state: Any, x: int) -> int:
    """World y of the ground at x."""
    i = x // PITCH
    return int(state.tops[i] + (state.tops[i + 1] - state.tops[i]) * (x - i * PITCH) // PITCH)


def struck(state: Any, x: int, y: int, reach: int) -> int:
    """The standing target within reach of a point, or -1."""
    for number in range(TARGETS):
        aside, above = abs(x - state.target_x[number]), abs(y - state.target_y[number])
        if state.standing[number] and max(aside, above) < reach:
            return number
    return -1


def down(state: Any, x: int, y: int) -> bool:
    """Has a ball at (x, y) met the ground or left the screen for good?"""
    return x < 0 or x >= SIZE or (y > 0 and y >= top_at(state, x))


def fire(state: Any) -> None:
    state.balls -= 1
    state.flying, state.trail = 1, 0
    state.x = (PITCH + across(state.angle) * BARREL // SIZE) * UNIT
    state.y = (state.tops[1] - 160 - upward(state.angle) * BARREL // SIZE) * UNIT
    state.vx = across(state.angle) * speed(state.power) // SIZE
    state.vy = -upward(state.angle) * speed(state.power) // SIZE


def fly(state: Any) -> int:
    """Six ticks of the ball; what it scored."""
    for _ in range(TICKS):
        state.vx += state.wind
        state.vy += GRAVITY
        state.x += state.vx
        state.y += state.vy
        x, y = state.x // UNIT, state.y // UNIT
        number = struck(state, x, y, REACH)
        if number < 0 and not down(state, x, y):
            continue
        state.flying = 0
        state.boom, state.boom_x, state.boom_y = 6, x, y
        turn_wind(state)
        if number < 0:
            return 1 if struck(state, x, y, CLOSE) >= 0 else 0
        state.standing[number] = 0
        state.left -= 1
        return 5
    if state.trail < TRAIL:
        state.trail_x[state.trail], state.trail_y[state.trail] = state.x // UNIT, state.y // UNIT
        state.trail += 1
    return 0


def step(state: Any, keys: int) -> tuple[int, int]:
    state.boom = max(0, state.boom - 1)
    state.angle += (1 if keys & UP else 0) - (1 if keys & DOWN else 0)
    state.angle = max(0, min(ANGLES - 1, state.angle))
    state.power += (1 if keys & RIGHT else 0) - (1 if keys & LEFT else 0)
    state.power = max(0, min(POWERS - 1, state.power))
    if keys & FIRE and not state.flying:
        fire(state)
    reward = fly(state) if state.flying else 0
    if state.left == 0:
        return reward + 10, CLEARED
    return reward, LOST if state.balls == 0 and not state.flying else RUNNING


def hits(state: Any, angle: int, power: int) -> bool:
    """Would a shot hit a target in the present wind?"""
    x = (PITCH + across(angle) * BARREL // SIZE) * UNIT
    y = (state.tops[1] - 160 - upward(angle) * BARREL // SIZE) * UNIT
    vx, vy = across(angle) * speed(power) // SIZE, -upward(angle) * speed(power) // SIZE
    while True:
        vx, vy = vx + state.wind, vy + GRAVITY
        x, y = x + vx, y + vy
        if struck(state, x // UNIT, y // UNIT, REACH) >= 0:
            return True
        if down(state, x // UNIT, y // UNIT):
            return False


def heuristic(state: Any) -> int:
    """Turn to the nearest setting that would hit, and fire."""
    if state.flying:
        return 0
    best, best_score = FIRE, ANGLES + POWERS
    for angle in range(ANGLES):
        for power in range(POWERS):
            score = abs(angle - state.angle) + abs(power - state.power)
            if score < best_score and hits(state, angle, power):
                best_score = score
                best = UP if angle > state.angle else DOWN if angle < state.angle else FIRE
                if best == FIRE and power != state.power:
                    best = RIGHT if power > state.power else LEFT
    return int(best)


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.haze)
    fine = canvas.shape[0] >= 128
    if fine:
        ridge(canvas, 2900, 900, 2300, state.target_x[0], state.hills)
    land(canvas, state.tops, SHIFT, state.grass, state.earth)
    for number in range(TARGETS):
        if state.standing[number]:
            draw_target(state, canvas, state.target_x[number], state.target_y[number], fine)
    draw_cannon(state, canvas, fine)
    for place in range(state.trail + state.flying):
        ball = place == state.trail
        x = state.x // UNIT if ball else state.trail_x[place]
        y = state.y // UNIT if ball else state.trail_y[place]
        half = 80 if ball else 32
        tone = 0x14102A if ball else 0xFFFFFF
        if ball and y < 64:
            # Above the screen: a hand at its upper edge.
            y, half = 64, 64
        if fine:
            disc(canvas, x, y, half, tone, OPAQUE if ball else 150)
        else:
            x, y = x - x % 32, y - y % 32
            rect(canvas, x - half, y - half, x + half, y + half, tone, OPAQUE if ball else 150)
    if state.boom > 0:
        grow = 352 - 48 * state.boom
        disc(canvas, state.boom_x, state.boom_y, grow, 0xFFE9A0, 40 * state.boom)
    draw_signs(state, canvas)


def draw_target(state: Any, canvas: Any, x: int, y: int, fine: bool) -> None:
    """Rings, on a post."""
    rect(canvas, x - 32, y, x + 32, y + 192, state.metal, OPAQUE)
    for ring in range(3):
        half = 192 - 64 * ring
        tone = 0xFFFFFF if ring == 1 else state.mark
        if fine:
            disc(canvas, x, y, half, tone, OPAQUE)
        else:
            rect(canvas, x - half, y - half, x + half, y + half, tone, OPAQUE)


def draw_cannon(state: Any, canvas: Any, fine: bool) -> None:
    """A barrel of dots, longer ones beyond it for the power, and a wheel."""
    x, y = PITCH, state.tops[1] - 160
    dx, dy = across(state.angle), -upward(state.angle)
    for dot in range(12):
        far = 48 * dot if dot < 7 else BARREL + (dot - 6) * (28 + 8 * state.power)
        cx, cy = x + dx * far // SIZE, y + dy * far // SIZE
        half, tone = (88, state.metal) if dot < 7 else (32, 0xFFFFFF)
        if fine:
            disc(canvas, cx, cy, half, tone, OPAQUE if dot < 7 else 190)
        elif dot % 2 == 0 or dot > 6:
            cx, cy = cx - cx % 32, cy - cy % 32
            rect(canvas, cx - half // 32 * 32, cy - 64, cx + 64, cy + half // 32 * 32, tone, OPAQUE)
    for part in range(2):
        half, tone = (128, mix_colour(state.metal, 0, 120)) if part == 0 else (64, state.mark)
        round_rect(canvas, x - half, y + 32 - half, x + half, y + 32 + half, half, tone, OPAQUE)


def draw_signs(state: Any, canvas: Any) -> None:
    """Above, the wind: an arrow from the middle to where it blows; below, the balls that are left."""
    middle, far, way = SIZE // 2, 256 * state.wind, 1 if state.wind > 0 else -1
    for part in range(4 if state.wind else 1):
        x0, x1, half, tone = middle, middle + far, 64, 0xFFFFFF
        if part == 0:
            x0, x1, half, tone = middle - 64 * way, middle, 128, mix_colour(state.sky, 0x000000, 120)
        elif part > 1:
            x0 = middle + far + (part - 2) * 64 * way
            x1, half = x0 + 64 * way, 192 - 64 * (part - 2)
        rect(canvas, min(x0, x1), 256 - half, max(x0, x1), 256 + half, tone, OPAQUE)
    for ball in range(state.balls):
        x = 64 + 128 * ball
        rect(canvas, x, SIZE - 128, x + 64, SIZE - 64, 0xFFFFFF, OPAQUE)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(
        ("none", "none"),
        ("up", "none"),
        ("down", "none"),
        ("left", "none"),
        ("right", "none"),
        ("none", "Space"),
    ),
    instruction="Hit all targets: up and down set the angle, left and right the power, Space fires.",
)
