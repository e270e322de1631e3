"""An ordinary Chromium, which draws when it likes, plays web tasks too, and it is said that it does."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from universe2.core.batch import info_rows
from universe2.envs.web import chromium
from universe2.runtimes import open_runtime

ORDINARY = next((path for name in chromium._ORDINARY if (path := shutil.which(name))), None)


def test_it_is_taken_only_where_there_is_no_headless_shell(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(chromium.ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "downloads"))
    (tmp_path / "google-chrome").touch(mode=0o755)
    assert chromium.find_chromium() == str(tmp_path / "google-chrome")
    assert chromium.find_headless_shell() is None
    (tmp_path / "headless_shell").touch(mode=0o755)
    assert chromium.find_chromium() == str(tmp_path / "headless_shell")


@pytest.mark.browser
@pytest.mark.skipif(ORDINARY is None, reason="there is no ordinary Chromium here")
def test_it_plays_and_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chromium.ENVIRONMENT_VARIABLE, str(ORDINARY))
    with pytest.warns(RuntimeWarning, match="draws frames when it likes"):
        runtime = open_runtime("web/click-test-2-v0", 1)
    try:
        runtime.reset([0], [3])
        batch = runtime.recv(60)
        assert not batch.fault[0], batch.fault_text
        assert not info_rows(batch.info, 1)[0]["deterministic"]
        assert batch.obs["screen"][0].std() > 10
        for column in range(0, 64, 8):
            runtime.send([0], np.array([[0, 0, column, 40, 1]]))
            batch = runtime.recv(60)
            assert not batch.fault[0], batch.fault_text
    finally:
        runtime.close()
