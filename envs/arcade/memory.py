"""Memory: cross the dark on the stones that you were shown.

Three halls, one after the other. In each, a winding way over the stones lights up from one bank to
the other and goes dark again; then the gate opens. Stones of the way carry, all others sink: a life
is gone, the walk begins anew, and on easy the way is shown again. +1 each stone of the way the
first time, +3 for the far bank, +10 for the last one; three lives. Levels differ in how wide and
how winding the halls are and in colours; hard ones show the way faster. The way itself comes from the
episode's seed, for it is to be remembered and not learnt; it never breaks off, so every hall can be
crossed. One step is one stone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import SIZE, block, disc, gradient, hue, mix_colour, rect, round_rect
from universe2.envs.arcade.rng import below, between, chance, seeded

SIDE = 8
CELLS = SIDE * SIDE
CELL = SIZE // SIDE
HALLS = 3
LIVES = 3
LINGER = 3
"""For how many steps the whole way stays lit."""

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("on_way", np.int64, (CELLS,)),
        ("way", np.int64, (CELLS,)),
        ("length", np.int64),
        ("trodden", np.int64, (CELLS,)),
        ("shown", np.int64),
        ("hall", np.int64),
        ("lives", np.int64),
        ("x", np.int64),
        ("y", np.int64),
        ("first", np.int64),
        ("width", np.int64),
        ("winding", np.int64),
        ("sunk", np.int64),
        ("clock", np.int64),
        ("water", np.int64),
        ("deep", np.int64),
        ("bank", np.int64),
        ("stone", np.int64),
        ("light", np.int64),
        ("coat", np.int64),
    ]
)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.width = between(state, 5, SIDE)
    state.first = (SIDE - state.width) // 2
    state.winding = between(state, 30, 55) + 10 * state.hard
    base = below(state, 1536)
    state.water = hue(base, between(state, 150, 200), between(state, 60, 95))
    state.deep = hue(base + between(state, 80, 250), 190, between(state, 24, 44))
    state.bank = hue(base + between(state, 500, 1000), between(state, 90, 150), between(state, 130, 180))
    state.stone = mix_colour(state.water, hue(base + 768, 40, 190), between(state, 90, 130))
    state.light = hue(base + between(state, 600, 930), 130, 255)
    state.coat = hue(base + between(state, 200, 400), 200, 255)
    state.rng = seeded(seed)
    state.lives = LIVES
    open_hall(state)


def open_hall(state: Any) -> None:
    """A new way: up from the near bank, now and then some stones aside."""
    for cell in range(CELLS):
        state.on_way[cell], state.trodden[cell] = 0, 0
    x = state.first + below(state, state.width)
    state.length = 0
    aside = 0
    for y in range(SIDE - 2, 0, -1):
        lay_stone(state, x, y)
        if y < SIDE - 2 and chance(state, state.winding + 8 * state.hall):
            aside = 1 if chance(state, 50) else -1
            for _ in range(between(state, 1, 3)):
                if state.first <= x + aside < state.first + state.width:
                    x += aside
                    lay_stone(state, x, y)
    begin_walk(state)
    state.shown = 1


def lay_stone(state: Any, x: int, y: int) -> None:
    state.on_way[y * SIDE + x] = 1
    state.way[state.length] = y * SIDE + x
    state.length += 1


def begin_walk(state: Any) -> None:
    """Back to the middle of the near bank; on easy the way lights up again."""
    state.x, state.y = SIDE // 2, SIDE - 1
    if not state.hard:
        state.shown = 1


def step(state: Any, keys: int) -> tuple[int, int]:
    state.clock += 1
    state.sunk = max(0, state.sunk - 1)
    if state.shown > 0:
        state.shown += 1 + state.hard
        if state.shown > state.length + LINGER:
            state.shown = 0
        return 0, RUNNING
    x, y = state.x, state.y
    x += (1 if keys & RIGHT else 0) - (1 if keys & LEFT else 0)
    y += (1 if keys & DOWN else 0) - (1 if keys & UP else 0)
    if x < state.first or x >= state.first + state.width or y >= SIDE:
        return 0, RUNNING
    state.x, state.y = x, y
    return arrive(state, y * SIDE + x)


def arrive(state: Any, cell: int) -> tuple[int, int]:
    """What standing on this cell brings."""
    if state.y == 0:
        state.hall += 1
        if state.hall == HALLS:
            return 10, CLEARED
        open_hall(state)
        return 3, RUNNING
    if state.y == SIDE - 1:
        return 0, RUNNING
    if not state.on_way[cell]:
        state.lives -= 1
        state.sunk = 6
        if state.lives == 0:
            return 0, LOST
        begin_walk(state)
        return 0, RUNNING
    new = 1 - state.trodden[cell]
    state.trodden[cell] = 1
    return int(new), RUNNING


def heuristic(state: Any) -> int:
    """Along the way, which it knows by heart."""
    if state.shown > 0:
        return 0
    goal = state.way[0]
    here = state.y * SIDE + state.x
    if state.y < SIDE - 1:
        goal = here - SIDE
        for index in range(state.length - 1):
            if state.way[index] == here:
                goal = state.way[index + 1]
    elif goal % SIDE == state.x:
        return UP
    if goal % SIDE != state.x:
        return RIGHT if goal % SIDE > state.x else LEFT
    return UP


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.water, state.deep)
    fine = canvas.shape[0] >= 128
    draw_banks(state, canvas, fine)
    if not fine:
        left, right = state.first * CELL + 64, (state.first + state.width) * CELL
        block(canvas, left, CELL + 64, right, SIZE - CELL, mix_colour(state.stone, 0x000000, 110))
    for y in range(1, SIDE - 1):
        for x in range(state.first, state.first + state.width):
            colour = state.stone
            if (
                state.trodden[y * SIDE + x]
                and state.on_way[y * SIDE + x]
                and state.shown == 0
                and not state.hard
            ):
                colour = mix_colour(state.stone, state.light, 60)
            draw_stone(canvas, x * CELL, y * CELL, colour, fine)
    # While it is shown, the way runs ahead of a bright head.
    for index in range(min(state.shown, state.length)):
        x, y = state.way[index] % SIDE * CELL, state.way[index] // SIDE * CELL
        head = index == state.shown - 1
        draw_stone(canvas, x, y, 0xFFFFFF if head else state.light, fine)
    draw_walker(state, canvas, state.x * CELL, state.y * CELL, fine)


def draw_banks(state: Any, canvas: Any, fine: bool) -> None:
    """The two banks, the gate while it is shut, lives on the near bank and halls crossed on the far one."""
    dark, light = mix_colour(state.bank, 0x000000, 90), mix_colour(state.bank, 0xFFFFFF, 70)
    for side in range(2):
        y = 0 if side == 0 else SIZE - CELL
        block(canvas, 0, y, SIZE, y + CELL, state.bank)
        block(canvas, 0, y + (CELL - 64 if side == 0 else 0), SIZE, y + (CELL if side == 0 else 64), dark)
        if fine:
            for tuft in range(24):
                x, top = tuft * 173 % SIZE, y + 90 + tuft * 97 % 300
                rect(canvas, x, top, x + 70, top + 30, light if tuft % 2 else dark, 120)
    if state.shown > 0:
        block(canvas, 0, SIZE - CELL - 64, SIZE, SIZE - CELL, 0xFF5A4A)
    for life in range(state.lives):
        block(canvas, 64 + 192 * life, SIZE - 192, 192 + 192 * life, SIZE - 64, state.coat)
    for hall in range(HALLS):
        shade = state.light if hall < state.hall else dark
        block(canvas, SIZE - 192 - 256 * hall, 128, SIZE - 64 - 256 * hall, 320, shade)


def draw_stone(canvas: Any, x: int, y: int, colour: int, fine: bool) -> None:
    if not fine:
        block(canvas, x + 64, y + 64, x + 448, y + 448, colour)
        return
    for layer in range(2):
        tone = colour if layer else mix_colour(colour, 0x000000, 120)
        drop = 0 if layer else 36
        round_rect(canvas, x + 40, y + 30 + drop, x + 472, y + 440 + drop, 110, tone, 256)
    round_rect(canvas, x + 90, y + 66, x + 330, y + 120, 27, 0xFFFFFF, 50)


def draw_walker(state: Any, canvas: Any, x: int, y: int, fine: bool) -> None:
    colour = state.coat if state.sunk // 2 % 2 == 0 else 0xFF5A4A
    if fine:
        disc(canvas, x + 256, y + 400, 130, 0x000000, 80)
    disc(canvas, x + 256, y + 256, 170, mix_colour(colour, 0x000000, 70), 256)
    disc(canvas, x + 240, y + 230, 140, colour, 256)
    for side in range(2):
        ex = x + 192 + 128 * side
        block(canvas, ex - 32, y + 192, ex + 32, y + 256, 0xFFFFFF)
        if fine:
            disc(canvas, ex, y + 216, 20, 0x16203A, 256)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Remember the stones that light up, then walk over them with the arrow keys to the far bank.",
)
