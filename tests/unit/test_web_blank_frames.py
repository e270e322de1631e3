"""Frames without a picture, as a busy machine has them where one document replaces another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from web_session import Session, action

from universe2.core.host import InfrastructureFault
from universe2.runtimes.browser_page import EpisodePage

TASK = "web/click-test-2-v0"
pytestmark = pytest.mark.browser


def without_pictures(monkeypatch: pytest.MonkeyPatch, count: int) -> list[float]:
    """The next ``count`` frames have none; the moments of all frames are noted."""
    real, moments = EpisodePage._frame, list[float]()

    async def frame(self: EpisodePage, interval: float, later: float) -> str:
        moments.append(later)
        data = await real(self, interval, later)
        return "" if len(moments) <= count else data

    monkeypatch.setattr(EpisodePage, "_frame", frame)
    return moments


def test_the_picture_is_asked_for_until_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Session(TASK) as plain:
        plain.reset(3)
        expected = np.array(plain.step(action(x=20, y=40, button="press")).obs["screen"])
    with Session(TASK) as session:
        session.reset(3)
        moments = without_pictures(monkeypatch, 60)
        found: Any = session.step(action(x=20, y=40, button="press")).obs["screen"]
        assert np.array_equal(found, expected)
        assert len(moments) == 61
        assert moments == sorted(set(moments)), "no two frames are drawn at the same moment"
        assert moments[-1] < 0.5, "milliseconds: page time stands still"


def test_a_picture_that_never_comes_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    with Session(TASK) as session:
        session.reset(3)
        without_pictures(monkeypatch, 10_000)
        with pytest.raises(InfrastructureFault, match="a frame without a picture"):
            session.step(action())
