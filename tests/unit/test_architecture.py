"""The layers hold, the public face is what it is meant to be, and importing it is quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import universe2
import universe2.agents

ROOT = Path(universe2.__file__).resolve().parent
LAYERS = [
    {"core"},
    {"wire"},
    {"envs"},
    {"runtimes"},
    {"server", "client"},
    {"faces"},
    {"trace"},
    {"testing"},
    {"agents"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
TORCH = ("torch", "safetensors")
GRPC = ("grpc", "grpc_health")


def modules() -> list[tuple[str, Path]]:
    """(layer, file) of every module, the symlinked folders included."""
    found = []
    for layer in sorted(LEVEL):  # in one order in every process
        files = sorted((ROOT / layer).resolve().rglob("*.py"))
        found += [(layer, file) for file in files if "_pb2" not in file.name]
    return found


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize(("layer", "file"), modules(), ids=lambda v: v if isinstance(v, str) else v.stem)
def test_each_layer_imports_only_those_below(layer: str, file: Path) -> None:
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "universe2" and len(parts) > 1 and parts[1] in LEVEL:
            other = parts[1]
            allowed = other == layer or LEVEL[other] < LEVEL[layer]
            assert allowed, f"{file.name} ({layer}) imports {name}, which is not below it"
        if parts[0] in TORCH and layer not in ("agents", "cli"):
            pytest.fail(f"{file.name} ({layer}) imports {name}: only agents may")
        if parts[0] in GRPC and layer not in ("server", "client", "cli"):
            pytest.fail(f"{file.name} ({layer}) imports {name}: only server and client may")


def test_envs_and_agents_have_one_name() -> None:
    for name in ("envs", "agents"):
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}"],
            cwd=ROOT.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        here = (ROOT.parent / name).is_dir()  # not where a wheel is installed
        refusal = f"import this package as universe2.{name}, not as {name}"
        assert (refusal if here else f"No module named '{name}'") in done.stderr


def test_public_names() -> None:
    assert universe2.__all__ == [
        "EnvConfig",
        "EnvSpec",
        "Universe2Error",
        "errors",
        "find",
        "list_envs",
        "make",
        "make_parallel",
        "make_pool",
        "make_vec",
        "open_runtime",
        "register",
        "sample_mask",
        "__version__",
    ]
    for name in universe2.__all__:
        assert getattr(universe2, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        universe2.nope  # noqa: B018


def test_public_names_of_agents() -> None:
    assert universe2.agents.__all__ == ["player"]
    code = "import sys, universe2.agents; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, universe2; heavy = {'torch', 'grpc', 'numba', 'playwright', 'ale_py', 'scipy', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_changelog_and_version_agree() -> None:
    changelog = ROOT.parent / "CHANGELOG.md"
    if not changelog.exists():
        pytest.skip("not a checkout")
    assert f"## {universe2.__version__}" in changelog.read_text(encoding="utf-8")
