"""The examples in docs/training.md run, and do what the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from universe2.agents.checkpoint import read_checkpoint

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
BLOCKS = [part.split("```")[0] for part in PAGE.read_text(encoding="utf-8").split("```python\n")[1:]]
ALGORITHM = next(block for block in BLOCKS if "def actor_critic" in block)


def shortened(block: str) -> str:
    """The example with few updates: what it learns takes minutes."""
    assert "32, 300\n" in block
    return block.replace("32, 300\n", "8, 10\n")


def test_an_algorithm_of_ones_own_trains_and_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(shortened(ALGORITHM), names)
    assert capsys.readouterr().out.startswith("10 ")
    _, meta = read_checkpoint(tmp_path / "runs" / "mine" / "checkpoint")
    assert meta["optimizer_steps"] == 10
    assert names["metrics"].result().keys() == {"loss/total", "value_error", "entropy"}
