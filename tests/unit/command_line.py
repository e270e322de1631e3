"""The command line, run in this process."""

from __future__ import annotations

import sys

import pytest

from universe2 import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of ``universe2 …``."""
    monkeypatch.setattr(sys, "argv", ["universe2", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    code = exit_info.value.code
    return code if isinstance(code, int) else 0 if code is None else 1
