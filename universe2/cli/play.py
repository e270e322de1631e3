"""``universe2 play``: a person plays, through the interface that agents use."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    env_id: Annotated[str, typer.Argument(help="Which environment, e.g. arcade/Breakout-v0.")],
    seed: Annotated[int, typer.Option(help="Seed of the first episode.")] = 0,
    fps: Annotated[float, typer.Option(help="Steps per second.", min=1, max=60)] = 15.0,
    size: Annotated[int, typer.Option(help="Height and width of the picture in pixels.")] = 384,
    remote: Annotated[str | None, typer.Option(help="Play on this server, host:port.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds the server's token.", dir_okay=False)
    ] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw in the terminal, not a window.")] = False,
    option: Annotated[
        list[str] | None, typer.Option(help="An option of the environment, name=value; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Stop after this many steps; 0 means never.", min=0)] = 0,
) -> None:
    """Play an environment with keyboard and mouse, in a window or in the terminal.

    The game waits for nobody: each step takes 1/fps seconds. Arrows and keys do what they say;
    Escape or Ctrl-C quits. In a game for several you are the first player and the game's scripted
    players are the others. A window needs a display and `pip install pygame`; without them, or
    with --terminal, the picture is drawn in the terminal with coloured half blocks, where the mouse counts
    when it is clicked.

    Examples:

        universe2 play arcade/Breakout-v0
        universe2 play arcade/Maze-v0 --option difficulty=hard
        universe2 play arcade/Duel-v0
        universe2 play web/click-test-2-v0 --fps 5
    """
    from universe2.cli.play_terminal import TerminalScreen
    from universe2.cli.play_window import WindowScreen, window_available
    from universe2.core.errors import UsageError
    from universe2.core.seeding import check_seed
    from universe2.core.shell import typed_options
    from universe2.faces.make import token_from

    check_seed(seed)
    token = token_from(token_file)
    env = _open(env_id, remote, token, size, typed_options(option or []))
    screen: Any = None
    try:
        obs, _ = env.reset(seed=seed)  # before the screen is cleared: what fails here is to be read
        in_window = not terminal and window_available()
        if not in_window and not steps and not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError(
                "play needs a display, or a terminal to draw in and read keys from: this is neither "
                "(--steps N draws N pictures all the same)"
            )
        screen = WindowScreen(size, env_id) if in_window else TerminalScreen(mouse=_listens_to_pointer(env))
        _play(env, screen, obs, fps, steps)
    except KeyboardInterrupt:
        pass
    finally:
        if screen is not None:
            screen.close()
        env.close()


def _open(env_id: str, remote: str | None, token: str | None, size: int, options: dict[str, Any]) -> Any:
    """The environment with a screen; of a match the first player, against scripted ones."""
    from universe2.cli.play_match import AgainstScripted
    from universe2.core.errors import UnknownEnvError, UsageError
    from universe2.core.registry import find
    from universe2.faces.make import make, make_parallel

    try:
        several = find(env_id).multi_agent
        if several and "expert" not in find(env_id).options:
            raise UsageError(f"{env_id} is for several agents and has no scripted ones to play against")
    except UnknownEnvError:
        if remote is None:
            raise
        several = False  # the server may know it
    asked: Any = {"remote": remote, "token": token, "interface": "screen", "screen_size": (size, size)}
    if several:
        return AgainstScripted(make_parallel(env_id, **{"expert": 1, **options}, **asked))
    return make(env_id, **asked, **options)


def _listens_to_pointer(env: Any) -> bool:
    from universe2.core.screen import NVEC, POINTER

    mask = getattr(env, "action_mask", None)
    return mask is not None and bool(mask[sum(NVEC[:2]) :][:POINTER].all())


def _play(env: Any, screen: Any, obs: Any, fps: float, steps: int) -> None:
    total, count = 0.0, 0
    while not (steps and count >= steps):
        due = time.monotonic() + 1.0 / fps
        screen.show(obs["screen"], f"return {total:g}  |  {obs['instruction']}")
        action = screen.action(due)
        if action is None:
            return
        obs, reward, terminated, truncated, _ = env.step(action)
        total, count = total + reward, count + 1
        if terminated or truncated:
            print(f"episode over: return {total:g} ({'terminated' if terminated else 'truncated'})\r")
            obs, _ = env.reset()
            total = 0.0
