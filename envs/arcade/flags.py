"""Flags: capture the flag, one against one or two against two.

Levels differ in the pillars (mirrored both ways) and in colours; hard ones have more pillars. Who
touches an opponent in the own half sends it home; with the flag in hand one is slower. +5 for each of a
team that brings the other's flag to its own base, +1 for taking it and for stopping who carries one; the
other team pays as much. Three captures win. One step is two ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade.arena import (
    BODY_FIELDS,
    PILLAR_FIELDS,
    RIM,
    detour,
    draw_body,
    draw_pillars,
    plant,
    walk,
)
from universe2.envs.arcade.game import LEFT, RIGHT, RUNNING
from universe2.envs.arcade.kit import OPAQUE, SIZE, disc, hue, mix_colour, rect, root, triangle
from universe2.envs.arcade.match import DRAWN, FIELDS, MOST, WON, Match, across, down
from universe2.envs.arcade.rng import below, between, seeded

TICKS = 2
CAPTURES = 3
MIDDLE = SIZE // 2
RADIUS, SPEED, LADEN = 150, 44, 38
HOME, BASE = 460, 330
FROZEN = 30

STATE = np.dtype(
    [
        *FIELDS,
        *PILLAR_FIELDS,
        *BODY_FIELDS,
        ("laden", np.int64, (MOST,)),
        ("frozen", np.int64, (MOST,)),
        ("taken", np.int64, (2,)),
        ("captures", np.int64, (2,)),
        ("start", np.int64),
        ("colour", np.int64, (2,)),
        ("stone", np.int64),
        ("dim", np.int64),
    ]
)


def go_home(state: Any, p: int) -> None:
    """To where p starts, to wait there; a flag in hand goes back to its base."""
    seat = state.seat[p]
    if state.laden[p]:
        state.laden[p], state.taken[1 - (seat & 1)] = 0, 0
    state.x[p], state.y[p] = across(seat, HOME), down(seat, state.start)
    state.face[p] = LEFT if seat & 1 else RIGHT
    state.frozen[p] = FROZEN


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    plant(state, between(state, 1, 3) + state.hard, 1, 2 * RADIUS + 80)
    base = below(state, 1536)
    state.colour[0] = hue(base, 190, 250)
    state.colour[1] = hue(base + between(state, 560, 976), 190, 250)
    state.stone = hue(below(state, 1536), 40, between(state, 120, 180))
    state.dim = between(state, 150, 190)
    state.rng = seeded(seed)
    state.start = between(state, 700, MIDDLE - 200)
    for p in range(state.players):
        go_home(state, p)
        state.frozen[p] = 4


def pay(state: Any, team: int, points: int) -> None:
    """``points`` for each of a team, from each of the other."""
    for p in range(state.players):
        state.gained[p] += points if state.seat[p] & 1 == team else -points


def abroad(state: Any, p: int) -> bool:
    """Is p in the other team's half?"""
    return bool((state.x[p] > MIDDLE) != (state.seat[p] & 1 == 1)) and bool(state.x[p] != MIDDLE)


def caught(state: Any) -> int:
    """The bits of those who are touched in the other's half."""
    found = 0
    for p in range(state.players):
        for q in range(state.players):
            if (state.seat[p] ^ state.seat[q]) & 1 and abroad(state, p):
                dx, dy = state.x[p] - state.x[q], state.y[p] - state.y[q]
                if dx * dx + dy * dy < 4 * RADIUS * RADIUS and not state.frozen[q]:
                    found |= 1 << p
    return found


def near_base(state: Any, p: int, team: int) -> bool:
    dx, dy = state.x[p] - across(team, HOME), state.y[p] - MIDDLE
    return bool(dx * dx + dy * dy < BASE * BASE)


def touch_flags(state: Any) -> int:
    """Take what is there to be taken, bring home what is in hand; the bits of the teams that scored."""
    scored = 0
    for p in range(state.players):
        team = state.seat[p] & 1
        if state.laden[p] and near_base(state, p, team):
            state.laden[p], state.taken[1 - team] = 0, 0
            state.captures[team] += 1
            pay(state, team, 5)
            scored |= 1 << team
        elif not state.taken[1 - team] and not state.frozen[p] and near_base(state, p, 1 - team):
            state.laden[p], state.taken[1 - team] = 1, 1
            pay(state, team, 1)
    return scored


def step(state: Any, keys: Any) -> int:
    for _ in range(TICKS):
        for p in range(state.players):
            if state.frozen[p] > 0:
                state.frozen[p] -= 1
            else:
                walk(state, p, keys[p], LADEN if state.laden[p] else SPEED, RADIUS)
        out = caught(state)
        for p in range(state.players):
            if out >> p & 1:
                if state.laden[p]:
                    pay(state, 1 - (state.seat[p] & 1), 1)
                go_home(state, p)
        if touch_flags(state) and max(state.captures[0], state.captures[1]) >= CAPTURES:
            return DRAWN if state.captures[0] == state.captures[1] else WON
    return RUNNING


def threat(state: Any, player: int) -> int:
    """The opponent to chase: one that carries the flag, or the nearest in this half; -1 for none."""
    best, near = -1, 1 << 40
    for q in range(state.players):
        if (state.seat[q] ^ state.seat[player]) & 1 and (abroad(state, q) or state.laden[q]):
            dx, dy = state.x[q] - state.x[player], state.y[q] - state.y[player]
            far = dx * dx + dy * dy - ((1 << 30) if state.laden[q] else 0)
            if far < near:
                best, near = q, far
    return best


def heuristic(state: Any, player: int) -> int:
    """One attacks, clear of who could touch it; the other (or oneself, when need be) defends."""
    seat = state.seat[player]
    enemy = threat(state, player)
    guard = state.players == 4 and seat & 2
    home = across(seat, HOME)
    if state.laden[player]:
        return flee(state, player, home, MIDDLE)
    if enemy >= 0:
        ex, ey = state.x[enemy], state.y[enemy]
        mine = abs(state.x[player] - across(1 - (seat & 1), HOME))
        close = abs(ex - home) < mine or state.laden[enemy]
        if guard or (state.players == 2 and close and not abroad(state, player)):
            # Not to where it is but to where it must pass.
            lead = 300 if state.laden[enemy] else 0
            return detour(state, player, ex + (lead if seat & 1 == 0 else -lead), ey, RADIUS)
    if guard:
        return detour(state, player, across(seat, HOME + 700), MIDDLE, RADIUS)
    return flee(state, player, across(1 - (seat & 1), HOME), MIDDLE)


def flee(state: Any, player: int, tx: int, ty: int) -> int:
    """Towards a place, bent away from opponents that could touch one on the way."""
    x, y = state.x[player], state.y[player]
    dx, dy = tx - x, ty - y
    far = max(1, root(dx * dx + dy * dy))
    vx, vy = dx * 256 // far, dy * 256 // far
    ahead = x + vx
    if (ahead > MIDDLE) != (state.seat[player] & 1 == 1):
        for q in range(state.players):
            if (state.seat[q] ^ state.seat[player]) & 1 and not state.frozen[q]:
                ax, ay = x - state.x[q], y - state.y[q]
                gap = max(1, root(ax * ax + ay * ay))
                if gap < 1100:
                    weight = (1100 - gap) // 2
                    side = 1 if ax * vy - ay * vx >= 0 else -1
                    vx += (ax * weight // gap - side * ay * weight // gap) * 2 // 3
                    vy += (ay * weight // gap + side * ax * weight // gap) * 2 // 3
    return detour(state, player, x + 3 * vx, y + 3 * vy, RADIUS)


def draw(state: Any, canvas: Any, player: int) -> None:
    fine = canvas.shape[0] >= 128
    side = state.seat[player] & 1 if player >= 0 else 0
    for team in range(2):
        colour = state.colour[team ^ side]
        ground = mix_colour(colour, 0x101418, state.dim)
        x0 = MIDDLE if team else 0
        rect(canvas, x0, 0, x0 + MIDDLE, SIZE, ground, OPAQUE)
        edge = SIZE - RIM if team else 0
        rect(canvas, edge, 0, edge + RIM, SIZE, mix_colour(colour, 0x000000, 80), OPAQUE)
    if fine:
        rect(canvas, MIDDLE - 12, 0, MIDDLE + 12, SIZE, 0xFFFFFF, 120)
    for team in range(2):
        colour = state.colour[team ^ side]
        disc(canvas, across(team, HOME), MIDDLE, BASE, mix_colour(colour, 0xFFFFFF, 60), 110)
        for point in range(state.captures[team]):
            disc(canvas, across(team, MIDDLE - 260 - 220 * point), 200, 70, colour, 240)
    draw_pillars(state, canvas, state.stone, fine)
    for p in range(state.players):
        team = state.seat[p] & 1
        colour = mix_colour(state.colour[team ^ side], 0x000000, 110 if state.frozen[p] else 0)
        if p == player:
            disc(canvas, state.x[p], state.y[p], RADIUS + 48, 0xFFFFFF, 200)
        draw_body(canvas, state.x[p], state.y[p], state.face[p], RADIUS, colour, fine)
    for team in range(2):
        x, y = across(team, HOME), MIDDLE
        for p in range(state.players):
            if state.laden[p] and state.seat[p] & 1 != team:
                x, y = state.x[p], state.y[p] - 60
        tone = mix_colour(state.colour[team ^ side], 0xFFFFFF, 90)
        rect(canvas, x - 26, y - 260, x + 26, y + 60, 0xF0F0F0, OPAQUE)
        tip = -230 if team else 230
        triangle(canvas, x, y - 270, x + tip, y - 190, x, y - 110, tone, OPAQUE)


MATCH = Match(
    state=STATE,
    players=(2, 4),
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=tuple(
        (arrow, "none")
        for arrow in ("none", "up", "right", "left", "down", "up-right", "up-left", "down-right", "down-left")
    ),
    instruction="Fetch the flag from the right and bring it home to the left; touch who comes for yours.",
)
