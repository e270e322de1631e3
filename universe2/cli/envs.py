"""``universe2 envs``: what there is, and whether it can run here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from universe2.core.spec import EnvSpec


def command(
    family: Annotated[
        str | None,
        typer.Argument(help="Only this family, e.g. arcade, or this environment, e.g. arcade/Maze-v0."),
    ] = None,
    interface: Annotated[
        str, typer.Option(help="Show the spaces of this interface: native or screen.")
    ] = "native",
    json_lines: Annotated[
        bool, typer.Option("--json", help="One JSON object per line, for scripts.")
    ] = False,
) -> None:
    """List environments by family, with their spaces and whether each can run on this machine.

    Nothing is started, except that an environment of Gymnasium or PettingZoo is made briefly to read
    its spaces. What PettingZoo has is listed only if that family is named.

    Examples:

        universe2 envs                 all families
        universe2 envs web             one family
        universe2 envs arcade/Maze-v0  one environment, and its options
        universe2 envs --json | head   for scripts
    """
    import json

    from rich.console import Console
    from rich.markup import escape

    from universe2.core.registry import broken, families, find, list_envs
    from universe2.core.spec import EnvConfig

    EnvConfig(interface=interface)  # type: ignore[arg-type]  # a wrong one is an error before anything is printed,
    one = family is not None and "/" in family
    specs = [find(family)] if one else list_envs(family)  # type: ignore[arg-type]  # and so is an unknown name
    if json_lines:
        for spec in specs:
            observation, action, status = _row(spec, interface)
            row = {
                "id": spec.id,
                "family": spec.family,
                "multi_agent": spec.multi_agent,
                "observation": observation,
                "action": action,
                "runnable": status == "yes",
                "status": status,
                "missing": [{"name": need.name, "get": need.install} for need in spec.missing],
                "description": spec.description,
                "options": spec.options_of(interface),
                "reference": dict(spec.reference),
            }
            print(json.dumps(row, default=repr))
        return
    console = Console(highlight=False)
    if one:
        _print_one(specs[0], interface, console)
        return
    for name in [family] if family else families():
        found = [spec for spec in specs if spec.family == name]
        if found or family:
            _print_family(name, found, interface, console)
        else:  # its ids are not known beforehand
            console.print(f"[bold]{name}[/]  listed by `universe2 envs {name}`\n")
    for point, why in broken().items():
        console.print(f"[yellow]{escape(point)} failed: {escape(why)}[/]", soft_wrap=True)
    runnable = sum(spec.runnable for spec in specs)
    console.print(f"{counted(specs)}, {runnable} can run here. `universe2 doctor` says what is missing.")


def _print_family(name: str, specs: Sequence[EnvSpec], interface: str, console: Console) -> None:
    """Environments with the same spaces stand together: a family has few kinds of them."""
    from rich.columns import Columns
    from rich.markup import escape
    from rich.padding import Padding

    kinds: dict[tuple[str, str, str], list[str]] = {}
    for spec in specs:
        kinds.setdefault(_row(spec, interface), []).append(spec.id)
    console.print(f"[bold]{name}[/]  {counted(specs)}")
    for (observation, action, status), ids in kinds.items():
        if observation:
            console.print(f"  observation {escape(observation)}", style="cyan", soft_wrap=True)
            console.print(f"  action      {escape(action)}", style="cyan", soft_wrap=True)
        said = "[green]runs here[/]" if status == "yes" else f"[yellow]{escape(status)}[/]"
        console.print(f"  {said}", soft_wrap=True)
        console.print(Padding(Columns(ids, padding=(0, 2)), (0, 0, 1, 4)))


def counted(specs: Sequence[EnvSpec]) -> str:
    return f"{len(specs)} environment{'' if len(specs) == 1 else 's'}"


def _print_one(spec: EnvSpec, interface: str, console: Console) -> None:
    from rich.markup import escape

    observation, action, status = _row(spec, interface)
    console.print(f"[bold]{escape(spec.id)}[/]  {escape(spec.description)}", soft_wrap=True)
    rows = {"observation": observation, "action": action, "runs here": status}
    options = {f"  {name}": repr(default) for name, default in spec.options_of(interface).items()}
    width = max(map(len, [*rows, *options]))
    for name, text in {**rows, "options, with their defaults (docs/options.md)": "", **options}.items():
        console.print(f"  {name:{width}} {escape(text)}".rstrip(), soft_wrap=True)


def _row(spec: EnvSpec, interface: str) -> tuple[str, str, str]:
    """(observation space, action space, "yes" or what is needed) in words."""
    from universe2.core.errors import Universe2Error
    from universe2.core.spec import EnvConfig

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
        parts = {short(s) for s in space.spaces.values()}
        if len(parts) == 1 < len(space.spaces):  # one for each player
            return f"{len(space.spaces)} × {parts.pop()}"
        return "{" + ", ".join(f"{k}: {short(s)}" for k, s in space.spaces.items()) + "}"
    if isinstance(space, spaces.Tuple):
        return "(" + ", ".join(short(s) for s in space.spaces) + ")"
    if isinstance(space, spaces.Text):
        return f"Text({space.max_length})"
    return str(space)
