"""The packages that ``packages.py`` tries: what pip installs, what registers the ids, and some of the ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """``imports`` and ``prepare`` register the ids, if ``install``ing it doesn't."""

    about: str
    install: tuple[str, ...]
    ids: tuple[str, ...]
    imports: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None


def register_mpe() -> None:
    """mpe2 leaves that to its user."""
    from pettingzoo import register

    for name in ("simple_spread_v3", "simple_speaker_listener_v4", "simple_tag_v3"):
        register("parallel", f"mpe/{name.replace('_v', '-v')}", f"mpe2.{name}:parallel_env")


PACKAGES = {
    "minigrid": Package(
        "rooms with keys and doors, missions in words; BabyAI",
        ("minigrid",),
        (
            "gymnasium/MiniGrid-DoorKey-5x5-v0",
            "gymnasium/MiniGrid-MemoryS7-v0",
            "gymnasium/BabyAI-GoToObj-v0",
        ),
        ("minigrid",),
    ),
    "popgym": Package(
        "what needs memory, without pictures",
        ("popgym",),
        (
            "gymnasium/popgym-RepeatPreviousEasy-v0",
            "gymnasium/popgym-PositionOnlyCartPoleEasy-v0",
            "gymnasium/popgym-HigherLowerEasy-v0",
            "gymnasium/popgym-BattleshipEasy-v0",
        ),
        ("popgym",),
    ),
    "mpe2": Package(
        "particles that move and speak, several agents",
        ("mpe2",),
        (
            "pettingzoo/mpe/simple_spread-v3",
            "pettingzoo/mpe/simple_speaker_listener-v4",
            "pettingzoo/mpe/simple_tag-v3",
        ),
        prepare=register_mpe,
    ),
    "highway-env": Package(
        "driving in traffic",
        ("highway-env",),
        ("gymnasium/highway-fast-v0", "gymnasium/parking-v0"),
        ("highway_env",),
    ),
    "gymnasium": Package(
        "Gymnasium's own Box2D and MuJoCo",
        ("gymnasium[box2d,mujoco]", "mujoco==3.10.0"),
        ("gymnasium/LunarLander-v3", "gymnasium/CarRacing-v3", "gymnasium/Hopper-v5"),
    ),
    "pettingzoo": Package(
        "PettingZoo's own",
        ("pettingzoo[butterfly,sisl]",),
        (
            "pettingzoo/butterfly/cooperative_pong-v6",
            "pettingzoo/butterfly/pistonball-v6",
            "pettingzoo/sisl/multiwalker-v9",
            "pettingzoo/sisl/pursuit-v5",
            "pettingzoo/classic/rps-v2",
        ),
    ),
    "gymnasium-robotics": Package(
        "arms, hands and mazes in MuJoCo, goals in the observation",
        ("gymnasium-robotics", "mujoco==3.10.0"),
        ("gymnasium/FetchReach-v4", "gymnasium/PointMaze_UMaze-v3"),
        ("gymnasium_robotics",),
    ),
    "vizdoom": Package(
        "Doom, with the free game data that it brings",
        ("vizdoom",),
        ("gymnasium/VizdoomBasic-v1", "gymnasium/VizdoomHealthGathering-v1"),
        ("vizdoom.gymnasium_wrapper",),
    ),
    "nle": Package(
        "NetHack",
        ("nle", "--no-deps"),  # it asks for an older Gymnasium
        ("gymnasium/NetHackScore-v0",),
        ("nle",),
    ),
}
