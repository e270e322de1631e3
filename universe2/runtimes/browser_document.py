"""What a page is made of: the files of its folder, and one document with all of them written into it.

It reads files and transforms their text; browsers and time are not known here.
"""

from __future__ import annotations

import base64
import mimetypes
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

_SCRIPT = re.compile(r"""<script\s+src=["']([^"':?]+)["']\s*>\s*</script>""")
_SHEET = re.compile(r"""<link\s(?=[^>]*rel=["']stylesheet["'])[^>]*href=["']([^"':?]+)["'][^>]*>""")
_JQUERY = re.compile(r"(^|/)jquery[^/]*\.js$")
_ABSENT = (404, "text/plain", "")
_URL = re.compile(r"""url\(\s*["']?([^"')]+)["']?\s*\)""")


@cache
def file(root: Path, path: str) -> tuple[int, str, str]:
    """(HTTP status, content type, body in base64) of a file under ``root``; 404 for what can't be read."""
    found = _found(root, root / path)
    if found is None:
        return _ABSENT
    try:
        body = found.read_bytes()
    except OSError:
        return _ABSENT
    kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
    if kind.startswith("text/") or kind.endswith("javascript"):
        kind += "; charset=utf-8"
    return 200, kind, base64.b64encode(body).decode()


class Document(NamedTuple):
    """A page whose HTML asks ``parent.__universe2`` for its scripts, by their places in ``scripts``.

    They are handed over apart from the HTML, so that the browser neither parses them as HTML nor
    compiles them anew for every episode.
    """

    html: str
    scripts: list[str]


@cache
def single_document(root: Path, path: str) -> Document:
    """A page with its style sheets and their pictures written into it, and its scripts.

    Where the page's own text names neither ``$`` nor ``jQuery``, as half of the MiniWoB++ pages that
    load it, jQuery and what builds on it run only if something touches them after all. What is
    not found under ``root`` stays a reference.
    """
    page = root / path
    html = page.read_text("utf-8")
    later = None if re.search(r"\$[(.]|jQuery\b", html) else _JQUERY
    scripts: list[str] = []

    def script(match: re.Match[str]) -> str:
        text = _text(root, page.parent / match[1])
        if text is None:
            return match[0]
        scripts.append(text)
        verb = "runLater" if later and later.search(match[1]) else "run"
        return f"<script>parent.__universe2.{verb}(window, {len(scripts) - 1})</script>"

    def sheet(match: re.Match[str]) -> str:
        found = page.parent / match[1]
        text = _text(root, found)
        return match[0] if text is None else f"<style>{_with_pictures(root, found, text)}</style>"

    return Document(_SHEET.sub(sheet, _SCRIPT.sub(script, html)), scripts)


def _with_pictures(root: Path, sheet: Path, text: str) -> str:
    def picture(match: re.Match[str]) -> str:
        reference = match[1].strip().strip("'\"")
        if ":" in reference:
            return match[0]
        found = _found(root, sheet.parent / re.split("[?#]", reference)[0])
        if found is None:
            return match[0]
        _, kind, body = file(root, str(found.relative_to(root.resolve())))
        return f'url("data:{kind};base64,{body}")'

    return _URL.sub(picture, text)


def _text(root: Path, path: Path) -> str | None:
    found = _found(root, path)
    return found.read_text("utf-8") if found is not None else None


def _found(root: Path, path: Path) -> Path | None:
    """The file at ``path``, if there is one under ``root``."""
    try:
        found = path.resolve()
        return found if found.is_relative_to(root.resolve()) and found.is_file() else None
    except (OSError, ValueError):  # a name too long, or with a NUL in it
        return None
