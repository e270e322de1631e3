"""Environments of other packages: what their entry points add, and what one that is broken costs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from universe2.cli import doctor, envs
from universe2.core import registry
from universe2.core.errors import UnknownEnvError
from universe2.core.registry import broken, families, find, list_envs
from universe2.core.spec import EnvSpec


def spec(env_id: str, description: str = "") -> EnvSpec:
    return EnvSpec(id=env_id, runtime="process", entry="x:x", spaces_from="x:x", description=description)


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``plug(name, what its entry point names)``: a package more is installed."""
    real, more = registry.entry_points, []

    def entry_points(group: str) -> list[EntryPoint]:
        return [*(point for point in more if point.group == group), *real(group=group)]

    def plug(name: str, named: Any, group: str = "universe2.envs") -> None:
        module = ModuleType(f"plugged_{name}")
        module.named = named  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        more.append(EntryPoint(name, f"{module.__name__}:named", group))
        registry._found.cache_clear()

    monkeypatch.setattr(registry, "entry_points", entry_points)
    yield plug
    registry._found.cache_clear()


def raises() -> list[EnvSpec]:
    raise ModuleNotFoundError("No module named 'not_there'")


@pytest.mark.parametrize(
    ("named", "why"),
    [
        (raises, "ModuleNotFoundError: No module named 'not_there'"),
        (3, "it names 3, which is no function"),
        (lambda: None, "it returned None, not a list of EnvSpec"),
        (lambda: ["mine/Thing-v0"], "it lists 'mine/Thing-v0', which is no EnvSpec"),
        (lambda: [spec("nothing")], "id must be|family"),
        (lambda: [spec("dup/A-v0"), spec("dup/A-v0")], "its id dup/A-v0 is taken already"),
        (lambda: [spec("dup/A-V1")], "dup/A-V1: a version is written -v0"),
        (lambda: [spec("arcade/Breakout-v0")], "its id arcade/Breakout-v0 is taken already"),
    ],
)
def test_one_broken_package_costs_the_others_nothing(
    plug: Any, named: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """``import universe2`` failed, and didn't say whose fault it was."""
    plug("theirs", named)
    assert find("arcade/Breakout-v0").entry.startswith("universe2.")
    ((point, told),) = broken().items()
    assert "theirs = plugged_theirs:named" in point
    assert any(part in told for part in why.split("|")), told
    assert sum("theirs" in record.message for record in caplog.records) == 1
    with pytest.raises(UnknownEnvError, match=r"theirs = plugged_theirs:named .* failed: "):
        find("theirs/Thing-v0")
    (finding,) = doctor._broken()
    assert (finding.ok, "plugged_theirs:named" in finding.detail) == (False, True)


def test_an_id_is_found_whatever_its_entry_point_is_called(plug: Any) -> None:
    """The family ``web`` of another package took all our web tasks away, or gave none."""
    ours = len(list_envs("web"))
    plug("web", lambda: [spec("web/press-twice-v0")])
    plug("mine", lambda: [spec("arcade/Zork-v0"), spec("own/Thing-v0")])
    assert find("web/press-twice-v0").id == "web/press-twice-v0"
    assert len(list_envs("web")) == ours + 1
    assert find("arcade/Zork-v0") in list_envs("arcade")
    assert [found.id for found in list_envs("own")] == ["own/Thing-v0"]
    assert "mine" not in families()
    assert not broken()


def test_the_list_of_environments_tells_what_is_broken(plug: Any) -> None:
    plug("theirs", raises)
    app = typer.Typer()
    app.command()(envs.command)
    said = CliRunner().invoke(app, []).output
    assert "theirs = plugged_theirs:named of package unknown failed: ModuleNotFoundError" in said


def test_a_resolver_that_can_not_be_loaded_is_told(plug: Any) -> None:
    plug("late", 7, group="universe2.resolvers")
    assert "late" not in families()
    assert list(broken().values()) == ["it names 7, which is no function"]
