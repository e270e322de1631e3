"""(family under construction)"""

from __future__ import annotations

from universe2.core.spec import EnvSpec


def specs() -> list[EnvSpec]:
    return []


def resolve(env_id: str) -> EnvSpec | None:
    return None
