"""EpisodeStore: every evaluated episode in one SQLite file, with all that it takes to replay it.

Two tables. ``runs``: who played which suite, when, with what. ``episodes``: one row per episode,
cut ones too, marked by their fault; only rows with ``fault = 0`` count in a score, and there is
at most one such row per run, task and seed. Several processes may append at once (WAL; each
append is one transaction). A row that somebody edited into something else is refused by what it is
called, not handed out. What a replay found ("replay-verified" or "differs") counts only beside the
digest of what was replayed, so a run that was changed or went on afterwards is self-reported again;
whoever forges a run can write a fitting digest, too: it tells accidents and stale marks, not liars.
Stores of schema 1 had no digest and are brought up to date when they are opened: their marks count
no more. A store that must exist and can't be written, on a medium or in a folder of somebody else's, can be
read all the same. This file doesn't know how episodes are played or ranked.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from universe2.core.batch import Fault
from universe2.core.errors import UsageError, VersionError
from universe2.trace.columns import COLUMNS, as_json, read_field, read_row, written

SCHEMA_VERSION = 2
_APPLICATION_ID = 0x75320001  # "u2", 1: what SQLite keeps in the file's header
_BUSY_SECONDS = 30.0
_NOT_WRITABLE = ("SQLITE_READONLY", "SQLITE_CANTOPEN")

_SCHEMA = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    policy TEXT NOT NULL,
    policy_hash TEXT NOT NULL,
    suite TEXT NOT NULL,
    suite_hash TEXT NOT NULL,
    suite_content TEXT NOT NULL,
    reference_scores TEXT NOT NULL,
    versions TEXT NOT NULL,
    hardware TEXT NOT NULL,
    command TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL,
    outcome TEXT NOT NULL,
    tier TEXT NOT NULL,
    verified TEXT NOT NULL DEFAULT ''
);
CREATE TABLE episodes (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs(id),
    task TEXT NOT NULL,
    env_id TEXT NOT NULL,
    spec_hash TEXT NOT NULL,
    config TEXT NOT NULL,
    seed INTEGER NOT NULL,
    return REAL NOT NULL,
    length INTEGER NOT NULL,
    terminated INTEGER NOT NULL,
    truncated INTEGER NOT NULL,
    actions BLOB NOT NULL,
    trajectory TEXT NOT NULL,
    observations TEXT NOT NULL,
    info TEXT NOT NULL,
    wall_seconds REAL NOT NULL,
    fault INTEGER NOT NULL,
    fault_text TEXT NOT NULL,
    CHECK ((terminated OR truncated) = (fault = 0))
);
CREATE UNIQUE INDEX one_score_per_seed ON episodes(run, task, seed) WHERE fault = 0;
CREATE INDEX episodes_of_run ON episodes(run, task);
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One policy on one suite."""

    name: str
    """as shown in a ranking"""
    kind: str
    """"random", "checkpoint" or "python" """
    policy: str
    """what was named on the command line, and how it plays if not as usual"""
    policy_hash: str
    """of the checkpoint's or module's bytes"""
    suite: str
    suite_hash: str
    suite_content: dict[str, Any]
    references: dict[str, dict[str, float]]
    """task → reference scores as of the run"""
    versions: dict[str, str]
    hardware: dict[str, Any]
    command: str = ""
    started: float = field(default_factory=time.time)
    """seconds since 1970, UTC"""
    ended: float | None = None
    outcome: str = "running"
    """"running", "finished", or why it stopped early"""
    tier: str = "self-reported"
    """"self-reported", "replay-verified" or "differs", as the file says; ``EpisodeStore.tier`` says whether
    it holds"""
    verified: str = ""
    """``EpisodeStore.digest`` of what was verified"""
    id: int = 0


@dataclass(frozen=True, kw_only=True)
class StoredEpisode:
    """One episode of a run. See ``universe2.trace.recorder.Episode`` for the common fields."""

    run: int
    task: str
    """the suite's name for it; the env id unless the suite says otherwise"""
    env_id: str
    spec_hash: str
    config: dict[str, Any]
    """keyword arguments of EnvConfig"""
    seed: int
    total: float
    """the return: sum of rewards"""
    length: int
    terminated: bool
    truncated: bool
    actions: bytes
    trajectory: str
    observations: str
    info: dict[str, Any] = field(default_factory=dict)
    wall_seconds: float = 0.0
    fault: Fault = Fault.NONE
    fault_text: str = ""
    id: int = 0


class EpisodeStore:
    """One file of runs and episodes. Use it from one thread; open another for another thread.

    The file and its folder are made if need be. Raises UsageError if the file is something
    else, VersionError if a later version of the schema wrote it. With ``must_exist`` nothing is made, and a
    file that can't be written is opened to be read.
    """

    def __init__(self, path: str | Path, *, must_exist: bool = False) -> None:
        self.path = Path(path)
        if must_exist and not self.path.is_file():
            raise UsageError(f"no episode store at {self.path}; `universe2 evaluate` writes one")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot make the folder {self.path.parent} for the episode store: {error.strerror}"
            ) from None
        self._db = self._connected(str(self.path))
        try:
            self._prepare(must_exist)
        except BaseException:
            self._db.close()
            raise

    def _connected(self, name: str, uri: bool = False) -> sqlite3.Connection:
        try:
            # isolation_level None: transactions begin and end where this file says so.
            return sqlite3.connect(name, timeout=_BUSY_SECONDS, isolation_level=None, uri=uri)
        except sqlite3.OperationalError as error:
            raise UsageError(f"can't open {self.path}: {error}; is the folder writable?") from None

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice."""
        self._db.close()

    def add_run(self, run: Run) -> int:
        """Store ``run`` (its ``id`` is ignored) and return its number."""
        return self._insert("runs", run)

    def end_run(self, run_id: int, outcome: str) -> None:
        """The run is over: "finished", or why it stopped."""
        with self._writing():
            self._db.execute("UPDATE runs SET ended=?, outcome=? WHERE id=?", (time.time(), outcome, run_id))

    def set_suite(self, run_id: int, suite_hash: str, content: dict[str, Any]) -> None:
        """The run played another suite than was said at first: some of its tasks can't run there."""
        with self._writing():
            self._db.execute(
                "UPDATE runs SET suite_hash=?, suite_content=? WHERE id=?",
                (suite_hash, as_json(content), run_id),
            )

    def set_tier(self, run_id: int, tier: str, verified: str = "") -> None:
        """What is known about the run's truth: "self-reported", "replay-verified" or "differs".

        ``verified`` is the ``digest`` of what was replayed, taken before it was read.
        """
        with self._writing():
            self._db.execute("UPDATE runs SET tier=?, verified=? WHERE id=?", (tier, verified, run_id))

    def tier(self, run: Run) -> str:
        """``run.tier``, or "self-reported" if the run isn't what was replayed."""
        holds = run.tier in ("replay-verified", "differs") and run.verified == self.digest(run.id)
        return run.tier if holds else "self-reported"

    def digest(self, run_id: int) -> str:
        """SHA-256 over all that a replay shows to be true, the suite's hash and the whole episodes, and over
        whose they are said to be and when: what is renamed is no longer what was replayed.

        Each row is hashed as Python writes it in ASCII, a line each, in the order of task and seed.
        """
        found = hashlib.sha256(b"universe2.verified.2\n")
        head = "SELECT suite_hash, name, kind, policy, policy_hash, started FROM runs WHERE id = ?"
        rows = (
            "SELECT task, env_id, spec_hash, seed, config, return, length, terminated, truncated, actions, "
            "trajectory, observations FROM episodes WHERE run = ? AND fault = 0 ORDER BY task, seed"
        )
        for query in (head, rows):
            for row in self._read(query, (run_id,)):
                found.update(ascii(row).encode() + b"\n")
        return found.hexdigest()

    def add_episode(self, episode: StoredEpisode) -> int:
        """Append one episode (its ``id`` is ignored); durable when this returns.

        Raises UsageError if the run has a whole episode of this task and seed already.
        """
        return self._insert("episodes", episode)

    def run_ids(self) -> list[int]:
        """The numbers of all runs, oldest first, of those that can't be read as well."""
        return [number for (number,) in self._read("SELECT id FROM runs ORDER BY id")]

    def runs(self) -> list[Run]:
        """All runs, oldest first. Raises UsageError if one of them can't be read."""
        return [self.run(number) for number in self.run_ids()]

    def run(self, run_id: int) -> Run:
        """One run. Raises UsageError if it isn't here or can't be read."""
        for row in self._select("runs", Run, "WHERE id = ?", (run_id,)):
            return Run(**read_row(Run, row, f"{self.path}, run {run_id}"))
        raise UsageError(f"{self.path} holds no run {run_id}")

    def whole(self, run_id: int) -> list[tuple[int, str, int]]:
        """(id, task, seed) of a run's whole episodes in the order they ended, of those that can't be
        read as well."""
        query = "SELECT id, task, seed FROM episodes WHERE run = ? AND fault = 0 ORDER BY id"
        return list(self._read(query, (run_id,)))

    def episode(self, episode_id: int) -> StoredEpisode:
        """One episode. Raises UsageError if it isn't here or can't be read."""
        for row in self._select("episodes", StoredEpisode, "WHERE id = ?", (episode_id,)):
            return self._episode(row)
        raise UsageError(f"{self.path} holds no episode {episode_id}")

    def episodes(
        self, run_id: int | None = None, task: str | None = None, *, whole: bool | None = None
    ) -> Iterator[StoredEpisode]:
        """Episodes in the order they ended; ``whole`` picks played-to-the-end or cut ones.

        Raises UsageError at one that can't be read.
        """
        wanted, values = [], []
        for column, value in (("run", run_id), ("task", task)):
            if value is not None:
                wanted.append(f"{column} = ?")
                values.append(value)
        if whole is not None:
            wanted.append("fault = 0" if whole else "fault <> 0")
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        for row in self._select("episodes", StoredEpisode, where, values):
            yield self._episode(row)

    def _episode(self, row: tuple[Any, ...]) -> StoredEpisode:
        where = f"{self.path}, episode {row[-1]}"
        columns = read_row(StoredEpisode, row, where)
        flags = {key: bool(columns[key]) for key in ("terminated", "truncated")}
        try:
            fault = Fault(columns["fault"])
        except ValueError as error:
            raise UsageError(f"{where}: {error}; was the file edited?") from None
        return StoredEpisode(**{**columns, **flags, "fault": fault})

    def returns(self, run_id: int) -> dict[str, dict[int, float]]:
        """task → seed → return, of the whole episodes. Raises UsageError if one is no number."""
        found: dict[str, dict[int, float]] = {}
        query = "SELECT id, task, seed, return FROM episodes WHERE run = ? AND fault = 0 ORDER BY seed"
        for number, task, seed, total in self._read(query, (run_id,)):
            found.setdefault(task, {})[seed] = read_field(
                "total", "float", total, f"{self.path}, episode {number}"
            )
        return found

    def cut_counts(self, run_id: int) -> dict[str, int]:
        """task → how many episodes faults cut."""
        query = "SELECT task, COUNT(*) FROM episodes WHERE run = ? AND fault <> 0 GROUP BY task"
        return dict(self._read(query, (run_id,)))

    def _prepare(self, may_be_read_only: bool) -> None:
        try:
            version = self._schema()  # before anything is changed: the file may be somebody else's
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA foreign_keys=ON")
            if version != SCHEMA_VERSION:
                with self._writing():
                    self._create_or_update()
        except sqlite3.OperationalError as error:
            if may_be_read_only and error.sqlite_errorname.startswith(_NOT_WRITABLE):
                self._open_read_only()
                return
            raise UsageError(f"{self.path} can't be written: {error}; is it, or its folder, yours?") from None
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{self.path} is not an episode store: {error}") from None

    def _open_read_only(self) -> None:
        """Raises UsageError where that can't be."""
        left = Path(f"{self.path}-wal")
        if left.exists() and left.stat().st_size:
            raise UsageError(
                f"{self.path} can't be written, and what {left.name} beside it holds can't be read without: "
                "copy both to where they can be, or let who writes them end"
            )
        self._db.close()
        # immutable: without it SQLite would make files beside this one, even to read
        self._db = self._connected(f"{self.path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            version = self._schema()
        except sqlite3.DatabaseError as error:
            raise UsageError(f"can't read {self.path}: {error}") from None
        if version != SCHEMA_VERSION:
            raise UsageError(
                f"{self.path} has schema {version} and can't be brought up to date here, "
                "where it can't be written: copy it to where it can"
            )

    def _schema(self) -> int:
        """The version of the schema; 0 if the file is empty. Raises UsageError, VersionError."""
        # The tables first: who makes a store meanwhile has then set the others, too.
        (tables,) = self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables == 0:
            return 0
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION_ID:
            raise UsageError(f"{self.path} is an SQLite file of something else; name another file")
        if version not in (1, SCHEMA_VERSION):
            raise VersionError(
                f"{self.path} has schema {version}, but this universe2 reads {SCHEMA_VERSION}; "
                "use the version that wrote it, or another file"
            )
        return int(version)

    def _create_or_update(self) -> None:
        version = self._schema()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id={_APPLICATION_ID}")
        elif version == 1:
            self._db.execute("ALTER TABLE runs ADD COLUMN verified TEXT NOT NULL DEFAULT ''")
        if version != SCHEMA_VERSION:
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:  # a full disk has ended it already
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                text = f"cannot write to {self.path}: {error}; what was stored before is still there"
                raise UsageError(text) from None
            raise

    def _insert(self, table: str, item: Run | StoredEpisode) -> int:
        row = {}
        for f in fields(item):
            value = getattr(item, f.name)
            if f.name != "id":
                row[COLUMNS.get(f.name, f.name)] = written(f.name, value)
        marks = ", ".join("?" * len(row))
        statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})"
        try:
            with self._writing():
                number = self._db.execute(statement, tuple(row.values())).lastrowid
        except sqlite3.IntegrityError as error:
            raise UsageError(f"{self.path} refuses this {type(item).__name__}: {error}") from None
        assert number is not None
        return number

    def _select(self, table: str, kind: type, where: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        names = ", ".join(COLUMNS.get(f.name, f.name) for f in fields(kind))
        yield from self._read(f"SELECT {names} FROM {table} {where} ORDER BY id", values)

    def _read(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise UsageError(f"can't read {self.path}: {error}; is it damaged?") from None
