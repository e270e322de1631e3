"""docs/options.md says what there is: every argument with its default, every option, every error."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import universe2
from universe2 import errors, list_envs
from universe2.envs.web.observations import PARTS

PAGE = (Path(__file__).parents[2] / "docs" / "options.md").read_text("utf-8")
MAKERS = (universe2.make, universe2.make_vec, universe2.make_parallel)


def test_every_argument_is_there_with_its_default() -> None:
    (table,) = re.findall(r"^\| Argument \|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    said = {
        name: default
        for names, default in re.findall(r"^\| (`.*?`) \| (.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    taken = {
        name: parameter.default
        for maker in reversed(MAKERS)  # where defaults differ, the table has make's
        for name, parameter in inspect.signature(maker).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    del taken["autoreset_mode"]  # told in autoreset's line
    assert said == {name: repr(default).replace("'", '"') for name, default in taken.items()}


def test_every_option_is_there() -> None:
    specs = [*list_envs(), *list_envs("pettingzoo")]
    names = {name for spec in specs for name in spec.options} | set(PARTS)
    assert not {name for name in names if f"`{name}`" not in PAGE}


def test_every_error_is_there() -> None:
    names = [name for name, kind in vars(errors).items() if isinstance(kind, type)]
    assert len(names) > 15
    assert [name for name in names if f"`{name}`" not in PAGE] == []
