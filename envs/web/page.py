"""WebPage: a web task as data, and the spaces that all web tasks share.

The page's own JavaScript makes the problem and judges it; two small functions in JavaScript
say how a problem is started and how the outcome is read. This file knows no browser.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from gymnasium.spaces import Dict

from universe2.core.errors import InterfaceError, UsageError
from universe2.core.screen import ALL_LIVE, screen_action_space, screen_observation_space
from universe2.core.spec import EnvConfig, EnvSpec, Requirement, Spaces, load
from universe2.envs.web.actions import action_space
from universe2.envs.web.chromium import INSTALL
from universe2.envs.web.observations import extra_spaces, parts_of
from universe2.envs.web.site import Site

if TYPE_CHECKING:
    from universe2.envs.web.solvers import Solver

SIZE = (210, 160)
"""(height, width) of what is seen of a MiniWoB++ page, in pixels"""
CHROMIUM = Requirement("Chromium headless shell", INSTALL, "universe2.envs.web.chromium:has_chromium")
OPTIONS = {
    "step_ms": 100,
    "data_mode": "train",
    "reward": "raw",
    "elements": False,
    "observe": "",
    "actions": "screen",
    "expert": 0,
}
"""Options of every web task; their meanings are in ``universe2.envs.web``."""
_GIVER = "solver=lambda: solve"
_PORTS = {"http": 80, "https": 443}
_CHOICES = {
    "data_mode": ("train", "test"),
    "reward": ("raw", "decayed", "binary"),
    "actions": ("screen", "structured"),
}


@dataclass(frozen=True, kw_only=True)
class WebPage:
    """One task's page and how to talk to it: a file under ``root``, a ``url``, or a ``site``.

    ``start`` is a JavaScript function ``(seed, mode) => instruction`` that makes the problem
    from an integer in [0, 2**31) and begins the episode; it may also return
    ``{utterance, fields}``, the instruction and what it names, an object of texts. ``read`` is a
    JavaScript function ``() => ({done, timed_out, raw, decayed, reason})``; it is called after every
    step and must change nothing. Rewards count when ``done`` is true: ``raw`` is the task's verdict (1 is
    full success), ``decayed`` the same with the task's own penalty for slowness.
    """

    root: Path | None = None
    """the folder whose files the page may load; nothing else is ever served to it"""
    path: str = ""
    """the page, relative to ``root``"""
    url: str = ""
    """a page on a server that runs already; the browser reaches that server and nothing else"""
    site: Callable[[int], Site] | None = None
    """seed → the server side of an episode, which answers in the worker and judges instead of ``read``"""
    instruction: str = ""
    """used where ``start`` returns nothing"""
    fields: Callable[[str], Sequence[tuple[str, str]]] | None = None
    """instruction → what it names, used where ``start`` returns none; LookupError or ValueError: nothing"""
    start: str = "() => undefined"
    read: str = "() => ({ done: false })"
    limit_ms: int = 0
    """page time after which the episode is truncated with -1; 0: the page sees to that itself"""
    solver: Callable[[], Solver] | None = None
    """gives the scripted player whose next action the option ``expert`` tells"""
    solver_of: Callable[[int], Solver] | None = None
    """the same for players that know the problem: seed, as ``start`` or ``site`` is given it → player"""
    size: tuple[int, int] = SIZE
    """(height, width) in pixels of what is seen of the page, from its top left corner"""
    layout: tuple[int, int] = (240, 500)
    """(height, width) in pixels of the window that the page believes it is in"""
    accept_dialogs: bool = False
    """what a page's ``confirm`` and ``prompt`` get at once: yes and the text suggested, or no"""
    in_frame: bool = False
    """True for a page that is one HTML file, never navigates and stores nothing but cookies and web
    storage. Each episode's document is then written into a frame instead of being navigated to, which
    takes half of the time. It sees a ``parent``, and must leave it alone."""

    def __post_init__(self) -> None:
        given = [name for name in ("root", "url", "site") if getattr(self, name)]
        if len(given) != 1:
            raise UsageError(f"a WebPage has one of root, url and site, got {given or 'none'}")
        if self.url:
            origin_of(self.url)
        if self.in_frame and self.root is None:
            raise UsageError("in_frame is for a page of a folder")
        if self.root is not None:
            _check_file(self.root, self.path)
        if self.solver is not None:
            _check_giver(self.solver)

    def player(self, seed: int) -> Solver | None:
        """The scripted player of an episode, if there is one. Raises UsageError for what is none."""
        if self.solver_of is not None:
            return _given(self.solver_of(seed), "solver_of", "solver_of=lambda seed: solve")
        return _given(self.solver(), "solver", _GIVER) if self.solver is not None else None


def _check_giver(solver: Any) -> None:
    """The mistake that is made first is to name the solver itself."""
    if not callable(solver):
        raise UsageError(f"solver must be a function that gives the solver, got {solver!r}: write {_GIVER}")
    try:
        inspect.signature(solver).bind()
    except TypeError:
        raise UsageError(
            f"solver must be a function without arguments that gives the solver, and {solver!r} takes an "
            f"argument: is it the solver itself? Then write {_GIVER}"
        ) from None


def _given(solver: Any, name: str, right: str) -> Any:
    if not callable(solver):
        raise UsageError(f"a WebPage's {name} gave {solver!r}, not a solver: write {right}")
    return solver


def _check_file(root: Path, path: str) -> None:
    """Without it the browser would play on an empty document."""
    found = (root / unquote(urlsplit(f"//page/{path}").path).lstrip("/")).resolve()
    if not found.is_relative_to(root.resolve()) or not found.is_file():
        raise UsageError(
            f"there is no page at {found}; path must be an HTML file in the folder {root}, got {path!r}"
        )


def origin_of(url: str) -> str:
    """``http://host:port/`` as browsers write it: in lower case, without a port that is the scheme's own.

    Raises UsageError for an address that no page can have.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"the url of a WebPage is no address: {error}, got {url!r}") from None
    if parts.scheme not in _PORTS or not host:
        raise UsageError(f"the url of a WebPage must begin with http://host or https://host, got {url!r}")
    if "@" in parts.netloc:
        raise UsageError(
            f"the url of a WebPage must not name a user before its host, {host}: with the password it would "
            "be part of specs and logs; let the server do without"
        )
    host = f"[{host}]" if ":" in host else host
    there = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
    return f"{parts.scheme}://{there}/"


def reach_of(url: str) -> str:
    """``host:port`` of an address, its port always named; empty for none."""
    if not url:
        return ""
    parts = urlsplit(origin_of(url))
    return parts.netloc if parts.port is not None else f"{parts.netloc}:{_PORTS[parts.scheme]}"


def spaces(spec: EnvSpec, config: EnvConfig) -> Spaces:
    """Screen, instruction and the whole screen action: native is the page at its own size.

    The options ``observe`` and ``actions`` add to the observation and change the action.
    """
    options = check_options(spec, config)
    screen = config.interface == "screen"
    page: WebPage = load(spec.entry)(**spec.kwargs)
    size = config.screen_size if screen else page.size
    observation = screen_observation_space(size)
    if options["observe"]:
        observation = Dict({**observation.spaces, **extra_spaces(parts_of(options["observe"]), size)})
    fps = 1000 / options["step_ms"]
    if options["actions"] == "structured":
        return Spaces(observation, action_space(), render_fps=fps)
    return Spaces(observation, screen_action_space(), ALL_LIVE.action_mask() if screen else None, fps)


def check_options(spec: EnvSpec, config: EnvConfig) -> dict[str, Any]:
    """The options in force. Raises UsageError for a value that they don't allow."""
    options = spec.resolve(config.options)
    spec.check_ranges(options, {"step_ms": (10, 10_000), "expert": (0, 1)})
    for name, allowed in _CHOICES.items():
        if options[name] not in allowed:
            known = ", ".join(allowed)
            raise UsageError(f"{spec.id}: option {name} must be one of {known}, got {options[name]!r}")
    if options["actions"] != "screen" and config.interface == "screen":
        raise InterfaceError(
            f'{spec.id}: option actions is {options["actions"]!r}, but under interface="screen" '
            "actions are those of the screen: leave one out"
        )
    if options["expert"]:
        _check_expert(spec, options)
    try:
        parts_of(options["observe"])
    except ValueError as error:
        raise UsageError(f"{spec.id}: option observe is {options['observe']!r}: {error}") from None
    return options


def _check_expert(spec: EnvSpec, options: dict[str, Any]) -> None:
    page: WebPage = load(spec.entry)(**spec.kwargs)
    if page.solver is None and page.solver_of is None:
        raise UsageError(f"{spec.id}: option expert needs a page with a solver, and this one has none")
    if options["actions"] != "screen":
        raise UsageError(
            f"{spec.id}: option expert tells screen actions, but option actions is {options['actions']!r}"
        )
