"""Generates the tables in README.md, benchmarks/README.md and docs/ from scores/*.json.

    python benchmarks/tables.py            # write
    python benchmarks/tables.py --check    # exit 1 if they are out of date

A score file holds ``questions``, a list of objects with ``question``, ``ours``, ``peer``,
``ratio``, ``target`` and ``met``; and ``date``, ``machine``. All of them are in benchmarks/README.md; the
README has those of ``HEADLINES`` and whatever misses its target. The README's ranking is scores/demo.md,
which the demo wrote, and its answers about training those of docs/study.md. Doesn't measure anything itself.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCORES = HERE / "scores"
HEADLINES = {
    "arcade": ("arcade, 1,024 slots of 64×64×3, median",),
    "arcade_ppo": ("games in which PPO",),
    "atari": ("Atari, 32 slots, whole games",),
    "learner_idle": ("Time in which the learner waits, two servers on its cores, four arcade games beside",),
    "train": (
        "Training steps/s on the CPU, 64 slots of arcade/Breakout-v0, against CleanRL 1.2.0 ppo_atari_lstm",
    ),
    "train_cuda": ("Training steps/s", "Share of the time in which the GPU is busy"),
    "web": ("Web tasks with a screenshot per step, against BrowserGym", "Reset of a web task"),
    "web_tasks": ("Web tasks played alike", "Web tasks that their scripted solver wins"),
    "wire": (
        "64 remote slots of 84×84, trivial environment, against dm_env_rpc",
        "64 remote slots of 84×84, trivial environment, against OpenEnv as",
        "64 remote slots of 84×84, trivial environment, against Gymnasium's",
        "10,000 slots on one server: opening",
    ),
}
"""By script, how the questions begin that the README shows even where they are met."""
NEED_GPU = ("train_cuda",)
"""Scripts whose scores may be absent: they need what is not at hand everywhere."""


def questions() -> list[dict[str, Any]]:
    """All measured questions, in the order of the files' names, each with its script."""
    rows = []
    for path in sorted(SCORES.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            rows += [{**row, "script": path.stem} for row in content.get("questions", [])]
    return rows


def headlines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of ``HEADLINES`` and all that miss their target."""
    chosen = []
    measured = {row["script"] for row in rows}
    for script, begins in HEADLINES.items():
        if script in NEED_GPU and script not in measured:
            continue
        for begin in begins:
            found = [row for row in rows if row["script"] == script and row["question"].startswith(begin)]
            if not found:
                raise SystemExit(f"HEADLINES: no question of {script} begins with {begin!r}")
            chosen += found
    return [row for row in rows if row in chosen or missed(row)]


def missed(row: dict[str, Any]) -> bool:
    return row["met"] is False and row["target"] != "–"


def scores_table(rows: list[dict[str, Any]]) -> str:
    lines = ["| Question | universe2 | peer | ratio | to reach | |", "|---|---|---|---|---|---|"]
    for row in rows:
        open_end = row["met"] is None or row["target"] == "–"
        met = "" if open_end else "**not met**" if missed(row) else "met"
        link = f"[{row['script']}.py](benchmarks/{row['script']}.py)"
        lines.append(
            f"| {row['question']} ({link}) | {row['ours']} | {row['peer']} "
            f"| {row['ratio']:.2f} | {row['target']} | {met} |"
        )
    return "\n".join(lines)


def machines() -> str:
    """Where and when the numbers come from."""
    lines = []
    for path in sorted(SCORES.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and "machine" in content:
            machine = content["machine"]
            lines.append(
                f"- `{path.stem}`: {content.get('date', '?')}, {machine.get('cpu', '?')}, "
                f"{machine.get('cores', '?')} cores{''.join(f', {gpu}' for gpu in machine.get('gpus', []))}"
            )
    return "\n".join(lines)


def count() -> str:
    """How many there are of each outcome."""
    rows = questions()
    aimed = [row for row in rows if row["met"] is not None and row["target"] != "–"]
    few = len(headlines(rows))
    return (
        f"{len(rows)} questions are measured, {len(aimed)} of them with a target, and "
        f"{sum(map(missed, aimed))} targets are missed. Here are {few}, every miss among them; "
        "[all of them, and the machines](benchmarks/README.md)."
    )


def answers() -> str:
    """What the study answers, as its page has it."""
    page = (HERE.parent / "docs" / "study.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- answers -->\n(.*?)\n<!-- /answers -->", page, re.DOTALL)
    if found is None:
        raise SystemExit("docs/study.md has no answers; run: python -m benchmarks.study --page")
    return found[1]


def ranking() -> str:
    path = SCORES / "demo.md"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def games() -> str:
    """Each arcade game: the scores in its spec and, where measured, what it costs."""
    from universe2.envs.arcade import games as specs

    path = SCORES / "arcade_games.json"
    measured = json.loads(path.read_text(encoding="utf-8"))["games"] if path.exists() else {}
    lines = [
        "| Game | random | expert | µs a step | of it drawing | s to compile |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for spec in specs():
        costs = measured.get(spec.name, {})
        figures = [spec.reference["random"], spec.reference["heuristic"]]
        figures += [costs.get(column, "–") for column in ("step_us", "draw_us", "compile_s")]
        lines.append(f"| {spec.name} | " + " | ".join(map(str, figures)) + " |")
    return "\n".join(lines)


def packages() -> str:
    """Each id of other packages that was tried, and which way of using it keeps the contract."""
    ways = {"here": "own spaces", "server": "through a server", "screen": "screen"}
    lines = [f"| Package | Id | {' | '.join(ways.values())} |", "|---|---|" + "---|" * len(ways)]
    notes = []
    score = json.loads((SCORES / "packages.json").read_text(encoding="utf-8"))
    for name, package in score["packages"].items():
        for env_id, found in package["ids"].items():
            said = []
            for way, words in ways.items():
                outcome = found.get(way, "InterfaceError: not asked")
                if outcome == "ok":
                    said.append("yes")
                elif outcome.startswith("InterfaceError"):  # it has no such interface, and says so
                    said.append("–")
                else:
                    notes.append(f"{len(notes) + 1}. `{env_id}`, {words}: {outcome}")
                    said.append(f"no ({len(notes)})")
            lines.append(f"| {name} {package['version']} | `{env_id}` | {' | '.join(said)} |")
    return "\n".join([*lines, "", *notes]).strip()


def replaced(text: str, name: str, content: str) -> str:
    """``text`` with what stands between the markers called ``name`` replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"no markers <!-- {name} --> found")
    return pattern.sub(lambda m: f"{m[1]}{content}\n{m[2]}", text)


def main() -> None:
    readme, own = HERE.parent / "README.md", HERE / "README.md"
    rows = questions()
    short = f"{count()}\n\n{scores_table(headlines(rows))}"
    texts = {
        readme: {"ranking": ranking(), "study": answers(), "scores": short},
        HERE.parent / "docs" / "arcade-games.md": {"games": games()},
        HERE.parent / "docs" / "packages.md": {"packages": packages()},
        own: {"scores": scores_table(rows).replace("(benchmarks/", "("), "machines": machines()},
    }
    stale = []
    for path, parts in texts.items():
        old = path.read_text(encoding="utf-8")
        new = old
        for name, content in parts.items():
            new = replaced(new, name, content)
        if new != old:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if "--check" in sys.argv and stale:
        raise SystemExit(f"out of date: {', '.join(stale)}; run: python benchmarks/tables.py")
    print("up to date" if not stale else f"wrote {', '.join(stale)}")


if __name__ == "__main__":
    main()
