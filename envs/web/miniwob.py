"""MiniWoB++: the small web tasks of Shi et al. (2017) and Liu et al. (2018), from their own pages.

The pages come with the ``miniwob`` package (MIT). Only its html folder is used; the package is
never imported, because that would need Selenium. The table ``miniwob_tasks.toml`` lists the
tasks. The four flight pages are ``flights``'.
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from universe2.core.errors import MissingDependencyError, UsageError
from universe2.core.spec import EnvSpec, Requirement
from universe2.envs.web.page import CHROMIUM, OPTIONS, WebPage

if TYPE_CHECKING:
    from universe2.envs.web.solvers import Solver

PACKAGE = Requirement("miniwob", "pip install 'universe2[web]'")

# The page covers itself with a START sign when an episode ends; without it, the last observation
# shows what the last action did.
_START = """(seed, mode) => {
  Math.seedrandom(seed);
  core.setDataMode(mode);
  core.startEpisodeReal();
  core.startEpisode = () => undefined;
  return core.getUtterance();
}"""
READ = """() => ({
  done: WOB_DONE_GLOBAL,
  timed_out: WOB_REWARD_REASON === "timed out",
  raw: WOB_RAW_REWARD_GLOBAL,
  decayed: WOB_REWARD_GLOBAL,
  reason: WOB_REWARD_REASON,
})"""


@cache
def tasks() -> dict[str, dict[str, Any]]:
    """Task name → its line of the table: split, limit_ms, partial."""
    return tomllib.loads(Path(__file__).with_name("miniwob_tasks.toml").read_text("utf-8"))


def references() -> dict[str, dict[str, float]]:
    """Task name → mean raw returns of random play and of its solver, and the episodes of random play.

    Only for the tasks that have both.
    """
    return tomllib.loads(Path(__file__).with_name("miniwob_reference.toml").read_text("utf-8"))


def page(task: str) -> WebPage:
    """The page of one task. Raises MissingDependencyError, UsageError."""
    if task not in tasks():
        raise UsageError(f"MiniWoB++ has no task {task!r} in the table miniwob_tasks.toml")
    root = html_folder()
    path = f"miniwob/{task}.html"
    if not (root / path).is_file():
        raise MissingDependencyError(
            f"the installed miniwob package lacks {path}; get a newer one: {PACKAGE.install}"
        )
    return WebPage(
        root=root,
        path=path,
        start=_START,
        read=READ,
        fields=partial(_fields, task),
        solver=partial(solver, task),
        in_frame=True,
    )


def solver(task: str) -> Solver:
    """The task's scripted player."""
    # here, for the solvers import the pages
    from universe2.envs.web.solvers import SOLVERS

    return SOLVERS[f"web/{task}-v0"]


def _fields(task: str, instruction: str) -> Sequence[tuple[str, str]]:
    """What an instruction names, by the package's own rules. Raises LookupError, ValueError."""
    found: Sequence[tuple[str, str]] = _rules().get_field_extractor(task)(instruction)
    return found


@cache
def _rules() -> ModuleType:
    """The package's module of rules, loaded on its own: the package itself would need Selenium."""
    place = html_folder().parent / "fields.py"
    spec = importlib.util.spec_from_file_location("universe2_miniwob_fields", place)
    if spec is None or spec.loader is None or not place.is_file():
        raise MissingDependencyError(f"the installed miniwob package lacks {place.name}: {PACKAGE.install}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def specs() -> list[EnvSpec]:
    """One spec per line of the table."""
    known = references()
    return [_spec(task, facts, known.get(task, {})) for task, facts in tasks().items()]


def _spec(task: str, facts: dict[str, Any], reference: dict[str, float]) -> EnvSpec:
    limit = f"time limit {facts['limit_ms'] / 1000:g} s of page time"
    partial = "; partial rewards" if facts["partial"] else ""
    return EnvSpec(
        id=f"web/{task}-v0",
        runtime="browser",
        entry="universe2.envs.web.miniwob:page",
        kwargs={"task": task},
        spaces_from="universe2.envs.web.page:spaces",
        options=OPTIONS,
        requires=(PACKAGE, CHROMIUM),
        description=f"MiniWoB++ {task} ({facts['split']} split; {limit}{partial})",
        reference=reference,
    )


def html_folder() -> Path:
    """Where the pages are. Raises MissingDependencyError."""
    found = importlib.util.find_spec("miniwob")
    places = found.submodule_search_locations if found is not None else None
    if not places:
        raise MissingDependencyError(f"web tasks need miniwob's pages; get them with: {PACKAGE.install}")
    return Path(places[0]) / "html"
