"""The demo's folder: an earlier demo makes way for the next, nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from universe2.agents import demo
from universe2.core.errors import UsageError


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "thesis.tex"
    mine.write_text("years of work")
    for out in (tmp_path, mine):
        with pytest.raises(UsageError, match="holds something else than a demo"):
            demo.main(seconds=1, out=out)
    assert mine.read_text() == "years of work"


def test_an_earlier_demo_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Exception):
        pass

    def no_server(*arguments: str, log: Path) -> None:
        log.touch()
        raise Stopped

    monkeypatch.setattr(demo, "local_server", no_server)
    out = tmp_path / "runs" / "demo"
    with pytest.raises(Stopped):
        demo.main(seconds=1, out=out)
    (out / "checkpoint").touch()
    with pytest.raises(Stopped):
        demo.main(seconds=1, out=out)
    assert [path.name for path in out.iterdir()] == ["server1.log"]
