"""Structured actions for language agents: one verb, the element it is for, a text. Knows no browser.

``actions="structured"`` makes the action space ``action_space()``, a Dict of ``verb`` (a place in
``VERBS``), ``ref`` (an element's number, as in the observation's element table and accessibility
tree; 0 for none) and ``text``. ``parse`` makes one from a call such as ``type(12, "red shoes")``,
``from_json`` from what a model answers to the tool description ``schema()``. Neither runs
anything: a call is matched against the verbs' signatures.

``type`` gives fields of dates, times, colours and sliders their value at once, in the form that HTML has for
it: 2024-01-31, 13:30, 2024-01, 2024-W05, 2024-01-31T13:30, #ff8000, 50.

An action that can't be carried out (no such element, not an option of it, …) does nothing; time
passes all the same, and ``info["action_error"]`` tells why.
"""

from __future__ import annotations

import ast
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.errors import InvalidActionError

TEXT_LENGTH = 1_024
MAX_REF = 1_000_000
_SHOWN = 200
"""characters of a call that an error repeats"""
CHARACTERS = "".join(sorted(set(string.printable) - set("\x0b\x0c")))
"""that there are keys for"""


@dataclass(frozen=True)
class Verb:
    """``parameters`` are "ref" and at most one text, named by what it means."""

    parameters: tuple[str, ...]
    meaning: str
    choices: tuple[str, ...] = ()


_DIRECTIONS = ("up", "down", "left", "right")
SIGNATURES = {
    "wait": Verb((), "do nothing for one step"),
    "click": Verb(("ref",), "click the middle of an element"),
    "double_click": Verb(("ref",), "click it twice"),
    "right_click": Verb(("ref",), "click it with the right button"),
    "control_click": Verb(("ref",), "click it with Control held down"),
    "hover": Verb(("ref",), "move the pointer over an element"),
    "drag": Verb(("ref", "to"), "drag an element onto the one whose number is `to`"),
    "type": Verb(
        ("ref", "text"),
        "put `text` in a field in place of what it holds, key by key; dates as 2024-01-31, times as 13:30",
    ),
    "select": Verb(("ref", "option"), "choose the option with this label of a drop-down or list"),
    "scroll": Verb(("ref", "direction"), "turn the wheel over an element (0: the page)", _DIRECTIONS),
    "press": Verb(("key",), "strike a key, with modifiers: Enter, a, Control+a, Shift+Tab"),
}
VERBS = tuple(SIGNATURES)


def action_space() -> spaces.Dict:
    """The space of a structured action."""
    return spaces.Dict(
        {
            "verb": spaces.Discrete(len(VERBS)),
            "ref": spaces.Box(0, MAX_REF, (), np.int32),
            "text": spaces.Text(TEXT_LENGTH, min_length=0, charset=CHARACTERS),
        }
    )


def make(verb: str, ref: int = 0, text: str = "") -> dict[str, Any]:
    """An action of the space. Raises InvalidActionError."""
    known = SIGNATURES.get(verb)
    if known is None:
        raise InvalidActionError(f"there is no verb {verb!r}; the verbs are: {', '.join(VERBS)}")
    if not 0 <= ref <= MAX_REF:
        raise InvalidActionError(f"{verb}: ref must be from 0 to {MAX_REF}, got {ref}")
    if known.choices and text not in known.choices:
        word = known.parameters[-1]
        raise InvalidActionError(f"{verb}: {word} must be one of {', '.join(known.choices)}, got {text!r}")
    if len(text) > TEXT_LENGTH or not set(text) <= set(CHARACTERS):
        raise InvalidActionError(
            f"{verb}: the text must be printable ASCII of at most {TEXT_LENGTH} characters"
        )
    return {"verb": np.int64(VERBS.index(verb)), "ref": np.array(ref, np.int32), "text": text}


def parse(call: str) -> dict[str, Any]:
    """The action that a call such as ``click(12)`` or ``type(ref=3, text="hi")`` means.

    Raises InvalidActionError, which says what was expected.
    """
    try:
        tree = ast.parse(call.strip(), mode="eval").body
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            raise ValueError("it is not a call")
        values = [ast.literal_eval(value) for value in tree.args]
        named = [(str(word.arg), ast.literal_eval(word.value)) for word in tree.keywords]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        # Of nesting too deep Python complains with the last two.
        raise InvalidActionError(
            f"{_shown(call)} is not an action ({error or type(error).__name__}); write one call such as "
            f'click(12) or type(3, "hello"). The verbs are: {", ".join(VERBS)}'
        ) from None
    names = SIGNATURES[tree.func.id].parameters if tree.func.id in SIGNATURES else ()
    if len(values) > len(names) and tree.func.id in SIGNATURES:
        raise InvalidActionError(f"{_shown(call)}: {_signature(tree.func.id)} takes {len(names)} arguments")
    given: dict[str, Any] = {"verb": tree.func.id}
    for name, value in [*zip(names, values, strict=False), *named]:
        if name in given:
            raise InvalidActionError(f"{_shown(call)}: {name} is given twice")
        given[name] = value
    return from_json(given)


def _shown(call: str) -> str:
    return repr(call if len(call) <= _SHOWN else f"{call[:_SHOWN]}…")


def from_json(given: Mapping[str, Any]) -> dict[str, Any]:
    """The action of a JSON object such as ``{"verb": "type", "ref": 3, "text": "hi"}``.

    Raises InvalidActionError for a missing, unknown or ill-typed part.
    """
    verb = given.get("verb")
    if not isinstance(verb, str) or verb not in SIGNATURES:
        raise InvalidActionError(f"verb must be one of {', '.join(VERBS)}, got {verb!r}")
    names = SIGNATURES[verb].parameters
    if set(given) - {"verb"} != set(names):
        got = ", ".join(sorted(set(given) - {"verb"})) or "nothing"
        raise InvalidActionError(f"{_signature(verb)} was given {got}")
    ref, text = 0, ""
    for name in names:
        value: Any = given[name]
        number = name in ("ref", "to")
        if not isinstance(value, int if number else str) or isinstance(value, bool):
            raise InvalidActionError(
                f"{_signature(verb)}: {name} must be {'a number' if number else 'a string'}, got {value!r}"
            )
        if name == "ref":
            ref = int(value)
        else:
            text = str(value)
    return make(verb, ref, text)


def schema() -> dict[str, Any]:
    """A JSON Schema of what ``from_json`` takes, for a model's tool description."""
    return {"oneOf": [_branch(name, verb) for name, verb in SIGNATURES.items()]}


def _branch(name: str, verb: Verb) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {"verb": {"const": name}}
    for parameter in verb.parameters:
        kinds[parameter] = {"type": "integer" if parameter in ("ref", "to") else "string"}
    if verb.choices:
        kinds[verb.parameters[-1]]["enum"] = list(verb.choices)
    return {
        "type": "object",
        "description": verb.meaning,
        "properties": kinds,
        "required": ["verb", *verb.parameters],
        "additionalProperties": False,
    }


def _signature(verb: str) -> str:
    return f"{verb}({', '.join(SIGNATURES[verb].parameters)})"
