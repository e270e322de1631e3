"""Tower: drop each swinging block onto the tower and build up to the top.

Levels differ in the width and the place of the foundation, in how fast the blocks swing and in
colours; hard towers are higher, thinner and faster. What sticks out is cut off, so that the next
block is narrower; within a pixel of its place the block snaps into it and nothing is lost. In a
step no block swings further than from one side of that range to the other, so every floor can be
set perfectly. +1 a floor, +1 more for a perfect one, +10 for the last; three blocks may miss. One
step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, FIRE, LOST, RUNNING, Game
from universe2.envs.arcade.kit import OPAQUE, SIZE, blend, disc, gradient, hue, mix_colour, rect
from universe2.envs.arcade.rng import below, between, chance, seeded

FLOORS = 20
TICKS = 2
BLOCK = 256
GROUND = 3712
PIXEL = 64
SNAP = PIXEL
TOP_LINE = 2048
WAIT, MISSES = 8, 3
HOUSES, STARS = 10, 20

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("left", np.int64, (FLOORS + 1,)),
        ("right", np.int64, (FLOORS + 1,)),
        ("floors", np.int64),
        ("goal", np.int64),
        ("base_width", np.int64),
        ("x", np.int64),
        ("way", np.int64),
        ("speed", np.int64),
        ("wait", np.int64),
        ("misses", np.int64),
        ("flash", np.int64),
        ("scrap_x0", np.int64),
        ("scrap_x1", np.int64),
        ("scrap_y", np.int64),
        ("scrap_fall", np.int64),
        ("camera", np.int64),
        ("paint", np.int64),
        ("spread", np.int64),
        ("vivid", np.int64),
        ("low", np.int64),
        ("middle", np.int64),
        ("high", np.int64),
        ("earth", np.int64),
        ("houses", np.int64, (HOUSES,)),
        ("stars", np.int64, (STARS,)),
    ]
)


def swing(state: Any) -> None:
    """A new block comes in from one side, after a short wait."""
    width = state.right[state.floors] - state.left[state.floors]
    state.way = 1 if chance(state, 50) else -1
    state.x = between(state, 0, 384)
    if state.way < 0:
        state.x = SIZE - width - state.x
    state.wait = WAIT


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.goal = FLOORS if state.hard else 12
    state.base_width = (between(state, 8, 11) - 3 * state.hard) * 2 * PIXEL
    state.speed = between(state, 30, 46) + 16 * state.hard
    state.left[0] = between(state, 12, 28) * PIXEL + (22 * PIXEL - state.base_width) // 2
    state.right[0] = state.left[0] + state.base_width
    base = below(state, 1536)
    state.paint, state.spread = below(state, 1536), between(state, 24, 90)
    state.vivid = between(state, 120, 190)
    state.low = hue(base + between(state, 100, 300), between(state, 60, 130), 250)
    state.middle = hue(base, between(state, 120, 180), between(state, 170, 230))
    state.high = hue(base - between(state, 60, 200), 190, between(state, 28, 50))
    state.earth = hue(below(state, 1536), 130, between(state, 90, 140))
    for house in range(HOUSES):
        state.houses[house] = between(state, 3, 16) * PIXEL
    for star in range(STARS):
        state.stars[star] = below(state, SIZE) * SIZE + below(state, SIZE)
    state.rng = seeded(seed)
    swing(state)


def drop(state: Any) -> int:
    """Let the block go; what it scored: 0 is a miss."""
    x0, x1 = state.left[state.floors], state.right[state.floors]
    # Floors end on whole pixels.
    width, aside = x1 - x0, (state.x - x0 + PIXEL // 2) // PIXEL * PIXEL
    state.scrap_y, state.scrap_fall = GROUND - (state.floors + 2) * BLOCK, 0
    state.scrap_x0, state.scrap_x1 = state.x, state.x + width
    if abs(aside) >= width:
        return 0
    state.floors += 1
    if abs(state.x - x0) <= SNAP:
        wider = PIXEL if width < state.base_width else 0
        state.left[state.floors], state.right[state.floors] = x0 - wider, x1
        state.scrap_x1 = state.scrap_x0
        state.flash = 8
        return 2
    state.left[state.floors], state.right[state.floors] = max(x0, x0 + aside), min(x1, x1 + aside)
    if aside > 0:
        state.scrap_x0 = x1
    else:
        state.scrap_x1 = x0
    return 1


def tick(state: Any) -> None:
    """What moves by itself: the block, the scrap that falls, the camera."""
    state.flash = max(0, state.flash - 1)
    state.scrap_fall += 12
    state.scrap_y = min(2 * SIZE, state.scrap_y + state.scrap_fall)
    if GROUND - (state.floors + 1) * BLOCK + state.camera < TOP_LINE:
        state.camera += 16
    if state.wait > 0:
        state.wait -= 1
        return
    space = SIZE - (state.right[state.floors] - state.left[state.floors])
    state.x += state.way * state.speed
    if state.x < 0:
        state.x, state.way = -state.x, 1
    elif state.x > space:
        state.x, state.way = 2 * space - state.x, -1


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    if keys & FIRE and state.wait == 0:
        reward = drop(state)
        if state.floors == state.goal:
            return reward + 10, CLEARED
        state.misses += 1 if reward == 0 else 0
        if state.misses == MISSES:
            return 0, LOST
        swing(state)
    for _ in range(TICKS):
        tick(state)
    return reward, RUNNING


def heuristic(state: Any) -> int:
    """Let go as soon as the block would snap into place."""
    return FIRE if state.wait == 0 and abs(state.x - state.left[state.floors]) <= SNAP else 0


def draw(state: Any, canvas: Any) -> None:
    fine = canvas.shape[0] >= 128
    climb = min(256, state.camera * 256 // (BLOCK * (FLOORS - 6)))
    top = mix_colour(state.middle, state.high, min(256, 2 * climb))
    gradient(canvas, top, mix_colour(state.low, mix_colour(state.middle, state.high, 100), climb))
    draw_backdrop(state, canvas, climb, fine)
    first = max(0, (state.camera + GROUND - SIZE) // BLOCK - 1)
    for floor in range(first, state.floors + 2):
        draw_block(state, canvas, floor, fine)
    if fine and state.flash > 0:
        y = GROUND - (state.floors + 1) * BLOCK + state.camera
        grow = 24 * (8 - state.flash)
        left, right = state.left[state.floors] - grow, state.right[state.floors] + grow
        rect(canvas, left, y - grow, right, y + BLOCK + grow, 0xFFFFFF, 16 * state.flash)
    for left in range(MISSES - state.misses):
        x = 160 + 256 * left
        rect(canvas, x, 128, x + 192, 256, colour_of(state, state.floors + 1), OPAQUE)


def draw_backdrop(state: Any, canvas: Any, climb: int, fine: bool) -> None:
    """Stars come out higher up; the town and the ground stay below."""
    height, width = canvas.shape
    glow = max(0, 2 * climb - 100)
    for star in range(STARS if glow > 0 else 0):
        x, y = state.stars[star] // SIZE, (state.stars[star] + state.camera // 4) % SIZE
        if fine:
            disc(canvas, x, y, 10 + 3 * (star % 4), 0xFFFFFF, glow * 2 // 3)
        else:
            blend(canvas, x * width // SIZE, y * height // SIZE, 0xFFFFFF, glow // 2)
    sink = GROUND + state.camera // 2
    shade = mix_colour(state.low, state.high, 110)
    for house in range(HOUSES if sink < SIZE + 1024 else 0):
        x, roof = house * 448 - 192, sink - state.houses[house]
        rect(canvas, x, roof, x + 384 + 64 * (house % 2), sink, shade, OPAQUE)
        if fine:
            for window in range(min(24, state.houses[house] // 128 * 3)):
                wx, wy = x + 64 + window % 3 * 104, roof + 64 + window // 3 * 128
                lit = 150 if (house * 5 + window * 7) % 4 == 0 else 30
                rect(canvas, wx, wy, wx + 48, wy + 64, 0xFFE9A8, lit)
    for layer in range(2):
        y = GROUND + state.camera + 64 * layer
        rect(canvas, 0, y, SIZE, SIZE, mix_colour(state.earth, 0x000000, 90 * layer), OPAQUE)


def colour_of(state: Any, floor: int) -> int:
    return hue(state.paint + floor * state.spread, state.vivid, 240)


def draw_block(state: Any, canvas: Any, floor: int, fine: bool) -> None:
    """A floor of the tower; above the last one, the block that swings, on its rope, and the scrap."""
    colour = colour_of(state, floor)
    y = GROUND - (floor + 1) * BLOCK + state.camera
    moving = floor > state.floors
    if moving:
        y -= BLOCK
        x0 = state.x
        x1 = x0 + state.right[state.floors] - state.left[state.floors]
    else:
        x0, x1 = state.left[floor], state.right[floor]
    dark = mix_colour(colour, 0x201038, 100)
    middle = (x0 + x1) // 2
    for part in range(5):
        left, top, right, bottom, tone = x0, y, x1, y + BLOCK, colour
        if part == 1:
            top, tone = y + BLOCK - 64, dark
        elif part == 2:
            bottom, tone = y + 64, mix_colour(colour, 0xFFFFFF, 120)
        elif part == 3:
            if not moving:
                break
            left, right, top, bottom, tone = middle - 32, middle + 32, 0, y, 0x30343F
        elif part == 4:
            left, right = state.scrap_x0, state.scrap_x1
            top = state.scrap_y + state.camera
            bottom, tone = top + BLOCK, colour_of(state, state.floors)
        rect(canvas, left, top, right, bottom, tone, OPAQUE)
    if fine:
        for window in range((x1 - x0 - 64) // 128):
            wx = x0 + 64 + window * 128
            lit = (floor * 7 + window * 11) % 5 < 2
            rect(canvas, wx, y + 92, wx + 64, y + 164, 0xFFF3C4 if lit else dark, OPAQUE if lit else 150)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("none", "Space")),
    instruction="Build the tower to its top: Space drops the swinging block; what sticks out is cut off.",
)
