"""docs/adding-a-web-task.md works as written."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from web_session import Session, action

from universe2.envs.web.actions import parse
from universe2.envs.web.solvers import play

pytestmark = pytest.mark.browser

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-web-task.md"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The document's Python blocks as a module, beside its page."""
    blocks = re.findall(r"```(html|python)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "press-twice.html").write_text("".join(text for kind, text in blocks if kind == "html"))
    (tmp_path / "doc_example.py").write_text("".join(text for kind, text in blocks if kind == "python"))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("doc_example", None)
    return importlib.import_module("doc_example")


def test_the_short_way(example: ModuleType, tmp_path: Path) -> None:
    with Session(example.short_spec(str(tmp_path)), actions="structured", observe="axtree") as session:
        tree = session.reset(0)["axtree"]
        left = re.search(r'\[(\d+)\] button "left"', tree)
        assert left is not None
        for _ in range(2):
            session.step(parse(f"click({left[1]})"))  # type: ignore[arg-type]
        assert session.last is not None
        assert session.last.terminated
        assert session.last.reward == 1.0


def test_it_can_be_won_lost_and_missed(example: ModuleType, tmp_path: Path) -> None:
    spec = example.spec(str(tmp_path))
    with Session(spec, elements=True, step_ms=1000) as session:
        for seed in (0, 1):
            session.reset(seed)
            assert play(example.solve, session.look, session.solver_step) == 2
            assert session.last is not None
            assert session.last.info["success"]

        first = session.reset(0)["screen"]
        assert session.instruction == "Press the right button twice."
        assert (session.reset(0)["screen"] == first).all()

        results = [session.step(action(x=63, y=63)) for _ in range(5)]
        assert [r.truncated for r in results] == [False] * 4 + [True]
        assert not any(r.terminated for r in results)
        assert results[-1].reward == -1.0
