"""``universe2 doctor``: what is here, what is missing, and how to get it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Annotated, NamedTuple

import typer

_COMPILE_S = 900  # longest wait for half of the games
_DOWNLOAD_S = 240  # longest wait for a browser download or package installation


class Finding(NamedTuple):
    """One thing looked at."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = False
    partly: bool = False
    """not ``ok``, and yet of use"""


def command(
    get_browser: Annotated[
        bool, typer.Option("--get-browser", help="Get a Chromium headless shell if none is found.")
    ] = False,
    compile_games: Annotated[
        bool, typer.Option("--compile", help="Compile the arcade games now, not at their first use.")
    ] = False,
    browser: Annotated[
        bool,
        typer.Option("--browser", help="Measure web steps/s for several numbers of browsers and workers."),
    ] = False,
) -> None:
    """Say what is installed, what is missing and how to get it. Exits 1 if something is missing that nothing
    works without.

    With --get-browser: use a Chromium headless shell that is here; else try Playwright's own
    download; else, as root on Debian or Ubuntu, the package chromium-headless-shell; else say
    which command to run. That mode always exits 0: everything but web tasks works without.
    With --browser: how many browsers and worker processes pay on this machine (a minute or so).
    """
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True)
    if get_browser:
        ensure_browser(console.print)
    if compile_games:
        compile_arcade(console.print)
    if browser:
        measure_browsers(console.print)
    if get_browser or compile_games or browser:
        return
    findings = examine()
    for finding in findings:
        state = "ok" if finding.ok else "partly" if finding.partly else "missing"
        mark = f"[{'green' if finding.ok else 'yellow'}]{state:7}[/]"
        console.print(f"{mark} [bold]{finding.name}[/bold]  {escape(finding.detail)}", highlight=False)
        if not finding.ok:
            console.print(f"        get it: {escape(finding.remedy)}", highlight=False)
    if any(finding.required and not finding.ok for finding in findings):
        raise typer.Exit(1)


def measure_browsers(say: Callable[[str], None] = print) -> None:
    """Print a table of settings for web tasks, and the best. Raises MissingDependencyError."""
    from universe2.cli.doctor_browser import advice, measure_all

    cores = os.cpu_count() or 1
    for line in advice(measure_all(say, cores), cores):
        say(line)


def examine() -> list[Finding]:
    """Look at interpreter, packages, browser, accelerator, families, and what other packages add to them."""
    return [_python(), *_packages(), _browser(), _cuda(), *_families(), *_broken()]


def compile_arcade(say: Callable[[str], None] = print) -> None:
    """Compile what isn't on disk yet, in two processes. Later starts take a second."""
    from concurrent.futures import ThreadPoolExecutor

    from universe2.core.registry import list_envs

    ids = [spec.id for spec in list_envs("arcade")]
    # Processes, for Numba compiles under one lock; and few, for games share the code that draws.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda share: _compile_elsewhere(share, say), (ids[::2], ids[1::2])))


def _compile_elsewhere(env_ids: list[str], say: Callable[[str], None]) -> None:
    """``compile_here`` in a process of its own, killed when it takes too long."""
    code = "import sys; from universe2.cli.doctor import compile_here; compile_here(sys.argv[1:])"
    command = [sys.executable, "-c", code, *env_ids]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = threading.Timer(_COMPILE_S, process.kill)
        deadline.start()
        assert process.stdout is not None
        for line in process.stdout:
            say(line.rstrip())
        deadline.cancel()
    if process.returncode:
        say(f"{', '.join(env_ids)}: compiling ended with status {process.returncode}")


def compile_here(env_ids: list[str]) -> None:
    """Compile games that aren't on disk yet, one after the other; a line each to standard output."""
    import time

    from universe2.runtimes import open_runtime

    for env_id in env_ids:
        began = time.monotonic()
        try:
            runtime = open_runtime(env_id, 1)
            runtime.reset([0], [0])
            runtime.recv(60.0)
            runtime.heuristic([0])  # type: ignore[attr-defined]
            runtime.close()
        except Exception as error:  # noqa: BLE001 - one that fails must not keep the others from it
            print(f"{env_id}: could not be compiled: {error}", flush=True)
        else:
            print(f"{env_id}: ready after {time.monotonic() - began:.1f} s", flush=True)


def ensure_browser(say: Callable[[str], None] = print) -> bool:
    """Find a Chromium headless shell or get one. True if there is one at the end."""
    from universe2.envs.web.chromium import find_headless_shell

    if found := find_headless_shell():
        say(f"browser: {found}")
        return True
    for what, commands in _browser_sources():
        say(f"browser: none found, trying {what}")
        if all(_run(argv) for argv in commands) and (found := find_headless_shell()):
            say(f"browser: {found}")
            return True
    say(
        "browser: none. Web tasks can't run; everything else can. Get one with: "
        "playwright install chromium-headless-shell, or as root: apt-get install chromium-headless-shell"
    )
    return False


def _browser_sources() -> list[tuple[str, list[list[str]]]]:
    playwright = [sys.executable, "-m", "playwright", "install", "chromium-headless-shell"]
    sources = [("Playwright's download", [playwright])]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "-y", "--no-install-recommends", "chromium-headless-shell"]
        sources.append(("the Debian package", [["apt-get", "update", "-q"], install]))
    return sources


def _run(argv: list[str]) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            argv, env=environment, timeout=_DOWNLOAD_S, capture_output=True, text=True, check=False
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        print(f"  {' '.join(argv)}: {error}", file=sys.stderr)
        return False
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        print(f"  {' '.join(argv)}: {lines[-1] if lines else 'failed'}", file=sys.stderr)
    return done.returncode == 0


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer", True)


def _packages() -> list[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    wanted = {
        "gymnasium": "pip install gymnasium",
        "numba": "pip install numba",
        "grpcio": "pip install grpcio",
        "torch": "pip install torch",
        "playwright": "pip install playwright",
        "ale-py": 'pip install "universe2[atari]"',
        "miniwob": 'pip install "universe2[web]"',
    }
    findings = []
    for name, remedy in wanted.items():
        try:
            findings.append(Finding(name, True, version(name)))
        except PackageNotFoundError:
            optional = "universe2[" in remedy
            findings.append(Finding(name, False, "not installed", remedy, required=not optional))
    return findings


def _browser() -> Finding:
    """Found, and started once: not every program draws."""
    import asyncio

    from universe2.core.errors import Universe2Error
    from universe2.envs.web.chromium import ENVIRONMENT_VARIABLE, find_chromium, wrong_variable
    from universe2.runtimes.browser_process import probe

    remedy = "universe2 doctor --get-browser"
    if wrong := wrong_variable():
        return Finding("browser", False, wrong, f"correct or unset {ENVIRONMENT_VARIABLE}")
    program = find_chromium()
    if program is None:
        return Finding("browser", False, "no Chromium", remedy)
    try:
        on_command = asyncio.run(probe(program))
    except (Universe2Error, OSError) as error:
        return Finding("browser", False, str(error), remedy)
    if not on_command:
        told = f"{program}: no headless shell, so web tasks run, but slower and not the same in every run"
        return Finding("browser", False, told, remedy)
    return Finding("browser", True, program, remedy)


def _cuda() -> Finding:
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return Finding("accelerator", True, "unknown: torch is not installed")
    import torch

    if torch.cuda.is_available():
        return Finding("accelerator", True, torch.cuda.get_device_name())
    return Finding("accelerator", True, f"none, training runs on {torch.get_num_threads()} CPU threads")


def _families() -> list[Finding]:
    from universe2.core.registry import families, list_envs

    findings = []
    for family in families():
        specs = list_envs(family)
        missing = {r.install for spec in specs for r in spec.missing}
        count = sum(spec.runnable for spec in specs)
        detail = f"{count} of {len(specs)} environments can run here"
        remedy = "; ".join(sorted(missing))
        findings.append(Finding(f"family {family}", not missing, detail, remedy, partly=count > 0))
    return findings


def _broken() -> list[Finding]:
    from universe2.core.registry import broken

    remedy = "mend that package, or uninstall it"
    return [Finding("plug-in", False, f"{point} failed: {why}", remedy) for point, why in broken().items()]
