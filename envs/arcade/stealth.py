"""Stealth: take the gems and reach the exit without ever stepping into a guard's light.

Levels differ in the rooms' walls, in the guards' beats, in how far they see, in where gems and
exit lie and in colours; hard ones have more guards with longer lights. All beats repeat every
PERIOD steps, so whether a level can be won is found by following, step by step, the set of cells
in which the thief could be: a guard whose beat would make it impossible is sent home. The start is
never lit, so one may wait there for any moment. +2 a gem, +1 for every four cells nearer to the
exit than ever before, +10 for the exit. One step is one cell, or a wait.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, LOST, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, gradient, hue, mix_colour, rect, round_rect
from universe2.envs.arcade.rng import below, between, chance, seeded

SIDE = 16
CELL = 256
PERIOD = 24
GUARDS, GEMS = 5, 3
BEATS = (2, 3, 4, 6)
"""Steps from one end of a beat to the other: there and back they divide PERIOD."""
HORIZON = 160
PIXEL = 64

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("walls", np.int64, (SIDE,)),
        ("lit", np.int64, (PERIOD * SIDE,)),
        ("steps_to", np.int64, (SIDE * SIDE,)),
        ("guards", np.int64),
        ("post", np.int64, (GUARDS,)),
        ("beat", np.int64, (GUARDS,)),
        ("along", np.int64, (GUARDS,)),
        ("lag", np.int64, (GUARDS,)),
        ("sight", np.int64),
        ("around", np.int64, (SIDE,)),
        ("scratch", np.int64, (2 * SIDE,)),
        ("gems", np.int64, (GEMS,)),
        ("start", np.int64),
        ("exit", np.int64),
        ("cell", np.int64),
        ("clock", np.int64),
        ("nearest", np.int64),
        ("way", np.int64),
        ("floor", np.int64),
        ("depth", np.int64),
        ("wall", np.int64),
        ("light", np.int64),
        ("coat", np.int64),
        ("gem", np.int64),
        ("cloak", np.int64),
    ]
)
# walls, lit: rows of cells as bits, bit x for column x; lit holds the rows of each step of the
# period. A guard walks from its post ``beat`` cells to the right (along = 1) or down (along = SIDE)
# and back; gems: cells, -1 once taken.


def blocked(state: Any, cell: int) -> bool:
    return bool((state.walls[cell // SIDE] >> (cell % SIDE)) & 1)


def guard_at(state: Any, guard: int, clock: int) -> int:
    """The cell of a guard at some time."""
    beat = state.beat[guard]
    place = (clock + state.lag[guard]) % (2 * beat)
    return int(state.post[guard] + state.along[guard] * min(place, 2 * beat - place))


def looks(state: Any, guard: int, clock: int) -> int:
    """The step from a guard's cell to the one it looks at: -1, 1, -SIDE or SIDE."""
    beat = state.beat[guard]
    place = (clock + state.lag[guard]) % (2 * beat)
    return int(state.along[guard] if place < beat else -state.along[guard])


def shine(state: Any, guard: int, clock: int) -> None:
    """Light the cells that a guard sees: ahead, wider with the distance, as far as walls let it."""
    cell, ahead = guard_at(state, guard, clock), looks(state, guard, clock)
    aside = 1 if abs(ahead) == SIDE else SIDE
    for side in range(-1, 2):
        # The middle lane begins at the guard, those beside it two cells ahead of it.
        place = cell + side * aside + (2 * ahead if side else 0)
        if side and (blocked(state, cell + ahead) or blocked(state, cell + 2 * ahead)):
            continue
        for _ in range(state.sight + 1 if side == 0 else state.sight - 1):
            if blocked(state, place):
                break
            state.lit[clock * SIDE + place // SIDE] |= 1 << (place % SIDE)
            place += ahead


def light_up(state: Any) -> None:
    """What is lit in each step of the period."""
    for row in range(PERIOD * SIDE):
        state.lit[row] = 0
    for clock in range(PERIOD):
        for guard in range(state.guards):
            shine(state, guard, clock)


def ever_lit(state: Any, cell: int) -> bool:
    seen = 0
    for clock in range(PERIOD):
        seen |= state.lit[clock * SIDE + cell // SIDE] >> (cell % SIDE)
    return bool(seen & 1)


def measure(state: Any) -> None:
    """``steps_to``: steps from each cell to the exit, the exit being 1; 0 for walls."""
    state.steps_to[state.exit] = 1
    changed = True
    while changed:
        changed = False
        for cell in range(SIDE, SIDE * (SIDE - 1)):
            if blocked(state, cell):
                continue
            best = state.steps_to[cell]
            for bit in range(4):
                there = state.steps_to[beside(cell, 1 << bit)]
                if there > 0 and (best == 0 or there + 1 < best):
                    best = there + 1
            changed = changed or best != state.steps_to[cell]
            state.steps_to[cell] = best


def beside(cell: int, way: int) -> int:
    """The neighbour of a cell inside the border, which is always wall."""
    if way == UP:
        return cell - SIDE
    if way == DOWN:
        return cell + SIDE
    return cell - 1 if way == LEFT else cell + 1


def advance(state: Any, rows: Any, old: int, new: int, clock: int) -> None:
    """From where the thief could be (SIDE rows of bits at ``old``) to where it could be at ``clock``."""
    for row in range(SIDE):
        here = rows[old + row]
        reach = here | (here << 1) | (here >> 1)
        if row > 0:
            reach |= rows[old + row - 1]
        if row < SIDE - 1:
            reach |= rows[old + row + 1]
        rows[new + row] = reach & ~state.walls[row] & ~state.lit[clock % PERIOD * SIDE + row]


def can_win(state: Any) -> bool:
    """Can the exit be reached unseen from a start that is never lit? ``around``: where one comes by."""
    if ever_lit(state, state.start) or ever_lit(state, state.exit):
        return False
    for row in range(2 * SIDE):
        state.around[row % SIDE] = 0
        state.scratch[row] = 0
    state.scratch[state.start // SIDE] = 1 << (state.start % SIDE)
    for clock in range(HORIZON):
        old, new = clock % 2 * SIDE, (clock + 1) % 2 * SIDE
        advance(state, state.scratch, old, new, clock + 1)
        for row in range(SIDE):
            state.around[row] |= state.scratch[new + row]
        if (state.around[state.exit // SIDE] >> (state.exit % SIDE)) & 1:
            return True
    return False


def build(state: Any) -> None:
    """A border, and bars of wall that keep a cell off one another: the floor stays connected."""
    for row in range(SIDE):
        full = row in (0, SIDE - 1)
        state.walls[row] = (1 << SIDE) - 1 if full else 1 | (1 << (SIDE - 1))
    for bar in range(40):
        wide, high = between(state, 1, 2), between(state, 2, 7 if bar < 8 else 3)
        if chance(state, 50):
            wide, high = high, wide
        x, y = between(state, 2, SIDE - 2 - wide), between(state, 2, SIDE - 2 - high)
        room = ((1 << (wide + 2)) - 1) << (x - 1)
        free = True
        for row in range(y - 1, y + high + 1):
            free = free and state.walls[row] & room == 0
        for row in range(y, y + high if free else y):
            state.walls[row] |= ((1 << wide) - 1) << x


def post_guard(state: Any) -> None:
    """One more guard on a beat between walls, if the level can be won with it."""
    guard = state.guards
    beat = BEATS[below(state, len(BEATS))]
    along = 1 if chance(state, 50) else SIDE
    post = between(state, 1, SIDE - 2) * SIDE + between(state, 1, SIDE - 2)
    for place in range(beat + 1):
        cell = post + along * place
        if cell >= SIDE * SIDE or blocked(state, cell):
            return
    state.post[guard], state.beat[guard], state.along[guard] = post, beat, along
    state.lag[guard] = below(state, PERIOD)
    state.guards += 1
    light_up(state)
    if not can_win(state):
        state.guards -= 1
        light_up(state)


def paint(state: Any) -> None:
    base = below(state, 1536)
    state.floor = hue(base, between(state, 60, 130), between(state, 50, 80))
    state.depth = hue(base + between(state, 60, 260), 130, between(state, 34, 56))
    state.wall = hue(base + between(state, -160, 160), between(state, 50, 120), between(state, 130, 185))
    state.light = mix_colour(state.floor, hue(between(state, 150, 300), 130, 255), 170)
    state.coat = hue(between(state, -60, 60), 210, 240)
    state.gem = hue(base + 768, 160, 255)
    state.cloak = hue(between(state, 600, 1000), 170, 255)


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    build(state)
    paint(state)
    corner = below(state, 4)
    near, far = 1 + SIDE, (SIDE - 2) * (SIDE + 1)
    if corner % 2:
        near, far = SIDE * 2 - 2, SIDE * (SIDE - 2) + 1
    state.start, state.exit = (near, far) if corner < 2 else (far, near)
    state.sight = 3 + state.hard
    measure(state)
    for _ in range(60):
        if state.guards < 3 + 2 * state.hard:
            post_guard(state)
    can_win(state)
    for number in range(GEMS):
        cell = 0
        while cell == state.start or not (state.around[cell // SIDE] >> (cell % SIDE)) & 1:
            cell = below(state, SIDE * SIDE)
        state.gems[number] = cell
    state.rng = seeded(seed)
    state.clock = below(state, PERIOD)
    state.cell, state.way = state.start, DOWN
    state.nearest = state.steps_to[state.start]


def step(state: Any, keys: int) -> tuple[int, int]:
    state.clock += 1
    for bit in range(4):
        if keys & (1 << bit):
            state.way = 1 << bit
            there = beside(state.cell, state.way)
            state.cell = state.cell if blocked(state, there) else there
            break
    if (state.lit[state.clock % PERIOD * SIDE + state.cell // SIDE] >> (state.cell % SIDE)) & 1:
        return 0, LOST
    reward = 0
    for number in range(GEMS):
        if state.gems[number] == state.cell:
            state.gems[number] = -1
            reward += 2
    away = state.steps_to[state.cell]
    if away < state.nearest:
        reward += state.nearest // 4 - away // 4
        state.nearest = away
    if state.cell == state.exit:
        return reward + 10, CLEARED
    return reward, RUNNING


def arrival(state: Any, start: int, clock: int, target: int, rows: Any) -> int:
    """Steps to a target unseen, from a cell at a time; 0 if there is no way. Fills ``rows``."""
    for row in range(SIDE):
        rows[row] = 0
    rows[start // SIDE] = 1 << (start % SIDE)
    for time in range(1, HORIZON):
        advance(state, rows, (time - 1) * SIDE, time * SIDE, clock + time)
        if (rows[time * SIDE + target // SIDE] >> (target % SIDE)) & 1:
            return time
    return 0


def heuristic(state: Any) -> int:
    """By the quickest unseen way to the nearest gem from which the exit can be reached, or there."""
    rows = np.zeros(HORIZON * SIDE, np.int64)
    target, soonest = state.exit, HORIZON
    for number in range(GEMS):
        gem = state.gems[number]
        if gem >= 0:
            time = arrival(state, state.cell, state.clock, gem, rows)
            if 0 < time < soonest and arrival(state, gem, state.clock + time, state.exit, rows) > 0:
                target, soonest = gem, time
    time = arrival(state, state.cell, state.clock, target, rows)
    cell, keys = target, 0
    while time > 0:
        # One step back in time: to any cell from which this one was reached.
        time -= 1
        here = cell
        keys = 0
        for bit in range(4):
            there = beside(here, 1 << bit)
            if (rows[time * SIDE + there // SIDE] >> (there % SIDE)) & 1:
                cell = there
                keys = (1 << bit) ^ (9 if 1 << bit in (UP, DOWN) else 6)
    return keys


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.floor, state.depth)
    fine = canvas.shape[0] >= 128
    clock = state.clock % PERIOD * SIDE
    for row in range(SIDE):
        walls = state.walls[row]
        foot = walls & ~state.walls[min(SIDE - 1, row + 1)]
        draw_runs(canvas, row, state.lit[clock + row] & ~walls, state.light, 0)
        draw_runs(canvas, row, walls, state.wall, 0)
        draw_runs(canvas, row, foot, mix_colour(state.wall, 0x080418, 120), CELL - PIXEL)
    for number in range(GEMS):
        if state.gems[number] >= 0:
            draw_figure(canvas, state.gems[number], 0, 0, state.gem, fine)
    draw_figure(canvas, state.exit, 3, 0, 0x4CE07A, fine)
    for guard in range(state.guards):
        ahead = looks(state, guard, state.clock)
        draw_figure(canvas, guard_at(state, guard, state.clock), 1, ahead, state.coat, fine)
    ahead = beside(state.cell, state.way) - state.cell
    draw_figure(canvas, state.cell, 2, ahead, state.cloak, fine)


def draw_runs(canvas: Any, row: int, bits: int, colour: int, drop: int) -> None:
    """The cells of a row whose bits are set, each run as one bar, from ``drop`` below its upper edge."""
    column = 0
    while bits:
        while not bits & 1:
            bits >>= 1
            column += 1
        begin = column
        while bits & 1:
            bits >>= 1
            column += 1
        rect(canvas, begin * CELL, row * CELL + drop, column * CELL, row * CELL + CELL, colour, OPAQUE)


def draw_figure(canvas: Any, cell: int, kind: int, ahead: int, colour: int, fine: bool) -> None:
    """A gem (0), a guard (1), the thief (2) or the exit (3); figures have eyes where they look."""
    x, y = cell % SIDE * CELL, cell // SIDE * CELL
    dx, dy = (0, ahead // SIDE) if abs(ahead) == SIDE else (ahead, 0)
    dark = mix_colour(colour, 0x080418, 150)
    for part in range(4):
        x0, y0, x1, y1, tone = x, y, x + 256, y + 256, colour
        if kind == 3:
            inset = 64 * part
            x0, y0, x1, y1 = x0 + inset // 2, y0 + inset // 2, x1 - inset // 2, y1 - inset // 2
            tone = dark if part == 1 else colour
            if part == 3 or (part == 1 and not fine):
                x0, y0, x1, y1, tone = x + 64, y + 64, x + 192, y + 192, 0xFFFFFF
        elif kind == 0:
            x0, y0, x1, y1 = x + 64, y + 64 * (part == 0), x + 192, y + (256 if part == 0 else 192)
            if part == 1:
                x0, x1, y0 = x, x + 256, y + 64
            elif part > 1:
                x0, x1, y0, y1, tone = x + 64, x + 128, y + 64, y + 128, 0xFFFFFF
        elif part == 0:
            tone = dark
        elif part == 1:
            x1, y1 = x + 256, y + 192
        else:
            side = 32 if part == 2 else -32
            cx, cy = x + 128 + dx * 64 + dy * side * 2, y + 96 + dy * 32 + abs(dx) * side
            x0, y0, x1, y1, tone = cx - 32, cy - 32, cx + 32, cy + 32, 0xFFFFFF
        if fine:
            round_rect(canvas, x0, y0, x1, y1, 88 if part < 2 else 32, tone, OPAQUE)
        else:
            rect(canvas, x0, y0, x1, y1, tone, OPAQUE)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Take the gems and reach the exit with the arrow keys; never step into a guard's light.",
)
