"""The arcade's games for several players: their specs and their spaces.

A match is one file in this folder (see ``match``) and one line here. Agents are "player_0",
"player_1" and so on; ``players`` says how many. Open one with ``universe2.make_parallel``.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from gymnasium import spaces as gym_spaces

from universe2.core import screen
from universe2.core.errors import UsageError
from universe2.core.spec import EnvConfig, EnvSpec, Requirement, Spaces, load
from universe2.envs.arcade import NATIVE_OPTIONS, OPTIONS, check_options


def matches() -> Iterable[EnvSpec]:
    """All matches. ``reference``: what benchmarks/matches.py measured against random players.

    That is the share of matches won by a side of random players and by one of the heuristic; for Carry
    the mean return of two random players and of two heuristics.
    """
    return [
        match_spec("Carry-v0", "carry", "Bring a long load through gaps, together.", 500, 2, 1.66, 19.0),
        match_spec("Cycles-v0", "cycles", "Ride on while walls grow behind everyone.", 500, 4, 0.25, 0.992),
        match_spec("Duel-v0", "duel", "Shoot the other among pillars.", 1000, 2, 0.5, 1.0),
        match_spec("Flags-v0", "flags", "Fetch the other team's flag, guard the own.", 1000, 4, 0.5, 1.0),
        match_spec("Rally-v0", "rally", "Return the ball, past the other's bat.", 1000, 2, 0.5, 1.0),
        match_spec("Sumo-v0", "sumo", "Push the others off a melting floe.", 500, 4, 0.25, 1.0),
    ]


def match_spec(
    name: str, module: str, description: str, max_steps: int, players: int, random: float, heuristic: float
) -> EnvSpec:
    """The spec of the match in this folder's file ``module``, for ``players`` unless told otherwise."""
    return EnvSpec(
        id=f"arcade/{name}",
        runtime="match",
        entry=f"universe2.envs.arcade.{module}:MATCH",
        spaces_from="universe2.envs.arcade.matches:spaces",
        options={**OPTIONS, "max_steps": max_steps, "players": players},
        native_options=NATIVE_OPTIONS,
        requires=(Requirement("numba", "pip install numba"),),
        description=description,
        reference={"random": random, "heuristic": heuristic},
        multi_agent=True,
    )


def spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    """For each agent: RGB uint8 (size, size, 3) and one choice of the game's actions; or the screen's."""
    options = check_options(spec, config)
    match = load(spec.entry)
    possible, actions = match.players, match.actions  # type: ignore[attr-defined]
    if options["players"] not in possible:
        raise UsageError(f"{spec.id} is for {_either(possible)} players, got players={options['players']}")
    agents = [f"player_{p}" for p in range(options["players"])]
    if config.interface == "screen":
        return Spaces(
            gym_spaces.Dict({agent: screen.screen_observation_space(config.screen_size) for agent in agents}),
            gym_spaces.Dict({agent: screen.screen_action_space() for agent in agents}),
            screen.map_of(actions).action_mask(),
        )
    shape = (options["size"], options["size"], 3)
    return Spaces(
        gym_spaces.Dict({agent: gym_spaces.Box(0, 255, shape, np.uint8) for agent in agents}),
        gym_spaces.Dict({agent: gym_spaces.Discrete(len(actions)) for agent in agents}),
    )


def _either(numbers: tuple[int, ...]) -> str:
    return " or ".join(map(str, numbers))
