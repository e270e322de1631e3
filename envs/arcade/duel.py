"""Duel: two gunners among pillars; a hit is a point, and both start anew.

Levels differ in the pillars (mirrored left to right), the shots' pace and in colours; hard ones have
faster shots and fewer pillars. Shots fly where the gunner looks, one at a time from each, and pillars stop
them. +1 a hit, -1 being hit; both at once count for both. Five points win. One step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.arena import (
    BODY_FIELDS,
    PILLAR_FIELDS,
    RIM,
    blocked,
    detour,
    draw_body,
    draw_pillars,
    fits,
    keys_towards,
    part,
    plant,
    portion,
    steer_x,
    steer_y,
    walk,
)
from universe2.envs.arcade.game import FIRE, LEFT, RIGHT, RUNNING
from universe2.envs.arcade.kit import OPAQUE, SIZE, disc, gradient, hue, mix_colour, rect
from universe2.envs.arcade.match import DRAWN, FIELDS, WON, Match, across, rival
from universe2.envs.arcade.rng import below, between, seeded

TICKS = 2
POINTS = 5
RADIUS, SPEED = 168, 44
SHOT = 72
RELOAD = 24

STATE = np.dtype(
    [
        *FIELDS,
        *PILLAR_FIELDS,
        *BODY_FIELDS,
        ("points", np.int64, (2,)),
        ("reload", np.int64, (2,)),
        ("flying", np.int64, (2,)),
        ("shot_x", np.int64, (2,)),
        ("shot_y", np.int64, (2,)),
        ("shot_face", np.int64, (2,)),
        ("pace", np.int64),
        ("wait", np.int64),
        ("flash", np.int64, (2,)),
        ("colour", np.int64, (2,)),
        ("floor", np.int64),
        ("stone", np.int64),
    ]
)


def begin_round(state: Any) -> None:
    """Both at mirrored places, without shots in the air."""
    y = between(state, 700, SIZE - 700)
    while not fits(state, 480, y, RADIUS):
        y = between(state, 700, SIZE - 700)
    for p in range(2):
        state.x[p], state.y[p] = across(p, 480), y
        state.face[p] = LEFT if p else RIGHT
        state.flying[p] = 0
        state.reload[p] = RELOAD
    state.wait = 6


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    plant(state, between(state, 3, 6) - 2 * state.hard, 0, 2 * RADIUS + 60)
    state.pace = between(state, 92, 124) + 30 * state.hard
    base = below(state, 1536)
    state.colour[0] = hue(base, 190, 250)
    state.colour[1] = hue(base + between(state, 560, 976), 190, 250)
    state.floor = hue(base + between(state, 200, 500), between(state, 60, 140), between(state, 60, 110))
    state.stone = hue(base + between(state, 900, 1300), 60, between(state, 130, 190))
    state.rng = seeded(seed)
    begin_round(state)


def fly(state: Any, p: int) -> int:
    """One tick of p's shot; 1 if it hits the other."""
    if not state.flying[p]:
        return 0
    state.shot_x[p] += portion(steer_x(state.shot_face[p]), state.pace)
    state.shot_y[p] += portion(steer_y(state.shot_face[p]), state.pace)
    x, y = state.shot_x[p], state.shot_y[p]
    inside = RIM < x < SIZE - RIM and RIM < y < SIZE - RIM
    if not inside or not fits(state, x, y, SHOT):
        state.flying[p] = 0
        return 0
    dx, dy, reach = x - state.x[1 - p], y - state.y[1 - p], RADIUS + SHOT
    return 1 if dx * dx + dy * dy < reach * reach else 0


def act(state: Any, p: int, keys: int) -> None:
    """One tick of gunner p: walk, and shoot if it may."""
    walk(state, p, keys, SPEED, RADIUS)
    state.reload[p] = max(0, state.reload[p] - 1)
    state.flash[p] = max(0, state.flash[p] - 1)
    if keys & FIRE and state.reload[p] == 0 and not state.flying[p]:
        state.flying[p], state.reload[p] = 1, RELOAD
        state.shot_x[p], state.shot_y[p] = state.x[p], state.y[p]
        state.shot_face[p] = state.face[p]


def step(state: Any, keys: Any) -> int:
    for _ in range(TICKS):
        if state.wait > 0:
            state.wait -= 1
            continue
        for p in range(2):
            act(state, p, keys[p])
        part(state, 0, 1, RADIUS)
        first, second = fly(state, 0), fly(state, 1)
        if first or second:
            state.points[0] += first
            state.points[1] += second
            state.gained[0] += first - second
            state.gained[1] += second - first
            state.flash[0], state.flash[1] = 12 * second, 12 * first
            if max(state.points[0], state.points[1]) == POINTS:
                return DRAWN if state.points[0] == state.points[1] else WON
            begin_round(state)
    return RUNNING


def heuristic(state: Any, player: int) -> int:
    """Step out of the line of shots, if it notices; shoot along clear lines; else walk to where one is."""
    me, other = player, 1 - player
    mood = seeded(state.rng + 977 * player + 31 * (state.x[player] + state.y[other]) // 256)
    x, y = state.x[me], state.y[me]
    if state.flying[other]:
        ux, uy = steer_x(state.shot_face[other]), steer_y(state.shot_face[other])
        px, py = x - state.shot_x[other], y - state.shot_y[other]
        along, aside = (px * ux + py * uy) >> 8, (px * uy - py * ux) >> 8
        if 0 < along < 1400 and mood & 3 and abs(aside) < RADIUS + SHOT + 60:
            side = 1 if aside >= 0 else -1
            return keys_towards(side * uy, -side * ux)
    dx, dy = state.x[other] - x, state.y[other] - y
    aim = keys_towards(dx, dy)
    aside = abs(dx * steer_y(aim) - dy * steer_x(aim)) >> 8
    near = max(abs(dx), abs(dy)) < 700 + (mood >> 4) % 1400
    if near and aside < RADIUS and not blocked(state, x, y, state.x[other], state.y[other], SHOT):
        if state.face[me] == aim and state.reload[me] == 0 and not state.flying[me]:
            return FIRE
        if state.face[me] != aim or state.reload[me] < 6:
            return aim
        # Reloading: sidestep, so as not to stand in line.
        return keys_towards(dy, -dx) if state.reload[me] & 8 else keys_towards(-dy, dx)
    if near and aside < 500:
        # Into the line, the short way.
        if abs(dx) > abs(dy):
            return detour(state, me, x, state.y[other], RADIUS)
        return detour(state, me, state.x[other], y, RADIUS)
    return detour(state, me, state.x[other], state.y[other], RADIUS)


def draw(state: Any, canvas: Any, player: int) -> None:
    gradient(canvas, state.floor, mix_colour(state.floor, 0x000000, 80))
    fine = canvas.shape[0] >= 128
    edge = mix_colour(state.stone, 0x000000, 120)
    for side in range(4):
        x0, y0 = SIZE - RIM if side == 1 else 0, SIZE - RIM if side == 3 else 0
        rect(canvas, x0, y0, x0 + RIM if side < 2 else SIZE, y0 + RIM if side > 1 else SIZE, edge, OPAQUE)
    if fine:
        for line in range(7):
            at = 512 * (line + 1)
            rect(canvas, at - 6, RIM, at + 6, SIZE - RIM, 0xFFFFFF, 16)
    draw_pillars(state, canvas, state.stone, fine)
    for p in range(2):
        colour = state.colour[rival(state, player, p)]
        for point in range(state.points[p]):
            disc(canvas, across(p, SIZE // 2 - 240 - 180 * point), 200, 60, colour, 230)
        if state.flying[p]:
            disc(canvas, state.shot_x[p], state.shot_y[p], SHOT + 50, colour, 110)
            disc(canvas, state.shot_x[p], state.shot_y[p], SHOT, 0xFFFFFF, OPAQUE)
        if state.flash[p]:
            disc(canvas, state.x[p], state.y[p], RADIUS + 160, 0xFFFFFF, 10 * state.flash[p])
        draw_body(canvas, state.x[p], state.y[p], state.face[p], RADIUS, colour, fine)


MATCH = Match(
    state=STATE,
    players=(2,),
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=tuple(
        (arrow, key)
        for key in ("none", "Space")
        for arrow in ("none", "up", "right", "left", "down", "up-right", "up-left", "down-right", "down-left")
    ),
    instruction="Hit the other five times: walk with the arrow keys, shoot with Space where you look.",
)
