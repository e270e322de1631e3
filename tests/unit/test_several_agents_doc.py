"""The examples in docs/several-agents.md run, and do what the page says."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universe2.core.agents import agent_columns
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade.matches import match_spec
from universe2.runtimes.match import MatchRuntime

PAGE = Path(__file__).resolve().parents[2] / "docs" / "several-agents.md"
BLOCKS = [part.split("```")[0] for part in PAGE.read_text(encoding="utf-8").split("```python\n")[1:]]


def test_the_parallel_example_runs_to_its_end() -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS[0], names)
    assert names["env"].agents == []


def test_the_self_play_example_gets_better() -> None:
    names: dict[str, Any] = {}
    exec(BLOCKS[1], names)
    assert names["score"](names["champion"], names["first"]) > 0
    names["runtime"].close()


@pytest.fixture
def snatch(tmp_path: Path) -> Iterator[EnvSpec]:
    (tmp_path / "snatch_example.py").write_text(BLOCKS[2], encoding="utf-8")
    found = importlib.util.spec_from_file_location("snatch_example", tmp_path / "snatch_example.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["snatch_example"] = module
    found.loader.exec_module(module)
    spec = match_spec("Snatch-v0", "snatch", "Be there first.", 300, 2, 0.5, 1.0)
    yield dataclasses.replace(spec, entry="snatch_example:MATCH")
    del sys.modules["snatch_example"]


def test_the_example_of_a_match_is_won_by_its_heuristic(snatch: EnvSpec) -> None:
    runtime = MatchRuntime(snatch, 1, EnvConfig(autoreset="disabled"))
    runtime.reset([0], [1])
    batch, total = runtime.recv(), np.zeros(2)
    while not batch.ended[0]:
        runtime.send([0], {**runtime.heuristic([0]), "player_0": [0]})
        batch = runtime.recv()
        total += agent_columns(batch).reward[0]
    assert total.tolist() == [-3.0, 3.0]
    assert batch.info["outcome"].values[0] == "won"
