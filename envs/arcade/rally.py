"""Rally: two bats, one ball; whoever misses it gives the other a point.

Levels differ in the bats' length, the ball's pace, the bumpers in the middle and in colours; hard
ones have shorter bats and a faster ball. Where the ball meets a bat decides where it goes, and
every return makes it faster. +1 a point won, -1 a point lost; five points win. One step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.arena import draw_ball
from universe2.envs.arcade.game import DOWN, RUNNING, UP
from universe2.envs.arcade.kit import OPAQUE, SIZE, disc, gradient, hue, mix_colour, rect, round_rect
from universe2.envs.arcade.match import FIELDS, WON, Match, across, rival
from universe2.envs.arcade.rng import below, between, chance, seeded

TICKS = 2
POINTS = 5
BAT_X, BAT_W, BAT_SPEED = 224, 128, 80
BALL = 88
WALL = 96
BUMPERS = 4
FASTEST = 190

STATE = np.dtype(
    [
        *FIELDS,
        ("bat", np.int64, (2,)),
        ("points", np.int64, (2,)),
        ("half", np.int64),
        ("pace", np.int64),
        ("x", np.int64),
        ("y", np.int64),
        ("vx", np.int64),
        ("vy", np.int64),
        ("wait", np.int64),
        ("bumpers", np.int64),
        ("bumper_y", np.int64, (BUMPERS,)),
        ("bumper_r", np.int64),
        ("colour", np.int64, (2,)),
        ("field", np.int64),
        ("edge", np.int64),
    ]
)


def serve(state: Any) -> None:
    """The ball at the centre, off to either side after a short wait."""
    state.x, state.y = SIZE // 2, between(state, 1400, SIZE - 1400)
    state.vx = state.pace * (1 if chance(state, 50) else -1)
    state.vy = between(state, 12, 40) * (1 if chance(state, 50) else -1)
    state.wait = 10


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.half = between(state, 380, 460) - 90 * state.hard
    state.pace = between(state, 56, 72) + 16 * state.hard
    state.bumpers = below(state, BUMPERS + 1)
    state.bumper_r = between(state, 120, 200)
    pitch = SIZE // (state.bumpers + 1)
    for i in range(state.bumpers):
        state.bumper_y[i] = pitch * (i + 1) + between(state, -pitch // 5, pitch // 5)
    base = below(state, 1536)
    state.colour[0] = hue(base, 170, 250)
    state.colour[1] = hue(base + between(state, 560, 976), 170, 250)
    state.field = hue(base + between(state, 200, 400), between(state, 90, 170), between(state, 36, 72))
    state.edge = mix_colour(state.field, 0xFFFFFF, 110)
    state.rng = seeded(seed)
    state.bat[0] = state.bat[1] = SIZE // 2
    serve(state)


def bounce_walls(state: Any) -> None:
    if state.y < WALL + BALL:
        state.y, state.vy = 2 * (WALL + BALL) - state.y, abs(state.vy)
    elif state.y > SIZE - WALL - BALL:
        state.y, state.vy = 2 * (SIZE - WALL - BALL) - state.y, -abs(state.vy)


def bounce_bumpers(state: Any) -> None:
    """Off a bumper the ball leaves by the side it came from."""
    for i in range(state.bumpers):
        dx, dy = state.x - SIZE // 2, state.y - state.bumper_y[i]
        reach = state.bumper_r + BALL
        if dx * dx + dy * dy < reach * reach and dx * state.vx + dy * state.vy < 0:
            if abs(dx) >= abs(dy):
                state.vx = -state.vx
            else:
                state.vy = -state.vy
            state.vy = max(-120, min(120, state.vy + 40 * dy // reach))


def bounce_bats(state: Any) -> None:
    """Where the ball meets the bat decides where it goes."""
    side = 0 if state.vx < 0 else 1
    gap = abs(state.x - across(side, BAT_X)) - BAT_W // 2 - BALL
    offset = state.y - state.bat[side]
    if -FASTEST - 40 <= gap <= 0 and abs(offset) <= state.half + BALL // 2:
        speed = min(FASTEST, abs(state.vx) + 8)
        state.vx = speed if side == 0 else -speed
        state.vy = offset * 110 // state.half + between(state, -8, 8)


def step(state: Any, keys: Any) -> int:
    for _ in range(TICKS):
        for p in range(2):
            move = (1 if keys[p] & DOWN else 0) - (1 if keys[p] & UP else 0)
            low, high = WALL + state.half, SIZE - WALL - state.half
            state.bat[p] = max(low, min(high, state.bat[p] + BAT_SPEED * move))
        if state.wait > 0:
            state.wait -= 1
            continue
        state.x += state.vx
        state.y += state.vy
        bounce_walls(state)
        bounce_bumpers(state)
        bounce_bats(state)
        if state.x < -BALL or state.x > SIZE + BALL:
            winner = 1 if state.x < 0 else 0
            state.points[winner] += 1
            state.gained[winner] += 1
            state.gained[1 - winner] -= 1
            if state.points[winner] == POINTS:
                return WON
            serve(state)
    return RUNNING


def heuristic(state: Any, player: int) -> int:
    """Be where the ball will come; aim away from the other bat."""
    goal = across(player, BAT_X + BAT_W // 2 + BALL)
    target = SIZE // 2
    if (goal - state.x) * state.vx > 0:
        ticks = (goal - state.x) // state.vx
        low, span = WALL + BALL, SIZE - 2 * (WALL + BALL)
        target = (state.y - low + state.vy * ticks) % (2 * span)
        target = low + (target if target <= span else 2 * span - target)
        aim = state.half * 2 // 3
        target += aim if state.bat[1 - player] > SIZE // 2 else -aim
    if target < state.bat[player] - BAT_SPEED * TICKS // 2:
        return UP
    if target > state.bat[player] + BAT_SPEED * TICKS // 2:
        return DOWN
    return 0


def draw(state: Any, canvas: Any, player: int) -> None:
    gradient(canvas, state.field, mix_colour(state.field, 0x000000, 90))
    fine = canvas.shape[0] >= 128
    rect(canvas, 0, 0, SIZE, WALL, state.edge, OPAQUE)
    rect(canvas, 0, SIZE - WALL, SIZE, SIZE, state.edge, OPAQUE)
    for dash in range(8):
        y = WALL + 122 + dash * 488
        rect(canvas, SIZE // 2 - 32, y, SIZE // 2 + 32, y + 244, state.edge, 120)
    for i in range(state.bumpers):
        draw_ball(canvas, SIZE // 2, state.bumper_y[i], state.bumper_r, state.edge, fine)
    for p in range(2):
        colour = state.colour[rival(state, player, p)]
        for point in range(state.points[p]):
            disc(canvas, across(p, SIZE // 2 - 260 - 200 * point), 260, 64, colour, 220)
        x, y = across(p, BAT_X), state.bat[p]
        left, right = x - BAT_W // 2, x + BAT_W // 2
        round_rect(canvas, left, y - state.half, right, y + state.half, 64, colour, OPAQUE)
    for trail in range(4 if fine else 0):
        behind = 4 - trail
        tx, ty = state.x - behind * state.vx // 2, state.y - behind * state.vy // 2
        disc(canvas, tx, ty, BALL - 12 * behind, 0xFFFFFF, 30 + 16 * trail)
    draw_ball(canvas, state.x, state.y, BALL, 0xFFFFFF, fine)


MATCH = Match(
    state=STATE,
    players=(2,),
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("down", "none")),
    instruction="Keep the ball out of your side with the up and down arrows; get it past the other bat.",
)
