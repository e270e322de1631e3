"""The registry: ids → EnvSpec, from providers found by entry point.

A provider is a function ``() -> Iterable[EnvSpec]`` in the entry point group ``universe2.envs``; the
entry point's name is of no account. A *resolver* in ``universe2.resolvers`` is a function ``(id) ->
EnvSpec | None`` for a family whose ids aren't known beforehand, after which its entry point is named.
A resolver with an attribute ``known``, a provider, says which ids it would find now: they are listed
when its family is named, not before, so that nobody imports a library for a list that they didn't ask
for. A third party's package adds its environments with one entry point, and no line here. One that
fails costs nobody else anything: ``broken`` tells of it, and the log once.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from universe2.core.errors import UnknownEnvError, UsageError
from universe2.core.spec import EnvSpec

log = logging.getLogger("universe2")

Provider = Callable[[], Iterable[EnvSpec]]
Resolver = Callable[[str], EnvSpec | None]

_NO_VERSION = re.compile(r"-[vV]\d[\d.]*$")
"""The end of an id that means a version, and isn't one. Gymnasium lets it pass: others' ids may have it."""
_added: dict[str, EnvSpec] = {}


def register(spec: EnvSpec) -> EnvSpec:
    """Add one spec for this process; ``universe2.register`` adds it for Gymnasium too."""
    _check_version(spec)
    if spec.id in _added or spec.id in _found().specs:
        raise UsageError(f"{spec.id} is registered already; give it another name or version")
    _added[spec.id] = spec
    return spec


def _check_version(spec: EnvSpec) -> None:
    if spec.version is None and _NO_VERSION.search(spec.id):
        raise UsageError(f"{spec.id}: a version is written -v0, -v1 and so on, or left out")


def unregister(env_id: str) -> None:
    """Take back what ``register`` added."""
    _added.pop(env_id, None)


def families() -> list[str]:
    """The names of all families, sorted."""
    listed = (*_found().specs.values(), *_added.values())
    return sorted({*_found().resolvers, *(spec.family for spec in listed)})


def broken() -> dict[str, str]:
    """What is wrong with entry points of other packages: which one → why. Mostly empty."""
    return dict(_found().broken)


def list_envs(family: str | None = None) -> list[EnvSpec]:
    """All specs, or those of one family, sorted by id. Nothing is started.

    Families whose ids aren't known beforehand (``pettingzoo``) are listed only if they are named.
    """
    if family is not None and family not in families():
        raise UnknownEnvError(f"no family {family!r}; there are {', '.join(families())}")
    known = {} if family is None else {spec.id: spec for spec in _known(family)}
    found = {**known, **_found().specs, **_added}
    return sorted((s for s in found.values() if family in (None, s.family)), key=lambda spec: spec.id)


def find(env_id: str) -> EnvSpec:
    """The spec of ``env_id``, or UnknownEnvError that names near ids."""
    env_id = env_id.removeprefix("universe2:")
    family = env_id.split("/", 1)[0]
    found = _found()
    for specs in (_added, found.specs):
        if env_id in specs:
            return specs[env_id]
    if family in found.resolvers and (spec := found.resolvers[family](env_id)) is not None:
        return spec
    known = [spec.id for spec in list_envs(family if family in families() else None)]
    lowered = {known_id.lower(): known_id for known_id in known}
    close = [lowered[c] for c in get_close_matches(env_id.lower(), list(lowered), 3, 0.5)]
    hint = f" Did you mean {', '.join(close)}?" if close else f" Families: {', '.join(families())}."
    if family in found.resolvers:
        hint += " Another package's must be imported first: in a shell, universe2 --import PACKAGE …."
    failed = "".join(f" {point} failed: {why}." for point, why in found.broken.items())
    raise UnknownEnvError(f"no environment {env_id!r}.{hint}{failed}")


class _Found(NamedTuple):
    """What the entry points of all installed packages give."""

    specs: dict[str, EnvSpec]
    resolvers: dict[str, Resolver]
    broken: dict[str, str]


@functools.cache
def _found() -> _Found:
    found = _Found({}, {}, {})
    for point in _points("universe2.envs"):
        _guarded(found, point, lambda provider: _take_in(found, provider))
    for point in _points("universe2.resolvers"):
        _guarded(found, point, functools.partial(found.resolvers.setdefault, point.name))
    return found


def _guarded(found: _Found, point: EntryPoint, use: Callable[[Any], object]) -> None:
    """``use`` what an entry point names. Whatever a foreign package raises is told, and the rest works."""
    try:
        named = point.load()
        if not callable(named):
            raise UsageError(f"it names {named!r}, which is no function")
        use(named)
    except Exception as error:  # noqa: BLE001
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
        told = f"the entry point {point.name} = {point.value} of package {package}"
        why = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        found.broken[told] = why
        log.warning("%s failed, and what it would add is missing: %s", told, why)


def _take_in(found: _Found, provider: Provider) -> None:
    """All of a provider's specs, or none if one of them can't be."""
    listed = provider()
    if not isinstance(listed, Iterable):
        raise UsageError(f"it returned {listed!r}, not a list of EnvSpec")
    mine: dict[str, EnvSpec] = {}
    for spec in listed:
        if not isinstance(spec, EnvSpec):
            raise UsageError(f"it lists {spec!r:.100}, which is no EnvSpec")
        _check_version(spec)
        if spec.id in mine or spec.id in found.specs:
            raise UsageError(f"its id {spec.id} is taken already; give it another name or version")
        mine[spec.id] = spec
    found.specs.update(mine)


def _known(family: str) -> list[EnvSpec]:
    """What the resolver of a family would find now, if it can say so."""
    provider: Provider | None = getattr(_found().resolvers.get(family), "known", None)
    return [] if provider is None else list(provider())


def _points(group: str) -> list[EntryPoint]:
    """Each once, our own first: a checkout that is on the path and installed too shows up twice."""
    points = {(point.name, point.value): point for point in entry_points(group=group)}
    return sorted(points.values(), key=lambda point: not point.value.startswith("universe2."))
