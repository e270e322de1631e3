"""Breakout: keep the ball in play and clear the wall.

Levels differ in the wall's pattern, in which bricks are hard (two hits), in the number of
rows and in colours; on hard the paddle is narrower and two rows are hard. Every brick can be
broken, so every level can be cleared. +1 for each return with the paddle and each hit on a brick,
+5 for the last one; three balls, of which each one that falls costs nothing but itself. One step
is three ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, LEFT, LOST, RIGHT, RUNNING, Game
from universe2.envs.arcade.kit import OPAQUE, SIZE, disc, gradient, hue, mix_colour, rect, round_rect
from universe2.envs.arcade.rng import below, between, chance, seeded

COLUMNS, MAX_ROWS = 8, 6
TICKS = 3
BRICK_W, BRICK_H = SIZE // COLUMNS, 256
TOP = 512
PADDLE_Y, PADDLE_H = 3776, 128
PADDLE_SPEED = 112
BALL = 96
MAX_CLIMB = 88

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("bricks", np.int64, (MAX_ROWS * COLUMNS,)),
        ("colours", np.int64, (MAX_ROWS,)),
        ("sky", np.int64),
        ("ground", np.int64),
        ("accent", np.int64),
        ("left", np.int64),
        ("lives", np.int64),
        ("paddle", np.int64),
        ("half", np.int64),
        ("x", np.int64),
        ("y", np.int64),
        ("vx", np.int64),
        ("vy", np.int64),
        ("wait", np.int64),
    ]
)


def lay_out(state: Any) -> None:
    """The wall: a pattern mirrored about the middle, one to two hits a brick."""
    rows = between(state, 4, MAX_ROWS)
    pattern = below(state, 5)
    period = between(state, 2, 3)
    hard_row = below(state, rows)
    for row in range(rows):
        for column in range(COLUMNS // 2):
            there = True
            if pattern == 1:
                there = (row + column) % period != 0
            elif pattern == 2:
                there = row % period != 1 or column == 0
            elif pattern == 3:
                there = column + row // 2 >= 1 + row % 2
            elif pattern == 4:
                there = chance(state, 75)
            if there:
                hits = 2 if row == hard_row or (state.hard and row == hard_row - 1) else 1
                state.bricks[row * COLUMNS + column] = hits
                state.bricks[row * COLUMNS + COLUMNS - 1 - column] = hits
                state.left += 2


def paint(state: Any) -> None:
    """The level's colours: dark ground, bright wall."""
    start, spread = below(state, 1536), between(state, 60, 200)
    for row in range(MAX_ROWS):
        state.colours[row] = hue(start + row * spread, 170, 240)
    back = below(state, 1536)
    state.sky = hue(back, 140, between(state, 30, 70))
    state.ground = hue(back + between(state, 100, 300), 160, between(state, 70, 120))
    state.accent = hue(start + 768, 60, 255)


def serve(state: Any) -> None:
    """A new ball above the paddle, after a short wait."""
    state.paddle = SIZE // 2
    state.x, state.y = between(state, 1024, 3072), 2304
    state.vx = between(state, 24, 56) * (1 if chance(state, 50) else -1)
    state.vy = 72
    state.wait = 8


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    paint(state)
    state.rng = seeded(seed)
    state.lives = 3
    state.half = 272 if state.hard else 416
    serve(state)


def hit_brick(state: Any, x: int, y: int) -> bool:
    """Strike the brick at a point, if there is one."""
    row, column = (y - TOP) // BRICK_H, x // BRICK_W
    if y < TOP or row >= MAX_ROWS or column < 0 or column >= COLUMNS:
        return False
    index = row * COLUMNS + column
    if state.bricks[index] == 0:
        return False
    state.bricks[index] -= 1
    if state.bricks[index] == 0:
        state.left -= 1
    return True


def bounce_walls(state: Any) -> None:
    if state.x < BALL:
        state.x, state.vx = 2 * BALL - state.x, abs(state.vx)
    elif state.x > SIZE - BALL:
        state.x, state.vx = 2 * (SIZE - BALL) - state.x, -abs(state.vx)
    if state.y < BALL:
        state.y, state.vy = 2 * BALL - state.y, abs(state.vy)


def bounce_paddle(state: Any) -> int:
    """Where the ball meets the paddle decides where it goes; 1 if it does."""
    offset = state.x - state.paddle
    inside = abs(offset) <= state.half + BALL
    if state.vy > 0 and PADDLE_Y - BALL <= state.y < PADDLE_Y + PADDLE_H and inside:
        state.y = PADDLE_Y - BALL
        state.vx = offset * 76 // state.half + between(state, -6, 6)
        state.vy = -(MAX_CLIMB + 16 - abs(state.vx) // 2)
        return 1
    return 0


def move_ball(state: Any) -> int:
    """One tick of the ball; what it scored."""
    hits = 0
    state.x += state.vx
    side = BALL if state.vx > 0 else -BALL
    if hit_brick(state, state.x + side, state.y):
        state.x -= state.vx
        state.vx = -state.vx
        hits += 1
    state.y += state.vy
    side = BALL if state.vy > 0 else -BALL
    if hit_brick(state, state.x, state.y + side):
        state.y -= state.vy
        state.vy = -state.vy
        hits += 1
    bounce_walls(state)
    return hits + bounce_paddle(state)


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    for _ in range(TICKS):
        if keys & LEFT:
            state.paddle = max(state.half, state.paddle - PADDLE_SPEED)
        if keys & RIGHT:
            state.paddle = min(SIZE - state.half, state.paddle + PADDLE_SPEED)
        if state.wait > 0:
            state.wait -= 1
            continue
        reward += move_ball(state)
        if state.left == 0:
            return reward + 5, CLEARED
        if state.y > SIZE + BALL:
            state.lives -= 1
            if state.lives == 0:
                return reward, LOST
            serve(state)
    return reward, RUNNING


def heuristic(state: Any) -> int:
    """Wait where the ball will come down, a little off centre so that it keeps turning."""
    target = state.x
    if state.vy > 0:
        ticks = max(0, (PADDLE_Y - BALL - state.y) // state.vy)
        span = SIZE - 2 * BALL
        target = (state.x - BALL + state.vx * ticks) % (2 * span)
        target = BALL + (target if target <= span else 2 * span - target)
        aim = 0
        for index in range(MAX_ROWS * COLUMNS):
            if state.bricks[index] > 0:
                aim = (index % COLUMNS) * BRICK_W + BRICK_W // 2
        target -= max(-300, min(300, (aim - target) // 6))
    if target < state.paddle - PADDLE_SPEED * TICKS // 2:
        return LEFT
    if target > state.paddle + PADDLE_SPEED * TICKS // 2:
        return RIGHT
    return 0


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.ground)
    fine = canvas.shape[0] >= 128
    for row in range(MAX_ROWS):
        colour = state.colours[row]
        for column in range(COLUMNS):
            hits = state.bricks[row * COLUMNS + column]
            if hits > 0:
                draw_brick(canvas, row, column, colour, hits, fine)
    for life in range(state.lives - 1):
        disc(canvas, 200 + 240 * life, 224, 80, state.accent, 200)
    x0, x1 = state.paddle - state.half, state.paddle + state.half
    round_rect(canvas, x0, PADDLE_Y, x1, PADDLE_Y + PADDLE_H, 64, state.accent, OPAQUE)
    if fine:
        for trail in range(1, 5):
            tx, ty = state.x - state.vx * trail, state.y - state.vy * trail
            disc(canvas, tx, ty, BALL - 12 * trail, 0xFFFFFF, 72 - 16 * trail)
    disc(canvas, state.x, state.y, BALL, 0xFFFFFF, OPAQUE)


def draw_brick(canvas: Any, row: int, column: int, colour: int, hits: int, fine: bool) -> None:
    x0, y0 = column * BRICK_W, TOP + row * BRICK_H
    x1, y1 = x0 + BRICK_W - 64, y0 + BRICK_H - 64
    shade = mix_colour(colour, 0xFFFFFF, 128) if hits > 1 else colour
    if not fine:
        rect(canvas, x0, y0, x1, y1, shade, OPAQUE)
        return
    for layer in range(3):
        tone = 0x000000 if layer == 0 else mix_colour(shade, 0x000000, 60) if layer == 1 else shade
        drop = 24 if layer == 0 else 16 if layer == 1 else 0
        opacity = 70 if layer == 0 else OPAQUE
        round_rect(canvas, x0 + 16, y0 + drop, x1 + 32, y1 + drop, 48, tone, opacity)
    rect(canvas, x0 + 64, y0 + 24, x1 - 16, y0 + 56, 0xFFFFFF, 90)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("left", "none"), ("right", "none")),
    instruction="Break all bricks: move the paddle with the left and right arrows and keep the ball up.",
)
