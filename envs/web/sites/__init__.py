"""Four small sites of our own: a shop, a mailbox, a calendar, an issue board.

Ids ``web/<site>-<task>-v0``. Each is 480 × 640 pixels, has 120 seconds of page time, and is judged by
the site's final state: all that was asked for and nothing else. Reward 1, −1 for what can't be taken
back, 0 else; −1 when the time is up. ``play`` solves any of them by reference, ``solver`` with screen
actions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from universe2.core.errors import UsageError
from universe2.core.spec import EnvSpec
from universe2.envs.web import actions, miniwob
from universe2.envs.web.page import CHROMIUM, OPTIONS, WebPage
from universe2.envs.web.site import Move, Served
from universe2.envs.web.sites.calendar import Calendar
from universe2.envs.web.sites.issues import Issues
from universe2.envs.web.sites.mailbox import Mailbox
from universe2.envs.web.sites.shop import Shop

if TYPE_CHECKING:
    from universe2.envs.web.solvers import Solver

SIZE = (480, 640)
LIMIT_MS = 120_000
SITES: dict[str, type[Served]] = {"shop": Shop, "mailbox": Mailbox, "calendar": Calendar, "issues": Issues}


def page(site: str, task: str) -> WebPage:
    """The page of one task. Raises UsageError."""
    if site not in SITES or task not in SITES[site].templates:
        raise UsageError(f"there is no task {task!r} on a site {site!r}; the sites are {', '.join(SITES)}")
    kind = SITES[site]
    return WebPage(
        site=partial(kind, task),
        solver_of=partial(solver, kind, task),
        size=SIZE,
        layout=SIZE,
        limit_ms=LIMIT_MS,
    )


def solver(kind: type[Served], task: str, seed: int) -> Solver:
    """The scripted player of an episode: it carries out the solution that the task names."""
    # here, for the solvers import the pages
    from universe2.envs.web.sites.playing import Player
    from universe2.envs.web.solvers.acting import on_page

    return on_page(SIZE, Player(kind(task, seed).task.solution))


def specs() -> list[EnvSpec]:
    """One spec per task template."""
    known = miniwob.references()
    return [
        EnvSpec(
            id=f"web/{site}-{task}-v0",
            runtime="browser",
            entry="universe2.envs.web.sites:page",
            kwargs={"site": site, "task": task},
            spaces_from="universe2.envs.web.page:spaces",
            options=OPTIONS,
            requires=(CHROMIUM,),
            description=f"{kind.title}, a site of several pages ({LIMIT_MS / 1000:g} s of page time)",
            reference=known.get(f"{site}-{task}", {}),
        )
        for site, kind in SITES.items()
        for task in kind.templates
    ]


def action(move: Move, axtree: str) -> dict[str, Any]:
    """The structured action of a move on a page with that accessibility tree. Raises LookupError."""
    verb, name, *rest = move
    lines = re.findall(r'^\s*\[(\d+)\] (\S+) ("(?:[^"\\]|\\.)*")(.*)$', axtree, re.MULTILINE)
    acting = [line for line in lines if line[1] in _ROLES[verb] and line[2] == f'"{name}"']
    if not acting:
        raise LookupError(f"there is no {verb} target {name!r} on the page:\n{axtree}")
    return actions.make(verb, int(acting[0][0]), *rest)


def play(solution: tuple[Move, ...], tree: str, step: Callable[[dict[str, Any]], str | None]) -> int:
    """Play one episode with ``actions="structured"`` and ``observe="axtree"``; the number of actions.

    ``step`` takes an action and returns the next accessibility tree, or None when the episode is over.
    """
    for taken, move in enumerate(solution, 1):
        seen = step(action(move, tree))
        if seen is None:
            return taken
        tree = seen
    return len(solution)


_ROLES = {
    "click": ("button", "link", "checkbox", "radio"),
    "type": ("textbox", "searchbox", "spinbutton", "date", "time"),
    "select": ("combobox", "listbox"),
}
