"""docs/serving.md against the code: its example is valid, and nothing to set or to read is left out."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from prometheus_client import Metric

from universe2 import cli
from universe2.cli import serve
from universe2.envs.web.chromium import ENVIRONMENT_VARIABLE
from universe2.server import ServerConfig
from universe2.server.capacity import Capacity, Share
from universe2.server.metrics import Metrics
from universe2.server.service import MAX_VIEWERS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGE = (ROOT / "docs" / "serving.md").read_text("utf-8")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The exit code of ``universe2 …``."""
    cli.app.registered_commands.clear()
    monkeypatch.setattr(cli, "VERBS", ("serve", "doctor"))  # one verb alone would be no verb
    monkeypatch.setattr(sys, "argv", ["universe2", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return exit_info.value.code


def commands(page: str) -> list[list[str]]:
    """The lines of its shell blocks, as arguments."""
    blocks = "".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL)).replace("\\\n", " ")
    return [words for line in blocks.splitlines() if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("page", [PAGE, README], ids=["serving.md", "README.md"])
def test_the_recipes_hold(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are accepted as they are started there, and who calls them shows the token they ask for."""
    monkeypatch.chdir(tmp_path)
    for name in ("token", "inner.token"):
        Path(name).write_text("a-token-of-good-length\n")
    lines = [words[1:] for words in commands(page) if words[0] == "universe2"]
    assert {words[0] for words in lines} >= {"serve", "train"}
    for words in lines:
        if words[0] == "serve":
            assert run(monkeypatch, *words, "--check") == 0
        elif "--remote" in words:
            assert "--token-file" in words, words


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_the_example_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    Path("serve.toml").write_text(example, "utf-8")
    for name in ("alice", "guests"):
        Path(f"{name}.token").write_text(f"the-token-of-{name}\n")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.pem"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    shutil.copy("server.pem", "clients.pem")
    assert run(monkeypatch, "serve", "--check", "--config", "serve.toml") == 0
    assert (
        capsys.readouterr().out == "the settings are right: 0.0.0.0:15900 (512 slots, token required, TLS)\n"
    )


def test_every_setting_is_there() -> None:
    flags = {f"--{name.replace('_', '-')}" for name in inspect.signature(serve.command).parameters}
    keys = {f.name for f in fields(ServerConfig)} - {"token", "holders"} | {"token_file", "tokens"}
    missing = [name for name in sorted(flags | keys) if f"`{name}`" not in PAGE]
    missing += [f.name for f in fields(Share) if f"`{f.name}`" not in PAGE]
    assert missing == []
    assert f"`{ENVIRONMENT_VARIABLE}`" in PAGE
    assert f"{MAX_VIEWERS} viewers" in PAGE


def test_defaults_are_those_of_the_code() -> None:
    default = ServerConfig()
    rows = dict(re.findall(r"\| `([a-z_]+)` \| (\d+)[^|]*\|", PAGE))
    assert rows.keys() >= {"port", "slots", "sessions", "queue", "lease", "open_deadline", "max_faults"}
    for name, said in rows.items():
        scale = 2**20 if name.endswith("_bytes") else 1
        assert getattr(default, name) == int(said) * scale, name


def test_every_metric_is_there_and_no_other() -> None:
    found: list[Metric] = list(Metrics(Capacity(1, 1)).registry.collect())
    names = {m.name + ("_total" if m.type == "counter" else "") for m in found}
    assert set(re.findall(r"`(universe2_\w+)", PAGE)) == names
