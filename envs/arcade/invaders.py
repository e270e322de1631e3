"""Invaders: shoot the fleet down before it lands, and mind its bombs.

Levels differ in the creatures' shapes (drawn from the level's number), the fleet's size and
pace, the bombs' rate and the colours; hard ones are faster and drop more. +1 a creature, +3 the
saucer that crosses now and then, +10 for the last one. Three ships; bunkers crumble under fire from
both sides. One step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.game import CLEARED, FIRE, LEFT, LOST, RIGHT, RUNNING, Game
from universe2.envs.arcade.kit import OPAQUE, SIZE, blend, disc, gradient, hue, mix_colour, rect, triangle
from universe2.envs.arcade.rng import below, between, chance, seeded

COLUMNS, ROWS = 6, 4
PITCH_X, PITCH_Y = 512, 448
DOT = 64
SPRITE = 5 * DOT
TICKS = 2
SHOTS, BOMBS = 1, 6
SHIP_Y, SHIP_HALF, SHIP_SPEED = 3776, 176, 72
SHOT_SPEED, RELOAD = 176, 12
BUNKERS, BLOCKS, BLOCK = 3, 8, 128
BUNKER_Y = 3264
LANDING = 3136
STARS = 24

STATE = np.dtype(
    [
        ("rng", np.int64),
        ("hard", np.int64),
        ("alive", np.int64, (ROWS * COLUMNS,)),
        ("sprites", np.int64, (ROWS,)),
        ("colours", np.int64, (ROWS,)),
        ("left", np.int64),
        ("fleet_x", np.int64),
        ("fleet_y", np.int64),
        ("way", np.int64),
        ("pace", np.int64),
        ("drop_rate", np.int64),
        ("ship", np.int64),
        ("lives", np.int64),
        ("safe", np.int64),
        ("reload", np.int64),
        ("shot_x", np.int64, (SHOTS,)),
        ("shot_y", np.int64, (SHOTS,)),
        ("bomb_x", np.int64, (BOMBS,)),
        ("bomb_y", np.int64, (BOMBS,)),
        ("bomb_speed", np.int64),
        ("blocks", np.int64, (BUNKERS * BLOCKS,)),
        ("saucer", np.int64),
        ("clock", np.int64),
        ("boom_x", np.int64),
        ("boom_y", np.int64),
        ("boom", np.int64),
        ("sky", np.int64),
        ("ground", np.int64),
        ("accent", np.int64),
        ("stars", np.int64, (STARS,)),
    ]
)


def design(state: Any) -> int:
    """A creature of 5 × 5 dots, mirrored about its middle, as 25 bits; its body is always there."""
    bits = 0
    for y in range(5):
        for x in range(3):
            body = (x == 2 and 0 < y < 4) or (x == 1 and 1 <= y <= 2)
            if body or chance(state, 50):
                bits |= (1 << (5 * y + x)) | (1 << (5 * y + 4 - x))
    eyes = (1 << 6) | (1 << 8)
    return bits & ~eyes if chance(state, 50) else bits


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    rows = between(state, 3, ROWS)
    shape = below(state, 3)
    base, spread = below(state, 1536), between(state, 80, 260)
    for row in range(rows):
        state.sprites[row] = design(state)
        state.colours[row] = hue(base + row * spread, 150, 255)
        for column in range(COLUMNS):
            middle = 1 < column < 4
            there = (
                shape == 0 or (shape == 1 and (row > 0 or middle)) or (shape == 2 and (row > 0 or not middle))
            )
            if there:
                state.alive[row * COLUMNS + column] = 1
                state.left += 1
    state.pace = between(state, 8, 13) + 4 * state.hard
    state.drop_rate = between(state, 36, 64) + 24 * state.hard
    state.bomb_speed = between(state, 44, 60)
    state.sky = hue(base + 700, 170, between(state, 12, 40))
    state.ground = hue(base + between(state, 400, 1100), 180, between(state, 50, 100))
    state.accent = hue(base + 768, 110, 255)
    for star in range(STARS):
        state.stars[star] = below(state, SIZE) * SIZE + below(state, SIZE * 3 // 4)
    state.rng = seeded(seed)
    state.fleet_x, state.fleet_y = between(state, 128, 896), 448
    state.way = 1 if chance(state, 50) else -1
    state.ship, state.lives = SIZE // 2, 3
    state.saucer = -1
    for block in range(BUNKERS * BLOCKS):
        state.blocks[block] = 2
    clear_sky(state)


def clear_sky(state: Any) -> None:
    """No shot and no bomb in the air: their y is negative."""
    for shot in range(SHOTS):
        state.shot_y[shot] = -1
    for bomb in range(BOMBS):
        state.bomb_y[bomb] = -1


def creature_at(state: Any, x: int, y: int) -> int:
    """The index of the living creature at a point, or -1."""
    column, row = (x - state.fleet_x) // PITCH_X, (y - state.fleet_y) // PITCH_Y
    if column < 0 or column >= COLUMNS or row < 0 or row >= ROWS:
        return -1
    if (x - state.fleet_x) % PITCH_X > SPRITE or (y - state.fleet_y) % PITCH_Y > SPRITE:
        return -1
    index = row * COLUMNS + column
    return int(index) if state.alive[index] else -1


def block_x(index: int) -> int:
    """The left side of a bunker's block."""
    return 512 + index // BLOCKS * 1280 + index % 4 * BLOCK


def block_y(index: int) -> int:
    return BUNKER_Y + index % BLOCKS // 4 * BLOCK


def hit_bunker(state: Any, x: int, y: int) -> bool:
    """Damage the block at a point, if there is one."""
    if y < BUNKER_Y or y >= BUNKER_Y + 2 * BLOCK:
        return False
    for index in range(BUNKERS * BLOCKS):
        inside = 0 <= x - block_x(index) < BLOCK and 0 <= y - block_y(index) < BLOCK
        if inside and state.blocks[index] > 0:
            state.blocks[index] -= 1
            return True
    return False


def edges(state: Any) -> tuple[int, int, int]:
    """The left and right columns and the lowest row that still live."""
    left, right, low = COLUMNS, -1, -1
    for index in range(ROWS * COLUMNS):
        if state.alive[index]:
            left, right = min(left, index % COLUMNS), max(right, index % COLUMNS)
            low = max(low, index // COLUMNS)
    return left, right, low


def move_fleet(state: Any) -> bool:
    """March, faster as the fleet shrinks; at the side, down and back. True once it has landed."""
    left, right, low = edges(state)
    state.fleet_x += state.way * (state.pace + (24 - state.left) * 3 // 4)
    west = state.fleet_x + left * PITCH_X
    east = state.fleet_x + right * PITCH_X + SPRITE
    if (state.way < 0 and west < 64) or (state.way > 0 and east > SIZE - 64):
        state.way = -state.way
        state.fleet_y += 128
    return bool(state.fleet_y + low * PITCH_Y + SPRITE > LANDING)


def drop_bombs(state: Any) -> None:
    """Now and then the lowest creature of a column lets one go; half of the time, the nearest one."""
    if below(state, 1000) >= state.drop_rate:
        return
    column = below(state, COLUMNS)
    if chance(state, 50):
        column = max(0, min(COLUMNS - 1, (state.ship - state.fleet_x) // PITCH_X))
    for row in range(ROWS - 1, -1, -1):
        if state.alive[row * COLUMNS + column]:
            for bomb in range(BOMBS):
                if state.bomb_y[bomb] < 0:
                    state.bomb_x[bomb] = state.fleet_x + column * PITCH_X + SPRITE // 2
                    state.bomb_y[bomb] = state.fleet_y + row * PITCH_Y + SPRITE
                    return
            return


def fly_shots(state: Any) -> int:
    """One tick of the ship's shots; the reward of what they hit."""
    reward = 0
    for shot in range(SHOTS):
        if state.shot_y[shot] < 0:
            continue
        state.shot_y[shot] -= SHOT_SPEED
        x, y = state.shot_x[shot], state.shot_y[shot]
        target = creature_at(state, x, y)
        if target >= 0:
            state.alive[target] = 0
            state.left -= 1
            reward += 1
            state.boom, state.boom_x, state.boom_y = 10, x, y
            state.shot_y[shot] = -1
        elif state.saucer >= 0 and 160 <= y <= 384 and abs(x - state.saucer + 512) < 288:
            reward += 3
            state.boom, state.boom_x, state.boom_y = 10, x, y
            state.saucer = -1
            state.shot_y[shot] = -1
        elif hit_bunker(state, x, y):
            state.shot_y[shot] = -1
    return reward


def fly_bombs(state: Any) -> bool:
    """One tick of the bombs; True if the ship was hit."""
    struck = False
    for bomb in range(BOMBS):
        if state.bomb_y[bomb] < 0:
            continue
        state.bomb_y[bomb] += state.bomb_speed
        x, y = state.bomb_x[bomb], state.bomb_y[bomb]
        if y > SIZE or hit_bunker(state, x, y):
            state.bomb_y[bomb] = -1
        elif y > SHIP_Y - 96 and abs(x - state.ship) < SHIP_HALF and state.safe == 0:
            struck = True
    return struck


def steer(state: Any, keys: int) -> None:
    """One tick of the ship."""
    if keys & LEFT:
        state.ship = max(SHIP_HALF, state.ship - SHIP_SPEED)
    if keys & RIGHT:
        state.ship = min(SIZE - SHIP_HALF, state.ship + SHIP_SPEED)
    state.reload = max(0, state.reload - 1)
    if keys & FIRE and state.reload == 0:
        for shot in range(SHOTS):
            if state.shot_y[shot] < 0:
                state.shot_x[shot], state.shot_y[shot] = state.ship, SHIP_Y - 160
                state.reload = RELOAD
                return


def step(state: Any, keys: int) -> tuple[int, int]:
    reward = 0
    for _ in range(TICKS):
        state.clock += 1
        state.safe, state.boom = max(0, state.safe - 1), max(0, state.boom - 1)
        steer(state, keys)
        if state.saucer >= 0:
            state.saucer = state.saucer + 32 if state.saucer < SIZE + 1024 else -1
        elif below(state, 500) == 0:
            state.saucer = 0
        reward += fly_shots(state)
        if state.left == 0:
            return reward + 10, CLEARED
        drop_bombs(state)
        landed = move_fleet(state)
        if fly_bombs(state):
            state.lives -= 1
            state.safe = 60
            state.boom, state.boom_x, state.boom_y = 20, state.ship, SHIP_Y
            clear_sky(state)
        if landed or state.lives == 0:
            return reward, LOST
    return reward, RUNNING


def threat(state: Any, x: int) -> int:
    """How badly bombs threaten a ship at x: nearness of the worst one, 0 for none."""
    worst = 0
    for bomb in range(BOMBS):
        height = SHIP_Y + 200 - state.bomb_y[bomb]
        if state.bomb_y[bomb] >= 0 and height > 0 and abs(state.bomb_x[bomb] - x) < SHIP_HALF + 96:
            worst = max(worst, 3000 - height)
    return worst


def heuristic(state: Any) -> int:
    """Out of the way of bombs; else under the creature that a shot fired now would meet."""
    keys = 0 if sheltered(state) else FIRE
    here = threat(state, state.ship)
    if here > 1400:
        left, right = threat(state, state.ship - 400), threat(state, state.ship + 400)
        if state.ship < 600:
            left += 4000
        if state.ship > SIZE - 600:
            right += 4000
        return keys | (LEFT if left < right else RIGHT)
    best, best_gap = state.ship, 1 << 30
    for index in range(ROWS * COLUMNS):
        if state.alive[index]:
            y = state.fleet_y + index // COLUMNS * PITCH_Y
            ticks = (SHIP_Y - y) // SHOT_SPEED
            lead = state.way * (state.pace + (24 - state.left) * 3 // 4) * ticks
            x = state.fleet_x + index % COLUMNS * PITCH_X + SPRITE // 2 + lead
            gap = abs(x - state.ship) - index // COLUMNS * 200
            if gap < best_gap and 200 < x < SIZE - 200:
                best, best_gap = x, gap
    if best < state.ship - SHIP_SPEED and threat(state, state.ship - 300) < 1700:
        return keys | LEFT
    if best > state.ship + SHIP_SPEED and threat(state, state.ship + 300) < 1700:
        return keys | RIGHT
    return keys


def sheltered(state: Any) -> bool:
    """Is there a bunker's block right above the ship?"""
    for index in range(BUNKERS * BLOCKS):
        if state.blocks[index] > 0 and 0 <= state.ship - block_x(index) < BLOCK:
            return True
    return False


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, state.sky, state.ground)
    fine = canvas.shape[0] >= 128
    draw_stars(state, canvas, fine)
    for index in range(ROWS * COLUMNS):
        if state.alive[index]:
            row = index // COLUMNS
            x, y = state.fleet_x + index % COLUMNS * PITCH_X, state.fleet_y + row * PITCH_Y
            sprite(canvas, x, y, state.sprites[row], state.colours[row], state.clock // 16 % 2)
    for index in range(BUNKERS * BLOCKS):
        if state.blocks[index] > 0:
            x, y = block_x(index), block_y(index)
            strength = OPAQUE if state.blocks[index] == 2 else 110
            rect(canvas, x, y, x + BLOCK, y + BLOCK, state.accent, strength)
    if state.saucer >= 0:
        x = state.saucer - 512
        disc(canvas, x, 240, 120, 0xD8F4FF, 200)
        rect(canvas, x - 256, 240, x + 256, 320, 0xFF4FA0, OPAQUE)
    draw_ship(state, canvas)
    for shot in range(SHOTS):
        if state.shot_y[shot] >= 0:
            x, y = state.shot_x[shot], state.shot_y[shot]
            rect(canvas, x - 32, y, x + 32, y + 192, 0xFFFFFF, OPAQUE)
    for bomb in range(BOMBS):
        if state.bomb_y[bomb] >= 0:
            disc(canvas, state.bomb_x[bomb], state.bomb_y[bomb], 72, 0xFFB020, OPAQUE)
            if fine:
                disc(canvas, state.bomb_x[bomb], state.bomb_y[bomb] - 20, 32, 0xFFF3C0, OPAQUE)
    if state.boom > 0:
        disc(canvas, state.boom_x, state.boom_y, 320 - 16 * state.boom, 0xFFE9A0, 16 * min(10, state.boom))


def draw_stars(state: Any, canvas: Any, fine: bool) -> None:
    height, width = canvas.shape
    for star in range(STARS):
        x, y = state.stars[star] // SIZE, (state.stars[star] + state.clock * 3) % SIZE
        glow = 70 + 20 * (star % 6)
        if fine:
            disc(canvas, x, y, 10 + 3 * (star % 4), 0xFFFFFF, glow)
        else:
            blend(canvas, x * width // SIZE, y * height // SIZE, 0xFFFFFF, glow // 2)


def sprite(canvas: Any, x: int, y: int, bits: int, colour: int, flap: int) -> None:
    """A creature: each run of dots in a row is one bar. Its last row swings with ``flap``."""
    # On whole pixels: small pictures stay crisp.
    pixel = max(1, SIZE // canvas.shape[1])
    x, y = x - x % pixel, y - y % pixel
    for row in range(5):
        line = (bits >> (5 * row)) & 31
        shade = mix_colour(colour, 0x000000, 22 * row)
        sway = DOT * flap if row == 4 else 0
        column = 0
        while column < 5:
            begin = column
            while column < 5 and (line >> column) & 1:
                column += 1
            if column > begin:
                top = y + row * DOT
                rect(canvas, x + begin * DOT + sway, top, x + column * DOT + sway, top + DOT, shade, OPAQUE)
            column += 1


def draw_ship(state: Any, canvas: Any) -> None:
    if state.safe // 6 % 2 == 1:
        return
    x = state.ship
    triangle(canvas, x, SHIP_Y - 224, x - 96, SHIP_Y, x + 96, SHIP_Y, 0xFFFFFF, OPAQUE)
    rect(canvas, x - SHIP_HALF, SHIP_Y - 48, x + SHIP_HALF, SHIP_Y + 80, state.accent, OPAQUE)
    if canvas.shape[0] >= 128:
        disc(canvas, x, SHIP_Y - 60, 40, 0x2A6CFF, OPAQUE)
        flame = 60 + 20 * (state.clock % 4)
        triangle(canvas, x - 60, SHIP_Y + 80, x + 60, SHIP_Y + 80, x, SHIP_Y + 80 + flame, 0xFF9A3C, 220)
    for life in range(state.lives - 1):
        left = 96 + 288 * life
        rect(canvas, left, SIZE - 96, left + 192, SIZE - 32, state.accent, 180)


GAME = Game(
    state=STATE,
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(
        ("none", "none"),
        ("left", "none"),
        ("right", "none"),
        ("none", "Space"),
        ("left", "Space"),
        ("right", "Space"),
    ),
    instruction="Shoot all invaders: left and right arrows move, Space fires; don't get hit by their bombs.",
)
