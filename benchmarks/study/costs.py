"""What the study's arms cost: networks, steps and time. It knows no scores."""

from __future__ import annotations

from benchmarks.study.plan import Cell
from benchmarks.study.results import Results
from universe2.agents.config import from_table
from universe2.agents.model import Network
from universe2.agents.train import model_sizes


def costs(found: Results) -> list[str]:
    """A table with a line for each arm of which there are results."""
    lines = ["| Arm | Cells | Parameters | Steps of each | Core-hours |", "|---|---|---|---|---|"]
    for arm in dict.fromkeys(cell.arm for cell in found.cells):
        if not (results := found.of(arm)):
            continue
        of_arm = [cell for cell in found.cells if cell.arm == arm]
        sizes = _span({parameters(cell) for cell in of_arm})
        steps = _span({cell.config["total_steps"] for cell in of_arm})
        hours = sum(result["core_seconds"] for result in results) / 3600
        lines.append(f"| {arm} | {len(results)} | {sizes} | {steps} | {hours:.2f} |")
    return [
        *lines,
        "",
        "Parameters are all that an arm has, trained or not; where encoders are mixed most are in the bases, "
        "and a task sees through one mixture of them. Every run is in lockstep: what is learned from was "
        "played with the weights of the last update. Core-hours are those of training and evaluation, "
        "browsers included.",
    ]


def parameters(cell: Cell) -> int:
    """How many numbers the cell's network has."""
    config = from_table({**cell.config, "out_dir": "", "init_from": "another cell"})
    return sum(parameter.numel() for parameter in Network(model_sizes(config)).parameters())


def _span(numbers: set[int]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
