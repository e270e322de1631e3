"""The arcade family: our own games, scalar Python compiled by the compiled runtime.

A game is one file here and one line in ``games``; docs/adding-a-game.md shows a whole one.
``difficulty`` is "easy" or "hard": the same rules with harder levels. ``frame_skip``: for how many steps
of the game an action holds, whose rewards are added; only the last is drawn. ``max_steps`` counts the
game's, rounded up to whole actions.
Levels: ``start_level`` is the first and ``num_levels`` how many there are, 0 meaning no limit;
an episode's seed picks the level. Train on ``start_level=0, num_levels=200``, test on
``start_level=200, num_levels=0``. Importing this starts no compiler.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces

from universe2.core import screen
from universe2.core.errors import UsageError
from universe2.core.spec import EnvConfig, EnvSpec, Requirement, Spaces, load

DIFFICULTIES = ("easy", "hard")
OPTIONS: dict[str, Any] = {
    "size": 64,
    "difficulty": "easy",
    "num_levels": 0,
    "start_level": 0,
    "frame_skip": 1,
    "expert": 0,
}
"""``expert`` = 1 adds info["expert"]: what the game's heuristic would do on what is seen now."""
NATIVE_OPTIONS = ("size",)
TRAIN_LEVELS = {"start_level": 0, "num_levels": 200}
HELD_OUT_LEVELS = {"start_level": 200, "num_levels": 0}


def specs() -> Iterable[EnvSpec]:
    """The family: the games for one player, and the matches for several."""
    from universe2.envs.arcade.matches import matches

    return [*games(), *matches()]


def games() -> Iterable[EnvSpec]:
    """All games. ``reference``: mean episode returns measured by benchmarks/reference_scores.py, on easy."""
    return [
        game_spec("Breakout-v0", "breakout", "Keep the ball up and clear the wall.", 1000, 3.31, 75.54),
        game_spec("Cannon-v0", "cannon", "Hit every target, against the wind.", 500, 7.39, 25.0),
        game_spec("Catcher-v0", "catcher", "Catch the fruit, not the bombs, in the wind.", 600, 9.03, 35.94),
        game_spec("Climber-v0", "climber", "Climb the tower's ladders to the flag.", 600, 1.16, 30.57),
        game_spec("Crates-v0", "crates", "Push all crates onto their marks.", 300, 0.04, 12.0),
        game_spec("Crossing-v0", "crossing", "Cross roads and rivers to the far bank.", 300, 0.93, 29.0),
        game_spec("Digger-v0", "digger", "Dig up the gems under falling rocks.", 300, 1.61, 22.0),
        game_spec("Dodger-v0", "dodger", "Gather fuel among asteroids, gliding.", 600, 0.28, 22.0),
        game_spec("Forager-v0", "forager", "Learn which berries are good; don't starve.", 500, 9.36, 70.8),
        game_spec("Invaders-v0", "invaders", "Shoot the fleet before it lands.", 1000, 10.74, 29.39),
        game_spec("Keys-v0", "keys", "Find keys, open doors, reach the treasure.", 250, 1.57, 16.0),
        game_spec("Lander-v0", "lander", "Land softly on one pad after the other.", 500, 0.93, 25.4),
        game_spec("Maze-v0", "maze", "Eat every pellet, flee the chasers.", 500, 11.21, 73.89),
        game_spec("Memory-v0", "memory", "Cross on the stones that were shown.", 250, 0.56, 44.75),
        game_spec("Merge-v0", "merge", "Merge equal tiles up to the one asked for.", 500, 39.29, 97.52),
        game_spec("Racer-v0", "racer", "Drive two laps before time is up.", 600, 1.76, 35.09),
        game_spec("Runner-v0", "runner", "Jump over gaps and spikes to the flag.", 500, 3.99, 71.75),
        game_spec("Snake-v0", "snake", "Eat apples and grow, bite nothing else.", 500, 0.46, 29.53),
        game_spec("Stealth-v0", "stealth", "Reach the exit out of the guards' light.", 300, 2.55, 21.8),
        game_spec("Tower-v0", "tower", "Stack swinging blocks up to the top.", 600, 0.9, 34.0),
    ]


def game_spec(
    name: str, module: str, description: str, max_steps: int, random: float, heuristic: float
) -> EnvSpec:
    """The spec of the game in this folder's file ``module``."""
    return EnvSpec(
        id=f"arcade/{name}",
        runtime="compiled",
        entry=f"universe2.envs.arcade.{module}:GAME",
        spaces_from="universe2.envs.arcade:spaces",
        options={**OPTIONS, "max_steps": max_steps},
        native_options=NATIVE_OPTIONS,
        requires=(Requirement("numba", "pip install numba"),),
        description=description,
        reference={"random": random, "heuristic": heuristic},
    )


def spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    """Native: RGB uint8 (size, size, 3) and one choice of the game's actions. Or the screen's."""
    options = check_options(spec, config)
    actions = load(spec.entry).actions  # type: ignore[attr-defined]
    if config.interface == "screen":
        return Spaces(
            screen.screen_observation_space(config.screen_size),
            screen.screen_action_space(),
            screen.map_of(actions).action_mask(),
        )
    size = options["size"]
    return Spaces(gym_spaces.Box(0, 255, (size, size, 3), np.uint8), gym_spaces.Discrete(len(actions)))


_RANGES = {
    "size": (8, 1024),
    "num_levels": (0, 2**31 - 1),
    "start_level": (0, 2**31 - 1),
    "frame_skip": (1, 64),
    "expert": (0, 1),
    "max_steps": (1, 2**31 - 1),
    "players": (2, 4),
}


def check_options(spec: EnvSpec, config: EnvConfig) -> dict[str, int]:
    """The resolved options in their ranges, the difficulty as its index; or UsageError."""
    options = spec.resolve(config.options)
    if options["difficulty"] not in DIFFICULTIES:
        wrong = options["difficulty"]
        raise UsageError(f'{spec.id}: option difficulty must be "easy" or "hard", got {wrong!r}')
    options["difficulty"] = DIFFICULTIES.index(options["difficulty"])
    spec.check_ranges(options, _RANGES)
    if (end := options["start_level"] + options["num_levels"]) > 2**31:
        raise UsageError(f"{spec.id}: options start_level + num_levels must not exceed 2**31, got {end}")
    return options
