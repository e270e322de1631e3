"""The Atari family: every single-player game that ale-py ships, as ``atari/<Name>-v0``.

The defaults are those that Machado et al. (2018) recommend: sticky actions with probability
0.25, all actions (eighteen, in two games nine), four frames per step, a game ends when it is over
and not when a life is lost, true scores, no no-op start (sticky actions make episodes differ), and
108,000 frames (half an hour of play) at most, after which an episode is truncated. Native
observations are what the field is used to: the last four frames, gray, 84×84. Importing
this doesn't import ale-py.
"""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces as gym_spaces

from universe2.core.screen import map_of, screen_action_space, screen_observation_space
from universe2.core.spec import EnvConfig, EnvSpec, Requirement, Spaces

_CARTRIDGES = """
adventure air_raid alien amidar assault asterix asteroids atlantis atlantis2 backgammon bank_heist
basic_math battle_zone beam_rider berzerk blackjack bowling boxing breakout carnival casino
centipede chopper_command crazy_climber crossbow darkchambers defender demon_attack donkey_kong
double_dunk earthworld elevator_action enduro entombed et fishing_derby flag_capture freeway frogger
frostbite galaxian gopher gravitar hangman haunted_house hero human_cannonball ice_hockey jamesbond
journey_escape kaboom kangaroo keystone_kapers king_kong klax koolaid krull kung_fu_master
laser_gates lost_luggage mario_bros miniature_golf montezuma_revenge mr_do ms_pacman name_this_game
othello pacman phoenix pitfall pitfall2 pong pooyan private_eye qbert riverraid road_runner robotank
seaquest sir_lancelot skiing solaris space_invaders space_war star_gunner superman surround tennis
tetris tic_tac_toe_3d time_pilot trondead turmoil tutankham up_n_down venture video_checkers
video_chess video_cube video_pinball wizard_of_wor word_zapper yars_revenge zaxxon
"""
GAMES = tuple(_CARTRIDGES.split())
"""Names of the cartridges. Combat, Joust, Maze Craze and Warlords have no single-player mode."""

OPTIONS: dict[str, Any] = {
    "sticky": 0.25,
    "full_action_space": True,
    "frameskip": 4,
    "noop_max": 0,
    "grayscale": True,
    "stack": 4,
    "size": 84,
    "episodic_life": False,
    "reward_clipping": False,
    "fire_reset": False,
    "max_frames": 108_000,
}

LOOKS = ("grayscale", "stack", "size")
RULES = tuple(name for name in OPTIONS if name not in LOOKS)
"""The options that say how the game goes; the others say how it looks under the native interface."""

_RANGES = {
    "sticky": (0.0, 1.0),
    "frameskip": (1, 1000),
    "noop_max": (0, 10_000),
    "stack": (1, 64),
    "size": (8, 1024),
    "max_frames": (1, 2**31 - 1),
}

_ARROWS = {"UP": "up", "RIGHT": "right", "LEFT": "left", "DOWN": "down"}
_ARROWS |= {"UPRIGHT": "up-right", "UPLEFT": "up-left", "DOWNRIGHT": "down-right", "DOWNLEFT": "down-left"}
KEYBOARD = {"NOOP": ("none", "none"), "FIRE": ("none", "Space")}
KEYBOARD |= {name: (arrow, "none") for name, arrow in _ARROWS.items()}
KEYBOARD |= {f"{name}FIRE": (arrow, "Space") for name, arrow in _ARROWS.items()}
"""ALE's action → (arrow, key), in ALE's order."""
_WITHOUT_BUTTON = ("lost_luggage", "skiing")
"""Cartridges whose full set of actions has no fire button: nine in place of eighteen."""


def references() -> dict[str, dict[str, float]]:
    """Cartridge → scores of random play and of a human player, where they are known."""
    return tomllib.loads(Path(__file__).with_name("reference.toml").read_text("utf-8"))


def specs() -> list[EnvSpec]:
    """One spec per game."""
    known = references()
    return [
        EnvSpec(
            id=f"atari/{title(rom).replace(' ', '')}-v0",
            runtime="native",
            entry="universe2.envs.atari.game:AtariSlot",
            spaces_from="universe2.envs.atari:spaces",
            kwargs={"rom": rom},
            options=OPTIONS,
            native_options=LOOKS,
            requires=(Requirement("ale_py", 'pip install "ale-py>=0.12.1"'),),
            description=f"The Atari 2600 game {title(rom)}.",
            reference=known.get(rom, {}),
        )
        for rom in GAMES
    ]


def title(rom: str) -> str:
    """`ms_pacman` → `Ms Pacman`."""
    return rom.title().replace("_", " ")


def spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    """Native: uint8 (stack, size, size), with a last axis of 3 unless grayscale, and Discrete."""
    options = check_options(spec, config)
    rom = str(spec.kwargs["rom"])
    names = [name for name in KEYBOARD if rom not in _WITHOUT_BUTTON or "FIRE" not in name]
    if not options["full_action_space"]:
        names = list(_minimal_actions(rom))
    if config.interface == "screen":
        return Spaces(
            screen_observation_space(config.screen_size),
            screen_action_space(),
            map_of([KEYBOARD[name] for name in names]).action_mask(),
        )
    shape = (options["stack"], options["size"], options["size"], *(() if options["grayscale"] else (3,)))
    return Spaces(gym_spaces.Box(0, 255, shape, np.uint8), gym_spaces.Discrete(len(names)))


@functools.cache
def _minimal_actions(rom: str) -> tuple[str, ...]:
    """Only the cartridge's own code knows which actions it uses."""
    from universe2.envs.atari.console import Console

    rules = {name: OPTIONS[name] for name in RULES} | {"full_action_space": False}
    return tuple(Console(rom, rgb=False, **rules).action_names)


def check_options(spec: EnvSpec, config: EnvConfig) -> dict[str, Any]:
    """The resolved options, or UsageError for a value of the wrong type or out of range."""
    options = spec.resolve(config.options)
    spec.check_ranges(options, _RANGES)
    return options
