"""The 0 and the 1 of a played task: what random play and the scripted player reach on it.

As the registry has them, unless the task's options change what there is to reach. A frame skip
does so for random play, which is measured under it; the scripted player, who sets the scale,
plays without. A shorter episode does so for both. What is measured is measured on the native
interface, as the registry's were, over the episodes of seeds 0, 1, …
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.reference_scores import play
from benchmarks.study.plan import TRAIN_LEVELS, Played
from universe2.agents.ranking import Reference, reference_of
from universe2.core.errors import UsageError
from universe2.core.registry import find

EPISODES = 512

References = Mapping[str, Mapping[str, float]]
"""Name of a played task → ``random``, ``heuristic`` and ``episodes``, as an EnvSpec has them."""


def measure_references(played: tuple[Played, ...], episodes: int = EPISODES) -> dict[str, dict[str, float]]:
    """Of those played tasks that the registry's references don't hold for; arcade games only."""
    return {
        one.name: {
            "random": _mean(one, "random", one.options, episodes),
            "heuristic": find(one.env_id).reference["heuristic"]
            if set(one.expert_options) <= set(TRAIN_LEVELS)
            else _mean(one, "heuristic", one.expert_options, episodes),
            "episodes": episodes,
        }
        for one in played
        if one.own_scale
    }


def _mean(played: Played, policy: str, options: Mapping[str, Any], episodes: int) -> float:
    return float(play(find(played.env_id), policy, episodes, options)[0].mean())


def reference(played: Played, measured: References) -> Reference:
    """Raises UsageError if ``measured`` or the registry lacks it."""
    if played.own_scale and played.name not in measured:
        raise UsageError(
            f"{played.name} with {dict(played.options)} has references of its own; none measured"
        )
    known = reference_of(measured[played.name] if played.own_scale else find(played.env_id).reference)
    if known is None:
        raise UsageError(f"{played.name} has no reference scores; the study needs them")
    return known
