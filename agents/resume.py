"""The collector's part of a checkpoint: what has been counted, and in lockstep what is in progress.

The counters are kept by task, whatever happens. In lockstep everything else is, too: the
segments in the making, the policy's memory, and the environments' own states, so that a run
that was killed goes on as if it had not been. Episodes under way are lost otherwise.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from universe2.agents.checkpoint import under
from universe2.agents.collect import Collector
from universe2.agents.run_log import task_numbers
from universe2.agents.segments import Episode, Lane, Segment
from universe2.core.errors import TrainingError

_LANE = ("cursor", "acted", "waiting", "faulted", "score", "steps")
_DEADLINE_S = 120.0


def counters(collector: Collector, elsewhere: float | np.ndarray = 0.0) -> dict[str, Any]:
    """JSON values: steps, episodes, faults and what was too old of each task, and its last 100 episodes.

    ``elsewhere``: ``task_numbers`` of other ranks, which count too, but for their last episodes.
    """
    counts = (task_numbers(collector) + elsewhere)[:, :4].astype(int).tolist()
    return {
        name: {
            **dict(zip(("steps", "episodes", "faults", "dropped"), counts[task], strict=True)),
            # a poisonous reward must not keep the state from being saved: JSON knows no infinity
            "recent": [[e.score, e.length] for e in collector.episodes[task] if math.isfinite(e.score)],
        }
        for task, name in enumerate(collector.tasks)
    }


def restore_counters(collector: Collector, saved: Mapping[str, Any]) -> None:
    """The inverse; tasks that were not there begin at 0."""
    for task, name in enumerate(collector.tasks):
        if name in saved:
            found = saved[name]
            collector.steps[task] = found["steps"]
            collector.episode_count[task] = found["episodes"]
            collector.faults[task] = found["faults"]
            collector.dropped[task] = found.get("dropped", 0)  # older checkpoints don't say
            collector.episodes[task].extend(Episode(task, *episode) for episode in found["recent"])


def in_progress(collector: Collector) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays by name, and the texts that they refer to. Between two updates, in lockstep only."""
    arrays: dict[str, np.ndarray] = {}
    for index, (member, lane) in enumerate(zip(collector.pool.members, collector.lanes, strict=True)):
        states = member.runtime.snapshot(np.arange(member.num_slots))
        arrays[f"env.{index}.ends"] = np.cumsum([len(state) for state in states])
        arrays[f"env.{index}.bytes"] = np.frombuffer(b"".join(states), np.uint8).copy()
        arrays |= {f"lane.{index}.{name}": value for name, value in _lane_arrays(lane).items()}
    for task, queue in enumerate(collector.queues):
        for number, segment in enumerate(queue):
            arrays |= {f"queue.{task}.{number}.{n}": v for n, v in _segment_arrays(segment).items()}
    return arrays, collector.texts.texts


def restore_in_progress(collector: Collector, arrays: Mapping[str, np.ndarray], texts: list[str]) -> None:
    """The inverse, in place of ``Collector.start``."""
    collector.texts.rows(texts)
    for index, (member, lane) in enumerate(zip(collector.pool.members, collector.lanes, strict=True)):
        mine = {
            name.removeprefix(p): a for name, a in arrays.items() if name.startswith(p := f"lane.{index}.")
        }
        if f"env.{index}.ends" not in arrays or len(mine["cursor"]) != member.num_slots:
            raise TrainingError(
                f"the checkpoint doesn't hold {member.num_slots} slots of {member.env_id} as member {index}: "
                "a run in lockstep is resumed with the tasks and slots it had"
            )
        expected = _lane_arrays(lane)
        _check_shapes(expected, mine, lane.length)
        for name, value in expected.items():
            value[...] = mine[name]
        whole, ends = arrays[f"env.{index}.bytes"].tobytes(), arrays[f"env.{index}.ends"]
        states = [whole[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        collector.pool.restore_member(index, np.arange(member.num_slots), states)
        _discard(collector, member.num_slots)
    for task in range(len(collector.tasks)):
        collector.queues[task] = deque(_segments(task, arrays))


def _check_shapes(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], length: int) -> None:
    saved = found["done.valid"].shape[1]
    if saved != length:
        raise TrainingError(
            f"rollout = {length}, but the checkpoint holds segments of {saved} transitions in the making: "
            "a run in lockstep is resumed with its own rollout (or, without lockstep, with any)"
        )
    for name, value in expected.items():
        if name not in found or found[name].shape != value.shape:
            shape = found[name].shape if name in found else "nothing"
            raise TrainingError(f"the checkpoint has {shape} as {name} where {value.shape} is expected")


def _discard(collector: Collector, rows: int) -> None:
    """The observations that a restored environment repeats are in the lanes already."""
    while rows:
        rows -= len(collector.pool.recv(_DEADLINE_S)[1])


def _lane_arrays(lane: Lane) -> dict[str, np.ndarray]:
    groups = {"seen": lane.seen, "done": lane.done, "state": lane.state, "start": lane.start}
    named = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    return named | {name: getattr(lane, name) for name in _LANE}


def _segment_arrays(segment: Segment) -> dict[str, np.ndarray]:
    groups = {"seen": segment.seen, "done": segment.done, "state": segment.state}
    named = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    return named | {"mask": segment.mask, "slot": np.array(segment.slot)}


def _segments(task: int, arrays: Mapping[str, np.ndarray]) -> list[Segment]:
    found: list[Segment] = []
    while f"queue.{task}.{len(found)}.slot" in arrays:
        mine = under(arrays, f"queue.{task}.{len(found)}.")
        seen, done, state = (under(mine, f"{name}.") for name in ("seen", "done", "state"))
        found.append(Segment(task, mine["mask"], seen, done, state, int(mine["slot"])))
    return found
