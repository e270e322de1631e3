"""Ids of every family pass the contract, here and through a server that must agree to the bit.

A sample in the quick run; every registered id that can run here in the slow one (``make contract``,
which notes what passed). A web slot is a browser of its own and the suite opens dozens, so the quick
run has one web task only: with the screen interface, through the server.
"""

from __future__ import annotations

from typing import Any

import pytest
from record import recorded

from universe2.core.registry import list_envs
from universe2.core.spec import EnvSpec, Interface
from universe2.testing import check_env

SHORT: dict[str, dict[str, Any]] = {
    "arcade": {"max_steps": 25},
    "atari": {"max_frames": 120},
    "gymnasium": {"max_episode_steps": 25},
}
"""Options that make episodes end within the steps of a check."""
OF_ENDS = ("autoreset modes agree", "gymnasium vector keeps final observations")
"""Checks that say nothing where no episode ends."""

MATCH = "arcade/Cycles-v0"
"""The one with several agents in the quick run; they leave in mid-episode."""
SAMPLE = {
    "arcade": None,
    "atari": {"atari/Pong-v0"},
    "gymnasium": {"gymnasium/Pendulum-v1", "gymnasium/FrozenLake-v1"},
}
STEPS = {"web": 10}
BROWSERS = [pytest.mark.browser, pytest.mark.timeout(300)]


def chosen(quick: bool) -> list[Any]:
    params = []
    for spec in list_envs():
        names = SAMPLE.get(spec.family, set())
        sampled = not spec.multi_agent if names is None else spec.id in names
        if not spec.runnable or quick != (sampled or spec.id == MATCH):
            continue
        marks = BROWSERS if spec.family == "web" else []
        params.append(pytest.param(spec, id=spec.id, marks=marks))
    return params


def passes_here(spec: EnvSpec) -> None:
    report = check_env(spec.id, options=SHORT.get(spec.family, {}), steps=STEPS.get(spec.family, 40))
    assert len(report.passed) >= 11, report
    if spec.family in SHORT:
        assert not set(report.skipped).intersection(OF_ENDS), report


def passes_through(server: str, env_id: str, interface: Interface = "native") -> None:
    family = env_id.split("/")[0]
    options, steps = SHORT.get(family, {}), STEPS.get(family, 40)
    report = check_env(env_id, remotes=[server], interface=interface, options=options, steps=steps)
    assert "agrees with its reference" in report.passed, report


@pytest.mark.parametrize("spec", chosen(quick=True))
def test_sample(spec: EnvSpec, server: str) -> None:
    passes_here(spec)
    passes_through(server, spec.id)


@pytest.mark.slow
@pytest.mark.parametrize("spec", chosen(quick=False))
def test_all(spec: EnvSpec, server: str) -> None:
    with recorded(spec.id):
        passes_here(spec)
        passes_through(server, spec.id)


SCREENS = [
    "arcade/Breakout-v0",
    MATCH,
    "atari/Pong-v0",
    pytest.param("web/click-test-2-v0", marks=BROWSERS),
]


@pytest.mark.parametrize("env_id", SCREENS)
def test_screen_interface(env_id: str, server: str) -> None:
    passes_through(server, env_id, "screen")
