"""The example in docs/adding-a-game.md is a whole game that runs."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade import game_spec
from universe2.runtimes.compiled import CompiledRuntime

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-a-game.md"


@pytest.fixture
def catch(tmp_path: Path) -> Iterator[EnvSpec]:
    code = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "catch_example.py").write_text(code, encoding="utf-8")
    found = importlib.util.spec_from_file_location("catch_example", tmp_path / "catch_example.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["catch_example"] = module
    found.loader.exec_module(module)
    spec = game_spec("Catch-v0", "catch", "Catch whatever falls.", 1000, 1.0, 10.0)
    yield dataclasses.replace(spec, entry="catch_example:GAME")
    del sys.modules["catch_example"]


def test_the_example_runs_and_is_won(catch: EnvSpec) -> None:
    runtime = CompiledRuntime(catch, 4, EnvConfig(autoreset="disabled"))
    slots = np.arange(4)
    runtime.reset(slots, slots)
    first = runtime.recv()
    assert first.obs.shape == (4, 64, 64, 3)
    assert len(np.unique(first.info["level"].values)) == 4
    total = np.zeros(4)
    outcomes = {}
    while len(slots):
        runtime.send(slots, runtime.heuristic(slots))
        batch = runtime.recv()
        total[slots] += batch.reward
        for row in np.flatnonzero(batch.ended):
            outcomes[int(slots[row])] = batch.info["outcome"].values[row]
        slots = slots[~batch.ended]
    assert total.tolist() == [10.0] * 4
    assert set(outcomes.values()) == {"cleared"}
