"""The episode store: round trips, refusals, and appending from several processes."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from universe2.core.batch import Fault
from universe2.core.errors import ProtocolError, UsageError, VersionError
from universe2.trace import EpisodeStore, Run, StoredEpisode, unpack_actions

RUN = Run(
    name="tester",
    kind="random",
    policy="random",
    policy_hash="00",
    suite="tiny",
    suite_hash="ab",
    suite_content={"task": [{"env_id": "test/A-v0", "episodes": 2}]},
    references={"test/A-v0": {"random": 0.0, "heuristic": 1.0}},
    versions={"numpy": np.__version__},
    hardware={"cores": 2},
)


def episode(run: int, seed: int = 0, **changes: Any) -> StoredEpisode:
    base = StoredEpisode(
        run=run,
        task="test/A-v0",
        env_id="test/A-v0",
        spec_hash="cd",
        config={"interface": "screen"},
        seed=seed,
        total=1.5,
        length=3,
        terminated=True,
        truncated=False,
        actions=b"\0\1",
        trajectory="ef",
        observations="01",
        info={"success": True},
        wall_seconds=0.25,
    )
    return replace(base, **changes)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "episodes.sqlite"
    with EpisodeStore(path) as store:
        number = store.add_run(RUN)
        stored = episode(number)
        cut = episode(
            number, 1, terminated=False, fault=Fault.INFRASTRUCTURE, fault_text="browser died", info={}
        )
        ids = [store.add_episode(stored), store.add_episode(cut)]
        store.end_run(number, "finished")
    with EpisodeStore(path, must_exist=True) as store:
        (run,) = store.runs()
        assert run.ended is not None
        assert run.ended >= run.started
        assert replace(run, ended=None, outcome="running", id=0) == RUN
        assert list(store.episodes()) == [replace(stored, id=ids[0]), replace(cut, id=ids[1])]
        assert list(store.episodes(number, whole=True)) == [replace(stored, id=ids[0])]
        assert list(store.episodes(number, "test/A-v0", whole=False)) == [replace(cut, id=ids[1])]
        assert list(store.episodes(task="test/B-v0")) == []


def test_cut_episodes_count_nowhere(tmp_path: Path) -> None:
    with EpisodeStore(tmp_path / "db") as store:
        number = store.add_run(RUN)
        cut = {"terminated": False, "fault": Fault.ENVIRONMENT, "total": 99.0}
        store.add_episode(episode(number, 7, **cut))
        store.add_episode(episode(number, 7, **cut))
        store.add_episode(episode(number, 7, total=2.0))
        assert store.returns(number) == {"test/A-v0": {7: 2.0}}
        assert store.cut_counts(number) == {"test/A-v0": 2}


def test_a_seed_scores_once_and_flags_must_agree_with_fault(tmp_path: Path) -> None:
    with EpisodeStore(tmp_path / "db") as store:
        number = store.add_run(RUN)
        store.add_episode(episode(number))
        with pytest.raises(UsageError, match="UNIQUE"):
            store.add_episode(episode(number))
        with pytest.raises(UsageError, match="CHECK"):
            store.add_episode(episode(number, 1, terminated=False))
        with pytest.raises(UsageError, match="FOREIGN KEY"):
            store.add_episode(episode(number + 1, 2))
        assert len(list(store.episodes())) == 1


def test_info_becomes_plain(tmp_path: Path) -> None:
    info = {"success": np.bool_(True), "x": np.float32(0.5), "nan": float("nan"), "big": np.zeros((9, 9))}
    with EpisodeStore(tmp_path / "db") as store:
        number = store.add_run(RUN)
        store.add_episode(episode(number, info={**info, "small": np.arange(2)}))
        (found,) = store.episodes()
    assert found.info == {
        "success": True,
        "x": 0.5,
        "nan": "nan",
        "big": "<float64 array (9, 9)>",
        "small": [0, 1],
    }


def test_texts_that_utf_8_can_not_express_are_stored_escaped(tmp_path: Path) -> None:
    with EpisodeStore(tmp_path / "e.sqlite") as store:
        run = store.add_run(RUN)
        text = "no level \udcff.txt, à vous"
        store.add_episode(episode(run, terminated=False, fault=Fault.ENVIRONMENT, fault_text=text))
        (stored,) = store.episodes()
    assert stored.fault_text == r"no level \udcff.txt, à vous"


def test_refuses_other_files(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a database, but long enough to be looked at " * 10)
    with pytest.raises(UsageError, match="not an episode store"):
        EpisodeStore(text)
    other = tmp_path / "other"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    with pytest.raises(UsageError, match="something else"):
        EpisodeStore(other)
    with pytest.raises(UsageError, match="no episode store"):
        EpisodeStore(tmp_path / "nothing", must_exist=True)
    assert not (tmp_path / "nothing").exists()


def test_a_database_of_something_else_stays_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "other"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    before = other.read_bytes()
    with pytest.raises(UsageError, match="something else"):
        EpisodeStore(other)
    assert other.read_bytes() == before


def test_a_store_that_can_not_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universe2.trace.store._BUSY_SECONDS", 0.0)
    EpisodeStore(tmp_path / "db").close()
    db = sqlite3.connect(tmp_path / "db", isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    with EpisodeStore(tmp_path / "db") as store:
        assert store.runs() == []
        with pytest.raises(UsageError, match=r"cannot write to .*: database is locked"):
            store.add_run(RUN)
    db.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a store of one run. Its parents are open to all, which those of ``tmp_path`` are not."""
    with tempfile.TemporaryDirectory() as name:
        with EpisodeStore(Path(name) / "a store") as store:
            store.add_run(RUN)
        yield Path(name)


@contextmanager
def not_mine(folder: Path) -> Iterator[None]:
    """This process may write nothing there meanwhile."""
    mine = os.geteuid()
    folder.chmod(0o555)
    if mine == 0:
        os.seteuid(65534)  # root may write everywhere
    try:
        yield
    finally:
        os.seteuid(mine)
        folder.chmod(0o755)


def test_what_can_not_be_written_can_be_read(folder: Path) -> None:
    with not_mine(folder):
        with EpisodeStore(folder / "a store", must_exist=True) as store:
            assert [run.name for run in store.runs()] == ["tester"]
            assert store.returns(1) == {}
            with pytest.raises(UsageError, match=r"cannot write to .*readonly database"):
                store.set_tier(1, "differs")
        with pytest.raises(UsageError, match=r"can't be written: .*yours"):
            EpisodeStore(folder / "a store")


def test_what_is_not_written_back_yet_is_not_left_out_in_silence(folder: Path) -> None:
    left = folder / "a store-wal"
    left.write_bytes(b"episodes")
    left.chmod(0o444)
    told = r"what a store-wal beside it holds can't be read"
    with not_mine(folder), pytest.raises(UsageError, match=told):
        EpisodeStore(folder / "a store", must_exist=True)


def test_an_old_store_that_can_not_be_written_says_so(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "a store")) as db:
        db.execute("PRAGMA user_version=1")
    told = r"has schema 1 and can't be brought up to date"
    with not_mine(folder), pytest.raises(UsageError, match=told):
        EpisodeStore(folder / "a store", must_exist=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"total": float("nan")}, "return is NaN"),
        ({"seed": 2**63}, "seed has 64 bits"),
        ({"info": {"x": 10**5000}}, "info can't be stored"),
    ],
)
def test_numbers_that_a_store_can_not_hold_are_refused(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with EpisodeStore(tmp_path / "db") as store:
        number = store.add_run(RUN)
        with pytest.raises(UsageError, match=told):
            store.add_episode(episode(number, **changes))
        assert list(store.episodes()) == []


def test_refuses_other_versions(tmp_path: Path) -> None:
    path = tmp_path / "db"
    EpisodeStore(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(VersionError, match="schema 99"):
        EpisodeStore(path)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE episodes SET return = return + 5 WHERE seed = 1",
        "UPDATE episodes SET config = '{}' WHERE seed = 1",
        "UPDATE episodes SET actions = x'00' WHERE seed = 1",
        "UPDATE episodes SET terminated = 0, truncated = 1 WHERE seed = 1",
        "UPDATE episodes SET seed = 9 WHERE seed = 1",
        "DELETE FROM episodes WHERE seed = 1",
        "UPDATE runs SET suite_hash = 'cd'",
        "UPDATE runs SET name = 'another'",
        "UPDATE runs SET kind = 'checkpoint'",
        "UPDATE runs SET policy = 'best.pt'",
        "UPDATE runs SET policy_hash = 'deadbeef'",
        "UPDATE runs SET started = 1e9",
        "UPDATE runs SET verified = ''",
    ],
)
def test_replay_verified_holds_until_something_changes(tmp_path: Path, change: str) -> None:
    with EpisodeStore(tmp_path / "db") as store:
        number = store.add_run(RUN)
        for seed in (0, 1):
            store.add_episode(episode(number, seed))
        store.set_tier(number, "replay-verified", store.digest(number))
        store.add_episode(episode(number, 2, terminated=False, fault=Fault.ENVIRONMENT))
        assert store.tier(store.run(number)) == "replay-verified"  # cut episodes count nowhere
        with sqlite3.connect(store.path) as db:
            db.execute(change)
        db.close()
        assert store.tier(store.run(number)) == "self-reported"


def test_a_store_of_schema_1_is_brought_up_to_date_and_its_marks_count_no_more(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with EpisodeStore(path) as store:
        number = store.add_run(replace(RUN, tier="replay-verified"))
        stored = episode(number)
        store.add_episode(stored)
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE runs DROP COLUMN verified")
        db.execute("PRAGMA user_version=1")
    db.close()
    for _ in range(2):
        with EpisodeStore(path) as store:
            (run,) = store.runs()
            assert (run.tier, store.tier(run)) == ("replay-verified", "self-reported")
            assert [replace(e, id=0) for e in store.episodes()] == [stored]
            store.add_run(RUN)
            store._db.execute("DELETE FROM runs WHERE id > 1")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE runs SET suite_content = '{bad'", "db, run 1: suite_content is not JSON"),
        ("UPDATE runs SET started = 'abc'", "db, run 1: started is 'abc', not of type float"),
        ("UPDATE episodes SET return = 'abc'", "db, episode 1: return is 'abc', not of type float"),
        ("UPDATE episodes SET config = '[]'", "db, episode 1: config is [], not a table"),
    ],
)
def test_rows_that_were_edited_into_something_else_are_named(tmp_path: Path, change: str, told: str) -> None:
    with EpisodeStore(tmp_path / "db") as store:
        number = store.add_run(RUN)
        store.add_episode(episode(number))
        with sqlite3.connect(store.path) as db:
            db.execute(change)
        db.close()
        with pytest.raises(UsageError, match=re.escape(told)):
            (store.runs(), list(store.episodes()))
        assert store.run_ids() == [1]
        assert store.whole(1) == [(1, "test/A-v0", 0)]


_APPENDER = """
import sys
from dataclasses import replace
from tests.unit.test_episode_store import RUN, episode
from universe2.trace import EpisodeStore
with EpisodeStore(sys.argv[1]) as store:
    number = store.add_run(replace(RUN, name=sys.argv[2]))
    for seed in range(40):
        store.add_episode(episode(number, seed))
"""


def test_concurrent_append(tmp_path: Path) -> None:
    # The file does not exist yet: creation is raced, too.
    path = str(tmp_path / "db")
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", _APPENDER, path, name], cwd=root, stderr=subprocess.PIPE)
        for name in ("a", "b", "c")
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors.decode()
    with EpisodeStore(path) as store:
        assert sorted(run.name for run in store.runs()) == ["a", "b", "c"]
        for run in store.runs():
            assert len(store.returns(run.id)["test/A-v0"]) == 40


def test_actions_that_unpack_to_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universe2.trace.recorder.MOST_ACTION_BYTES", 16)
    space = spaces.Discrete(4)
    packed = [zlib.compress(bytes(8 * count)) for count in (2, 3)]
    assert unpack_actions(space, packed[0]) == [0, 0]
    with pytest.raises(ProtocolError, match="more than 16 bytes"):
        unpack_actions(space, packed[1])
    with pytest.raises(ProtocolError, match="cut short"):
        unpack_actions(space, packed[0][:-1])


def test_a_store_that_another_writes_to_for_too_long_is_named(tmp_path: Path) -> None:
    with EpisodeStore(tmp_path / "e.sqlite") as store:
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        store._db.execute("PRAGMA busy_timeout=1")
        with pytest.raises(UsageError, match=r"cannot write to .*e.sqlite: database is locked"):
            store.add_run(RUN)
        other.close()
        assert store.add_run(RUN) == 1
