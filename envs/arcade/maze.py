"""Maze: eat every pellet in the maze and stay away from the chasers.

Levels differ in the maze (connected, without dead ends), in the number and the cunning of the
chasers and in colours; on hard there are always three cunning ones that are soon bold again. +1 a
pellet, +2 one of the four big ones, which scare the chasers for a while; +5 for a chaser caught
while scared, which then waits at home, out of play, as all do at the start; +10 for the last pellet.
One life. The player keeps walking until told otherwise; one step is four ticks, half a cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, DOWN, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, disc, gradient, hue, mix_colour, rect, round_rect, triangle
from universe2.envs.arcade.rng import below, between, chance, seeded

SIDE = 8
CELLS = SIDE * SIDE
CELL = 512
CHASERS = 3
TICKS = 4
PLAYER_SPEED, CHASER_SPEED, SCARED_SPEED = 64, 46, 32
SCARED_TICKS = 160
HOME_TICKS = 60
TOUCH = 330
FAR = 999
MARGIN = 7

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("open", np.int64, (CELLS,)),
        ("pellets", np.int64, (CELLS,)),
        ("parent", np.int64, (CELLS,)),
        ("left", np.int64),
        ("cell", np.int64),
        ("way", np.int64),
        ("want", np.int64),
        ("gone", np.int64),
        ("chasers", np.int64),
        ("cunning", np.int64),
        ("c_cell", np.int64, (CHASERS,)),
        ("c_way", np.int64, (CHASERS,)),
        ("c_gone", np.int64, (CHASERS,)),
        ("c_wait", np.int64, (CHASERS,)),
        ("scared", np.int64),
        ("clock", np.int64),
        ("wall", np.int64),
        ("floor", np.int64),
        ("depth", np.int64),
        ("sweet", np.int64),
    ]
)


def opposite(way: int) -> int:
    return 9 - way if way in (UP, DOWN) else 6 - way


def beyond(cell: int, way: int) -> int:
    """The neighbour of a cell, or -1 outside the maze."""
    x, y = cell % SIDE, cell // SIDE
    if way == UP:
        return cell - SIDE if y > 0 else -1
    if way == DOWN:
        return cell + SIDE if y < SIDE - 1 else -1
    if way == LEFT:
        return cell - 1 if x > 0 else -1
    return cell + 1 if x < SIDE - 1 else -1


def carve(state: Any, cell: int, way: int) -> None:
    """Open the wall between a cell and its neighbour."""
    state.open[cell] |= way
    state.open[beyond(cell, way)] |= opposite(way)


def grow(state: Any) -> None:
    """A random spanning tree, depth first."""
    start = below(state, CELLS)
    for cell in range(CELLS):
        state.parent[cell] = -1
    state.parent[start] = start
    cell = start
    while True:
        ways, count = 0, 0
        for bit in range(4):
            there = beyond(cell, 1 << bit)
            if there >= 0 and state.parent[there] < 0:
                count += 1
                if below(state, count) == 0:
                    ways = 1 << bit
        if count > 0:
            carve(state, cell, ways)
            there = beyond(cell, ways)
            state.parent[there] = cell
            cell = there
        elif cell == start:
            return
        else:
            cell = state.parent[cell]


def braid(state: Any, extra: int) -> None:
    """Open a second way out of every dead end, and some more walls."""
    for cell in range(CELLS):
        ways = state.open[cell]
        dead_end = ways in (UP, RIGHT, LEFT, DOWN)
        while dead_end or chance(state, extra):
            way = 1 << below(state, 4)
            if beyond(cell, way) >= 0 and not state.open[cell] & way:
                carve(state, cell, way)
                break
            if not dead_end:
                break


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    grow(state)
    braid(state, between(state, 8, 30))
    state.chasers = between(state, 2 + state.hard, CHASERS)
    state.cunning = between(state, 45, 75) + 15 * state.hard
    base = below(state, 1536)
    state.wall = hue(base, between(state, 120, 200), between(state, 170, 235))
    state.floor = hue(base + between(state, 500, 1000), 150, between(state, 22, 48))
    state.depth = hue(base + between(state, 300, 900), 170, between(state, 35, 70))
    state.sweet = hue(base + 768, 70, 255)
    state.rng = seeded(seed)
    state.cell = (SIDE - 1) * SIDE + below(state, SIDE)
    for cell in range(CELLS):
        state.pellets[cell] = 1
    for corner in range(4):
        state.pellets[(1 + 5 * (corner // 2)) * SIDE + 1 + 5 * (corner % 2)] = 2
    state.pellets[state.cell] = 0
    state.left = CELLS - 1
    for chaser in range(state.chasers):
        send_home(state, chaser)
        state.c_wait[chaser] = 24 + 40 * chaser


def send_home(state: Any, chaser: int) -> None:
    state.c_cell[chaser] = 3 * SIDE // 8 * SIDE + 2 + 2 * chaser
    state.c_way[chaser] = 0
    state.c_gone[chaser] = 0
    state.c_wait[chaser] = HOME_TICKS


def place_x(cell: int, way: int, gone: int) -> int:
    """World x of something that has gone so far from a cell."""
    shift = gone if way == RIGHT else -gone if way == LEFT else 0
    return cell % SIDE * CELL + CELL // 2 + shift


def place_y(cell: int, way: int, gone: int) -> int:
    shift = gone if way == DOWN else -gone if way == UP else 0
    return cell // SIDE * CELL + CELL // 2 + shift


def move_player(state: Any) -> int:
    """One tick of the player; the reward of what it ate."""
    if state.gone > 0 and state.want == opposite(state.way):
        state.cell = beyond(state.cell, state.way)
        state.way, state.gone = state.want, CELL - state.gone
    if state.gone == 0:
        if state.open[state.cell] & state.want:
            state.way = state.want
        if not state.open[state.cell] & state.way:
            state.way = 0
            return 0
    state.gone += PLAYER_SPEED
    if state.gone < CELL:
        return 0
    state.cell = beyond(state.cell, state.way)
    state.gone -= CELL
    found = state.pellets[state.cell]
    if found > 0:
        state.pellets[state.cell] = 0
        state.left -= 1
    if found == 2:
        state.scared = SCARED_TICKS - 60 * state.hard
    return found


def choose_way(state: Any, chaser: int) -> int:
    """At a crossing: mostly towards the player (away from it when scared), never straight back."""
    cell, came = state.c_cell[chaser], opposite(state.c_way[chaser])
    clever = chance(state, state.cunning - 15 * chaser + 15)
    best, best_score, count = 0, 1 << 40, 0
    for bit in range(4):
        way = 1 << bit
        if not state.open[cell] & way or (way == came and state.open[cell] != way):
            continue
        there = beyond(cell, way)
        dx, dy = there % SIDE - state.cell % SIDE, there // SIDE - state.cell // SIDE
        score = dx * dx + dy * dy
        if state.scared > 0:
            score = -score
        count += 1
        if (clever and score < best_score) or (not clever and below(state, count) == 0):
            best, best_score = way, score
    return best


def move_chaser(state: Any, chaser: int) -> None:
    if state.c_wait[chaser] > 0:
        state.c_wait[chaser] -= 1
        return
    if state.c_gone[chaser] == 0 or state.c_way[chaser] == 0:
        state.c_way[chaser] = choose_way(state, chaser)
    state.c_gone[chaser] += SCARED_SPEED if state.scared > 0 else CHASER_SPEED
    if state.c_gone[chaser] >= CELL:
        state.c_cell[chaser] = beyond(state.c_cell[chaser], state.c_way[chaser])
        rest = state.c_gone[chaser] - CELL
        state.c_way[chaser] = choose_way(state, chaser)
        state.c_gone[chaser] = max(1, rest)


def touches(state: Any, chaser: int) -> bool:
    """Whether the two have met. A chaser that waits at home is out of play: it neither catches nor pays."""
    if state.c_wait[chaser] > 0:
        return False
    x = place_x(state.cell, state.way, state.gone)
    y = place_y(state.cell, state.way, state.gone)
    cx = place_x(state.c_cell[chaser], state.c_way[chaser], state.c_gone[chaser])
    cy = place_y(state.c_cell[chaser], state.c_way[chaser], state.c_gone[chaser])
    return bool(abs(x - cx) + abs(y - cy) < TOUCH)


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    for bit in range(4):
        way = 1 << bit
        if keys & way and (state.open[state.cell] & way or state.gone > 0 or state.want == 0):
            state.want = way
    for _ in range(TICKS):
        state.clock += 1
        state.scared = max(0, state.scared - 1)
        reward += move_player(state)
        if state.left == 0:
            return reward + 10, CLEARED
        for chaser in range(state.chasers):
            move_chaser(state, chaser)
            if touches(state, chaser):
                if state.scared == 0:
                    return reward, LOST
                reward += 5
                send_home(state, chaser)
    return reward, RUNNING


def spread(state: Any, start: int, first: int, pace: int, times: Any, queue: Any, limit: Any) -> None:
    """``times``: when something could be in each cell, at ``pace`` ticks a cell, if before ``limit``."""
    times[start] = first
    queue[0] = start
    head, count = 0, 1
    while head < count:
        cell = queue[head]
        head += 1
        for bit in range(4):
            if state.open[cell] & (1 << bit):
                there = beyond(cell, 1 << bit)
                if times[there] == FAR and limit[there] > times[cell] + pace + MARGIN:
                    times[there] = times[cell] + pace
                    queue[count] = there
                    count += 1


def arrivals(state: Any, danger: Any, times: Any, queue: Any) -> None:
    """``danger``: in how many ticks the first chaser could be in each cell. Chasers don't turn round."""
    nothing = np.full(CELLS, 2 * FAR, np.int64)
    pace = CELL // CHASER_SPEED
    for chaser in range(state.chasers):
        if state.scared > 40:
            continue
        for cell in range(CELLS):
            times[cell] = FAR
        cell, way, gone = state.c_cell[chaser], state.c_way[chaser], state.c_gone[chaser]
        if gone > 0 and way > 0:
            times[cell] = 0 if gone < TOUCH else FAR - 1
            spread(state, beyond(cell, way), (CELL - gone) // CHASER_SPEED, pace, times, queue, nothing)
        else:
            spread(state, cell, state.c_wait[chaser], pace, times, queue, nothing)
        for cell in range(CELLS):
            danger[cell] = min(danger[cell], times[cell])


def heuristic(state: Any) -> int:
    """To the nearest pellet that can be reached before any chaser, keeping room to flee."""
    danger, times = np.full(CELLS, FAR, np.int64), np.full(CELLS, FAR, np.int64)
    queue = np.zeros(2 * CELLS, np.int64)
    arrivals(state, danger, times, queue)
    here = beyond(state.cell, state.way) if state.gone > 0 else state.cell
    best, best_score = state.want, -FAR * FAR
    for bit in range(4):
        way = 1 << bit
        if not state.open[here] & way:
            continue
        there = beyond(here, way)
        back = state.gone > 0 and way == opposite(state.way)
        arrive = (CELL - state.gone) // PLAYER_SPEED if state.gone > 0 else 0
        first = state.gone // PLAYER_SPEED if back else arrive + CELL // PLAYER_SPEED
        blocked = danger[there] <= first + MARGIN or (not back and danger[here] <= arrive + MARGIN)
        score = danger[there] - 10 * FAR
        if not blocked:
            for cell in range(CELLS):
                times[cell] = FAR
            times[here] = 0 if not back else FAR - 1
            spread(state, there, first, CELL // PLAYER_SPEED, times, queue, danger)
            score = prospect(state, times) - (2 if back else 0)
        if score > best_score:
            best, best_score = way, score
    return int(best)


def prospect(state: Any, times: Any) -> int:
    """How good a way is: cells that can be reached in safety, and how soon the next pellet is."""
    room, soonest = 0, 400
    for cell in range(CELLS):
        if 0 < times[cell] < FAR - 1:
            room += 1
            if state.pellets[cell] > 0:
                soonest = min(soonest, times[cell])
    if room < 10:
        return room * 40 - 1000
    return 400 - soonest + min(room, 24)


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.floor, state.depth)
    fine = canvas.shape[0] >= 128
    if fine:
        draw_walls(state, canvas, 40, mix_colour(state.floor, 0, 128), fine)
    draw_walls(state, canvas, 0, state.wall, fine)
    draw_pellets(state, canvas, fine)
    for chaser in range(state.chasers):
        draw_chaser(state, canvas, chaser)
    draw_player(state, canvas)


def draw_walls(state: Any, canvas: Any, shift: int, colour: int, fine: bool) -> None:
    """Each straight run of walls as one bar."""
    for line in range(SIDE + 1):
        for across in range(2):
            begin = -1
            for place in range(SIDE + 1):
                shut = place < SIDE and is_wall(state, line, place, across)
                if shut and begin < 0:
                    begin = place
                if not shut and begin >= 0:
                    u0, u1 = begin * CELL - 64, place * CELL + 64
                    v0, v1 = line * CELL - 64, line * CELL + 64
                    x0, y0 = (u0, v0) if across else (v0, u0)
                    x1, y1 = (u1, v1) if across else (v1, u1)
                    x0, y0, x1, y1 = x0 + shift, y0 + shift, x1 + shift, y1 + shift
                    if fine:
                        round_rect(canvas, x0, y0, x1, y1, 56, colour, OPAQUE)
                    else:
                        rect(canvas, x0, y0, x1, y1, colour, OPAQUE)
                    begin = -1


def is_wall(state: Any, line: int, place: int, across: int) -> bool:
    """Is there a wall at grid line ``line`` along cell ``place``? ``across``: the line is horizontal."""
    if line == 0 or line == SIDE:
        return True
    if across:
        return not state.open[line * SIDE + place] & UP
    return not state.open[place * SIDE + line] & LEFT


def draw_pellets(state: Any, canvas: Any, fine: bool) -> None:
    # At 64 × 64 a small one is four pixels, which takes no working out.
    dots = canvas.shape[0] == 64 and canvas.shape[1] == 64
    for cell in range(CELLS):
        found = state.pellets[cell]
        if found == 1 and dots:
            x, y = 8 * (cell % SIDE) + 3, 8 * (cell // SIDE) + 3
            canvas[y, x] = canvas[y, x + 1] = state.sweet
            canvas[y + 1, x] = canvas[y + 1, x + 1] = state.sweet
        elif found > 0:
            draw_pellet(state, canvas, cell, fine)


def draw_pellet(state: Any, canvas: Any, cell: int, fine: bool) -> None:
    x, y = place_x(cell, 0, 0), place_y(cell, 0, 0)
    if state.pellets[cell] == 2:
        swell = 8 * abs(state.clock // 4 % 8 - 4)
        disc(canvas, x, y, 112 + swell, state.sweet, OPAQUE)
    elif fine:
        disc(canvas, x, y, 52, state.sweet, OPAQUE)
    else:
        rect(canvas, x - 64, y - 64, x + 64, y + 64, state.sweet, OPAQUE)


def draw_chaser(state: Any, canvas: Any, chaser: int) -> None:
    way = state.c_way[chaser]
    x = place_x(state.c_cell[chaser], way, state.c_gone[chaser])
    y = place_y(state.c_cell[chaser], way, state.c_gone[chaser])
    colour = 0xFF3B4E if chaser == 0 else 0xFF8BD2 if chaser == 1 else 0xFFA32E
    if state.scared > 0:
        pale = state.scared < 50 and state.clock // 8 % 2 == 0
        colour = 0xE8ECFF if pale else 0x3C5BFF
    if state.c_wait[chaser] == 0:  # out of play it is a pair of eyes
        disc(canvas, x, y - 24, 168, colour, OPAQUE)
        rect(canvas, x - 168, y - 24, x + 168, y + 112, colour, OPAQUE)
        for foot in range(3):
            disc(canvas, x - 112 + 112 * foot, y + 112, 56, colour, OPAQUE)
    look = 24 if way == RIGHT else -24 if way == LEFT else 0
    dip = 24 if way == DOWN else -24 if way == UP else 0
    for side in range(2):
        ex = x - 72 + 144 * side + look
        disc(canvas, ex, y - 40 + dip, 56, 0xFFFFFF, OPAQUE)
        if canvas.shape[0] >= 128:
            disc(canvas, ex + look, y - 40 + 2 * dip, 28, 0x16203A, OPAQUE)


def draw_player(state: Any, canvas: Any) -> None:
    x = place_x(state.cell, state.way, state.gone)
    y = place_y(state.cell, state.way, state.gone)
    disc(canvas, x, y, 184, 0xFFE14A, OPAQUE)
    way = state.way if state.way else RIGHT
    dx = 1 if way == RIGHT else -1 if way == LEFT else 0
    dy = 1 if way == DOWN else -1 if way == UP else 0
    jaw = 20 + 28 * abs(state.clock // 2 % 8 - 4)
    ax, ay = x + 210 * dx - jaw * dy, y + 210 * dy + jaw * dx
    bx, by = x + 210 * dx + jaw * dy, y + 210 * dy - jaw * dx
    triangle(canvas, x - 24 * dx, y - 24 * dy, ax, ay, bx, by, state.floor, OPAQUE)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("right", "none"), ("left", "none"), ("down", "none")),
    instruction="Eat all pellets with the arrow keys; flee the chasers unless a big pellet has scared them.",
)
