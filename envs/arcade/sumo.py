"""Sumo: two to four wrestlers on a shrinking floe; the last one on it wins.

Levels differ in the floe's size, how slippery it is, the strength of a dash and in colours; hard
ones are smaller and more slippery. Wrestlers bounce off each other; Space dashes where they look, once in
a while. Who slips off is out and pays one point to each who stays. One step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.arena import (
    BODY_FIELDS,
    draw_body,
    keys_towards,
    portion,
    ratio,
    steer_x,
    steer_y,
)
from universe2.envs.arcade.game import DOWN, FIRE, LEFT, RIGHT, RUNNING, UP
from universe2.envs.arcade.kit import SIZE, blend, disc, fill, gradient, hue, mix_colour, root
from universe2.envs.arcade.match import FIELDS, MOST, Match, across, down, leave, rival, shuffle_seats
from universe2.envs.arcade.rng import below, between, seeded

TICKS = 2
MIDDLE = SIZE // 2
RADIUS = 210
PUSH = 72
"""What a key adds to the speed in one tick. Speeds are in 1/16 units a tick."""
REST = 40
"""Ticks from one dash to the next."""
SMALLEST = 560

STATE = np.dtype(
    [
        *FIELDS,
        *BODY_FIELDS,
        ("vx", np.int64, (MOST,)),
        ("vy", np.int64, (MOST,)),
        ("kick_x", np.int64, (MOST,)),
        ("kick_y", np.int64, (MOST,)),
        ("shift_x", np.int64, (MOST,)),
        ("shift_y", np.int64, (MOST,)),
        ("rest", np.int64, (MOST,)),
        ("floe", np.int64),
        ("melt", np.int64),
        ("grip", np.int64),
        ("dash", np.int64),
        ("clock", np.int64),
        ("colour", np.int64, (MOST,)),
        ("sea", np.int64),
        ("ice", np.int64),
    ]
)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.floe = between(state, 1650, 1900) - 200 * state.hard
    state.melt = between(state, 3, 5)
    state.grip = between(state, 14, 20) - 4 * state.hard
    state.dash = between(state, 900, 1300)
    base = below(state, 1536)
    for i in range(MOST):
        state.colour[i] = hue(base + 384 * i + between(state, -60, 60), 200, 240)
    tint = below(state, 1536)
    state.sea = hue(tint, between(state, 120, 200), between(state, 60, 110))
    state.ice = hue(tint + between(state, 300, 1200), between(state, 20, 70), between(state, 190, 235))
    state.rng = seeded(seed)
    if state.players > 2:
        shuffle_seats(state)
    dx, dy = between(state, 500, 900), between(state, 200, 700)
    for p in range(state.players):
        state.x[p] = across(state.seat[p], MIDDLE - dx)
        state.y[p] = down(state.seat[p], MIDDLE - dy)
        state.face[p] = LEFT if state.seat[p] & 1 else RIGHT


def press(state: Any, p: int, keys: int) -> None:
    """What one tick of keys does to p's speed."""
    arrows = keys & (UP | RIGHT | LEFT | DOWN)
    ux, uy = steer_x(arrows), steer_y(arrows)
    if ux != 0 or uy != 0:
        state.face[p] = arrows
    state.vx[p] += portion(ux, PUSH)
    state.vy[p] += portion(uy, PUSH)
    state.rest[p] = max(0, state.rest[p] - 1)
    if keys & FIRE and state.rest[p] == 0:
        state.rest[p] = REST
        state.vx[p] += portion(steer_x(state.face[p]), state.dash)
        state.vy[p] += portion(steer_y(state.face[p]), state.dash)
    state.vx[p] -= portion(state.vx[p], state.grip)
    state.vy[p] -= portion(state.vy[p], state.grip)


def bump(state: Any, p: int, q: int) -> None:
    """Two that overlap part, and swap their speeds along the line between them (and a little more)."""
    dx, dy = state.x[q] - state.x[p], state.y[q] - state.y[p]
    square = dx * dx + dy * dy
    if square >= 4 * RADIUS * RADIUS or square == 0:
        return
    far = root(square)
    overlap = 2 * RADIUS - far
    part_x, part_y = ratio(dx * overlap, 2 * far), ratio(dy * overlap, 2 * far)
    closing = (state.vx[p] - state.vx[q]) * dx + (state.vy[p] - state.vy[q]) * dy
    kick_x, kick_y = 0, 0
    if closing > 0:
        kick_x, kick_y = ratio(closing * dx * 9, 8 * square), ratio(closing * dy * 9, 8 * square)
    for side in range(2):
        who, sign = (p, -1) if side == 0 else (q, 1)
        state.kick_x[who] += sign * kick_x
        state.kick_y[who] += sign * kick_y
        state.shift_x[who] += sign * part_x
        state.shift_y[who] += sign * part_y


def move(state: Any) -> int:
    """One tick of everybody; the bits of those who slipped off."""
    for p in range(state.players):
        state.kick_x[p] = state.kick_y[p] = state.shift_x[p] = state.shift_y[p] = 0
        if state.live[p]:
            state.x[p] += ratio(state.vx[p], 16)
            state.y[p] += ratio(state.vy[p], 16)
    for p in range(state.players):
        for q in range(p):
            if state.live[p] and state.live[q]:
                bump(state, p, q)
    out = 0
    for p in range(state.players):
        state.vx[p] += state.kick_x[p]
        state.vy[p] += state.kick_y[p]
        state.x[p] += state.shift_x[p]
        state.y[p] += state.shift_y[p]
        dx, dy = state.x[p] - MIDDLE, state.y[p] - MIDDLE
        if state.live[p] and dx * dx + dy * dy > state.floe * state.floe:
            out |= 1 << p
    return out


def step(state: Any, keys: Any) -> int:
    for _ in range(TICKS):
        state.clock += 1
        if state.clock > 100:
            state.floe = max(SMALLEST, state.floe - state.melt)
        for p in range(state.players):
            if state.live[p]:
                press(state, p, keys[p])
        out = move(state)
        if out:
            outcome = leave(state, out)
            if outcome != RUNNING:
                return outcome
    return RUNNING


def heuristic(state: Any, player: int) -> int:
    """Back from the edge first; else push the nearest one outwards, from the inside; at times a swerve."""
    mood = seeded(state.rng + 977 * player + 31 * (state.clock // 12)) & 7
    x, y = state.x[player] - MIDDLE, state.y[player] - MIDDLE
    ahead_x, ahead_y = x + state.vx[player], y + state.vy[player]
    limit = state.floe * 13 // 16
    if ahead_x * ahead_x + ahead_y * ahead_y > limit * limit:
        return keys_towards(-ahead_x, -ahead_y)
    target, near = -1, 1 << 40
    for q in range(state.players):
        if q != player and state.live[q]:
            dx, dy = state.x[q] - state.x[player], state.y[q] - state.y[player]
            if dx * dx + dy * dy < near:
                target, near = q, dx * dx + dy * dy
    if target < 0:
        return keys_towards(-x, -y)
    tx, ty = state.x[target] - MIDDLE, state.y[target] - MIDDLE
    dx, dy = tx - x, ty - y
    inside = x * x + y * y <= tx * tx + ty * ty
    keys = keys_towards(dx, dy)
    if mood < 2:
        return keys_towards(dy, -dx) if mood else keys_towards(-dy, dx)
    if not inside:
        # Round it, towards the middle.
        return keys_towards(tx * 5 // 8 - x, ty * 5 // 8 - y)
    lined = abs(dx * steer_y(keys) - dy * steer_x(keys)) >> 8 < 160
    outward = dx * tx + dy * ty > 0
    if near < 700 * 700 and lined and outward and state.face[player] == keys and state.rest[player] == 0:
        return keys | FIRE
    return keys


def draw(state: Any, canvas: Any, player: int) -> None:
    gradient(canvas, state.sea, mix_colour(state.sea, 0x000000, 110))
    fine = canvas.shape[0] >= 128
    for layer in range(0 if fine else 1, 3):
        size = state.floe + RADIUS // 2 - (90 if layer == 2 else 0)
        shade = mix_colour(state.sea, 0x000000, 140)
        tone = shade if layer == 0 else mix_colour(state.ice, state.sea, 120) if layer == 1 else state.ice
        draw_floe(canvas, MIDDLE + (90 if layer == 0 else 0), size, tone)
    for p in range(state.players):
        if state.live[p]:
            colour = state.colour[rival(state, player, p)]
            if state.rest[p] > REST - 10:
                trail_x, trail_y = state.x[p] - state.vx[p] // 4, state.y[p] - state.vy[p] // 4
                disc(canvas, trail_x, trail_y, RADIUS, colour, 90)
            draw_body(canvas, state.x[p], state.y[p], state.face[p], RADIUS, colour, fine)
            if state.rest[p] == 0:
                disc(canvas, state.x[p], state.y[p], RADIUS * 3 // 8, 0xFFFFFF, 150)


def draw_floe(canvas: Any, cy: int, radius: int, colour: int) -> None:
    """A disc around (MIDDLE, cy), as ``disc`` but row by row: several times as fast for a large one."""
    height, width = canvas.shape
    half = radius // 4
    for y in range(height):
        dy = (2 * y + 1) * SIZE // (2 * height) - cy
        square = radius * radius - dy * dy
        if square <= 0:
            continue
        for _ in range(4):  # Newton's root, from the row above
            half = max(1, (half + square // half) // 2)
        left, right = max(0, (MIDDLE - half) * width >> 4), min(width << 8, (MIDDLE + half) * width >> 4)
        first, last = (left + 255) >> 8, right >> 8
        fill(canvas, y, first, last, colour)
        if first > 0 and first <= last:
            blend(canvas, first - 1, y, colour, (first << 8) - left)
        if last < width and first <= last:
            blend(canvas, last, y, colour, right - (last << 8))


MATCH = Match(
    state=STATE,
    players=(2, 3, 4),
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=tuple(
        (arrow, key)
        for key in ("none", "Space")
        for arrow in ("none", "up", "right", "left", "down", "up-right", "up-left", "down-right", "down-left")
    ),
    instruction="Push the others off the floe and stay on it: arrow keys to move, Space to dash.",
)
