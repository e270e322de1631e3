"""The package in docs/adding-a-family.md is found, passes the contract and has a screen."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from universe2.core.errors import InterfaceError
from universe2.core.spec import EnvConfig, EnvSpec, Spaces

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adding-a-family.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return [part.split("```")[0] for part in PAGE.split(f"```{language}\n")[1:]]


def test_the_example_package_is_found_and_passes_the_contract(tmp_path: Path) -> None:
    project = tomllib.loads(blocks("toml")[0])["project"]
    package, use = blocks("python")
    (tmp_path / "gadgets.py").write_text(package, encoding="utf-8")
    info = tmp_path / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = project["entry-points"]["universe2.envs"]
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[universe2.envs]", *lines]))
    where = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    for command in (["-c", use], ["-m", "universe2", "envs", "gadgets"]):
        done = subprocess.run(
            [sys.executable, *command], env=where, capture_output=True, text=True, timeout=110, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "gadgets/Panel-v0" in done.stdout
        assert "failed" not in done.stdout


def _native_only(_spec: EnvSpec, _config: EnvConfig) -> Spaces:
    from gymnasium import spaces

    return Spaces(spaces.Discrete(2), spaces.Discrete(2))


def test_spaces_that_forget_the_screen_are_named() -> None:
    """They were found out at the first reset, as a fault of the environment."""
    spec = EnvSpec(id="mine/A-v0", runtime="process", entry="x:x", spaces_from=f"{__name__}:_native_only")
    assert spec.spaces().action_mask is None
    with pytest.raises(InterfaceError, match=r"mine/A-v0 has no screen: .*:_native_only gave other spaces"):
        spec.spaces(EnvConfig(interface="screen"))
