"""``universe2 envs``: what there is, and whether it can run here."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    family: Annotated[str | None, typer.Argument(help="Only this family, e.g. arcade.")] = None,
    interface: Annotated[
        str, typer.Option(help="Show the spaces of this interface: native or screen.")
    ] = "native",
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per line, for scripts.")
    ] = False,
) -> None:
    """List environments by family, with their spaces and whether each can run on this machine.

    Nothing is started, except that a Gymnasium environment is made briefly to read its spaces.

    Examples:

      universe2 envs                 all families

      universe2 envs web             one family

      universe2 envs --json | head   for scripts
    """
    import json

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from universe2.core.registry import families, list_envs

    console = Console()
    specs = list_envs(family)  # an unknown family is an error before anything is printed
    for name in [family] if family else families():
        table = Table(title=f"{name}", title_justify="left", header_style="bold", expand=False)
        for column in ("id", "observation", "action", "runs here"):
            table.add_column(column, overflow="fold", no_wrap=column == "id")
        for spec in (s for s in specs if s.family == name):
            observation, action, status = _row(spec, interface)
            if json_lines:
                row = {"id": spec.id, "observation": observation, "action": action}
                print(json.dumps({**row, "runnable": spec.runnable, "status": status}))
            else:
                colour = "green" if status == "yes" else "yellow"
                table.add_row(spec.id, escape(observation), escape(action), Text(status, style=colour))
        if not json_lines:
            console.print(table)
    if not json_lines:
        runnable = sum(spec.runnable for spec in specs)
        console.print(
            f"{len(specs)} environments, {runnable} can run here. `universe2 doctor` says what is missing."
        )


def _row(spec: object, interface: str) -> tuple[str, str, str]:
    """(observation space, action space, "yes" or what is needed) in words."""
    from typing import cast

    from universe2.core.errors import Universe2Error
    from universe2.core.spec import EnvConfig, EnvSpec

    spec = cast(EnvSpec, spec)
    if not spec.runnable:
        return "", "", "; ".join(f"needs {r.name}: {r.install}" for r in spec.missing)
    try:
        spaces = spec.spaces(EnvConfig(interface=interface))  # type: ignore[arg-type]
    except Universe2Error as error:
        return "", "", str(error)
    return short(spaces.observation), short(spaces.action), "yes"


def short(space: object) -> str:
    """A space in a few characters: ``uint8 (64, 64, 3)``, ``Discrete(18)``."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return f"{space.dtype} {space.shape}"
    if isinstance(space, spaces.Dict):
        return "{" + ", ".join(f"{k}: {short(s)}" for k, s in space.spaces.items()) + "}"
    if isinstance(space, spaces.Tuple):
        return "(" + ", ".join(short(s) for s in space.spaces) + ")"
    if isinstance(space, spaces.Text):
        return f"Text({space.max_length})"
    return str(space)
