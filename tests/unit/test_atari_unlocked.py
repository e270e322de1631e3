"""Which releases of ale-py are emulated without Python's lock, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

ale_py = pytest.importorskip("ale_py")

from universe2.envs.atari import unlocked  # noqa: E402


@pytest.fixture
def fresh_warning() -> Iterator[None]:
    unlocked._warn.cache_clear()
    yield
    unlocked._warn.cache_clear()


def is_own(act: Any, ale: ale_py.ALEInterface) -> bool:
    """Is it ale-py's own method, bound to this console?"""
    return isinstance(act, type(ale.act)) and act.__self__ is ale


def loaded() -> ale_py.ALEInterface:
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 7)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(str(ale_py.roms.get_rom_path("seaquest")))
    return ale


@pytest.mark.usefixtures("fresh_warning")
@pytest.mark.parametrize("version", ["0.12.0", "0.12.10", "0.13.0", "1.0"])
def test_an_untested_release_keeps_its_lock_with_one_warning(
    version: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("an address of an unknown object was read")

    monkeypatch.setattr(ale_py, "__version__", version)
    monkeypatch.setattr(unlocked, "_address", never)
    monkeypatch.setattr(unlocked, "_functions", never)
    one, other = loaded(), loaded()
    assert is_own(unlocked.act_of(one), one)
    assert is_own(unlocked.act_of(other), other)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert f"ale-py {version} looks unknown" in said[0]


@pytest.mark.skipif(ale_py.__version__ not in unlocked.TESTED, reason="no tested release is installed")
def test_a_tested_release_is_emulated_without_the_lock(caplog: pytest.LogCaptureFixture) -> None:
    free, locked = loaded(), loaded()
    act = unlocked.act_of(free)
    assert not is_own(act, free)
    assert not caplog.records
    for action in np.random.default_rng(0).integers(18, size=120).tolist():
        assert act(action) == locked.act(action)
    assert np.array_equal(free.getScreenRGB(), locked.getScreenRGB())
