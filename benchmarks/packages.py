"""Which other packages' environments keep the contract: here, through a server, and on the screen?

    python -m benchmarks.packages [--only minigrid mpe2]

Each package is installed from PyPI under ``.cache/packages/``, over what this Python has. Some of its ids
go through ``universe2.testing.check_env``, in a process of their own: with their own spaces here; the same
through a server, which must agree to the bit; and with the screen's. What fails is told in the check's words.
Writes scores/packages.json, of which tables.py makes a table in docs/packages.md.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.package_list import PACKAGES

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "packages"
SECONDS = 900
"""for one id"""
STEPS = 30
WAYS = ("here", "server", "screen")


def prepared(name: str) -> str:
    """The Python that has a package, and everything that this one has."""
    folder = CACHE / name
    python = str(folder / "bin" / "python")
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=False, clear=True)
        site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        (site / "what-this-one-has.pth").write_text(f"{sysconfig.get_path('purelib')}\n{HERE.parent}\n")
        command = [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            *PACKAGES[name].install,
        ]
        subprocess.run(command, check=True, timeout=1800)
        (folder / "ready").touch()
    return python


def checked(env_id: str, address: str) -> dict[str, str]:
    """way → "ok", or what failed."""
    from universe2.testing import check_env

    ways: dict[str, Callable[[], Any]] = {
        "here": lambda: check_env(env_id, steps=STEPS),
        "server": lambda: check_env(env_id, steps=STEPS, remotes=[address]),
        "screen": lambda: check_env(env_id, steps=STEPS, interface="screen"),
    }
    found = {}
    for way, check in ways.items():
        try:
            check()
            found[way] = "ok"
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is the result
            found[way] = f"{type(error).__name__}: {in_a_line(str(error))}"
    return found


def in_a_line(text: str) -> str:
    """What was said, or where it is a traceback, how that begins and ends."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return text if len(lines) < 2 else f"{lines[0]} … {lines[-1]}"


def child(name: str, env_id: str) -> None:
    """Print what one id's checks say, as a line of JSON: the last that is printed."""
    from universe2.server import Server, ServerConfig

    package = PACKAGES[name]
    for module in package.imports:
        importlib.import_module(module)
    if package.prepare is not None:
        package.prepare()
    server = Server(ServerConfig(port=0))
    server.start()
    try:
        found = checked(env_id, server.address)
    finally:
        server.stop()
    print(json.dumps({"version": version(package.install[0].partition("[")[0]), "ways": found}))


def measured(name: str, env_id: str, python: str) -> dict[str, Any]:
    command = [
        python,
        "-m",
        "benchmarks.packages",
        "--child",
        name,
        env_id,
    ]  # some leave files where they run
    try:
        done = subprocess.run(
            command, cwd=CACHE / name, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"ways": {"here": f"not done after {SECONDS} s"}}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return {"ways": {"here": f"exit code {done.returncode}: {last}"[:600]}}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES), metavar="PACKAGE")
    parser.add_argument("--child", nargs=2, metavar=("PACKAGE", "ID"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(*asked.child)
        return
    path = HERE / "scores" / "packages.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["packages"] if path.exists() else {}
    table = Table("id", *WAYS)
    for name in asked.only:
        python = prepared(name)
        rows = {env_id: measured(name, env_id, python) for env_id in PACKAGES[name].ids}
        kept[name] = {
            "version": next((row["version"] for row in rows.values() if "version" in row), "?"),
            "ids": {env_id: row["ways"] for env_id, row in rows.items()},
        }
        for env_id, row in rows.items():
            table.add_row(env_id, *(row["ways"].get(way, "–") for way in WAYS))
        score = {
            "name": "packages",
            "date": datetime.date.today().isoformat(),
            "python": sys.version.split()[0],
            "packages": {known: kept[known] for known in PACKAGES if known in kept},
        }
        path.write_text(json.dumps(score, indent=1) + "\n", encoding="utf-8")
    Console().print(table)
    print(json.dumps({name: kept[name] for name in asked.only}))


if __name__ == "__main__":
    main()
