"""``check_env`` and ``check_runtime``: all checks on one subject, and a report of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, Interface
from universe2.faces.make import open_runtime
from universe2.runtimes import open_runtime as open_here
from universe2.testing.agents import SEVERAL_AGENTS_CHECKS
from universe2.testing.checks import CHECKS, ONE_AGENT_CHECKS, Opener, Skip, Subject


@dataclass
class Report:
    """Which checks passed and which did not apply."""

    subject: str
    passed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.subject}: {len(self.passed)} checks passed: {', '.join(self.passed)}"]
        return "\n".join([*lines, *(f"  not applicable: {n}: {why}" for n, why in self.skipped.items())])


def check_env(
    env_id: str,
    *,
    remotes: Sequence[str] | None = None,
    token: str | None = None,
    interface: Interface = "native",
    options: Mapping[str, Any] | None = None,
    steps: int = 60,
) -> Report:
    """Run one id through the contract; with ``remotes`` also compare it with the local one."""
    config = EnvConfig(interface=interface, options=options or {})

    def local(slots: int, config: EnvConfig) -> Runtime:
        return open_runtime(env_id, slots, config)

    def together(slots: int, config: EnvConfig) -> Runtime:
        return open_here(env_id, slots, config, together=True)

    def far(slots: int, config: EnvConfig) -> Runtime:
        return open_runtime(env_id, slots, config, remotes=remotes, token=token)

    if remotes:
        return check_runtime(
            far, config, reference=local, steps=steps, name=f"{env_id} at {','.join(remotes)}"
        )
    return check_runtime(local, config, together=together, steps=steps, name=env_id)


def check_runtime(
    open: Opener,
    config: EnvConfig | None = None,
    *,
    reference: Opener | None = None,
    together: Opener | None = None,
    steps: int = 60,
    name: str = "runtime",
) -> Report:
    """Run everything that ``open(num_slots, config)`` returns through the contract.

    ``reference`` opens what must agree with it to the bit; ``together`` the same with all slots in one
    process, where ``open`` may spread them over several.
    Raises AssertionError, whose text begins with the name of the check, at the first failure.
    """
    report = Report(name)
    with closing(Subject(open, config or EnvConfig(), steps, reference, together)) as subject:
        own = SEVERAL_AGENTS_CHECKS if subject.shared(1).spec.multi_agent else ONE_AGENT_CHECKS
        for check in (*CHECKS, *own):
            title = check.__name__.replace("_", " ")
            try:
                check(subject)
            except Skip as reason:
                report.skipped[title] = str(reason)
            except AssertionError as error:
                raise AssertionError(f"{name}: {title}: {error}") from error
            else:
                report.passed.append(title)
    return report
