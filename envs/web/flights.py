"""FlightWoB: four recorded airline sites of Liu et al. (2018), from MiniWoB++'s own pages.

The agent fills in the search form as the instruction asks; the page rewards the share of the fields that
are right, and takes -1 for a missing one. 375 pixels wide, 667 high, 60 seconds of page time.
"""

from __future__ import annotations

from functools import partial

from universe2.core.errors import UsageError
from universe2.core.spec import EnvSpec
from universe2.envs.web import miniwob
from universe2.envs.web.page import CHROMIUM, OPTIONS, WebPage

SIZE = (667, 375)
TASKS = ("AA", "Alaska", "Alaska-auto", "Alaska-auto-medium")

# The form is in a frame that is loaded when the problem is made; it says when it is ready.
_START = """async (seed, mode) => {
  Math.seedrandom(seed);
  core.setDataMode(mode);
  core.startEpisodeReal();
  core.startEpisode = () => undefined;
  while (!WOB_TASK_READY) await new Promise((ready) => setTimeout(ready, 20));
  const asked = JSON.parse(document.getElementById("query").textContent);
  const utterance = Object.entries(asked).map(([name, value]) => `${name}: ${value}`).join("; ");
  return { utterance, fields: asked };
}"""


def page(task: str) -> WebPage:
    """The page of one task. Raises MissingDependencyError, UsageError."""
    if task not in TASKS:
        raise UsageError(f"FlightWoB has no task {task!r}; it has {', '.join(TASKS)}")
    path = f"flight/{task}/wrapper.html"
    return WebPage(
        root=miniwob.html_folder(),
        path=path,
        start=_START,
        read=miniwob.READ,
        solver=partial(miniwob.solver, f"flight-{task}"),
        size=SIZE,
        layout=SIZE,
    )


def specs() -> list[EnvSpec]:
    """One spec per airline site."""
    known = miniwob.references()
    return [
        EnvSpec(
            id=f"web/flight-{task}-v0",
            runtime="browser",
            entry="universe2.envs.web.flights:page",
            kwargs={"task": task},
            spaces_from="universe2.envs.web.page:spaces",
            options=OPTIONS,
            requires=(miniwob.PACKAGE, CHROMIUM),
            description=f"FlightWoB {task} (time limit 60 s of page time; partial rewards)",
            reference=known.get(f"flight-{task}", {}),
        )
        for task in TASKS
    ]
