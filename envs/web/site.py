"""Site: a small web site of several pages, whose server side lives in the worker, one per episode.

A site keeps its state in Python, answers requests with HTML, and is judged by its state: what has
been done to it must be what was asked for, and nothing else. It knows no browser and no network.

A state is told as *facts*, tuples such as ``("order", "Blue mug", 2)``. A task names the facts that
must have come about (``wanted``) and those that must be gone (``unwanted``). The task is won when the
facts are just so. A fact of a kind in ``final`` can't be taken back: if it isn't wanted, the
task is lost at once.
"""

from __future__ import annotations

import html
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qsl, urlsplit

Fact = tuple[Any, ...]
Move = tuple[str, ...]
"""one structured action by visible names: ("click", name), ("type", name, text), ("select", name, option)"""


@dataclass(frozen=True)
class Request:
    """What a page asked for. ``values`` are those of the address and of the form together."""

    method: str
    path: str
    values: Mapping[str, str]

    @classmethod
    def of(cls, method: str, url: str, body: str = "") -> Request:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(body, keep_blank_values=True)
        return cls(method, parts.path, dict(pairs))


@dataclass(frozen=True)
class Task:
    """One problem on a site, and how it is solved."""

    instruction: str
    wanted: frozenset[Fact]
    unwanted: frozenset[Fact]
    solution: tuple[Move, ...]


class Site(Protocol):
    """One episode of a site."""

    instruction: str

    def respond(self, request: Request) -> tuple[int, str]:
        """(HTTP status, HTML). May change the state."""

    def outcome(self) -> dict[str, Any]:
        """``{done, timed_out, raw, decayed, reason}``, as a WebPage's ``read`` returns them."""


class Served:
    """A Site made of handlers: subclasses fill their state, say their facts, and list their templates.

    ``templates`` maps the name of a task to a function from the site to a Task; ``routes`` a path (or
    its first part followed by ``/``) to the name of the method that answers it.
    """

    title: ClassVar[str]
    templates: ClassVar[Mapping[str, Callable[[Any], Task]]]
    routes: ClassVar[Mapping[str, str]]
    final: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, template: str, seed: int) -> None:
        self.rng = random.Random(f"{self.title}/{template}/{seed}")
        self.notice = ""
        self.fill()
        self._begun = self.facts()
        self.task = type(self).templates[template](self)
        self.instruction = self.task.instruction
        self._goal = (self._begun - self.task.unwanted) | self.task.wanted

    def fill(self) -> None:
        """Make the content from ``self.rng``."""
        raise NotImplementedError

    def facts(self) -> frozenset[Fact]:
        """The state, as far as it can be judged."""
        raise NotImplementedError

    def respond(self, request: Request) -> tuple[int, str]:
        first = "/" + request.path.strip("/").split("/")[0]
        name = self.routes.get(request.path) or self.routes.get(first + "/")
        if name is None:
            return 404, self.page("Not found", "<p>There is no such page.</p>")
        self.notice = ""
        body: str = getattr(self, name)(request)
        return 200, body

    def outcome(self) -> dict[str, Any]:
        facts = self.facts()
        wrong = sorted(str(f) for f in facts - self._goal if f[0] in self.final)
        won = facts == self._goal
        raw = 1.0 if won else -1.0 if wrong else 0.0
        reason = "" if won else f"can't be taken back: {wrong[0]}" if wrong else ""
        return {"done": won or bool(wrong), "timed_out": False, "raw": raw, "decayed": raw, "reason": reason}

    def page(self, heading: str, body: str) -> str:
        """A whole page around ``body``."""
        links = "".join(f'<a href="{path}">{text(name)}</a>' for path, name in self.menu())
        notice = f'<p class="notice" role="status">{text(self.notice)}</p>' if self.notice else ""
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{text(heading)}'
            f" – {self.title}</title><style>{STYLE}</style></head><body><header><strong>{self.title}</strong>"
            f"<nav aria-label='Main'>{links}</nav></header>"
            f"<main><h1>{text(heading)}</h1>{notice}{body}</main></body></html>"
        )

    def menu(self) -> list[tuple[str, str]]:
        """(path, name) of the links at the top of every page."""
        return [("/", "Home")]


def text(value: object) -> str:
    """``value`` as HTML text or attribute."""
    return html.escape(str(value))


def options(names: list[str], chosen: str = "") -> str:
    """The options of a drop-down."""
    return "".join(f"<option{' selected' if n == chosen else ''}>{text(n)}</option>" for n in names)


def button(path: str, name: str, label: str = "", quiet: bool = False) -> str:
    """A form that is nothing but a button; ``label`` is its accessible name if that says more."""
    told = f' aria-label="{text(label)}"' if label else ""
    kind = ' class="quiet"' if quiet else ""
    return f'<form method="post" action="{text(path)}"><button{kind}{told}>{text(name)}</button></form>'


STYLE = """
*{box-sizing:border-box}
body{margin:0;font:13px/1.35 "DejaVu Sans",Arial,sans-serif;color:#1d2733;background:#f4f6f8}
header{display:flex;align-items:center;gap:14px;padding:8px 12px;background:#1f3a5f;color:#fff}
header strong{font-size:15px}
nav a{color:#dce8f7;margin-right:10px;text-decoration:none}
nav a:hover{text-decoration:underline}
main{padding:8px 12px 16px}
h1{font-size:17px;margin:4px 0 8px} h2{font-size:14px;margin:10px 0 4px}
p{margin:4px 0 8px}
a{color:#17559c}
table{border-collapse:collapse;width:100%;background:#fff}
th,td{text-align:left;padding:4px 6px;border-bottom:1px solid #dde3ea;vertical-align:middle}
th{font-size:12px;color:#5a6878}
form{display:inline}
form.stack{display:block;background:#fff;border:1px solid #dde3ea;border-radius:6px;
padding:8px 10px;max-width:460px}
form.stack label{display:block;margin:0 0 6px;font-size:12px;color:#5a6878}
form.stack input,form.stack select,form.stack textarea{display:block;width:100%;margin-top:2px}
input,select,textarea{font:inherit;padding:3px 6px;border:1px solid #b9c4d0;border-radius:4px;
background:#fff;color:#1d2733}
button{font:inherit;padding:3px 10px;border:1px solid #17559c;border-radius:4px;background:#17559c;color:#fff}
button.quiet{background:#fff;color:#17559c}
button:focus-visible,a:focus-visible,input:focus-visible{outline:2px solid #f0a500;outline-offset:1px}
.notice{background:#e4f4e6;border:1px solid #9fd0a5;border-radius:4px;padding:4px 8px}
.tag{background:#e3ebf5;border-radius:9px;padding:1px 7px;font-size:11px}
.unread td{font-weight:bold}
.cards{display:grid;grid-template-columns:repeat(3,1fr);gap:6px}
.card{background:#fff;border:1px solid #dde3ea;border-radius:6px;padding:6px 8px}
.price{color:#8a3b00;font-weight:bold}
pre{white-space:pre-wrap;font:inherit;background:#fff;border:1px solid #dde3ea;border-radius:6px;padding:8px}
"""
