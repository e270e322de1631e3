"""EnvSpec: what an environment is. EnvConfig: how one wants it. Together they have a hash.

Trajectories depend on (spec hash, seed, actions) alone: whatever changes them is in the hash,
whatever doesn't (number of slots, autoreset mode, place) is not.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib
import importlib.util
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium import spaces

from universe2.core.canonical import canonical
from universe2.core.errors import InterfaceError, MissingDependencyError, Universe2Error, UsageError
from universe2.core.files import hint

Interface = Literal["native", "screen"]
Autoreset = Literal["next_step", "same_step", "disabled"]
FPS = 15
"""Steps per second at which an environment is watched that doesn't know better; ``universe2 play`` plays
as fast."""
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
"""Types of an option's default → what its values must be."""
_ID = re.compile(r"^(?P<family>[\w-]+)/(?P<name>[\w:./-]+?)(?:-v(?P<version>\d+))?$")


class Spaces(NamedTuple):
    """The single-slot spaces of an environment under one config."""

    observation: spaces.Space[Any]
    action: spaces.Space[Any]
    action_mask: np.ndarray | None = None
    """bool (209,): live choices of (each agent's) screen action; None under ``interface="native"``"""
    render_fps: float = FPS
    """steps per second at which it should be watched"""


@dataclass(frozen=True)
class Requirement:
    """Something optional that an environment can't run without."""

    name: str
    install: str
    """the command that gets it"""
    check: str = ""
    """``module:function`` returning whether it is there; default: is ``name`` importable"""

    def met(self) -> bool:
        if self.check:
            return bool(load(self.check)())
        return importlib.util.find_spec(self.name) is not None


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """How an environment is opened.

    ``screen_size`` is (height, width) in pixels and counts under ``interface="screen"`` only.
    ``options`` are the family's own (``spec.options`` lists them with their defaults).
    """

    interface: Interface = "native"
    screen_size: tuple[int, int] = (64, 64)
    autoreset: Autoreset = "next_step"
    options: Mapping[str, Any] = field(default_factory=dict)
    lossy: str = ""
    """``jpeg-90``, ``webp-80``, …: a server sends pictures with these losses; empty: every pixel"""

    def __post_init__(self) -> None:
        if self.lossy and not is_lossy(self.lossy):
            raise UsageError(f'lossy must be "jpeg-Q" or "webp-Q", Q from 1 to 100, got {self.lossy!r}')
        if self.interface not in ("native", "screen"):
            raise UsageError(f'interface must be "native" or "screen", got {self.interface!r}')
        if self.autoreset not in ("next_step", "same_step", "disabled"):
            raise UsageError(
                f'autoreset must be "next_step", "same_step" or "disabled", got {self.autoreset!r}'
            )
        size: Any = self.screen_size
        with contextlib.suppress(TypeError):
            size = tuple(int(s) for s in size)
        if not isinstance(size, tuple) or len(size) != 2 or not all(8 <= s <= 2048 for s in size):
            raise UsageError(f"screen_size must be (height, width), each 8 to 2048, got {self.screen_size}")
        object.__setattr__(self, "screen_size", size)
        object.__setattr__(self, "options", dict(self.options))


def is_lossy(codec: str) -> bool:
    """Is it the name of a picture format with losses, and a quality?"""
    return re.fullmatch(r"(jpeg|webp)-([1-9]\d?|100)", codec) is not None


@dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """One environment, as data.

    ``runtime`` names the runtime that drives it, ``entry`` (``module:attribute``) what that
    runtime is given, ``kwargs`` the fixed arguments of the entry. ``spaces_from``
    (``module:function``, called with spec and config) returns Spaces without starting anything.
    ``options`` are the names that its config may set, with their defaults; a value must be of the
    default's type (a whole number will do for a float), and may be anything where the default is None
    or a container, so that its family has to check it. ``native_options`` are those of them that change
    nothing under ``interface="screen"`` and are refused there.
    ``reference`` holds scores for normalisation, ``{"random": …, "heuristic": …}`` or ``{…, "human": …}``,
    and, where it is known, how many "episodes" the first is a mean of. With ``multi_agent`` both spaces
    are Dicts, agent → space, and ``universe2.core.agents`` says how rewards travel.
    """

    id: str
    runtime: str
    entry: str
    spaces_from: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    native_options: tuple[str, ...] = ()
    requires: tuple[Requirement, ...] = ()
    description: str = ""
    reference: Mapping[str, float] = field(default_factory=dict)
    multi_agent: bool = False

    def __post_init__(self) -> None:
        if not _ID.match(self.id):
            raise UsageError(f"id must look like family/Name-v0 (or without -v0), got {self.id!r}")
        for name in self.native_options:
            if name not in self.options:
                raise UsageError(f"{self.id}: native_options has {name!r}, which isn't in options")

    @property
    def family(self) -> str:
        return self.id.split("/", 1)[0]

    @property
    def name(self) -> str:
        """The id without family and version."""
        match = _ID.match(self.id)
        assert match is not None
        return match["name"]

    @property
    def version(self) -> int | None:
        match = _ID.match(self.id)
        assert match is not None
        return None if match["version"] is None else int(match["version"])

    @property
    def missing(self) -> tuple[Requirement, ...]:
        """What must be installed before it can run here."""
        return tuple(r for r in self.requires if not r.met())

    @property
    def runnable(self) -> bool:
        return not self.missing

    def check_runnable(self) -> None:
        """Raise MissingDependencyError, with the command that helps, unless it can run here."""
        if missing := self.missing:
            needs = "; ".join(f"{r.name} (get it with: {r.install})" for r in missing)
            raise MissingDependencyError(f"{self.id} needs {needs}")

    def resolve(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The family's options with ``options`` on top, each in the type of its default.

        Raises UsageError for an unknown name and for a value of another type. Ranges are the
        family's affair (``check_ranges``).
        """
        found = dict(self.options)
        for name, value in options.items():
            if name not in self.options:
                known = ", ".join(self.options) or "none"
                closest = hint(name, self.options)
                raise UsageError(f"{self.id} has no option {name!r}.{closest} Its options: {known}")
            found[name] = self._typed(name, value)
        return found

    def _typed(self, name: str, value: Any) -> Any:
        """The value of an option as plain bool, int, float or str, so that equal ones have one hash."""
        kind = type(self.options[name])
        if kind not in _KINDS:
            return value
        plain = value.item() if isinstance(value, np.generic) else value
        if kind is float and type(plain) is int:
            with contextlib.suppress(OverflowError):  # it stays an int then, and is refused as one
                plain = float(plain)
        if not isinstance(plain, kind) or (isinstance(plain, bool) and kind is not bool):
            raise UsageError(f"{self.id}: option {name} must be {_KINDS[kind]}, got {value!r:.120}")
        return plain

    def check_ranges(self, options: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]]) -> None:
        """Raise UsageError unless every number lies in its range, option → (lowest, highest)."""
        for name, (low, high) in ranges.items():
            if name in options and not low <= options[name] <= high:
                raise UsageError(f"{self.id}: option {name} must lie in {low}..{high}, got {options[name]}")

    def options_of(self, interface: str) -> dict[str, Any]:
        """Option → default: those that have an effect under this interface."""
        without = self.native_options if interface == "screen" else ()
        return {name: default for name, default in self.options.items() if name not in without}

    def spaces(self, config: EnvConfig | None = None) -> Spaces:
        """The single-slot spaces under ``config``: objects of the caller's own, with random generators of
        their own, whatever the family keeps for the next who asks.
        """
        self.check_runnable()
        config = config or EnvConfig()
        for name in self.native_options if config.interface == "screen" else ():
            if name in config.options:
                raise UsageError(
                    f'{self.id}: option {name} has no effect under interface="screen"; '
                    "the size of its picture is screen_size"
                )
        found: Spaces = copy.deepcopy(load(self.spaces_from)(self, config))
        if config.interface == "screen" and found.action_mask is None:
            raise InterfaceError(
                f"{self.id} has no screen: under interface='screen' {self.spaces_from} gave other spaces. "
                "Its author can give those of universe2.core.screen, with a mask, or say that it has none"
            )
        for space in (found.observation, found.action):
            space.seed()  # a generator that the family's code has used would have been copied as it is
        return found

    def hash(self, config: EnvConfig | None = None) -> str:
        """16 hex digits over everything that an episode depends on besides seed and actions.

        Options count as ``core.canonical`` writes them: to the last element and type, save that a tuple is
        as good as a list, and that objects of other kinds than data count by their type and ``repr``.
        Raises UsageError for options that can't be written down, because they hold themselves.
        """
        config = config or EnvConfig()
        identity = {
            "id": self.id,
            "interface": config.interface,
            "screen_size": config.screen_size if config.interface == "screen" else None,
            "options": self.resolve(config.options),
        }
        if config.lossy:
            identity["lossy"] = config.lossy
        try:
            text = canonical(identity)
        except (TypeError, ValueError) as error:  # the first from somebody's __repr__
            # by name only: what has no hash may be unable to print, too
            raise UsageError(f"{self.id}: options {list(config.options)} have no hash: {error}") from None
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(reference: str) -> Callable[..., Any]:
    """The object that ``module:attribute`` names. Raises UsageError if it isn't there, or its file raises."""
    module, _, attribute = reference.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except Universe2Error:
        raise
    except Exception as error:  # whatever the file of a game or a task raises when it is imported
        *_, last = traceback.extract_tb(error.__traceback__)
        where = f" ({last.filename}:{last.lineno})" if not last.filename.startswith("<frozen") else ""
        raise UsageError(f"{reference} can't be loaded: {type(error).__name__}: {error}{where}") from error
    return found
