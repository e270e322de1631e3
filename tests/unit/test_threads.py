"""Arithmetic on all cores where its threads sleep while they wait, on half where they spin; or in parts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CORES = len(os.sched_getaffinity(0))
COUNT = "from universe2.agents.threads import use_threads; use_threads({}); print(torch.get_num_threads())"


@pytest.mark.parametrize(
    ("imports", "asked", "spin_count", "expected"),
    [
        ("import universe2.agents, torch", "", None, CORES),
        ("import torch", "", None, max(1, CORES // 2)),  # too late: its threads spin
        ("import torch, universe2.runtimes.compiled_driver", "", None, max(1, CORES // 2)),
        ("import torch", "", "0", CORES),  # the user has said it
        ("import torch", "3", None, 3),
    ],
)
def test_threads(imports: str, asked: str, spin_count: str | None, expected: int) -> None:
    env = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    if spin_count is not None:
        env["GOMP_SPINCOUNT"] = spin_count
    assert printed(f"{imports}; {COUNT.format(asked)}", env) == [str(expected)]


@pytest.mark.parametrize(("asked", "expected"), [("", CORES), ("3", 3)])
def test_threads_that_work_in_parts_have_an_operation_each(asked: str, expected: int) -> None:
    program = "from universe2.agents.threads import use_workers; import torch; "
    program += f"print(use_workers({asked}), torch.get_num_threads())"
    assert printed(program, dict(os.environ)) == [str(expected), "1"]


def printed(program: str, env: dict[str, str]) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()
