"""Crossing: over roads and rivers to the far bank.

Levels differ in the order of the lanes, in their traffic and in colours; hard ones are longer and
faster. A car ends the walk, and so does water next to a log or a log that carries you off the
screen; trees only block. Everything moves for ever at its lane's own pace, neighbouring lanes in
opposite directions, and every stretch of grass is one lane with open places, so every level can be
crossed. +1 a new lane, +10 for the last one. One step is one hop and two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, SIZE, block, disc, hue, mix_colour, rect, round_rect
from universe2.envs.arcade.rng import below, between, chance, seeded

COLUMNS = 8
LANE = SIZE // COLUMNS
MAX_LANES = 28
GRASS, ROAD, RIVER = 0, 1, 2
TICKS = 2
HALF, GRIP = 150, 90
"""Half of the walker's width, and how far its middle may be off a log's end."""
LOOK_AHEAD, SPOTS, REACH = 9, 64, 2 * 9 + 1

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("lanes", np.int64),
        ("kind", np.int64, (MAX_LANES,)),
        ("speed", np.int64, (MAX_LANES,)),
        ("span", np.int64, (MAX_LANES,)),
        ("period", np.int64, (MAX_LANES,)),
        ("phase", np.int64, (MAX_LANES,)),
        ("trees", np.int64, (MAX_LANES,)),
        ("paint", np.int64, (MAX_LANES,)),
        ("clock", np.int64),
        ("lane", np.int64),
        ("best", np.int64),
        ("x", np.int64),
        ("way", np.int64),
        ("grass", np.int64),
        ("tree", np.int64),
        ("asphalt", np.int64),
        ("water", np.int64),
        ("wood", np.int64),
        ("coat", np.int64),
    ]
)


def lay_out(state: Any) -> None:
    """Groups of road or river, a lane of grass between them; the first and the last lane are grass."""
    state.lanes = 20 + 8 * state.hard
    left, kind, way = 0, GRASS, 1
    for lane in range(1, state.lanes - 1):
        if left == 0 and kind != GRASS:
            kind = GRASS
            for column in range(COLUMNS):
                if chance(state, 40):
                    state.trees[lane] |= 1 << column
            state.trees[lane] &= ~(9 << below(state, 5))
            continue
        if left == 0:
            kind = ROAD if chance(state, 55) else RIVER
            left = between(state, 1, 3) + state.hard * below(state, 2)
            way = 1 if chance(state, 50) else -1
        left -= 1
        state.kind[lane] = kind
        way = -way
        if kind == ROAD:
            state.speed[lane] = way * (between(state, 24, 60) + 24 * state.hard)
            state.span[lane] = 480 if chance(state, 65) else 900
            state.period[lane] = state.span[lane] + between(state, 1100, 2000) - 200 * state.hard
        else:
            state.speed[lane] = way * (between(state, 14, 30) + 10 * state.hard)
            state.span[lane] = between(state, 1000, 1700) - 200 * state.hard
            state.period[lane] = state.span[lane] + between(state, 600, 1000)
        state.phase[lane] = below(state, state.period[lane])
        state.paint[lane] = hue(below(state, 1536), between(state, 150, 220), between(state, 200, 255))


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    lay_out(state)
    season = below(state, 4)
    base = 430 if season == 0 else 330 if season == 1 else 180 if season == 2 else 800
    state.grass = hue(base + between(state, -50, 50), 60 if season == 3 else 130, between(state, 165, 215))
    state.tree = hue(base + between(state, -60, 120), 150, between(state, 90, 130))
    state.asphalt = hue(below(state, 1536), 25, between(state, 60, 95))
    state.water = hue(between(state, 780, 1000), between(state, 120, 180), between(state, 190, 235))
    state.wood = hue(between(state, 90, 170), between(state, 120, 160), between(state, 130, 190))
    state.coat = hue(base + 768 + between(state, -150, 150), 200, 255)
    state.rng = seeded(seed)
    state.clock = below(state, 10000)
    state.x = between(state, 2, COLUMNS - 3) * LANE + LANE // 2
    state.way = UP


def within(state: Any, lane: int, clock: int, x: int, margin: int) -> bool:
    """Is a point within ``margin`` of one of a lane's cars or logs? Each covers ``span`` of a period."""
    place = x + margin - state.phase[lane] - state.speed[lane] * clock
    return bool(place % state.period[lane] < state.span[lane] + 2 * margin)


def hop(state: Any, lane: int, x: int, keys: int) -> tuple[int, int]:
    """Where a hop leads: its lane and x. Trees and the sides of the screen stop it."""
    there, aside = lane, x
    if keys & UP:
        there = lane + 1
    elif keys & DOWN:
        there = max(0, lane - 1)
    elif keys & LEFT and x - LANE > 0:
        aside = x - LANE
    elif keys & RIGHT and x + LANE < SIZE:
        aside = x + LANE
    if state.kind[there] == GRASS:
        aside = aside // LANE * LANE + LANE // 2
        if state.trees[there] >> (aside // LANE) & 1:
            return lane, x
    return there, aside


def tick(state: Any, lane: int, x: int, clock: int) -> int:
    """Where the lane has brought a walker at time ``clock``, or -1 if it has been its end."""
    kind = state.kind[lane]
    if kind == ROAD:
        return -1 if within(state, lane, clock, x, HALF) else x
    if kind == RIVER:
        x += state.speed[lane]
        return x if 0 <= x < SIZE and within(state, lane, clock, x, GRIP) else -1
    return x


def step(state: Any, keys: int) -> tuple[int, int]:
    if keys:
        state.way = keys
    state.lane, state.x = hop(state, state.lane, state.x, keys)
    reward = 0
    if state.lane > state.best:
        state.best = state.lane
        reward = 1
    if state.lane == state.lanes - 1:
        return reward + 10, CLEARED
    for _ in range(TICKS):
        state.clock += 1
        x = tick(state, state.lane, state.x, state.clock)
        if x < 0:
            return 0, LOST
        state.x = x
    return reward, RUNNING


def heuristic(state: Any) -> int:
    """Search a few steps ahead through all hops, the lanes being known; begin the way that leads furthest."""
    lanes, xs = np.zeros(REACH * SPOTS, np.int64), np.zeros(REACH * SPOTS, np.int64)
    firsts, seen = np.zeros(REACH * SPOTS, np.int64), np.zeros(REACH * SPOTS, np.int64)
    next_lanes, next_xs, next_firsts = lanes.copy(), xs.copy(), firsts.copy()
    lanes[0], xs[0], firsts[0] = state.lane, state.x, -1
    count, best = 1, 0
    for depth in range(1, LOOK_AHEAD + 1):
        found, furthest = 0, -1
        for node in range(count):
            for choice in range(5):
                keys = 0 if choice == 4 else UP if choice == 0 else 1 << choice
                lane, x = hop(state, lanes[node], xs[node], keys)
                first = keys if depth == 1 else firsts[node]
                if lane == state.lanes - 1:
                    return int(first)
                for time in range(TICKS):
                    x = tick(state, lane, x, state.clock + TICKS * (depth - 1) + time + 1) if x >= 0 else x
                spot = (lane - state.lane + LOOK_AHEAD) * SPOTS + max(0, x) * SPOTS // SIZE
                if x < 0 or seen[spot] == depth:
                    continue
                seen[spot] = depth
                next_lanes[found], next_xs[found], next_firsts[found] = lane, x, first
                found += 1
                if lane > furthest:
                    furthest, best = lane, first
        if found == 0:
            break
        for node in range(found):
            lanes[node], xs[node], firsts[node] = next_lanes[node], next_xs[node], next_firsts[node]
        count = found
    return int(best)


def draw(state: Any, canvas: Any) -> None:
    fine = canvas.shape[0] >= 128
    first = max(0, min(state.lanes - COLUMNS, state.lane - 2))
    for row in range(COLUMNS):
        lane, y = first + row, SIZE - LANE * (row + 1)
        draw_ground(state, canvas, lane, y, fine)
        if state.kind[lane] == GRASS:
            draw_trees(state, canvas, lane, y, fine)
        else:
            begin = (state.phase[lane] + state.speed[lane] * state.clock) % state.period[lane]
            for index in range(-1, SIZE // 1000 + 1):
                x = begin + index * state.period[lane]
                if x < SIZE and x + state.span[lane] > 0:
                    draw_mover(state, canvas, lane, x, y, fine)
        if lane == state.lane:
            draw_walker(state, canvas, state.x, y, fine)


def draw_ground(state: Any, canvas: Any, lane: int, y: int, fine: bool) -> None:
    kind = state.kind[lane]
    colour = state.grass if kind == GRASS else state.asphalt if kind == ROAD else state.water
    tone = mix_colour(colour, 0xFFFFFF, 24 * (lane % 2))
    block(canvas, 0, y, SIZE, y + LANE, tone)
    if lane == state.lanes - 1:
        for column in range(16):
            top = y + 256 * (column % 2)
            block(canvas, column * 256, top, column * 256 + 256, top + 256, 0xFFFFFF)
    elif kind == ROAD:
        for dash in range(4 if state.kind[lane + 1] == ROAD else 0):
            block(canvas, dash * 1024 + 320, y - 32, dash * 1024 + 704, y + 32, 0xD8D2B8)
    elif kind == RIVER:
        drift = state.speed[lane] * state.clock
        foam = mix_colour(tone, 0xFFFFFF, 70)
        for wave in range(4 if fine else 2):
            x = (wave * 1171 + lane * 631 + drift) % (SIZE + 512) - 512
            top = y + 64 + wave * 371 % 384
            block(canvas, x, top, x + 384, top + (40 if fine else 64), foam)
    elif fine:
        for blade in range(12):
            x, top = (blade * 733 + lane * 457) % SIZE, y + 60 + (blade * 211 + lane * 97) % 400
            rect(canvas, x, top, x + 64, top + 24, 0x000000, 30)


def draw_trees(state: Any, canvas: Any, lane: int, y: int, fine: bool) -> None:
    light = mix_colour(state.tree, 0xFFFFFF, 60)
    for column in range(COLUMNS):
        if state.trees[lane] >> column & 1:
            x = column * LANE
            if fine:
                disc(canvas, x + 270, y + 296, 226, 0x000000, 60)
                disc(canvas, x + 256, y + 256, 222, state.tree, OPAQUE)
                disc(canvas, x + 226, y + 216, 150, light, OPAQUE)
                disc(canvas, x + 196, y + 176, 64, 0xFFFFFF, 50)
            else:
                block(canvas, x + 64, y + 64, x + 448, y + 448, state.tree)
                block(canvas, x + 64, y + 64, x + 320, y + 256, light)


def draw_mover(state: Any, canvas: Any, lane: int, x: int, y: int, fine: bool) -> None:
    """A log, a car, or a lorry with its load; its front is on the side to which it moves."""
    end = x + state.span[lane]
    if state.kind[lane] == RIVER:
        dark, light = mix_colour(state.wood, 0, 80), mix_colour(state.wood, 0xFFFFFF, 60)
        if fine:
            round_rect(canvas, x, y + 56, end, y + 464, 120, dark, OPAQUE)
            round_rect(canvas, x, y + 56, end, y + 416, 120, state.wood, OPAQUE)
            for ring in range(3):
                rect(
                    canvas,
                    x + 150 + 60 * ring,
                    y + 150 + 90 * ring,
                    end - 130,
                    y + 174 + 90 * ring,
                    dark,
                    110,
                )
        else:
            block(canvas, x, y + 64, end, y + 448, dark)
            block(canvas, x, y + 64, end, y + 384, state.wood)
        block(canvas, x + 64, y + 128, end - 192, y + 160 + 32 * (not fine), light)
        return
    ahead = state.speed[lane] > 0
    body = state.paint[lane]
    if fine:
        round_rect(canvas, x, y + 100, end, y + 470, 90, 0x000000, 80)
        round_rect(canvas, x, y + 64, end, y + 440, 90, body, OPAQUE)
    else:
        block(canvas, x, y + 64, end, y + 448, body)
    front = end - 192 if ahead else x + 64
    block(canvas, front, y + 128, front + 128, y + 384, 0x1D2436)
    if end - x > 600:
        load = x + 64 if ahead else x + 320
        block(canvas, load, y + 96, load + 516, y + 412, mix_colour(body, 0xFFFFFF, 150))
    lamp = end - 32 if ahead else x - 32
    for side in range(2 if fine else 0):
        block(canvas, lamp, y + 96 + 264 * side, lamp + 64, y + 160 + 264 * side, 0xFFF6B0)


def draw_walker(state: Any, canvas: Any, x: int, y: int, fine: bool) -> None:
    """A round chick; its eyes look where it goes."""
    look = 1 if state.way & RIGHT else -1 if state.way & LEFT else 0
    lift = 1 if state.way & UP else -1 if state.way & DOWN else 0
    if fine:
        disc(canvas, x + 16, y + 290, 190, 0x000000, 70)
    disc(canvas, x, y + 256, 190, state.coat, OPAQUE)
    for side in range(2):
        ex = x - 80 + 160 * side + 40 * look
        ey = y + 240 - 70 * lift
        if fine:
            disc(canvas, ex, ey, 52, 0xFFFFFF, OPAQUE)
            disc(canvas, ex + 18 * look, ey - 18 * lift, 26, 0x16203A, OPAQUE)
        else:
            block(canvas, ex - 32, ey - 32, ex + 32, ey + 32, 0x16203A)
    if fine:
        disc(canvas, x + 110 * look, y + 270 - 110 * lift, 40, 0xFF9A28, OPAQUE)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Cross all roads and rivers with the arrow keys: dodge cars, ride logs, stay dry.",
)
