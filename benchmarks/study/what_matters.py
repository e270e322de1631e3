"""The study's last question: what the parts of the recipe do, as scores and as the gradient's variance."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.study.figures import Row, intervals
from benchmarks.study.plan import GROUP, HORIZON, LORA_RANK, Budget
from benchmarks.study.results import Results
from benchmarks.study.sections import Section, none, short_name
from benchmarks.study.statistics import aggregate, difference, mean_ratio
from benchmarks.study.verdicts import Answer, open_ended, sign
from universe2.agents.ranking_runs import show


def ablations(found: Results, budget: Budget) -> Section:
    """Question 5, as scores."""
    lines = [
        f"What does each part of the recipe do? One network on {', '.join(budget.ablation_games)}, episodes "
        f"of {HORIZON} steps, {budget.ablation_steps:,} steps on each.",
        "",
    ]
    arms = ("no critic", "no reconstruction", "one scale")
    lines += _own_scale(found, arms)
    base = found.scores("recipe")
    rows: list[Row] = [("recipe", aggregate(base), 0)] if base else []
    answers = []
    for arm in arms:
        scores = found.scores(arm)
        if not scores or not base:
            continue
        less = difference(scores, base)
        told = sign(less, "better than the recipe", "worse than the recipe")
        lines.append(f"- {arm}: {show(aggregate(scores))}, less the recipe's {show(less)}: {told}.")
        answers.append(Answer(f"Score with {arm} less the recipe's", open_ended(less, told)))
        rows.append((arm, aggregate(scores), 1))
    if found.of("adapters") and found.of("fine-tuned"):
        ours, theirs = found.areas("adapters"), found.areas("fine-tuned")
        less = difference(ours, theirs)
        told = sign(less, "better than all weights", "worse than all weights")
        lines.append(
            f"- adapters of rank {LORA_RANK} on a frozen trunk, as areas of question 4: "
            f"{show(aggregate(ours))}, less that of all weights {show(less)}: {told}."
        )
    if not rows:
        return none("What matters", lines)
    lines += ["", f"Seeds: {found.seeds('recipe', *arms)}."]
    drawn = intervals("Ablations: IQM", rows, {0.0: "random"})
    return Section("What matters", lines, {"ablations": drawn}, answers)


def _own_scale(found: Results, arms: Sequence[str]) -> list[str]:
    """What the 0 and the 1 of the short episodes are."""
    known = found.references("recipe", *arms)
    if not known:
        return []
    told = ", ".join(
        f"{short_name(task)} {one.random:.2f} and {one.reference:.2f}" for task, one in known.items()
    )
    episodes = min(one.episodes or 0 for one in known.values())
    return [
        "Here 0 and 1 are what random play and the scripted player return in such short episodes: "
        f"{told}, over {episodes} episodes each.",
        "",
    ]


def critic(found: Results, budget: Budget) -> Section:
    """Question 5, as variance."""
    title = "The critic and the gradient's variance"
    lines = [
        "How much of the policy gradient's variance does a value function remove? One policy (the recipe's), "
        f"the same rollouts in groups of {GROUP} from the same beginning, four advantages.",
        "",
    ]
    if not (moments := found.moments()):
        return none(title, lines)
    rows: list[Row] = []
    answers = []
    pairs = {
        "group baseline / none": ("group", "nothing", False),
        "critic / none": ("critic", "nothing", False),
        "critic / group baseline": ("critic", "group", False),
        "GAE / critic, relative to the mean": ("GAE", "critic", True),
    }
    for pair, (ours, theirs, relative) in pairs.items():
        read = found.relative_deviations if relative else found.deviations
        for at, part in enumerate(moments):
            name = f"{pair}, {_when(part)}"
            label = f"{pair.partition(',')[0]}, {_when(part)}"
            over, under = read(ours, at), read(theirs, at)
            if over is None or under is None:
                lines.append(f"- {name}: can't be told: the mean gradient is lost in its batches' noise.")
                rows.append((label, None, 3))
                continue
            times = mean_ratio(over, under)
            told = sign(times, "more variance", "less variance", 1.0)
            lines.append(f"- {name}: {show(times)}: {told}.")
            answers.append(Answer(f"Variance of the policy gradient: {name}", open_ended(times, told)))
            rows.append((label, times, 0 if not relative else 3))
    lines += [
        "",
        f"Seeds: {found.seeds('recipe')}; geometric means over them. Below 1 the first of the two has the "
        "quieter gradient. Rewards count in parts of the way from question 5's 0 to its 1. Where variances "
        "are relative to the mean, the interval holds the deviations' chance, not the mean's.",
    ]
    drawn = intervals("Variance of the policy gradient, as ratios", rows, {1.0: "equal"})
    return Section(title, lines, {"critic": drawn}, answers)


def _when(part: float) -> str:
    """In words, after which part of the training."""
    if part > 0.95:
        return "at the end"
    return "half-way" if abs(part - 0.5) < 0.05 else f"after {part:.0%}"
