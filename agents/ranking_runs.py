"""From episode stores to rankings: which runs are compared, and on what.

One ranking per suite hash: runs of different suites are never compared. Of several runs of the
same name and policy, played the same way, a complete one counts before others, then the better
checked, then the newest: when it began is only what the file says. Episodes with other seeds or
options than the suite's count nowhere. References come from the registry, so that all entries share
one scale, and from the newest run for environments that aren't known here. A run that can't be read
is left out, and told. It doesn't replay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from universe2.agents.evaluate_policy import manner
from universe2.agents.evaluate_replay import Finding
from universe2.agents.evaluate_suite import Suite, stored_suite
from universe2.agents.ranking import Interval, Ranking, Reference, TaskScore, rank, reference_of, task_score
from universe2.agents.ranking_versions import Versions, other_versions, stray, version_of
from universe2.core.errors import UnknownEnvError, UsageError
from universe2.core.files import checked
from universe2.core.registry import find
from universe2.trace import EpisodeStore, Run

_TRUTH = ("differs", "self-reported", "replay-verified")
_YEAR_10000 = 253_402_300_800
LEVELS = ("start_level", "num_levels")
"""options that choose levels: a reference is a mean over many"""


@dataclass(frozen=True)
class _Found:
    file: Path
    run: Run
    suite: Suite
    tier: str
    returns: Mapping[str, Mapping[int, float]]
    cut: Mapping[str, int]
    versions: Versions
    strays: Sequence[str]
    """why episodes of it aren't the suite's, one each"""


@dataclass(frozen=True)
class SuiteRanking:
    """A ranking and the runs behind its entries."""

    ranking: Ranking
    runs: dict[str, Run]
    """entry name → run"""
    env_ids: dict[str, str]
    """task → env id"""
    scaled: dict[str, dict[str, Any]]
    """task → its options, other than which levels are played, where they aren't the environment's defaults:
    its reference, which is of the defaults, may not be a scale of this task"""
    apart: dict[str, list[str]]
    """entry → the tasks that it played in another version of the environment than the others"""
    strays: dict[str, Sequence[str]]
    """entry → why episodes of it aren't the suite's, one each; they count nowhere"""
    passed_over: dict[Path, list[int]]
    """store → runs left out for a more complete, better checked or newer one of the same policy; those in
    which nothing was played aren't listed"""
    unread: list[str]
    """of all the stores: which runs are left out because they can't be read, and why"""
    replayed: bool
    """the marks were made just now, in this process, and aren't the files' own"""


Replays = Mapping[Path, Mapping[int, Finding]]
"""store → run → what a replay of it found"""


def read_rankings(paths: Iterable[str | Path], replayed: Replays | None = None) -> list[SuiteRanking]:
    """All rankings in the stores, the one with the newest run first.

    With ``replayed`` the marks in the files count nothing: what is not among these findings, or has changed
    since, is self-reported. Raises UsageError if a file is not a store, or there is no run that can be read.
    """
    suites: dict[str, list[_Found]] = {}
    unread: list[str] = []
    paths = list(paths)
    for path in paths:
        with EpisodeStore(path, must_exist=True) as store:
            for number in store.run_ids():
                try:
                    found = _read(store, number, replayed)
                except UsageError as error:
                    here = f"{store.path}, run {number}"
                    unread.append(f"{here} is left out: {str(error).removeprefix(f'{here}: ')}")
                else:
                    suites.setdefault(found.run.suite_hash, []).append(found)
    if not suites and unread:
        raise UsageError(f"no run can be ranked: {'; '.join(unread)}")
    if not suites:
        raise UsageError(f"no run in {', '.join(map(str, paths))}; `universe2 evaluate` adds one")
    rankings = [_rank_suite(found, unread, replayed is not None) for found in suites.values()]
    return sorted(rankings, key=lambda r: -max(run.started for run in r.runs.values()))


def _read(store: EpisodeStore, number: int, replayed: Replays | None) -> _Found:
    """A run and the returns of the seeds that its suite asks for. Raises UsageError if it holds anything
    that can't be ranked."""
    run = store.run(number)
    suite = stored_suite(run.suite_content, run.suite_hash)
    for task, scores in run.references.items():
        for kind, score in checked(f"the references of {task}", scores, "table").items():
            checked(f"the reference {kind} of {task}", score, "float")
    for name, moment in (("started", run.started), ("ended", run.ended)):
        if moment is not None and not 0 <= moment < _YEAR_10000:
            raise UsageError(f"{name} is {moment}, not seconds since 1970; was the file edited?")
    checked("the hardware's gpus", run.hardware.get("gpus", []), "list")
    returns: dict[str, dict[int, float]] = {task.name: {} for task in suite.tasks}
    versions: Versions = {}
    strays = []
    for episode in store.episodes(number, whole=True):
        task, seed, total = episode.task, episode.seed, episode.total
        if why := stray(suite, episode):
            strays.append(why)
            continue
        if not math.isfinite(total):
            raise UsageError(f"the return of {task} seed {seed} is {total}; was the file edited?")
        returns[task][seed] = total
        versions.setdefault(task, set()).add(version_of(episode))
    ordered = {task: dict(sorted(totals.items())) for task, totals in returns.items()}
    tier = store.tier(run) if replayed is None else _tier(store, number, replayed)
    cut = store.cut_counts(number)
    return _Found(store.path, run, suite, tier, ordered, cut, versions, strays)


def _tier(store: EpisodeStore, number: int, replayed: Replays) -> str:
    finding = replayed.get(store.path, {}).get(number)
    same = finding is not None and finding.digest == store.digest(number)
    return finding.tier if finding is not None and same else "self-reported"


def _rank_suite(found: list[_Found], unread: list[str], replayed: bool) -> SuiteRanking:
    found = sorted(found, key=lambda f: f.run.started)
    tasks = found[-1].suite.content["tasks"]
    chosen = _chosen(found, tasks)
    references = {task["name"]: _reference(task, found) for task in tasks}
    entries: dict[str, tuple[str, list[TaskScore]]] = {}
    runs: dict[str, Run] = {}
    baseline = None
    labels = _labels([one.run for one in chosen])
    env_ids = {task["name"]: task["env_id"] for task in tasks}
    others = other_versions(env_ids, [one.versions for one in chosen])
    apart = {shown: names for shown, names in zip(labels, others, strict=True) if names}
    for shown, one in zip(labels, chosen, strict=True):
        entries[shown] = (one.tier, [_score(task, one, references[task["name"]]) for task in tasks])
        runs[shown] = one.run
        baseline = shown if one.run.kind == "random" else baseline
    last = found[-1].run
    return SuiteRanking(
        ranking=rank(last.suite, last.suite_hash, entries, baseline, apart),
        runs=runs,
        env_ids=env_ids,
        scaled={task["name"]: other for task in tasks if (other := _other_than_default(task))},
        apart=apart,
        strays={shown: one.strays for shown, one in zip(labels, chosen, strict=True) if one.strays},
        passed_over=_passed_over(found, chosen),
        unread=unread,
        replayed=replayed,
    )


def _chosen(found: Sequence[_Found], tasks: Sequence[Mapping[str, Any]]) -> list[_Found]:
    """One of each policy, oldest run first: complete before others, then what a replay bore out, then
    the newest. What a file says of its age displaces nothing that is known to be true."""

    def complete(one: _Found) -> bool:
        return all(len(one.returns.get(task["name"], ())) == task["episodes"] for task in tasks)

    def goodness(one: _Found) -> tuple[bool, int, float]:
        return complete(one), _TRUTH.index(one.tier), one.run.started

    chosen: dict[tuple[str, str, str], _Found] = {}
    for one in found:
        key = (one.run.name, one.run.policy_hash, manner(one.run))
        if key not in chosen or goodness(one) >= goodness(chosen[key]):
            chosen[key] = one
    return sorted(chosen.values(), key=lambda one: one.run.started)


def _passed_over(found: Sequence[_Found], chosen: Sequence[_Found]) -> dict[Path, list[int]]:
    listed: dict[Path, list[int]] = {}
    for one in found:
        if one not in chosen and any(one.returns.values()):
            listed.setdefault(one.file, []).append(one.run.id)
    return listed


def _labels(runs: Sequence[Run]) -> list[str]:
    """Their names; for those of one name with whatever tells them apart."""
    labels = []
    for run in runs:
        namesakes = [other for other in runs if other.name == run.name]
        details = []
        if len({other.policy_hash for other in namesakes}) > 1:
            details.append(run.policy_hash[:6] or run.kind)  # random play has no hash
        if len({manner(other) for other in namesakes}) > 1:
            details.append(manner(run))
        labels.append(f"{run.name} ({', '.join(details)})" if details else run.name)
    return labels


def _score(task: Mapping[str, Any], one: _Found, reference: Reference | None) -> TaskScore:
    name = task["name"]
    returns = list(one.returns.get(name, {}).values())
    return task_score(name, returns, task["episodes"], one.cut.get(name, 0), reference)


def _reference(task: Mapping[str, Any], found: list[_Found]) -> Reference | None:
    try:
        return reference_of(find(task["env_id"]).reference)
    except UnknownEnvError:
        return reference_of(found[-1].run.references.get(task["name"], {}))


def _other_than_default(task: Mapping[str, Any]) -> dict[str, Any]:
    try:
        defaults = find(task["env_id"]).options
    except UnknownEnvError:
        defaults = {}
    return {
        name: value
        for name, value in task["options"].items()
        if name not in LEVELS and (name not in defaults or defaults[name] != value)
    }


def ranking_json(suite: SuiteRanking) -> dict[str, Any]:
    """A ranking as JSON can hold it. Intervals are [point, low, high]; null where undefined."""
    ranking = suite.ranking
    return {
        "suite": ranking.suite,
        "suite_hash": ranking.suite_hash,
        "tasks": ranking.tasks,
        "tasks_without_reference": ranking.unscored,
        "baseline": ranking.baseline,
        "left_out": suite.unread,
        "entries": [
            {
                "name": entry.name,
                "rank": entry.rank,
                "shared": entry.shared,
                "tier": entry.tier,
                "score": _numbers(entry.score),
                "improvement": _numbers(entry.improvement),
                "outcome": suite.runs[entry.name].outcome,
                "tasks": {
                    name: {
                        "return": _numbers(score.raw),
                        "normalised": _numbers(score.normalised),
                        "episodes": len(score.returns),
                        "wanted": score.wanted,
                        "cut": score.cut,
                    }
                    for name, score in entry.tasks.items()
                },
            }
            for entry in ranking.entries
        ],
    }


def _numbers(interval: Interval | None) -> list[float | None] | None:
    return None if interval is None else [None if math.isnan(x) else x for x in interval]


def show(interval: Interval | None, digits: int = 2) -> str:
    """``0.93 [0.88, 0.97]``; a dash for none."""
    if interval is None or math.isnan(interval.point):
        return "–"
    if math.isnan(interval.low):
        return f"{interval.point:.{digits}f}"
    return f"{interval.point:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def rank_text(rank: int | None, shared: bool) -> str:
    """``1``, ``2=`` for a shared rank, a dash for none."""
    return "–" if rank is None else f"{rank}=" if shared else str(rank)


def notes(suite: SuiteRanking) -> list[str]:
    """What a reader of the table must know, one sentence each."""
    ranking = suite.ranking
    said = [
        "Score: interquartile mean over tasks of (return − random) / (reference − random), with 95 % "
        "stratified-bootstrap intervals over episodes. Entries whose intervals overlap share a rank."
    ]
    if ranking.unscored:
        said.append(f"Not in the score, for lack of a reference: {', '.join(ranking.unscored)}.")
    for task, options in suite.scaled.items():
        if task not in ranking.unscored:
            played = ", ".join(f"{name} = {value!r}" for name, value in options.items())
            said.append(f"{task} is played with {played}; its 0 and 1 are of the environment's defaults.")
    for score in ranking.entries[0].tasks.values():
        if score.reference is not None and score.reference.uncertain:
            said.append(
                f"The zero of {score.task} is uncertain: random play was measured over "
                f"{score.reference.episodes} episodes only."
            )
    marked = False
    for entry in ranking.entries:
        short = [f"{t.task} {len(t.returns)}/{t.wanted}" for t in entry.tasks.values() if not t.complete]
        if short:
            said.append(f"{entry.name} has not played all episodes: {', '.join(short)}.")
        if entry.score is not None and not entry.score.known:
            said.append(f"{entry.name} has a single episode of some task: no interval, so no rank.")
        if entry.name in suite.apart:
            where = ", ".join(suite.apart[entry.name])
            said.append(f"{entry.name} has no rank: it played another version of the environment in {where}.")
        if strays := suite.strays.get(entry.name):
            said.append(f"{entry.name}: {len(strays)} episodes of another suite count nowhere: {strays[0]}.")
        if cut := sum(t.cut for t in entry.tasks.values()):
            said.append(f"{entry.name}: faults cut {cut} episodes; they count in no score.")
        if entry.tier == "replay-verified":
            marked = True
        elif entry.tier == "differs":
            said.append(f"{entry.name} has no rank: replayed, its episodes come out otherwise.")
        elif suite.replayed:
            said.append(f"{entry.name} could not be replayed just now: it counts as self-reported.")
        elif suite.runs[entry.name].tier == "replay-verified":
            said.append(
                f"{entry.name} is marked replay-verified, but was changed since, or marked by an older "
                "universe2: it counts as self-reported until `universe2 evaluate --verify` replays it."
            )
    if marked and not suite.replayed:
        said.append(
            "replay-verified is what the file says of itself. To know it, replay: "
            "`universe2 leaderboard --verify` or `universe2 evaluate --verify`."
        )
    for file, runs in suite.passed_over.items():
        which = f"run{'s' * (len(runs) > 1)} {', '.join(map(str, runs))}"
        why = "for a more complete, better checked or newer run of the same policy"
        said.append(f"Not shown, {why}: {file}, {which}.")
    return said + suite.unread


def ranking_markdown(suite: SuiteRanking) -> str:
    """The ranking and its tasks as two Markdown tables, with notes."""
    ranking = suite.ranking
    lines = [f"### {ranking.suite}", ""]
    lines += ["| Rank | Policy | Score | Better than random | Checked |", "|---|---|---|---|---|"]
    for e in ranking.entries:
        better = show(e.improvement)
        lines.append(
            f"| {rank_text(e.rank, e.shared)} | {_cell(e.name)} | {show(e.score)} | {better} | {e.tier} |"
        )
    lines += ["", f"| Return per task | {' | '.join(_cell(e.name) for e in ranking.entries)} | Reference |"]
    lines.append("|---" * (len(ranking.entries) + 2) + "|")
    for task in ranking.tasks:
        cells = [show(e.tasks[task].raw) for e in ranking.entries]
        reference = ranking.entries[0].tasks[task].reference
        lines.append(f"| {_cell(task)} | {' | '.join(cells)} | {reference.reference if reference else '–'} |")
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(suite)), ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
