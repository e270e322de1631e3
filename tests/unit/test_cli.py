"""Bad input from the command line: one line on stderr, an exit code, no traceback. And the help."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import universe2
from universe2 import cli
from universe2.agents.config import TaskConfig, TrainConfig
from universe2.cli import envs, serve
from universe2.cli.play_terminal import TerminalScreen
from universe2.cli.train import runnable
from universe2.core.errors import MissingDependencyError
from universe2.core.registry import families, find, list_envs, register, unregister
from universe2.core.screen import ARROWS, BUTTONS, KEYS
from universe2.core.spec import EnvConfig
from universe2.server import Server, ServerConfig

GAME, TYPO, MAZE = "arcade/Breakout-v0", "arcade/Braekout-v0", "arcade/Maze-v0"
TOKEN = "a-token-of-good-length"
TRAIN = 'out_dir = "run"\nthreads = 1\n[tasks."{}"]\nslots = {}\n'
SUITE = 'name = "tiny"\n[[task]]\nenv_id = "{}"\nepisodes = 1\n'

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """``universe2 …`` in a folder with the files below: (exit code, what it said on stderr)."""
    monkeypatch.chdir(tmp_path)
    Path("token").write_text(TOKEN + "\n")
    Path("wrong").write_text("another-token-of-good-length\n")
    Path("short").write_text("secret\n")
    Path("train.toml").write_text(TRAIN.format(GAME, 1))
    Path("many.toml").write_text(TRAIN.format(GAME, 1000))
    Path("typo.toml").write_text(TRAIN.format(TYPO, 1))
    Path("key.toml").write_text(TRAIN.format(GAME, 1).replace("threads", "thread"))
    Path("token.toml").write_text('token_file = "nothing"\n' + TRAIN.format(GAME, 1))
    Path("broken.toml").write_text("out_dir = ")
    Path("binary").write_bytes(b"\xff\xfe")
    Path("proc.toml").write_text(TRAIN.format(GAME, 1).replace("run", "/proc/x"))
    Path("suite.toml").write_text(SUITE.format(GAME))
    Path("typo-suite.toml").write_text(SUITE.format(TYPO))

    def one(*arguments: str) -> tuple[int, str]:
        cli.app.registered_commands.clear()
        monkeypatch.setattr(sys, "argv", ["universe2", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        code = exit_info.value.code
        assert isinstance(code, int)
        return code, capfd.readouterr().err

    return one


@pytest.fixture
def guarded() -> Iterator[str]:
    """The address of a server of 8 slots that asks for TOKEN."""
    server = Server(ServerConfig(port=0, slots=8, token=TOKEN))
    server.start()
    yield server.address
    server.stop(1.0)


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def check(outcome: tuple[int, str], code: int, *words: str) -> None:
    assert outcome[0] == code, outcome[1]
    assert outcome[1].startswith("universe2: ")
    assert outcome[1].count("\n") == 1, outcome[1]
    for word in words:
        assert word in outcome[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("play", TYPO),
        ("evaluate", "random", "--suite", "typo-suite.toml"),
        ("train", "--config", "typo.toml"),
        ("train", "--config", "typo.toml", "--skip-missing"),
    ],
)
def test_an_unknown_id_suggests_near_ones(run: Run, arguments: tuple[str, ...]) -> None:
    check(run(*arguments), 2, repr(TYPO), "Did you mean", GAME)


def test_an_unknown_id_on_a_server(run: Run, guarded: str) -> None:
    check(run("play", TYPO, "--remote", guarded, "--token-file", "token"), 2, repr(TYPO), GAME)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("envs", TYPO), (repr(TYPO), "Did you mean", GAME)),
        (("envs", "arcades"), ("no family 'arcades'", "arcade, atari")),
        (("train", "--config", "nothing.toml"), ("cannot read the config nothing.toml",)),
        (("train", "--config", "broken.toml"), ("broken.toml is not TOML",)),
        (("train", "--config", "key.toml"), ("no key 'thread'", "Did you mean 'threads'?")),
        (("train", "--config", "token.toml"), ("read the token file nothing",)),
        (
            ("train", "--config", "train.toml", "--token-file", "nothing"),
            ("read the token file nothing",),
        ),
        (("train", "--config", "train.toml", "--resume"), ("nothing to resume",)),
        (("evaluate", "random", "--token-file", "nothing"), ("read the token file nothing",)),
        (("play", GAME, "--token-file", "nothing"), ("read the token file nothing",)),
        (("play", GAME, "--option", "difficulty"), ("--option takes name=value, got 'difficulty'",)),
        (("play", GAME, "--option", "difficulty=brutal"), ('must be "easy" or "hard", got \'brutal\'',)),
        (
            ("play", GAME, "--option", "max_steps=ten"),
            ("option max_steps must be a whole number, got 'ten'",),
        ),
        (("play", GAME, "--option", "levels=1"), ("has no option 'levels'",)),
        (("serve", "--token-file", "nothing"), ("read the token file nothing",)),
        (("serve", "--token-file", "short"), ("at least 16",)),
        (("serve", "--host", "0.0.0.0"), ("0.0.0.0 can be reached from other machines", "--token-file")),
        (("serve", "--port", "70000"), ("port must lie in 0..65535, got 70000",)),
        (("serve", "--log-level", "loud"), ("--log-level", "'loud'")),
        (("serve", "--max-message-mb", "nan"), ("--max-message-mb must be a number of MiB, got nan",)),
        (("serve", "--max-frame-mb", "inf"), ("--max-frame-mb must be a number of MiB, got inf",)),
        (("serve", "--config", "binary"), ("settings file binary is not text in UTF-8", "byte 0 is 0xff")),
        (("train", "--config", "binary"), ("the config binary is not text in UTF-8",)),
        (("evaluate", "random", "--suite", "binary"), ("the suite binary is not text in UTF-8",)),
        (("play", GAME, "--token-file", "binary"), ("the token in binary must be one line",)),
        (
            ("play", GAME, "--token-file", "suite.toml"),
            ("the token in suite.toml must be one line", "the token"),
        ),
        (("serve", "--tls-cert", "token", "--tls-key", "token"), ("the TLS key token is not PEM",)),
        (
            ("evaluate", "random", "--db", "/proc/x/y.sqlite"),
            ("cannot make the folder /proc/x", "No such file"),
        ),
        (("evaluate", "random", "--db", "token/x.sqlite"), ("cannot make the folder token", "File exists")),
        (("envs", "--interface", "foo", "arcade"), ('interface must be "native" or "screen", got \'foo\'',)),
        (("play", "pettingzoo/butterfly/pistonbal-v6"), ("Did you mean pettingzoo/butterfly/pistonball-v6",)),
        (("serve", "--check", "--behind", "nonsense"), ("--behind: a remote is host:port", "'nonsense'")),
        (("serve", "--check", "--behind", ""), ("--behind: a remote is empty",)),
        (("serve", "--behind", ""), ("--behind: a remote is empty",)),
        (("serve", "--check", "--behind", "a:1", "--behind", "a:1"), ("--behind names a server twice: a:1",)),
        (
            ("serve", "--check", "--port", "7", "--behind", "localhost:7"),
            ("--behind localhost:7 is this server itself",),
        ),
        (
            ("serve", "--check", "--behind", "a:1", "--behind-token-file", "nothing"),
            ("read the token file nothing",),
        ),
        (("serve", "--check", "--behind", "a:1", "--behind-token-file", "short"), ("at least 16",)),
        (("serve", "--check", "--behind-token-file", "token"), ("--behind-token-file", "none is named")),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    check(run(*arguments), 2, *words)


def test_a_folder_that_cannot_be_made(run: Run) -> None:
    check(run("train", "--config", "proc.toml"), 1, "cannot make the folder /proc/x: No such file", "out_dir")


def test_a_program_that_is_no_browser(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIVERSE2_CHROMIUM", "/bin/true")
    outcome = run("play", "web/click-test-2-v0")
    check(
        outcome, 1, "/bin/true, which UNIVERSE2_CHROMIUM names, does not run as a browser", "headless shell"
    )
    assert "Fault" not in outcome[1]  # nor what went wrong inside
    assert len(outcome[1]) < 300


@pytest.fixture
def broken_game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of a game whose file raises when it is imported."""
    (tmp_path / "broken_game.py").write_text("SIZE = 64\nHALF = SIZE / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = dataclasses.replace(find(GAME), id="arcade/Broken-v0", entry="broken_game:GAME")
    yield register(spec).id
    unregister(spec.id)


def test_a_game_whose_file_raises(run: Run, broken_game: str) -> None:
    words = "broken_game:GAME can't be loaded: ZeroDivisionError: division by zero", "broken_game.py:2)"
    check(run("play", broken_game), 2, *words)
    app = typer.Typer()
    app.command()(envs.command)
    result = CliRunner().invoke(app, ["arcade", "--json"])
    rows = {row["id"]: row for row in map(json.loads, result.output.splitlines())}
    assert all(word in rows[broken_game]["status"] for word in words)
    assert not rows[broken_game]["runnable"]
    assert rows[GAME]["runnable"]
    assert (rows[GAME]["family"], rows[GAME]["missing"], rows[GAME]["multi_agent"]) == ("arcade", [], False)


PLACES = [
    ("play", GAME),
    ("evaluate", "random", "--suite", "suite.toml"),
    ("train", "--config", "train.toml"),
]


@pytest.mark.parametrize("arguments", PLACES)
def test_a_server_that_is_gone(run: Run, nobody: str, arguments: tuple[str, ...]) -> None:
    check(run(*arguments, "--remote", nobody), 1, nobody, "nobody listens there")


@pytest.mark.parametrize("arguments", PLACES)
@pytest.mark.parametrize(
    ("remote", "words"),
    [
        ("", ("a remote is empty", "is a variable not set?")),
        ("foo", ("a remote is host:port", "got 'foo'", "15900")),
        ("foo:bar", ("a remote is host:port", "got 'foo:bar'")),
        ("foo:70000", ("a port from 1 to 65535", "got 'foo:70000'")),
        ("http://foo:1", ("a remote is host:port or tls://host:port", "got 'http://foo:1'")),
        ("tls://foo:1?ca=token", ("the TLS ca token is not PEM",)),
    ],
)
def test_an_address_that_cannot_be_one(
    run: Run, arguments: tuple[str, ...], remote: str, words: tuple[str, ...]
) -> None:
    check(run(*arguments, "--remote", remote), 2, *words)


@pytest.mark.parametrize("arguments", PLACES)
def test_a_wrong_token(run: Run, guarded: str, arguments: tuple[str, ...]) -> None:
    wrong = run(*arguments, "--remote", guarded, "--token-file", "wrong")
    check(wrong, 1, guarded, "the token is wrong", "--token-file")
    check(run(*arguments, "--remote", guarded), 1, guarded, "asks for a token", "--token-file")


def test_too_few_slots(run: Run, guarded: str) -> None:
    outcome = run("train", "--config", "many.toml", "--remote", guarded, "--token-file", "token")
    check(outcome, 1, "1000", "8")


@pytest.mark.parametrize("count", [1, 2])
def test_another_version_of_the_wire(run: Run, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("universe2.server.opening.PROTOCOL", 7)
    monkeypatch.setattr("universe2.server.service.PROTOCOL", 7)
    servers = [Server(ServerConfig(port=0)) for _ in range(count)]
    for server in servers:
        server.start()
    remotes = [part for server in servers for part in ("--remote", server.address)]
    try:
        check(run("train", "--config", "train.toml", *remotes), 1, "protocol", "7", "1")
    finally:
        for server in servers:
            server.stop(1.0)


def test_a_missing_package(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    check(run("play", "atari/Pong-v0"), 1, "ale-py", "pip install")


def test_no_browser(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universe2.runtimes.browser.find_chromium", lambda: None)
    monkeypatch.setattr("universe2.envs.web.chromium.find_chromium", lambda: None)
    check(run("play", "web/click-test-2-v0"), 1, "chromium-headless-shell")


def test_the_real_command_says_no_more(nobody: str) -> None:
    """Nor do gRPC, loggers and the interpreter, each of which can write to stderr by itself."""
    done = really("play", GAME, "--remote", nobody)
    check((done.returncode, done.stderr), 1, nobody)
    assert done.stdout == ""


def test_nothing_is_drawn_before_an_error() -> None:
    done = really("play", GAME, "--seed", "-1", "--terminal")
    check((done.returncode, done.stderr), 2, "seed must lie in [0, 2**63), got -1")
    assert done.stdout == ""


def test_a_taken_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = really("serve", "--port", port)
    check((done.returncode, done.stderr), 2, f"cannot listen on 127.0.0.1:{port}", "taken")
    assert done.stdout == ""


LAMPS = """
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv
gym.register("Lamp-v0", CartPoleEnv)
"""


def test_what_another_package_registers_is_found_once_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lamps.py").write_text(LAMPS)
    found = really("--import", "lamps", "envs", "gymnasium/Lamp-v0")
    assert (found.returncode, found.stderr) == (0, "")
    assert "gymnasium/Lamp-v0" in found.stdout
    lost = really("envs", "gymnasium/Lamp-v0")
    check((lost.returncode, lost.stderr), 2, "gymnasium/Lamp-v0", "universe2 --import PACKAGE")
    wrong = really("--import", "lmps", "envs")
    check((wrong.returncode, wrong.stderr), 2, "--import lmps: No module named 'lmps'", str(tmp_path))


def really(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``universe2 …`` in a process of its own."""
    argv = [sys.executable, "-m", "universe2", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_help_describes_the_verbs_and_every_option() -> None:
    cli.app.registered_commands.clear()
    cli._add_verbs()
    group = typer.main.get_command(cli.app)
    assert list(group.commands) == list(cli.VERBS)  # type: ignore[attr-defined]
    for verb, command in group.commands.items():  # type: ignore[attr-defined]
        assert len(command.help) > 60, verb
        for param in command.params:
            assert getattr(param, "help", None), f"universe2 {verb}: {param.name} has no description"


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help_fills_the_lines_of_a_terminal(verb: str) -> None:
    cli.app.registered_commands.clear()
    cli._add_verbs()
    shown = CliRunner().invoke(cli.app, [verb, "--help"], env={"COLUMNS": "80"}).output
    text = [line[1:].rstrip() for line in shown.partition("╭")[0].split("\n")]
    for line, following in pairwise(text):
        if line and following and not line.startswith(" "):
            assert len(line) + 1 + len(following.split()[0]) > 78, line
    command = importlib.import_module(f"universe2.cli.{verb}").command
    examples = inspect.cleandoc(command.__doc__.replace("\\[", "[")).split("\n")
    assert [line for line in text[2:] if line.startswith(" ")] == [x for x in examples if x.startswith(" ")]


def test_help_shows_what_stands_in_brackets() -> None:
    app = typer.Typer()
    app.command()(serve.command)
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "arcade,atari [all]." in shown
    assert "same address [none]." in shown


def test_tasks_are_left_out_by_what_the_servers_lack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def open_runtime(env_id: str, slots: int, config: EnvConfig, **where: Any) -> Any:
        asked.extend(where["remotes"])
        if env_id == GAME:
            raise MissingDependencyError(f"{env_id} needs a compiler")
        return SimpleNamespace(close=lambda: None)  # an id that isn't known here

    monkeypatch.setattr(universe2, "open_runtime", open_runtime)
    tasks = (TaskConfig(env_id="far/Away-v0"), TaskConfig(env_id=GAME))
    assert runnable(TrainConfig(tasks=tasks, out_dir="x", remotes=("a:1", "b:2"))) == tasks[:1]
    assert asked == ["a:1", "b:2"] * 2
    assert capsys.readouterr().err == f"left out: {GAME} needs a compiler\n"


def test_the_version() -> None:
    cli.app.registered_commands.clear()
    cli._add_verbs()
    assert CliRunner().invoke(cli.app, ["--version"]).output == f"universe2 {universe2.__version__}\n"


def test_one_environment_with_its_options() -> None:
    app = typer.Typer()
    app.command()(envs.command)
    shown = CliRunner().invoke(app, [MAZE]).output
    assert "Eat every pellet" in shown
    assert re.search(r"difficulty +'easy'\n", shown)
    (line,) = CliRunner().invoke(app, [MAZE, "--json"]).output.splitlines()
    row = json.loads(line)
    assert (row["id"], row["options"]["max_steps"]) == (MAZE, 500)
    assert row["description"].startswith("Eat every pellet")


def test_options_without_effect_under_an_interface_are_not_shown() -> None:
    app = typer.Typer()
    app.command()(envs.command)

    def options(interface: str) -> set[str]:
        (line,) = CliRunner().invoke(app, [MAZE, "--json", "--interface", interface]).output.splitlines()
        return set(json.loads(line)["options"])

    assert options("native") - options("screen") == {"size"}
    assert options("screen") < options("native")


@pytest.mark.parametrize("width", ["80", "200"])
def test_the_list_of_environments_puts_equal_spaces_together(width: str) -> None:
    """Each id is there once, whatever the width; ``--json`` gives each a line of its own."""
    command = [sys.executable, "-m", "universe2", "envs", "arcade"]
    environment = {**os.environ, "COLUMNS": width}
    shown, lines = (
        subprocess.run([*command, *more], capture_output=True, text=True, env=environment, timeout=60).stdout
        for more in ([], ["--json"])
    )
    ids = [json.loads(line)["id"] for line in lines.splitlines()]
    assert "arcade/Snake-v0" in ids
    assert [shown.split().count(env_id) for env_id in ids] == [1] * len(ids)
    assert f"{len(ids)} environments" in shown
    assert shown.count("action      Discrete(3)\n") == 1
    assert "observation 4 × uint8 (64, 64, 3)" in shown  # four players


def test_ids_that_are_not_known_beforehand_are_listed_when_asked_for() -> None:
    """With what each lacks; and a server may offer them."""
    app = typer.Typer()
    app.command()(envs.command)
    lines = [
        json.loads(line) for line in CliRunner().invoke(app, ["pettingzoo", "--json"]).output.splitlines()
    ]
    rows = {line["id"]: line for line in lines}
    assert rows["pettingzoo/classic/rps-v2"]["runnable"]
    assert not rows["pettingzoo/atari/pong-v3"]["runnable"]
    assert "pip install" in rows["pettingzoo/atari/pong-v3"]["status"]
    assert "pip install" in rows["pettingzoo/atari/pong-v3"]["missing"][0]["get"]
    assert "pettingzoo" in families()
    assert not [spec for spec in list_envs() if spec.family == "pettingzoo"]
    assert ServerConfig(families=("pettingzoo",)).families == ("pettingzoo",)


def test_an_instruction_is_shown_whole_below_the_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "20")
    screen = TerminalScreen()
    screen.show(np.zeros((64, 64, 3), np.uint8), f"return 3 | {'word ' * 12}end")
    screen.close()
    told = capsys.readouterr().out.rpartition("▀")[2]
    assert "return 3" in told
    assert told.count("word") == 12
    assert "end" in told


def test_play_without_a_screen_or_a_keyboard(run: Callable[..., tuple[int, str]]) -> None:
    check(run("play", GAME, "--terminal"), 2, "play needs a display, or a terminal")


def test_play_for_several_without_scripted_players(run: Callable[..., tuple[int, str]]) -> None:
    check(run("play", "pettingzoo/classic/rps-v2"), 2, "has no scripted ones to play against")


def test_a_mouse_in_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "36")
    keyboard, terminal = pty.openpty()
    with os.fdopen(terminal) as stdin, os.fdopen(keyboard, "wb", buffering=0) as typing:
        monkeypatch.setattr(sys, "stdin", stdin)
        screen = TerminalScreen(mouse=True)
        screen.show(np.zeros((64, 64, 3), np.uint8), "")  # 64 columns, 32 lines

        def action(typed: bytes) -> list[int]:
            typing.write(typed)
            found = screen.action(time.monotonic() + 0.5)
            assert found is not None
            return found.tolist()

        click, press, release, wheel = map(BUTTONS.index, ("click", "press", "release", "wheel-down"))
        assert action(b"\x1b[<0;33;9M\x1b[<0;33;9m") == [0, 0, 32, 16, click]
        assert action(b"\x1b[<0;1;1M") == [0, 0, 0, 0, press]
        assert action(b"\x1b[<0;70;40ma") == [0, KEYS.index("a"), 63, 63, release]
        assert action(b"\x1b[<65;70;40M\x1b[A") == [ARROWS.index("up"), 0, 63, 63, wheel]
        assert action(b"") == [0, 0, 63, 63, 0]  # it stays where it was
        keys = [action(typed)[1] for typed in (b"Bo\x1b[5~\x01", b"", b"", b"", b"", b"")]
        assert [KEYS[key] for key in keys] == ["Shift", "b", "o", "PageUp", "Control+A", "none"]
        screen.close()
    drawn = capsys.readouterr().out
    assert "\x1b[?1000h" in drawn
    assert drawn.index("\x1b[?1000l") > drawn.index("\x1b[?1000h")
