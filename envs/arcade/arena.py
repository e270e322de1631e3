"""What matches seen from above share: pillars, bodies that move in eight directions, their picture.

Bodies are discs that slide along pillars and the rim. Everything here works on a state that has the
fields of ``PILLAR_FIELDS`` and ``BODY_FIELDS``; it knows no game.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.core.screen import DOWN, LEFT, RIGHT, UP
from universe2.envs.arcade.kit import OPAQUE, SIZE, disc, root
from universe2.envs.arcade.match import MOST
from universe2.envs.arcade.rng import between

PILLARS = 16
"""Pillars, at most."""

PILLAR_FIELDS = [("pillars", np.int64), ("pillar", np.int64, (PILLARS, 3))]
"""Each pillar is x, y, radius."""

BODY_FIELDS = [
    ("x", np.int64, (MOST,)),
    ("y", np.int64, (MOST,)),
    ("face", np.int64, (MOST,)),
]
"""Where a body is; the keys of the direction that it looks in."""

RIM = 96
"""How far bodies stay from the screen's edge, besides their radius."""

DIAGONAL = 181
"""256 / sqrt(2): what a step along each axis of a diagonal is."""


def steer_x(keys: int) -> int:
    """The x of the unit vector that the arrow keys point in, times 256."""
    way = (1 if keys & RIGHT else 0) - (1 if keys & LEFT else 0)
    return way * (DIAGONAL if bool(keys & UP) != bool(keys & DOWN) else 256)


def steer_y(keys: int) -> int:
    way = (1 if keys & DOWN else 0) - (1 if keys & UP else 0)
    return way * (DIAGONAL if bool(keys & LEFT) != bool(keys & RIGHT) else 256)


def ratio(a: int, b: int) -> int:
    """a / b for b > 0, rounded towards 0, so that left and right are alike."""
    return a // b if a >= 0 else -(-a // b)


def portion(way: int, length: int) -> int:
    """``way`` / 256 of ``length``, rounded towards 0."""
    return ratio(way * length, 256)


def keys_towards(dx: int, dy: int) -> int:
    """The arrow keys of the direction nearest to (dx, dy), none for no distance."""
    keys = 0
    if 5 * abs(dx) > 2 * abs(dy):
        keys |= RIGHT if dx > 0 else LEFT
    if 5 * abs(dy) > 2 * abs(dx):
        keys |= DOWN if dy > 0 else UP
    return keys if dx or dy else 0


def plant(state: Any, count: int, both: int, clear: int) -> None:
    """Pillars at random, mirrored left to right (and top to bottom too, if ``both``).

    ``count`` of them in the left half (the upper left quarter), none nearer than ``clear`` to another, so
    that bodies of that width pass between any two, and none where players start.
    """
    tries = 0
    while count > 0 and tries < 60 and state.pillars + 4 <= PILLARS:
        tries += 1
        radius = between(state, 150, 300)
        x = between(state, 900, SIZE // 2)
        y = between(state, 500, SIZE // 2 if both else SIZE - 500)
        x = SIZE // 2 if SIZE // 2 - x < radius + clear // 2 else x
        y = SIZE // 2 if both and SIZE // 2 - y < radius + clear // 2 else y
        if fits(state, x, y, radius + clear):
            count -= 1
            for seat in range(4):
                if (seat & 2 and not both) or (seat & 1 and x == SIZE // 2) or (seat & 2 and y == SIZE // 2):
                    continue
                add_pillar(state, SIZE - x if seat & 1 else x, SIZE - y if seat & 2 else y, radius)


def fits(state: Any, x: int, y: int, reach: int) -> bool:
    """Is there no pillar within ``reach`` of (x, y)?"""
    for i in range(state.pillars):
        dx, dy, far = x - state.pillar[i, 0], y - state.pillar[i, 1], reach + state.pillar[i, 2]
        if dx * dx + dy * dy < far * far:
            return False
    return True


def add_pillar(state: Any, x: int, y: int, radius: int) -> None:
    state.pillar[state.pillars, 0], state.pillar[state.pillars, 1] = x, y
    state.pillar[state.pillars, 2] = radius
    state.pillars += 1


def settle(state: Any, p: int, radius: int) -> None:
    """Out of pillars and back inside the rim, the shortest way."""
    for i in range(state.pillars):
        dx, dy = state.x[p] - state.pillar[i, 0], state.y[p] - state.pillar[i, 1]
        reach = state.pillar[i, 2] + radius
        square = dx * dx + dy * dy
        if square < reach * reach:
            far = max(1, root(square))
            state.x[p] = state.pillar[i, 0] + dx * reach // far
            state.y[p] = state.pillar[i, 1] + dy * reach // far
    low, high = RIM + radius, SIZE - RIM - radius
    state.x[p] = max(low, min(high, state.x[p]))
    state.y[p] = max(low, min(high, state.y[p]))


def walk(state: Any, p: int, keys: int, speed: int, radius: int) -> None:
    """One tick of a body: where its keys point, at ``speed``."""
    arrows = keys & (UP | RIGHT | LEFT | DOWN)
    if steer_x(arrows) == 0 and steer_y(arrows) == 0:
        return
    state.face[p] = arrows
    state.x[p] += portion(steer_x(arrows), speed)
    state.y[p] += portion(steer_y(arrows), speed)
    settle(state, p, radius)


def part(state: Any, p: int, q: int, radius: int) -> None:
    """Two bodies that overlap, apart again, half the way each."""
    dx, dy = state.x[q] - state.x[p], state.y[q] - state.y[p]
    square = dx * dx + dy * dy
    if 0 < square < 4 * radius * radius:
        far = root(square)
        overlap = radius + radius - far + 1
        sx, sy = ratio(dx * overlap, 2 * far), ratio(dy * overlap, 2 * far)
        state.x[p] -= sx
        state.y[p] -= sy
        state.x[q] += sx
        state.y[q] += sy
        settle(state, p, radius)
        settle(state, q, radius)


def blocked(state: Any, ax: int, ay: int, bx: int, by: int, width: int) -> bool:
    """Does a pillar touch the way from a to b, ``width`` to each side?"""
    dx, dy = bx - ax, by - ay
    square = max(1, dx * dx + dy * dy)
    for i in range(state.pillars):
        px, py = state.pillar[i, 0] - ax, state.pillar[i, 1] - ay
        along = max(0, min(square, px * dx + py * dy))
        ox, oy = px - dx * along // square, py - dy * along // square
        reach = state.pillar[i, 2] + width
        if ox * ox + oy * oy < reach * reach:
            return True
    return False


def detour(state: Any, p: int, tx: int, ty: int, radius: int) -> int:
    """The keys that lead p towards (tx, ty), around the first pillar in the way."""
    x, y = state.x[p], state.y[p]
    dx, dy = tx - x, ty - y
    far = max(1, root(dx * dx + dy * dy))
    best, near = -1, min(far, 1000)
    for i in range(state.pillars):
        px, py = state.pillar[i, 0] - x, state.pillar[i, 1] - y
        along, aside = (px * dx + py * dy) // far, (px * dy - py * dx) // far
        if 0 < along < near and abs(aside) < state.pillar[i, 2] + radius:
            best, near = i, along
    if best < 0:
        return keys_towards(dx, dy)
    px, py = state.pillar[best, 0] - x, state.pillar[best, 1] - y
    side = 1 if px * dy - py * dx >= 0 else -1
    return keys_towards(-side * py, side * px)


def draw_pillars(state: Any, canvas: Any, colour: int, fine: bool) -> None:
    """Round pillars; at a size for people with a shadow and a lit top."""
    for i in range(state.pillars):
        x, y, radius = state.pillar[i, 0], state.pillar[i, 1], state.pillar[i, 2]
        draw_ball(canvas, x, y, radius, colour, fine)


def draw_ball(canvas: Any, x: int, y: int, radius: int, colour: int, fine: bool) -> None:
    """A disc; at a size for people with a shadow below and a light on top."""
    for layer in range(0 if fine else 1, 3 if fine else 2):
        size = radius if layer < 2 else radius * 5 // 8
        shift = radius // 5 if layer == 0 else 0 if layer == 1 else -radius // 8
        tone = 0x000000 if layer == 0 else colour if layer == 1 else 0xFFFFFF
        disc(canvas, x, y + shift, size, tone, 90 if layer == 0 else OPAQUE if layer == 1 else 50)


def draw_body(canvas: Any, x: int, y: int, face: int, radius: int, colour: int, fine: bool) -> None:
    """A disc with an eye where it looks."""
    draw_ball(canvas, x, y, radius, colour, fine)
    ex, ey = x + steer_x(face) * radius // 448, y + steer_y(face) * radius // 448
    for layer in range(2 if fine else 1):
        size = radius * 3 // 8 if layer == 0 else radius // 5
        sx, sy = steer_x(face) * radius * layer // 2048, steer_y(face) * radius * layer // 2048
        disc(canvas, ex + sx, ey + sy, size, 0x16203A if layer else 0xFFFFFF, OPAQUE)
