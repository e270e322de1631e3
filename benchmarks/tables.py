"""Generates the tables in README.md, benchmarks/README.md and docs/arcade-games.md from scores/*.json.

    python benchmarks/tables.py            # write
    python benchmarks/tables.py --check    # exit 1 if they are out of date

A score file holds ``questions``, a list of objects with ``question``, ``ours``, ``peer``,
``ratio``, ``target`` and ``met``; and ``date``, ``machine``. A ranking for the README comes from
scores/demo.json, which ``universe2 leaderboard --json`` wrote. Doesn't measure anything itself.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SCORES = HERE / "scores"


def questions() -> list[dict[str, Any]]:
    """All measured questions, in the order of the files' names, each with its script."""
    rows = []
    for path in sorted(SCORES.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            rows += [{**row, "script": path.stem} for row in content.get("questions", [])]
    return rows


def scores_table() -> str:
    lines = ["| Question | universe2 | peer | ratio | to reach | |", "|---|---|---|---|---|---|"]
    for row in questions():
        open_end = row["met"] is None or row["target"] == "–"
        met = "" if open_end else "met" if row["met"] else "**not met**"
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
                f"{machine.get('cores', '?')} cores"
            )
    return "\n".join(lines)


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


def replaced(text: str, name: str, content: str) -> str:
    """``text`` with what stands between the markers called ``name`` replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"no markers <!-- {name} --> found")
    return pattern.sub(lambda m: f"{m[1]}{content}\n{m[2]}", text)


def main() -> None:
    readme, own = HERE.parent / "README.md", HERE / "README.md"
    table = scores_table()
    texts = {
        readme: {"ranking": ranking(), "scores": table},
        HERE.parent / "docs" / "arcade-games.md": {"games": games()},
        own: {"scores": table.replace("(benchmarks/", "("), "machines": machines()},
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
