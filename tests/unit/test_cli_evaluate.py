"""``universe2 evaluate`` and ``universe2 leaderboard``: what they write, and errors of one line."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_count_env
import pytest
from command_line import run
from fake_count_env import count_spec
from typer.testing import CliRunner

import universe2
from universe2 import cli
from universe2.agents.evaluate_suite import load_suite
from universe2.cli import evaluate, leaderboard
from universe2.core.errors import ServerLostError, UsageError
from universe2.core.registry import register, unregister
from universe2.core.spec import Requirement
from universe2.trace import EpisodeStore

ENV = "test/Count-v0"
SUITE = f'name = "tiny"\n[[task]]\nenv_id = "{ENV}"\nepisodes = 5\n'


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    register(count_spec(random=5.0, heuristic=10.0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "VERBS", ("evaluate", "leaderboard"))
    Path("suite.toml").write_text(SUITE)
    yield
    fake_count_env.DRIFT[0] = 0.0
    unregister(ENV)


def test_evaluate_verify_rank(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    play = ("evaluate", "random", "--suite", "suite.toml", "--interface", "native", "--db", "e.sqlite")
    assert run(monkeypatch, *play, "--slots", "2") == 0
    assert "5 episodes stored in e.sqlite" in capsys.readouterr().out
    assert run(monkeypatch, *play, "--name", "other", "--episodes", "3") == 0
    assert run(monkeypatch, "evaluate", "--verify", "e.sqlite") == 0
    assert capsys.readouterr().out.count("replay-verified") == 2
    files = ("--markdown", "r.md", "--json", "out/r.json", "--html", "r.html", "--clip", "random")
    assert run(monkeypatch, "leaderboard", "e.sqlite", *files) == 0
    # Another number of episodes is another suite, which is never compared with the first.
    written = json.loads(Path("out/r.json").read_text())
    assert [[e["name"] for e in suite["entries"]] for suite in written] == [["other"], ["random"]]
    assert {e["tier"] for suite in written for e in suite["entries"]} == {"replay-verified"}
    assert ENV in Path("r.md").read_text()
    assert "image/webp" in Path("r.html").read_text()
    fake_count_env.DRIFT[0] = 1.0
    assert run(monkeypatch, "evaluate", "--verify", "e.sqlite") == 1
    assert "8 of 8 episodes did not come out the same" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("UPDATE episodes SET config = '{bad' WHERE run = 1", "config is not JSON"),
        ("UPDATE episodes SET config = json_set(config, '$.foo', 1) WHERE id = 2", "its config is none"),
        ("UPDATE runs SET suite_content = '{}' WHERE id = 1", "e.sqlite, run 1 (random): the suite of a run"),
        ("UPDATE runs SET suite_hash = 'x' WHERE id = 1", "e.sqlite, run 1 (random): a run of suite"),
    ],
)
def test_a_run_that_is_malformed_ends_no_verification(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], edit: str, told: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    play = ("evaluate", "random", "--suite", "suite.toml", "--interface", "native", "--db", "e.sqlite")
    for name in ("random", "second"):
        assert run(monkeypatch, *play, "--name", name) == 0
    assert run(monkeypatch, "evaluate", "--verify", "e.sqlite") == 0
    with sqlite3.connect("e.sqlite") as db:
        db.execute(edit)
    capsys.readouterr()
    assert run(monkeypatch, "evaluate", "--verify", "e.sqlite") == 1
    said = capsys.readouterr()
    assert told in said.out
    assert "run 2 second: 5 episodes, replay-verified" in said.out
    assert "Traceback" not in said.err
    tiers = db.execute("SELECT tier FROM runs ORDER BY id").fetchall()
    assert tiers == [("differs" if "episodes" in edit else "self-reported",), ("replay-verified",)]
    db.close()


def test_the_leaderboard_replays_before_it_ranks_if_told_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play = ("evaluate", "random", "--suite", "suite.toml", "--interface", "native", "--db", "e.sqlite")
    assert run(monkeypatch, *play) == 0
    assert run(monkeypatch, "leaderboard", "e.sqlite", "--verify", "--json", "r.json") == 0
    assert json.loads(Path("r.json").read_text())[0]["entries"][0]["tier"] == "replay-verified"
    with EpisodeStore("e.sqlite") as store, sqlite3.connect("e.sqlite") as db:
        db.execute("UPDATE episodes SET return = return + 5 WHERE id = 2")
        db.commit()
        store.set_tier(1, "replay-verified", store.digest(1))  # a lie that fits
    db.close()
    assert run(monkeypatch, "leaderboard", "e.sqlite", "--json", "r.json") == 0
    assert json.loads(Path("r.json").read_text())[0]["entries"][0]["tier"] == "replay-verified"
    capsys.readouterr()
    assert run(monkeypatch, "leaderboard", "e.sqlite", "--verify", "--json", "r.json") == 1
    (entry,) = json.loads(Path("r.json").read_text())[0]["entries"]
    assert (entry["tier"], entry["rank"]) == ("differs", None)
    assert "e.sqlite: 1 of 5 episodes did not come out the same" in capsys.readouterr().err


def test_a_store_that_can_not_be_written_is_replayed_and_its_own_marks_count_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    play = ("evaluate", "random", "--suite", "suite.toml", "--interface", "native", "--db", "e.sqlite")
    for name in ("sound", "forged", "of another place"):
        assert run(monkeypatch, *play, "--name", name) == 0
    with EpisodeStore("e.sqlite") as store, sqlite3.connect("e.sqlite") as db:
        db.execute("UPDATE episodes SET return = return + 5 WHERE run = 2")
        db.execute("UPDATE episodes SET spec_hash = 'x' WHERE run = 3")
        db.commit()
        store.set_tier(2, "replay-verified", store.digest(2))
        store.set_tier(3, "replay-verified", store.digest(3))
    db.close()

    def set_tier(*_: Any) -> None:
        raise UsageError("cannot write to e.sqlite: attempt to write a readonly database")

    monkeypatch.setattr(EpisodeStore, "set_tier", set_tier)
    capsys.readouterr()
    out = ("--json", "r.json", "--html", "r.html")
    assert run(monkeypatch, "leaderboard", "e.sqlite", "--verify", *out) == 1
    said = capsys.readouterr()
    assert "the file keeps the marks it had: cannot write to e.sqlite" in said.out
    assert "e.sqlite: 10 of 15 episodes did not come out the same" in said.err
    (suite,) = json.loads(Path("r.json").read_text())
    tiers = {entry["name"]: entry["tier"] for entry in suite["entries"]}
    told = {"sound": "replay-verified", "forged": "differs", "of another place": "self-reported"}
    assert tiers == told
    assert "of another place could not be replayed just now" in Path("r.html").read_text()


@pytest.mark.parametrize("columns", [80, 120, 240])
def test_nothing_that_counts_is_cut_in_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    play = ("evaluate", "random", "--suite", "suite.toml", "--interface", "native", "--db", "e.sqlite")
    for name in ("random", "champ", "a bot of a longer name"):
        assert run(monkeypatch, *play, "--name", name) == 0
    assert run(monkeypatch, "evaluate", "--verify", "e.sqlite") == 0
    assert run(monkeypatch, "leaderboard", "e.sqlite", "--json", "r.json") == 0
    said = capsys.readouterr().out.split("replay-verified", 3)[3]
    assert max(map(len, said.splitlines())) <= columns
    tables = "".join(line for line in said.splitlines(keepends=True) if line[:1] in "┃│")
    assert "outcome" not in tables
    assert tables.count("replay-verified") == 3
    for entry in json.loads(Path("r.json").read_text())[0]["entries"]:
        for point, low, high in (entry["score"], entry["tasks"][ENV]["return"]):
            assert f"{point:.2f} [{low:.2f}, {high:.2f}]" in tables
    assert f"│ {ENV} │" in tables
    assert "5 … 10" in tables


def test_a_run_that_did_not_finish_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play = ("evaluate", "random", "--suite", "suite.toml", "--interface", "native", "--db", "e.sqlite")
    assert run(monkeypatch, *play) == 0
    with EpisodeStore("e.sqlite") as store:
        store.end_run(1, "failed: [node7] is gone")
    assert run(monkeypatch, "leaderboard", "e.sqlite") == 0
    assert "random: failed: [node7] is gone" in capsys.readouterr().out


def test_a_name_is_no_markup(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    play = ("evaluate", "random", "--suite", "suite.toml", "--interface", "native", "--db", "e.sqlite")
    assert run(monkeypatch, *play, "--name", "net[big] [/b]") == 0
    assert run(monkeypatch, "evaluate", "--verify", "e.sqlite") == 0
    assert "net[big] [/b]" in capsys.readouterr().out
    assert run(monkeypatch, "leaderboard", "e.sqlite") == 0
    assert capsys.readouterr().out.count("net[big] [/b]") == 2


def test_neither_is_what_is_said_of_a_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    needs = (Requirement("no_such_package", 'pip install "universe2[some-extra]"'),)
    register(replace(count_spec("test/Needy-v0"), requires=needs))
    odd = f'[[task]]\nenv_id = "{ENV}"\nepisodes = 5000\nname = "x [/hard]"\nmax_seconds = 1e-9\n'
    needy = '[[task]]\nenv_id = "test/Needy-v0"\nepisodes = 1\n'
    Path("odd.toml").write_text(SUITE + odd + needy)
    try:
        play = ("evaluate", "random", "--suite", "odd.toml", "--interface", "native", "--db", "e [/x].sqlite")
        assert run(monkeypatch, *play, "--skip-missing") == 1
        said = capsys.readouterr()
        for told in ('pip install "universe2[some-extra]"', "in e [/x].sqlite"):
            assert told in said.out
        assert said.err == "universe2: out of time: x [/hard] (0 of 5000 episodes)\n"
        with EpisodeStore("e [/x].sqlite") as store:  # as if it had been played where it can be
            run_id, suite = store.run_ids()[0], load_suite("odd.toml")
            store.set_suite(run_id, suite.hash, suite.content)
        run(monkeypatch, "leaderboard", "e [/x].sqlite", "--html", "r [/x].html", "--clip", "random")
        said = capsys.readouterr()
        assert "no clip test/Needy-v0 needs" in said.out
        assert 'pip install "universe2[some-extra]"' in said.out
        assert "wrote r [/x].html" in said.out
    finally:
        unregister("test/Needy-v0")


def test_faults_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("faulty.toml").write_text(SUITE + "seed = 7\noptions = { fault_seeds = [8], fault_times = 1 }\n")
    assert run(monkeypatch, "evaluate", "random", "--suite", "faulty.toml", "--db", "e.sqlite") == 0
    said = capsys.readouterr().out
    assert f"{ENV}: latest fault: worker died" in said
    assert "5 episodes stored" in said


def test_a_seed_that_is_given_up_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("faulty.toml").write_text(SUITE + "seed = 7\noptions = { fault_seeds = [8], fault_times = 9 }\n")
    assert run(monkeypatch, "evaluate", "random", "--suite", "faulty.toml", "--db", "e.sqlite") == 1
    said = capsys.readouterr()
    assert "4 episodes stored" in said.out
    assert said.err == f"universe2: given up after faults: {ENV} (4 of 5 episodes)\n"
    with EpisodeStore("e.sqlite") as store:
        assert store.runs()[0].outcome == f"given up after faults: {ENV} (4 of 5 episodes)"


def test_nothing_played_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs = (Requirement("no_such_package", "pip install it"),)
    unregister(ENV)
    register(replace(count_spec(), requires=needs))
    play = ("evaluate", "random", "--suite", "suite.toml", "--db", "e.sqlite", "--skip-missing")
    assert run(monkeypatch, *play) == 1
    said = capsys.readouterr()
    assert "episodes stored" not in said.out
    assert said.err.startswith(f"universe2: no task can run there: {ENV}: {ENV} needs no_such_package")
    assert said.err.count("\n") == 1
    with EpisodeStore("e.sqlite") as store:
        assert store.runs()[0].outcome.startswith("failed: no task can run there")


def test_a_lost_server_is_named_with_its_task_and_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("two.toml").write_text(SUITE + f'[[task]]\nname = "second"\nenv_id = "{ENV}"\nepisodes = 2\n')
    opened, opens = universe2.open_runtime, iter([True, False])

    def open_runtime(*arguments: Any, **more: Any) -> Any:
        if next(opens):
            return opened(*arguments, **more)
        raise ServerLostError("node7:15900: the connection broke")

    monkeypatch.setattr(universe2, "open_runtime", open_runtime, raising=False)
    play = ("evaluate", "random", "--suite", "two.toml", "--interface", "native", "--db", "e.sqlite")
    assert run(monkeypatch, *play) == 1
    said = capsys.readouterr().err
    kept = "the 5 episodes that had ended are kept in e.sqlite"
    assert said == f"universe2: node7:15900: the connection broke (task second; {kept})\n"
    with EpisodeStore("e.sqlite") as store:
        assert store.runs()[0].outcome == "failed: node7:15900: the connection broke"


def test_a_server_that_is_lost_at_once_leaves_no_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def open_runtime(*_: Any, **__: Any) -> Any:
        raise ServerLostError("node7:15900: nobody listens there")

    monkeypatch.setattr(universe2, "open_runtime", open_runtime, raising=False)
    play = ("evaluate", "random", "--suite", "suite.toml", "--interface", "native", "--db", "e.sqlite")
    assert run(monkeypatch, *play) == 1
    said = capsys.readouterr()
    assert (said.out.strip(), said.err.count("\n")) == ("", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate"], "name a policy"),
        (["evaluate", "nothing.pt"], "no policy 'nothing.pt'"),
        (["evaluate", "random", "--suite", "nothing"], "no suite 'nothing'"),
        (["evaluate", "random", "--interface", "voice"], "must be screen or native"),
        (["evaluate", "random", "--suite", "bad.toml"], "is not TOML"),
        (["evaluate", "random", "--suite", "unknown.toml"], "test/Count-v0"),
        (
            ["evaluate", "random", "--suite", "suite.toml", "--token-file", "nothing"],
            "cannot read the token file",
        ),
        (["evaluate", "random", "--wait", "3"], "--wait has an effect with --remote only"),
        (["evaluate", "--verify", "e.sqlite", "--wait", "3"], "--wait has an effect with --remote only"),
        (["evaluate", "random", "--token-file", "token"], "--token-file has an effect with --remote only"),
        (["evaluate", "bot:make", "--interface", "native"], "--interface is for `random`; bot:make says"),
        (["evaluate", "a/checkpoint", "--interface", "screen"], "--interface is for `random`; a/checkpoint"),
        (["evaluate", "--verify", "nothing.sqlite"], "no episode store"),
        (["evaluate", "random", "--verify", "nothing.sqlite"], "leave the policy out"),
        (["evaluate", "--verify", "x", "--suite", "demo", "--seed", "3"], "leave --suite, --seed out"),
        (["leaderboard", "--clip", "random"], "--clip has an effect with --html only"),
        (
            ["leaderboard", "--html", "r.html", "--remote", "a:1"],
            "--remote has an effect with --clip or --verify only",
        ),
        (["leaderboard"], "no episode store at runs/episodes.sqlite"),
        (["leaderboard", "suite.toml"], "not an episode store"),
    ],
)
def test_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    Path("bad.toml").write_text("name = ")
    Path("token").write_text("a token of many characters".replace(" ", "-"))
    Path("unknown.toml").write_text(SUITE.replace("Count-v0", "Cuont-v0"))
    assert run(monkeypatch, *arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("universe2: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("verb", [evaluate, leaderboard])
def test_help_reads_like_documentation(verb: object) -> None:
    import typer

    app = typer.Typer()
    app.command()(verb.command)  # type: ignore[attr-defined]
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output
    assert "Examples:" in text
    assert "faults" in text or "fault" in text
