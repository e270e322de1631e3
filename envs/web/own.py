"""Any page as an environment: a file, a folder or an address, and three expressions in JavaScript."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from universe2.core.errors import UsageError
from universe2.core.screen import INSTRUCTION_LENGTH, clean_instruction
from universe2.core.spec import EnvSpec
from universe2.envs.web.page import CHROMIUM, OPTIONS, WebPage


def web_env(
    env_id: str,
    source: str | Path,
    *,
    instruction: str,
    done: str,
    reward: str = "1",
    start: str = "0",
    limit_s: float = 60.0,
    size: tuple[int, int] = (480, 640),
    accept_dialogs: bool = False,
) -> EnvSpec:
    """The spec of a page of one's own, to be given to ``universe2.register``.

    ``source`` is an HTML file, a folder with an ``index.html``, or the http address of a server that
    runs already (whose state is its own affair: it must start anew for every episode to be
    reproducible). ``done`` and ``reward`` are JavaScript expressions, read after every step in
    whatever document is there then; ``start`` is evaluated when an episode begins and may use
    ``seed``, an integer in [0, 2**31). After ``limit_s`` seconds of page time the episode is truncated
    with -1. ``size`` is (height, width) in pixels. Dialogs are answered at once, by no, or with
    ``accept_dialogs`` by yes and the text suggested.

    Raises UsageError if there is no such file or folder, and for an instruction that can't be shown.
    """
    _check_instruction(env_id, instruction)
    if min(size) < 1:
        raise UsageError(f"{env_id}: size must be (height, width), each at least 1 pixel, got {size}")
    kwargs: dict[str, Any] = {
        "source": str(source) if "://" in str(source) else str(_file(Path(source))),
        "instruction": instruction,
        "done": done,
        "reward": reward,
        "start": start,
        "limit_ms": round(limit_s * 1000),
        "size": list(size),
    }
    if accept_dialogs:  # left out otherwise: the spec of a page that asks nothing stays what it was
        kwargs["accept_dialogs"] = True
    return EnvSpec(
        id=env_id,
        runtime="browser",
        entry="universe2.envs.web.own:page",
        kwargs=kwargs,
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
        requires=(CHROMIUM,),
        description=instruction,
    )


def page(
    source: str,
    instruction: str,
    done: str,
    reward: str,
    start: str,
    limit_ms: int,
    size: list[int],
    accept_dialogs: bool = False,
) -> WebPage:
    """What ``web_env`` describes."""
    remote = "://" in source
    height, width = size
    return WebPage(
        root=None if remote else Path(source).parent,
        path="" if remote else Path(source).name,
        url=source if remote else "",
        instruction=instruction,
        start=f"(seed, mode) => {{ {start}; }}",
        read=f"() => {{ const done = Boolean({done}), raw = done ? Number({reward}) : 0; "
        'return { done, timed_out: false, raw, decayed: raw, reason: "" }; }',
        limit_ms=limit_ms,
        size=(height, width),
        layout=(height, width),
        accept_dialogs=accept_dialogs,
    )


def _check_instruction(env_id: str, instruction: str) -> None:
    """What the space of instructions lacks would be cut off, or be a question mark."""
    if len(instruction) > INSTRUCTION_LENGTH:
        raise UsageError(
            f"{env_id}: the instruction has {len(instruction)} characters, at most {INSTRUCTION_LENGTH} fit"
        )
    shown = clean_instruction(instruction)
    if lost := sorted({c for c, kept in zip(instruction, shown, strict=True) if c != kept}):
        raise UsageError(
            f"{env_id}: in the instruction these characters can't be shown: {', '.join(map(repr, lost))}; "
            "it is printable ASCII, spaces and line ends"
        )


def _file(source: Path) -> Path:
    found = (source / "index.html" if source.is_dir() else source).resolve()
    if not found.is_file():
        raise UsageError(
            f"there is no page at {found}; give an HTML file, a folder with an index.html, or an address"
        )
    return found
