"""The registry: ids → EnvSpec, from providers found by entry point.

A provider is a function ``() -> Iterable[EnvSpec]`` in the entry point group
``universe2.envs``; a *resolver* in ``universe2.resolvers`` is a function ``(id) -> EnvSpec |
None`` for families whose ids aren't known beforehand. Both are named after their family. A resolver
with an attribute ``known``, a provider, says which ids it would find now: they are listed when its family
is named, not before, so that nobody imports a library for a list that they didn't ask for. A
third party's package adds its family with one entry point, and no line here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

from universe2.core.errors import UnknownEnvError, UsageError
from universe2.core.spec import EnvSpec

Provider = Callable[[], Iterable[EnvSpec]]
Resolver = Callable[[str], EnvSpec | None]

_NO_VERSION = re.compile(r"-[vV]\d[\d.]*$")
"""The end of an id that means a version, and isn't one. Gymnasium lets it pass: others' ids may have it."""
_added: dict[str, EnvSpec] = {}


def register(spec: EnvSpec) -> EnvSpec:
    """Add one spec for this process; ``universe2.register`` adds it for Gymnasium too."""
    if spec.version is None and _NO_VERSION.search(spec.id):
        raise UsageError(f"{spec.id}: a version is written -v0, -v1 and so on, or left out")
    if spec.id in _added or spec.id in _provided().get(spec.family, {}):
        raise UsageError(f"{spec.id} is registered already; give it another name or version")
    _added[spec.id] = spec
    return spec


def unregister(env_id: str) -> None:
    """Take back what ``register`` added."""
    _added.pop(env_id, None)


def families() -> list[str]:
    """The names of all families, sorted."""
    return sorted({*_provided(), *_resolvers(), *(spec.family for spec in _added.values())})


def list_envs(family: str | None = None) -> list[EnvSpec]:
    """All specs, or those of one family, sorted by id. Nothing is started.

    Families whose ids aren't known beforehand (``pettingzoo``) are listed only if they are named.
    """
    if family is not None and family not in families():
        raise UnknownEnvError(f"no family {family!r}; there are {', '.join(families())}")
    provided = [spec for specs in _provided().values() for spec in specs.values()]
    known = [] if family is None or family in _provided() else _known(family)
    found = [s for s in (*provided, *known, *_added.values()) if family in (None, s.family)]
    return sorted(found, key=lambda spec: spec.id)


def find(env_id: str) -> EnvSpec:
    """The spec of ``env_id``, or UnknownEnvError that names near ids."""
    env_id = env_id.removeprefix("universe2:")
    family = env_id.split("/", 1)[0]
    if env_id in _added:
        return _added[env_id]
    specs = _provided().get(family, {})
    if env_id in specs:
        return specs[env_id]
    if family in _resolvers() and (spec := _resolvers()[family](env_id)) is not None:
        return spec
    known = [spec.id for spec in list_envs(family if family in families() else None)]
    lowered = {known_id.lower(): known_id for known_id in known}
    close = [lowered[c] for c in get_close_matches(env_id.lower(), list(lowered), 3, 0.5)]
    hint = f" Did you mean {', '.join(close)}?" if close else f" Families: {', '.join(families())}."
    raise UnknownEnvError(f"no environment {env_id!r}.{hint}")


@functools.cache
def _provided() -> dict[str, dict[str, EnvSpec]]:
    return {point.name: {spec.id: spec for spec in point.load()()} for point in _points("universe2.envs")}


@functools.cache
def _resolvers() -> dict[str, Resolver]:
    return {point.name: point.load() for point in _points("universe2.resolvers")}


def _known(family: str) -> list[EnvSpec]:
    """What the resolver of a family without a provider would find now."""
    provider: Provider | None = getattr(_resolvers().get(family), "known", None)
    return [] if provider is None else list(provider())


def _points(group: str) -> list[EntryPoint]:
    # A checkout that is on the path and installed too shows up twice.
    return list({point.name: point for point in entry_points(group=group)}.values())
