"""Dodger: gather fuel in an asteroid field with a ship that keeps its speed.

Levels differ in the number, the sizes and the speed of the asteroids and in the look of space; hard
ones have more and faster asteroids and comets that are aimed at the ship. An arrow is a push; the
ship glides on and bounces off the edges of the screen. +1 a fuel cell, +10 for the last one. A hit
costs one of three shields and a moment of safety follows. Asteroids leave wide gaps and are never
all at one place, so every level can be cleared. One step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, SIZE, blend, block, disc, gradient, hue, mix_colour, triangle
from universe2.envs.arcade.rng import below, between, chance, seeded

FINE = 16
"""Positions and speeds of the ship are kept in 1/16 units."""
ROCKS = 10
STARS = 18
CELLS = 12
TICKS = 2
SHIP, CELL = 130, 120
PUSH, DRAG = 5 * FINE, 40
SHIELDS, SAFE = 3, 40
AHEAD = 18

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("rocks", np.int64),
        ("pace", np.int64),
        ("x", np.int64),
        ("y", np.int64),
        ("vx", np.int64),
        ("vy", np.int64),
        ("nose", np.int64),
        ("flame", np.int64),
        ("rock_x", np.int64, (ROCKS,)),
        ("rock_y", np.int64, (ROCKS,)),
        ("rock_vx", np.int64, (ROCKS,)),
        ("rock_vy", np.int64, (ROCKS,)),
        ("radius", np.int64, (ROCKS,)),
        ("fuel_x", np.int64),
        ("fuel_y", np.int64),
        ("left", np.int64),
        ("shields", np.int64),
        ("safe", np.int64),
        ("clock", np.int64),
        ("sky", np.int64),
        ("haze", np.int64),
        ("stone", np.int64),
        ("hull", np.int64),
        ("fuel", np.int64),
        ("planet", np.int64),
        ("planet_x", np.int64),
        ("planet_y", np.int64),
        ("stars", np.int64, (STARS,)),
    ]
)


def launch(state: Any, rock: int) -> None:
    """An asteroid from a place outside the screen towards one inside; on hard some are aimed at the ship."""
    radius = state.radius[rock]
    along, side = below(state, SIZE), below(state, 4)
    x = along if side < 2 else -radius if side == 2 else SIZE + radius
    y = along if side >= 2 else -radius if side == 0 else SIZE + radius
    tx, ty = between(state, 700, SIZE - 700), between(state, 700, SIZE - 700)
    if state.hard and chance(state, 30):
        tx, ty = state.x // FINE, state.y // FINE
    # The smaller ones are faster.
    speed = state.pace + between(state, 0, 16) + (300 - radius) // 8
    far = max(1, abs(tx - x) + abs(ty - y))
    state.rock_x[rock], state.rock_y[rock] = x, y
    state.rock_vx[rock], state.rock_vy[rock] = (tx - x) * speed // far, (ty - y) * speed // far


def place_fuel(state: Any) -> None:
    """The next fuel cell, away from the ship."""
    for _ in range(8):
        state.fuel_x, state.fuel_y = between(state, 400, SIZE - 400), between(state, 400, SIZE - 400)
        if abs(state.fuel_x - state.x // FINE) + abs(state.fuel_y - state.y // FINE) > 1200:
            return


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.rocks = between(state, 6, 8) + 2 * state.hard
    state.pace = between(state, 20, 36) + 14 * state.hard
    for rock in range(state.rocks):
        state.radius[rock] = between(state, 130, 300)
    base = below(state, 1536)
    state.sky = hue(base, 190, between(state, 16, 45))
    state.haze = hue(base + between(state, 150, 350), 170, between(state, 50, 95))
    state.stone = hue(base + between(state, 500, 1000), between(state, 25, 80), between(state, 160, 205))
    state.hull = hue(base + 768, between(state, 20, 90), 255)
    state.fuel = hue(base + 768 + between(state, -200, 200), 200, 255)
    state.planet = hue(base + between(state, 100, 500), 130, between(state, 110, 170))
    state.planet_x, state.planet_y = between(state, 300, SIZE - 300), between(state, 300, SIZE - 300)
    for star in range(STARS):
        state.stars[star] = below(state, SIZE) * SIZE + below(state, SIZE)
    state.rng = seeded(seed)
    state.x, state.y = SIZE // 2 * FINE, SIZE // 2 * FINE
    state.nose = UP
    state.left, state.shields, state.safe = CELLS, SHIELDS, SAFE
    for rock in range(state.rocks):
        launch(state, rock)
    place_fuel(state)


def glide(place: int, speed: int, push: int) -> tuple[int, int]:
    """One tick along one axis: the new place and speed, in 1/16 units. The edges throw the ship back."""
    speed += push
    speed -= speed // DRAG
    place += speed
    low, high = SHIP * FINE, (SIZE - SHIP) * FINE
    if place < low:
        return 2 * low - place, abs(speed) // 2
    if place > high:
        return 2 * high - place, -(abs(speed) // 2)
    return place, speed


def pushes(keys: int) -> tuple[int, int]:
    x = (PUSH if keys & RIGHT else 0) - (PUSH if keys & LEFT else 0)
    y = (PUSH if keys & DOWN else 0) - (PUSH if keys & UP else 0)
    return x, y


def hit(state: Any, rock: int, x: int, y: int, time: int, margin: int) -> bool:
    """Will a ship at (x, y) be within ``margin`` of an asteroid in ``time`` ticks?"""
    dx = state.rock_x[rock] + state.rock_vx[rock] * time - x
    dy = state.rock_y[rock] + state.rock_vy[rock] * time - y
    reach = state.radius[rock] + SHIP + margin
    return bool(dx * dx + dy * dy < reach * reach)


def drift(state: Any) -> bool:
    """One tick of the asteroids; True if one has struck the ship."""
    struck = False
    for rock in range(state.rocks):
        x, y = state.rock_x[rock] + state.rock_vx[rock], state.rock_y[rock] + state.rock_vy[rock]
        state.rock_x[rock], state.rock_y[rock] = x, y
        radius = state.radius[rock]
        if x < -radius or x > SIZE + radius or y < -radius or y > SIZE + radius:
            launch(state, rock)
        elif state.safe == 0 and hit(state, rock, state.x // FINE, state.y // FINE, 0, -30):
            struck = True
            launch(state, rock)
    return struck


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    push_x, push_y = pushes(keys)
    state.flame = keys
    if keys:
        state.nose = keys
    for _ in range(TICKS):
        state.clock += 1
        state.safe = max(0, state.safe - 1)
        state.x, state.vx = glide(state.x, state.vx, push_x)
        state.y, state.vy = glide(state.y, state.vy, push_y)
        gap = abs(state.x // FINE - state.fuel_x) + abs(state.y // FINE - state.fuel_y)
        if gap < SHIP + CELL + 60:
            reward += 1
            state.left -= 1
            if state.left == 0:
                return reward + 10, CLEARED
            place_fuel(state)
        if drift(state):
            state.shields -= 1
            state.safe = SAFE
            if state.shields == 0:
                return reward, LOST
    return reward, RUNNING


def prospect(state: Any, keys: int) -> int:
    """What holding ``keys`` for one step is worth: far from asteroids, and gliding towards the fuel."""
    x, y, vx, vy = state.x, state.y, state.vx, state.vy
    push_x, push_y = pushes(keys)
    worth = 0
    for time in range(1, AHEAD + 1):
        if time == 2 * TICKS + 1:
            push_x, push_y = 0, 0
        x, vx = glide(x, vx, push_x)
        y, vy = glide(y, vy, push_y)
        if time < state.safe:
            continue
        for rock in range(state.rocks):
            if hit(state, rock, x // FINE, y // FINE, time, 60):
                worth -= 60000 // (time + 4)
    # Where it would come to rest if it braked from here on.
    rest_x = x // FINE + vx * abs(vx) // (2 * PUSH * FINE)
    rest_y = y // FINE + vy * abs(vy) // (2 * PUSH * FINE)
    return int(worth - abs(rest_x - state.fuel_x) - abs(rest_y - state.fuel_y))


def heuristic(state: Any) -> int:
    """Of the nine pushes, the one with the best prospect."""
    best, best_worth = 0, -(1 << 40)
    for choice in range(9):
        across, along = choice % 3, choice // 3
        keys = (LEFT if across == 1 else RIGHT if across == 2 else 0) | (
            UP if along == 1 else DOWN if along == 2 else 0
        )
        worth = prospect(state, keys)
        if worth > best_worth:
            best, best_worth = keys, worth
    return best


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.haze)
    fine = canvas.shape[0] >= 128
    draw_space(state, canvas, fine)
    pulse = 12 * abs(state.clock // 2 % 8 - 4)
    for ring in range(3):
        glow = 60 if ring == 0 else OPAQUE
        radius = CELL + 90 if ring == 0 else CELL + pulse // 2 - 50 * (ring - 1)
        if ring > 0 or fine:
            disc(canvas, state.fuel_x, state.fuel_y, radius, 0xFFFFFF if ring == 2 else state.fuel, glow)
    for rock in range(state.rocks):
        draw_rock(state, canvas, rock, fine)
    draw_ship(state, canvas, state.x // FINE, state.y // FINE, fine)
    for gauge in range(CELLS):
        lit = gauge < CELLS - state.left
        colour = state.fuel if lit else mix_colour(state.haze, 0xFFFFFF, 40)
        block(canvas, 64 + 128 * gauge, 64, 128 + 128 * gauge, 128, colour)
    for shield in range(state.shields):
        block(canvas, SIZE - 192 - 192 * shield, 64, SIZE - 64 - 192 * shield, 192, state.hull)


def draw_space(state: Any, canvas: Any, fine: bool) -> None:
    """Stars, and a planet in the distance."""
    height, width = canvas.shape
    for star in range(STARS):
        x, y = state.stars[star] // SIZE, state.stars[star] % SIZE
        if fine:
            disc(canvas, x, y, 8 + 3 * (star % 4), 0xFFFFFF, 90 + 25 * (star % 6))
        else:
            blend(canvas, x * width // SIZE, y * height // SIZE, 0xFFFFFF, 50 + 14 * (star % 6))
    shade = mix_colour(state.planet, state.sky, 110)
    disc(canvas, state.planet_x, state.planet_y, 420, shade, OPAQUE)
    if fine:
        disc(canvas, state.planet_x - 70, state.planet_y - 70, 320, state.planet, 160)


def draw_rock(state: Any, canvas: Any, rock: int, fine: bool) -> None:
    """Light comes from the upper left."""
    x, y, radius = state.rock_x[rock], state.rock_y[rock], state.radius[rock]
    dark = mix_colour(state.stone, 0x000000, 130)
    if fine:
        for bump in range(5):
            turn = bump * 5 + rock * 3 + state.clock // 8
            dx, dy = (turn * 37 % 13 - 6) * radius // 13, (turn * 53 % 11 - 5) * radius // 11
            disc(canvas, x + dx, y + dy, radius * 3 // 5, dark, OPAQUE)
    disc(canvas, x, y, radius, dark if fine else mix_colour(state.stone, dark, 80), OPAQUE)
    if fine:
        disc(canvas, x - radius // 6, y - radius // 6, radius * 3 // 4, state.stone, OPAQUE)
        for crater in range(3):
            dx = ((rock + crater) * 71 % 9 - 5) * radius // 12
            dy = ((rock + crater) * 31 % 9 - 5) * radius // 12
            disc(canvas, x + dx, y + dy, radius // 6 + 10 * crater, dark, 120)
    else:
        block(canvas, x - radius // 2, y - radius // 2, x + radius // 4, y + radius // 4, state.stone)


def draw_ship(state: Any, canvas: Any, x: int, y: int, fine: bool) -> None:
    if state.safe // 4 % 2 == 1:
        return
    nose = state.nose
    dx = (1 if nose & RIGHT else 0) - (1 if nose & LEFT else 0)
    dy = (1 if nose & DOWN else 0) - (1 if nose & UP else 0)
    long = 230 if dx == 0 or dy == 0 else 163
    ax, ay = dx * long, dy * long
    if state.flame:
        flare = 2 + state.clock % 2
        triangle(
            canvas, x - ax // 2 - ay // 3, y - ay // 2 + ax // 3, x - ax // 2 + ay // 3,
            y - ay // 2 - ax // 3, x - ax * flare // 2, y - ay * flare // 2, 0xFF9A3C, 230,
        )  # fmt: skip
    for part in range(2):
        # The hull, then its far half in shade.
        left = -2 if part == 0 else 0
        triangle(
            canvas, x + ax, y + ay, x - ax * 3 // 4 - ay * left // 3, y - ay * 3 // 4 + ax * left // 3,
            x - ax * 3 // 4 - ay * 2 // 3, y - ay * 3 // 4 + ax * 2 // 3,
            mix_colour(state.hull, state.sky, 110) if part else state.hull, OPAQUE,
        )  # fmt: skip
        if not fine:
            break
    if fine:
        disc(canvas, x, y, 60, 0x2A6CFF, OPAQUE)


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
        ("down-right", "none"),
        ("down-left", "none"),
    ),
    instruction="Fly to the fuel cells and dodge the asteroids: arrows push the ship, which glides on.",
)
