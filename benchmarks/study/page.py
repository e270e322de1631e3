"""docs/study.md and its figures, from the results that are there.

No outcome of these is known here: what is typed in are results that are gone (``BEFORE``), and how often
intervals cover the truth, which a test simulates.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.study.costs import costs
from benchmarks.study.figures import Row, curves, intervals
from benchmarks.study.plan import (
    BASES,
    FRAME_SKIP,
    JOINT_BASES,
    MINIBATCH,
    MIXED_MINIBATCH,
    PAGE_PART,
    RECIPE,
    TEMPERATURE,
    TUNED,
    Budget,
    Cell,
)
from benchmarks.study.results import Results
from benchmarks.study.sections import FAMILIES, MARKS, Section, none, short_name
from benchmarks.study.statistics import Scores, aggregate, common, difference, improvement, profile
from benchmarks.study.verdicts import Answer, at_most, reaches, sign, table
from benchmarks.study.what_matters import ablations, critic
from universe2.agents.checkpoint import write_atomically
from universe2.agents.ranking import FEW_EPISODES
from universe2.agents.ranking_runs import show

ROOT = Path(__file__).resolve().parents[2]
JOINT_TARGET, GAP_TARGET, TRANSFER_TARGET = 0.9, 0.10, 2.0
BEFORE = "ratios of 0.79 [0.67, 0.92] on games, 1.03 [0.88, 1.19] on pages and 0.87 [0.77, 0.98] on all"
"""What BASES bases reached in the joint network's place; those results are in the repository's history."""


def write_page(path: Path, budget: Budget, cells: Sequence[Cell], results: Path, flags: str) -> Path:
    """The page and, in a folder of its name beside it, its figures."""
    found = Results(cells, results)
    sections = [ask(found, budget) for ask in (specialists, joint, levels, transfer, ablations, critic)]
    lines = _head(found, budget, flags, [answer for section in sections for answer in section.answers])
    for stale in path.with_suffix("").glob("*.svg"):
        stale.unlink()  # a question may have lost its results
    for number, section in enumerate(sections, 1):
        lines += ["", f"## {number}. {section.title}", "", *section.lines]
        for name, svg in section.figures.items():
            write_atomically(path.with_suffix("") / f"{name}.svg", svg.encode())
            lines += ["", f"![{section.title}]({path.stem}/{name}.svg)"]
    lines += ["", "## What it cost", "", *costs(found), *_foot(found), "", *_links(path)]
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    return path


def _head(found: Results, budget: Budget, flags: str, answers: Sequence[Answer]) -> list[str]:
    seconds = sum(result["core_seconds"] for result in found.found)
    command = f"python -m benchmarks.study {flags}".strip()
    lines = [
        "# Does joint training pay?",
        "",
        f"This is the **{budget.name}** plan: {budget.about}.",
        "",
        f"`{command}` runs what is missing of it and writes this page from "
        f"[the results][results]. {len(found.found)} of {len(found.cells)} cells are "
        f"there, {seconds / 3600:.2f} hours of one core in all (of a cell that was stopped and "
        "resumed, its last part).",
    ]
    if missing := len(found.cells) - len(found.found):
        which = "1 cell is missing" if missing == 1 else f"{missing} cells are missing"
        lines += ["", f"**{which}**: what needs them is left out or counts fewer seeds."]
    return [
        *lines,
        "",
        *table(answers),
        "",
        "One network (`" + str(found.cells[0].config["preset"]) + "`) plays everything through the screen "
        f"interface at 64 × 64; an action holds for {_skips()}. Tasks are learned by reinforcement and by "
        "imitating, in the states that the network gets to, what their scripted players would do there; "
        "held-out tasks (question 4) and those of question 5 by reinforcement alone. A task "
        f"alone and in a mix gets equally many steps: {budget.steps:,} on a game, "
        f"{int(budget.steps * PAGE_PART):,} on a page. The learning rate is {RECIPE['lr']:g}, and "
        f"{TUNED['web']['lr']:g} on a page after pre-training. Where one network plays all tasks of "
        "question 2 or 4, the weights of its encoder are mixed by the instruction out of "
        f"{JOINT_BASES} and {BASES} bases ([`bases`][training]), and it learns from minibatches of "
        f"{MIXED_MINIBATCH:,} transitions (with one encoder for all, of {MINIBATCH // 2}); it knows no task "
        "by its number, and all else is shared.",
        "",
        "Scores are (return − random) / (reference − random): 0 is random play, with the same frame skip, "
        "and 1 the scripted player, without one, over whole episodes, of games on held-out levels; question "
        f"5 has a scale of its own. They are means over {budget.episodes} episodes of each task and seed, "
        f"the actions taken at temperature {TEMPERATURE:g}. IQM is the interquartile mean over tasks.",
        "",
        "Brackets are 95 % intervals of a bootstrap over seeds and episodes, stratified by task; networks "
        "that play several tasks, or come from one parent, are drawn for all of these at once. Where there "
        "is one seed an interval holds the chance of play, not that of training. Where there are few, and "
        "networks play several tasks, it is too narrow: in a simulation three seeds covered the truth in "
        "77 % of cases, five in 84 %.",
        *_uncertain(found),
    ]


def _skips() -> str:
    """For how many steps of which games an action holds."""
    of: dict[int, list[str]] = defaultdict(list)
    for game, skip in sorted(FRAME_SKIP.items()):
        of[skip].append(game)
    told = [f"{skip} steps of {', '.join(games)}" for skip, games in sorted(of.items(), reverse=True)]
    return f"{', for '.join(told)}, and for one of the other games"


def _uncertain(found: Results) -> list[str]:
    """The references that rest on few episodes."""
    known = found.references("specialist", "joint", "scratch", "fine-tuned", "adapters")
    few = [f"{short_name(task)} ({one.episodes})" for task, one in known.items() if one.uncertain]
    if not few:
        return []
    return [
        "",
        f"**Uncertain zeros**: random play was measured over fewer than {FEW_EPISODES} episodes of "
        f"{', '.join(few)}.",
    ]


def _foot(found: Results) -> list[str]:
    made = {
        f"{result['hardware']['cpu']}, {result['hardware']['cores']} cores, "
        + ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        for result in found.found
    }
    return ["", *(f"- {line}" for line in sorted(made))] if made else []


def _links(path: Path) -> list[str]:
    """Where the page's links lead, from where it is."""
    places = {"results": ROOT / "benchmarks" / "scores" / "study", "training": ROOT / "docs" / "training.md"}
    return [f"[{name}]: {os.path.relpath(place, path.parent)}" for name, place in places.items()]


def specialists(found: Results, budget: Budget) -> Section:
    """Question 1."""
    lines = ["What does each task's own network reach, on levels that it never saw?", ""]
    rows: list[Row] = []
    for hue, (family, name) in enumerate(FAMILIES.items()):
        scores = found.scores("specialist", family=family)
        if not scores:
            continue
        whole = aggregate(scores)
        told = sign(whole, "better", "worse")
        lines.append(f"- {len(scores)} {name}: IQM {show(whole)}; against random play: {told}.")
        rows += [(short_name(task), aggregate({task: seeds}), hue) for task, seeds in scores.items()]
        rows.append((f"IQM of the {name}", whole, 4))
    if not rows:
        return none("Specialists", lines)
    lines += ["", f"Seeds: {found.seeds('specialist')} or more."]
    return Section(
        "Specialists", lines, {"specialists": intervals("Specialists, held-out levels", rows, MARKS)}
    )


def joint(found: Results, budget: Budget) -> Section:
    """Question 2."""
    lines = [
        "One network for all tasks, equally many steps on each: IQM at least "
        f"{JOINT_TARGET:g} × the specialists'?",
        "",
        f"{JOINT_BASES} bases were chosen by what {BASES} had done, in the full plan and with three seeds: "
        f"{BEFORE}. Training had pulled the games' mixtures apart until each had nearly a base of its own, "
        f"and {BASES} are too few for forty tasks.",
        "",
    ]
    rows: list[Row] = []
    answers = []
    for family, name in {"": "tasks", **FAMILIES}.items():
        ours, theirs = (found.scores(arm, family=family) for arm in ("joint", "specialist"))
        if not ours or not theirs:
            continue
        ours, theirs = common(ours, theirs)
        both = aggregate(ours), aggregate(theirs)
        said = f"- {len(ours)} {name}: joint {show(both[0])}, specialists {show(both[1])}, "
        told = reaches(ours, theirs, JOINT_TARGET)
        lines += [said + told.said, *_one_encoder(ours, found, family)]
        answers.append(
            Answer(f"Score of one network for all / of a network for each: {len(ours)} {name}", told)
        )
        lines.append(
            "  - a run of one network for all beats one of a network for each, on the same task, with "
            f"probability {show(improvement(ours, theirs))}."
        )
        rows += [
            (f"{len(ours)} {name}, joint", both[0], 1),
            (f"{len(ours)} {name}, specialists", both[1], 0),
        ]
        if family:
            for task in ours:
                rows.append((short_name(task), aggregate({task: ours[task]}), 1))
                rows.append(("", aggregate({task: theirs[task]}), 0))
    if not rows:
        return none("Joint training", lines)
    lines += ["", f"Seeds: {found.seeds('joint')} of the joint network, {found.seeds('specialist')} alone."]
    drawn = intervals("Joint (orange) and specialists (blue), held-out levels", rows, MARKS)
    return Section("Joint training", lines, {"joint": drawn, "profile": _profile(found)}, answers)


def _profile(found: Results) -> str:
    """How many runs get how far, one network for all beside a network for each (Agarwal et al., 2021)."""
    ours, theirs = common(*(found.scores(arm) for arm in ("joint", "specialist")))
    heights = [at / 20 for at in range(21)]
    lines = {
        name: list(zip(heights, profile(scores, heights), strict=True))
        for name, scores in {"specialists": theirs, "joint": ours}.items()
    }
    ticks = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    return curves("Share of runs that score more", lines, {0.0: "none", 0.5: "half", 1.0: "all"}, ticks)


def _one_encoder(ours: Scores, found: Results, family: str) -> list[str]:
    """What the same network reaches if all tasks see through the same encoder."""
    plain = found.scores("one encoder", family=family)
    if not plain:
        return []
    ours, plain = common(ours, plain)
    more = difference(ours, plain)
    told = sign(more, "better than that", "worse than that")
    seeds = found.seeds("one encoder")
    said = f"one encoder for all ({seeds} seed{'s' * (seeds > 1)}): {show(aggregate(plain))}"
    return [f"  - {said}; the mixed ones {told}, by {show(more)}."]


def levels(found: Results, budget: Budget) -> Section:
    """Question 3."""
    lines = [
        "How much worse are games on levels that training never showed? It shows levels 0 to 199; target: a "
        f"gap of at most {GAP_TARGET:g}.",
        "",
    ]
    rows: list[Row] = []
    answers = []
    for hue, arm in enumerate(("specialist", "joint")):
        train, test = (found.scores(arm, where, "arcade") for where in ("train", "held-out"))
        if not train or not test:
            continue
        gap = difference(train, test)
        told = at_most(gap, GAP_TARGET)
        lines.append(
            f"- {arm}: {show(aggregate(train))} on training levels, {show(aggregate(test))} on others, gap "
            f"{show(gap)}. {told.said}"
        )
        answers.append(Answer(f"Score on levels seen less that on levels never seen: {arm}", told))
        rows += [
            (f"{arm}, training levels", aggregate(train), hue),
            (f"{arm}, other levels", aggregate(test), hue),
            (f"{arm}, gap", gap, 4),
        ]
    if not rows:
        return none("Levels", lines)
    lines += [
        "",
        "A gap between scores that are near 0 says little: who has learned little has little to lose.",
    ]
    drawn = intervals("Games: IQM by levels", rows, {**MARKS, GAP_TARGET: ""})
    return Section("Levels", lines, {"levels": drawn}, answers)


def transfer(found: Results, budget: Budget) -> Section:
    """Question 4."""
    tasks = [*budget.held_out_games, *budget.held_out_pages]
    lines = [
        f"Pre-trained on everything but {', '.join(tasks)}, and then trained on each of these for "
        f"{budget.transfer_steps:,} steps (a page {int(budget.transfer_steps * PAGE_PART):,}), by "
        "reinforcement alone: is the area under the learning curve at least "
        f"{TRANSFER_TARGET:g} × that from scratch? On a page everything that was learned goes on; on a game "
        f"two heads begin anew ([`anew`][training]): {' and '.join(TUNED['arcade']['anew'])}. That was "
        "chosen by what it did for Breakout, Crossing and Runner with seed 0. A curve's first point is the "
        "network before they do.",
        "",
    ]
    arms = ("fine-tuned", "adapters", "scratch")
    areas = {arm: found.areas(arm) for arm in arms if found.of(arm)}
    if "fine-tuned" not in areas or "scratch" not in areas:
        return none("Transfer", lines)
    for arm, scores in areas.items():
        lines.append(f"- {arm}: area {show(aggregate(scores))}.")
    answers = []
    for family, name in {"": "tasks", **FAMILIES}.items():
        ours, theirs = (_of(areas[arm], family) for arm in ("fine-tuned", "scratch"))
        if not ours or not theirs:
            continue
        more, told = difference(ours, theirs), reaches(ours, theirs, TRANSFER_TARGET)
        lines.append(
            f"- fine-tuned against scratch, {len(ours)} {name}: difference {show(more)} "
            f"({sign(more, 'more', 'less')}), {told.said}"
        )
        answers.append(Answer(f"Area under the curve, pre-trained / from scratch: {len(ours)} {name}", told))
    zero = found.scores("fine-tuned", at=0)
    against = sign(aggregate(zero), "better", "worse")
    lines.append(
        f"- zero-shot, before any step on the task: {show(aggregate(zero))}; against random play: {against}."
    )
    lines += ["", f"Seeds: {', '.join(f'{found.seeds(arm)} of {arm}' for arm in areas)}."]
    drawn = {
        arm: [(at, aggregate(scores)) for at, scores in found.curve(arm)] for arm in areas if found.curve(arm)
    }
    drawn_curves = {"transfer": curves("Held-out tasks: IQM over training", drawn, MARKS)}
    return Section("Transfer", lines, drawn_curves, answers)


def _of(scores: Scores, family: str) -> Scores:
    return {task: seeds for task, seeds in scores.items() if task.startswith(family)}
