"""The study's plan as data: which cells there are. Nothing here runs anything.

A *cell* is one training run and its evaluations: it starts from fresh weights or from another
cell's checkpoint (``parent``); trains for a fixed number of steps; and plays the tasks of
``played``. Two plans: ``full`` and ``quick``. The tasks, the budgets and the recipe are the
constants at the top.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GAMES = (
    *("Breakout", "Cannon", "Catcher", "Climber", "Crates", "Crossing", "Digger", "Dodger", "Forager"),
    *("Invaders", "Keys", "Lander", "Maze", "Memory", "Merge", "Racer", "Runner", "Snake", "Stealth"),
    "Tower",
)
PAGES = (
    *("click-button", "click-checkboxes", "click-collapsible", "click-color", "click-dialog"),
    *("click-dialog-2", "click-link", "click-option", "click-pie-nodelay", "click-shape", "click-tab"),
    *("click-tab-2-easy", "click-test", "click-test-2", "click-widget", "count-shape", "focus-text-2"),
    *("grid-coordinate", "identify-shape", "unicode-test"),
)
HELD_OUT_GAMES = ("Breakout", "Catcher", "Crossing", "Runner")
HELD_OUT_PAGES = ("click-dialog-2", "click-shape", "click-tab", "click-test", "focus-text-2")
ABLATION_GAMES = ("Breakout", "Forager", "Runner", "Tower")

FRAME_SKIP = {
    **dict.fromkeys(("Dodger", "Invaders", "Merge", "Racer"), 4),
    **dict.fromkeys(("Breakout", "Catcher", "Lander", "Maze", "Runner", "Tower"), 2),
}
"""Of the game's steps, how many an action holds for; otherwise one. The most of 1, 2 and 4 with which the
scripted player keeps 0.8 of its score: where a step moves a whole cell, holding on is fatal."""
TRAIN_LEVELS = {"start_level": 0, "num_levels": 200}
HELD_OUT_LEVELS = {"start_level": 200, "num_levels": 0}
HORIZON = 128
"""Actions of an episode, and of a rollout, in the ablations: a rollout without a critic must see its end."""
GROUP = 8
LORA_RANK = 8
BASES = 32
"""of the encoders of a network to start from; one that plays a single task needs none"""
JOINT_BASES = 64
"""of the one that plays all tasks: more than there are, since each ends with nearly a base of its own"""
MIXED_MINIBATCH = 1024
"""Transitions, where encoders are mixed: that is done anew for every minibatch."""
PAGE_PART = 1 / 32
"""Steps on a web task for each on a game: a browser is that much slower."""

RECIPE: Mapping[str, Any] = {
    "lockstep": True,  # a function of the seed, whatever else the machine does
    "threads": 1,
    "rollout": 32,
    "epochs": 2,
    "lr": 3e-3,
    "lr_end": 0.2,
    "value_coef": 0.25,
    "reconstruction_coef": 0.01,
    "imitation_coef": 1.0,  # of the tasks that tell what their solver would do, see SHOWN
}
SHOWN = {"expert": 1}
"""The scripted player tells what it would do now, which the network learns beside what is rewarded."""
_MORE: Mapping[str, Any] = {"batch_steps": 2048, "minibatches": 8, "epochs": 4}
"""What differs for a game alone where it is imitated: advice bears to be gone over more often."""
TUNED: Mapping[str, Mapping[str, Any]] = {
    "arcade": {"bases": BASES, "anew": ["keys", "value"]},
    "web": {"bases": BASES, "lr": 1e-3},
}
"""What differs, by family, where another cell's training left weights already. What a key does is another
thing in every game; a page that is clicked differs less from others, and what is known is worth keeping."""
TEMPERATURE = 0.5
"""of the actions that are evaluated: a short training leaves much chance in them"""
MINIBATCH = 512
"""Transitions, about, in learning from rewards alone; half as many where players are imitated."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What distinguishes one plan from another."""

    name: str
    about: str
    games: Sequence[str]
    pages: Sequence[str]
    held_out_games: Sequence[str]
    held_out_pages: Sequence[str]
    ablation_games: Sequence[str]
    steps: int
    """on each game, alone or in a mix; on each page PAGE_PART of it"""
    transfer_steps: int
    ablation_steps: int
    episodes: int
    """of each evaluation of a task"""
    seeds: int
    """where a cell is cheap"""
    few_seeds: int
    """where it isn't"""
    points: int = 4
    """evaluations along a learning curve, but for the one at its start"""


FULL = Budget(
    name="full",
    about="the whole study, at most 12 hours on two cores",
    games=GAMES,
    pages=PAGES,
    held_out_games=HELD_OUT_GAMES,
    held_out_pages=HELD_OUT_PAGES,
    ablation_games=ABLATION_GAMES,
    steps=64_000,
    transfer_steps=64_000,
    ablation_steps=65_536,
    episodes=20,
    seeds=5,
    few_seeds=3,
)
QUICK = Budget(
    name="quick",
    about="a rehearsal of 20 minutes on two cores: few tasks, few steps, one or two seeds. It shows that "
    "everything works and what a result looks like; its numbers decide nothing",
    games=("Breakout", "Catcher", "Crossing", "Runner"),
    pages=("click-dialog", "click-link", "click-test-2"),
    held_out_games=("Catcher",),
    # click-test is in neither: an untrained network wins nearly every episode of it
    held_out_pages=("click-dialog",),
    ablation_games=("Breakout", "Forager"),
    steps=16_000,
    transfer_steps=16_000,
    ablation_steps=24_576,
    episodes=10,
    seeds=2,
    few_seeds=1,
    points=2,
)


BUDGETS = {budget.name: budget for budget in (FULL, QUICK)}


@dataclass(frozen=True, kw_only=True)
class Played:
    """One task of an evaluation."""

    env_id: str
    levels: str
    """``train`` or ``held-out``"""
    episodes: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.env_id} {self.levels}"

    @property
    def expert_options(self) -> dict[str, Any]:
        """Those under which the scripted player sets the scale: it needs no frame skip."""
        return {name: value for name, value in self.options.items() if name != "frame_skip"}

    @property
    def own_scale(self) -> bool:
        """Its options change what random play reaches, at least: the cell measures it."""
        return not set(self.options) <= set(TRAIN_LEVELS)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of the study."""

    arm: str
    of: str
    """the task or the mix"""
    seed: int
    config: Mapping[str, Any]
    """a TrainConfig's table without out_dir, seed and init_from"""
    played: tuple[Played, ...]
    """at the end, or at every kept checkpoint if ``curve``"""
    parent: str = ""
    """name of the cell whose checkpoint this one starts from"""
    parent_digest: str = ""
    """of that cell's content"""
    curve: bool = False
    gradients: bool = False
    """measure the policy gradient's noise with and without a critic"""

    @property
    def name(self) -> str:
        return f"{self.arm}--{self.of.replace('/', '.')}--{self.seed}"

    def content(self) -> dict[str, Any]:
        """As JSON holds it: a result is of this cell if it says the same."""
        content = json.loads(json.dumps(dataclasses.asdict(self)))
        if not self.parent:
            del content["parent_digest"]
        return content

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of its content, and so of its parent's."""
        return hashlib.sha256(json.dumps(self.content(), sort_keys=True).encode()).hexdigest()[:16]


def cells(budget: Budget, preset: str = "nano") -> list[Cell]:
    """All cells of a plan: the first seeds of everything first, parents before their children."""
    found = [
        *_specialists(budget),
        *_joint(budget, "joint", budget.games, budget.pages, bases=JOINT_BASES),
        *_transfer(budget),
        *_ablations(budget),
        # what the bases are compared with; each seed of it costs as much as ten other cells
        *_joint(budget, "one encoder", budget.games, budget.pages, bases=0, seeds=1),
    ]
    found.sort(key=lambda cell: cell.seed)
    whole: dict[str, Cell] = {}
    for cell in found:
        changes = TUNED[cell.of.partition("/")[0]] if cell.parent else {}
        whole[cell.name] = dataclasses.replace(
            cell,
            config={**cell.config, **changes, "preset": preset},
            parent_digest=whole[cell.parent].digest if cell.parent else "",
        )
    return list(whole.values())


def _specialists(budget: Budget) -> Iterator[Cell]:
    for seed in range(budget.seeds):
        for game in budget.games:
            yield Cell(
                arm="specialist",
                of=f"arcade/{game}-v0",
                seed=seed,
                config={**_alone(game, budget.steps, SHOWN), **_MORE},
                played=_on_both_levels([game], budget),
            )
    for seed in range(budget.few_seeds):
        for page in budget.pages:
            yield Cell(
                arm="specialist",
                of=f"web/{page}-v0",
                seed=seed,
                config=_page_alone(page, budget.steps, options=SHOWN),
                played=_pages([page], budget),
            )


def _joint(
    budget: Budget, arm: str, games: Sequence[str], pages: Sequence[str], bases: int = BASES, seeds: int = 0
) -> Iterator[Cell]:
    """One network for all of these, which it is then asked to play, unless it is only a beginning."""
    whole = arm != "pretrained"
    for seed in range(seeds or budget.few_seeds):
        yield Cell(
            arm=arm,
            of="all" if whole else "the rest",
            seed=seed,
            config=_mix(games, pages, budget.steps, bases),
            played=(*_on_both_levels(games, budget), *_pages(pages, budget)) if whole else (),
        )


def _transfer(budget: Budget) -> Iterator[Cell]:
    games = [game for game in budget.games if game not in budget.held_out_games]
    pages = [page for page in budget.pages if page not in budget.held_out_pages]
    yield from _joint(budget, "pretrained", games, pages)
    for seed in range(budget.few_seeds):
        parent = f"pretrained--the rest--{seed}"
        for arm, changes in (("scratch", {}), ("fine-tuned", {}), ("adapters", {"lora_rank": LORA_RANK})):
            start = {"parent": "" if arm == "scratch" else parent, "seed": seed, "arm": arm, "curve": True}
            for game in budget.held_out_games:
                config = _alone(game, budget.transfer_steps, points=budget.points) | changes
                played = _on_levels([game], "held-out", budget)
                yield Cell(of=f"arcade/{game}-v0", config=config, played=played, **start)
            for page in budget.held_out_pages:
                config = _page_alone(page, budget.transfer_steps, budget.points) | changes
                yield Cell(of=f"web/{page}-v0", config=config, played=_pages([page], budget), **start)


def _ablations(budget: Budget) -> Iterator[Cell]:
    arms: dict[str, dict[str, Any]] = {
        "recipe": {},
        "no critic": {"algorithm": "group", "group_size": GROUP},
        "no reconstruction": {"reconstruction_coef": 0.0},
        "one scale": {"scale_per_task": False},
    }
    games = budget.ablation_games
    slots = 4 * GROUP
    batch = slots * HORIZON * len(games)
    steps = budget.ablation_steps * len(games)
    common = {
        "rollout": HORIZON,
        "batch_steps": batch,
        # a minibatch holds whole groups
        "minibatches": max(1, slots * len(games) // GROUP // 2),
        "total_steps": steps,
        "keep_every_steps": steps // 2,
        "tasks": {
            f"arcade/{g}-v0": {"slots": slots, "options": _options(g, TRAIN_LEVELS) | _short(g)}
            for g in games
        },
    }
    for seed in range(budget.seeds):
        for arm, changes in arms.items():
            yield Cell(
                arm=arm,
                of="ablation games",
                seed=seed,
                config={**RECIPE, **common, **changes},
                played=_on_levels(games, "held-out", budget, short=True),
                gradients=arm == "recipe",
            )


def _options(game: str, levels: Mapping[str, Any]) -> dict[str, Any]:
    return {**levels, **({"frame_skip": FRAME_SKIP[game]} if game in FRAME_SKIP else {})}


def _short(game: str) -> dict[str, Any]:
    """The option that ends an episode after HORIZON actions."""
    return {"max_steps": HORIZON * FRAME_SKIP.get(game, 1)}


def _alone(
    game: str, steps: int, options: Mapping[str, Any] | None = None, points: int = 0
) -> dict[str, Any]:
    batch = 4096
    return {
        **RECIPE,
        "batch_steps": batch,
        "minibatches": batch // MINIBATCH,
        "total_steps": steps,
        "keep_every_steps": steps // points if points else 0,
        "tasks": {
            f"arcade/{game}-v0": {"slots": 64, "options": _options(game, TRAIN_LEVELS) | dict(options or {})}
        },
    }


def _page_alone(
    page: str, steps: int, points: int = 0, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    mine = int(steps * PAGE_PART)
    return {
        **RECIPE,
        "batch_steps": 256,
        "minibatches": 8,  # steps on a page are dear: more is made of each
        "epochs": 4,
        "total_steps": mine,
        "keep_every_steps": mine // points if points else 0,
        "tasks": {f"web/{page}-v0": {"slots": 8, "options": dict(options or {})}},
    }


def _mix(games: Sequence[str], pages: Sequence[str], steps: int, bases: int) -> dict[str, Any]:
    rollout, slots = RECIPE["rollout"], 32
    batch = int(rollout * slots * (len(games) + PAGE_PART * len(pages)))
    tasks: dict[str, Any] = {
        f"arcade/{game}-v0": {"slots": slots, "options": _options(game, TRAIN_LEVELS) | SHOWN}
        for game in games
    }
    tasks |= {f"web/{page}-v0": {"slots": 1, "share": PAGE_PART, "options": SHOWN} for page in pages}
    return {
        **RECIPE,
        "epochs": _MORE["epochs"],
        "batch_steps": batch,
        "minibatches": batch // MIXED_MINIBATCH if bases else 2 * batch // MINIBATCH,
        **({"bases": bases} if bases else {}),
        "total_steps": int(steps * (len(games) + PAGE_PART * len(pages))),
        "tasks": tasks,
    }


def _on_both_levels(games: Sequence[str], budget: Budget) -> tuple[Played, ...]:
    return (*_on_levels(games, "train", budget), *_on_levels(games, "held-out", budget))


def _on_levels(games: Sequence[str], levels: str, budget: Budget, short: bool = False) -> tuple[Played, ...]:
    of = {"train": TRAIN_LEVELS, "held-out": HELD_OUT_LEVELS}[levels]
    return tuple(
        Played(
            env_id=f"arcade/{game}-v0",
            levels=levels,
            episodes=budget.episodes,
            options=_options(game, of) | (_short(game) if short else {}),
        )
        for game in games
    )


def _pages(pages: Sequence[str], budget: Budget) -> tuple[Played, ...]:
    """Seeds of a page are its levels: those of an evaluation are never trained on."""
    return tuple(
        Played(env_id=f"web/{page}-v0", levels="held-out", episodes=budget.episodes) for page in pages
    )


STEPS_PER_SECOND = {"arcade": 1700.0, "web": 40.0}
"""of training on one core, by what the full plan's cells took; for estimates only"""
SHOWN_PER_SECOND = 680.0
"""the same, of games whose player is imitated"""
MIXING = 1.6
"""how many times as long it takes where encoders are mixed out of bases"""
PLAYED_PER_SECOND = {"arcade": 1500.0, "web": 30.0}
_LENGTH = {"arcade": 300, "web": 12}
_START_S = 20.0
_GRADIENTS_S = 180.0


def estimate(cell: Cell) -> float:
    """Seconds that the cell may take on one core."""
    tasks = cell.config["tasks"]
    whole = sum(task.get("share", 1.0) for task in tasks.values())
    steps = cell.config["total_steps"]
    seconds = _START_S + (MIXING if cell.config.get("bases") else 1.0) * sum(
        steps * task.get("share", 1.0) / whole / _per_second(name, task) for name, task in tasks.items()
    )
    times = 1 + cell.config.get("total_steps", 0) // cell.config["keep_every_steps"] if cell.curve else 1
    for one in cell.played:
        family = one.env_id.partition("/")[0]
        seconds += times * one.episodes * _LENGTH[family] / PLAYED_PER_SECOND[family]
    return seconds + (_GRADIENTS_S if cell.gradients else 0.0)


def _per_second(name: str, task: Mapping[str, Any]) -> float:
    family = name.partition("/")[0]
    shown = family == "arcade" and "expert" in task["options"]
    return SHOWN_PER_SECOND if shown else STEPS_PER_SECOND[family]
