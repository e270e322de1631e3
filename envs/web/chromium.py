"""Where a Chromium headless shell is on this machine, or at least a Chromium, and the fonts that it is given.

Starts nothing.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

ENVIRONMENT_VARIABLE = "UNIVERSE2_CHROMIUM"
FONTS = Path(__file__).resolve().parent / "fonts" / "fonts.conf"
"""for fontconfig: our fonts and no others, so that pages have the same layout on every machine"""
_NAMES = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell", "headless-shell")
_ORDINARY = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""These draw when they like, not on command: a fallback, in which runs of an episode may differ."""


def wrong_variable() -> str:
    """What is wrong with the environment variable, in words; "" if it isn't set or names a program."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    if chosen is None or shutil.which(chosen) is not None:
        return ""
    return f"{ENVIRONMENT_VARIABLE} is {chosen!r}, where there is no program"


def _install() -> str:
    """The command that gets a browser, unless one can't be found for what the environment says."""
    command = "apt-get install chromium-headless-shell (or: playwright install chromium-headless-shell)"
    wrong = wrong_variable()
    return f"{wrong}: correct it, or unset it and {command}" if wrong else command


INSTALL = _install()
"""What helps who has no browser, as things stood when the program began."""


def find_chromium() -> str | None:
    """The path of a headless shell, of an ordinary Chromium on PATH if there is none, or None."""
    if (found := find_headless_shell()) is not None or ENVIRONMENT_VARIABLE in os.environ:
        return found
    return next((_unwrapped(path) for name in _ORDINARY if (path := shutil.which(name))), None)


def find_headless_shell() -> str | None:
    """The path of a headless shell, or None.

    Looked for in this order: the environment variable ``UNIVERSE2_CHROMIUM`` (if it is set,
    nothing else counts, and it may be any browser), the usual names on PATH, Playwright's own
    downloads (newest first).
    """
    if (chosen := os.environ.get(ENVIRONMENT_VARIABLE)) is not None:
        return _unwrapped(shutil.which(chosen))
    for name in _NAMES:
        if (path := shutil.which(name)) is not None:
            return _unwrapped(path)
    return next(iter(_playwright_downloads()), None)


def has_chromium() -> bool:
    """Whether ``find_chromium`` finds one."""
    return find_chromium() is not None


def _unwrapped(path: str | None) -> str | None:
    """What a script of one command starts (Debian's is such): a shell in between can't be killed well."""
    if path is None or Path(path).stat().st_size > 4096:
        return path
    lines = Path(path).read_text("utf-8", "replace").splitlines()
    commands = [line for line in lines if line.strip() and not line.startswith("#")]
    found = re.fullmatch(r'(?:exec )?(/\S+) "\$@"', commands[0].strip()) if len(commands) == 1 else None
    return found[1] if found is not None and os.access(found[1], os.X_OK) else path


def _playwright_downloads() -> list[str]:
    root = os.environ.get("PLAYWRIGHT_BROWSERS_PATH", "")
    folder = Path(root) if root not in ("", "0") else Path.home() / ".cache" / "ms-playwright"
    found = [p for name in _NAMES for p in folder.glob(f"chromium_headless_shell-*/*/{name}")]
    runnable = [p for p in found if os.access(p, os.X_OK)]
    return [str(p) for p in sorted(runnable, key=_build, reverse=True)]


def _build(path: Path) -> int:
    number = path.parts[-3].rpartition("-")[2]
    return int(number) if number.isdigit() else -1
