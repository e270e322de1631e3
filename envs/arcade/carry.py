"""Carry: two bearers, one long load, and gaps that it must be brought through, some of them upright.

Levels differ in where the gaps are, which are narrow, the load's length and in colours; on hard all
are narrow. Each pulls at the own end, so one alone gets nowhere fast. Both get +1 for each tenth
of the way up that the load gains for the first time, +10 at the top. One step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.arena import (
    BODY_FIELDS,
    RIM,
    draw_ball,
    draw_body,
    keys_towards,
    portion,
    steer_x,
    steer_y,
)
from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, RIGHT, RUNNING, UP
from universe2.envs.arcade.kit import OPAQUE, SIZE, gradient, hue, mix_colour, rect, root
from universe2.envs.arcade.match import FIELDS, Match, rival
from universe2.envs.arcade.rng import below, between, chance, seeded

TICKS = 2
MIDDLE = SIZE // 2
RADIUS, SPEED = 120, 44
WALLS, THICK = 2, 160
NARROW, WIDE = 440, 1150
START, GOAL = 3560, 560
SAMPLES = 6
"""Points along the load that must not be in a wall."""

STATE = np.dtype(
    [
        *FIELDS,
        *BODY_FIELDS,
        ("length", np.int64),
        ("wall", np.int64, (WALLS,)),
        ("gap", np.int64, (WALLS,)),
        ("width", np.int64, (WALLS,)),
        ("best", np.int64),
        ("goal_x", np.int64, (2,)),
        ("goal_y", np.int64, (2,)),
        ("colour", np.int64, (2,)),
        ("floor", np.int64),
        ("stone", np.int64),
        ("wood", np.int64),
    ]
)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.length = between(state, 540, 600)
    for i in range(WALLS):
        state.wall[i] = 2650 - 1200 * i + between(state, -50, 50)
        state.width[i] = NARROW if state.hard or chance(state, 50) else WIDE
        half = state.width[i] // 2 + 200
        state.gap[i] = between(state, RIM + half, SIZE - RIM - half)
    base = below(state, 1536)
    state.colour[0] = hue(base, 190, 250)
    state.colour[1] = hue(base + between(state, 560, 976), 190, 250)
    state.floor = hue(base + between(state, 200, 500), between(state, 50, 120), between(state, 90, 140))
    state.stone = hue(base + between(state, 900, 1300), 70, between(state, 40, 80))
    state.wood = hue(between(state, 90, 160), 150, between(state, 150, 220))
    state.rng = seeded(seed)
    for p in range(2):
        state.x[p] = MIDDLE + (state.length if p else -state.length) // 2
        state.y[p] = START
        state.face[p] = UP
    state.best = START


def fits(state: Any) -> bool:
    """Is the load, where ``goal_x`` and ``goal_y`` would have it, clear of the walls?"""
    for k in range(SAMPLES + 1):
        x = state.goal_x[0] + (state.goal_x[1] - state.goal_x[0]) * k // SAMPLES
        y = state.goal_y[0] + (state.goal_y[1] - state.goal_y[0]) * k // SAMPLES
        if not RIM + RADIUS <= x <= SIZE - RIM - RADIUS or not RIM + RADIUS <= y <= SIZE - RIM - RADIUS:
            return False
        for i in range(WALLS):
            if (
                abs(y - state.wall[i]) < THICK // 2 + RADIUS
                and abs(x - state.gap[i]) > state.width[i] // 2 - RADIUS
            ):
                return False
    return True


def pull(state: Any) -> None:
    """Both ends to where the load, which doesn't stretch, lets them be."""
    dx, dy = state.goal_x[1] - state.goal_x[0], state.goal_y[1] - state.goal_y[0]
    far = max(1, root(dx * dx + dy * dy))
    excess = far - state.length
    state.goal_x[0] += dx * excess // (2 * far)
    state.goal_y[0] += dy * excess // (2 * far)
    state.goal_x[1] -= dx * excess // (2 * far)
    state.goal_y[1] -= dy * excess // (2 * far)


def heave(state: Any, keys: Any) -> None:
    """One tick: move as both wish; if a wall is in the way then only across, or only up and down."""
    for p in range(2):
        arrows = keys[p] & (UP | RIGHT | LEFT | DOWN)
        if steer_x(arrows) or steer_y(arrows):
            state.face[p] = arrows
    for attempt in range(3):
        for p in range(2):
            arrows = keys[p] & (UP | RIGHT | LEFT | DOWN)
            wish_x = portion(steer_x(arrows), SPEED) if attempt != 2 else 0
            wish_y = portion(steer_y(arrows), SPEED) if attempt != 1 else 0
            state.goal_x[p], state.goal_y[p] = state.x[p] + wish_x, state.y[p] + wish_y
        pull(state)
        if fits(state):
            for p in range(2):
                state.x[p], state.y[p] = state.goal_x[p], state.goal_y[p]
            return


def step(state: Any, keys: Any) -> int:
    tenth = (START - GOAL) // 10
    for _ in range(TICKS):
        heave(state, keys)
        height = (state.y[0] + state.y[1]) // 2
        while height <= state.best - tenth and state.best > GOAL:
            state.best -= tenth
            state.gained[0] += 1
            state.gained[1] += 1
        if max(state.y[0], state.y[1]) < GOAL + state.length:
            if height <= GOAL + state.length // 2:
                state.gained[0] += 10
                state.gained[1] += 10
                return CLEARED
    return RUNNING


def heuristic(state: Any, player: int) -> int:
    """Line up before the next gap, level for a wide one and upright for a narrow one; then up."""
    low = max(state.y[0], state.y[1])
    next_wall = -1
    for i in range(WALLS):
        if next_wall < 0 and low > state.wall[i] - THICK // 2 - RADIUS:
            next_wall = i
    if next_wall < 0:
        return UP
    gap, stage = state.gap[next_wall], state.wall[next_wall] + THICK // 2 + RADIUS + 50
    first = 0 if state.x[0] <= state.x[1] else 1
    offset = (-1 if player == first else 1) * state.length // 2
    behind = 0
    if state.width[next_wall] < WIDE:
        first = 0 if state.y[0] <= state.y[1] else 1
        offset, behind = 0, 0 if player == first else state.length
    lined = True
    for p in range(2):
        aim = gap + offset if p == player else gap - offset
        lined = lined and abs(state.x[p] - aim) < 70
    if lined:
        dx = gap + offset - state.x[player]
        return UP | (RIGHT if dx > 30 else LEFT if dx < -30 else 0)
    dx, dy = gap + offset - state.x[player], stage + behind - state.y[player]
    return keys_towards(dx if abs(dx) > 30 else 0, dy if abs(dy) > 30 else 0)


def draw(state: Any, canvas: Any, player: int) -> None:
    gradient(canvas, mix_colour(state.floor, 0xFFFFFF, 60), state.floor)
    fine = canvas.shape[0] >= 128
    if fine:
        for line in range(14):
            rect(canvas, RIM, 292 * line, SIZE - RIM, 292 * line + 10, 0x000000, 28)
    rect(canvas, RIM, RIM, SIZE - RIM, GOAL, 0x8CFF9E, 110)
    for layer in range(0 if fine else 1, 2):
        tone, drop = (state.stone, 0) if layer else (0x000000, 44)
        opacity = OPAQUE if layer else 90
        for i in range(2 * WALLS):
            y, half = state.wall[i // 2], state.width[i // 2] // 2
            x0 = 0 if i & 1 == 0 else state.gap[i // 2] + half
            x1 = state.gap[i // 2] - half if i & 1 == 0 else SIZE
            rect(canvas, x0, y - THICK // 2 + drop, x1, y + THICK // 2 + drop, tone, opacity)
    for side in range(4):
        x0, y0 = SIZE - RIM if side == 1 else 0, SIZE - RIM if side == 3 else 0
        rect(
            canvas,
            x0,
            y0,
            x0 + RIM if side < 2 else SIZE,
            y0 + RIM if side > 1 else SIZE,
            state.stone,
            OPAQUE,
        )
    draw_load(state, canvas, fine)
    for p in range(2):
        colour = state.colour[rival(state, player, p)]
        draw_body(canvas, state.x[p], state.y[p], state.face[p], RADIUS, colour, fine)


def draw_load(state: Any, canvas: Any, fine: bool) -> None:
    """The load as a row of discs, from end to end."""
    count = 12 if fine else 5
    for k in range(count + 1):
        x = state.x[0] + (state.x[1] - state.x[0]) * k // count
        y = state.y[0] + (state.y[1] - state.y[0]) * k // count
        draw_ball(canvas, x, y, 84, state.wood, fine)


MATCH = Match(
    state=STATE,
    players=(2,),
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=tuple(
        (arrow, "none")
        for arrow in ("none", "up", "right", "left", "down", "up-right", "up-left", "down-right", "down-left")
    ),
    instruction="Carry the load to the top together with the arrow keys; turn it upright for narrow gaps.",
)
