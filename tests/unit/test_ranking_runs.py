"""Which runs of a store are compared: one of each policy as it was played."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from universe2.agents.evaluate_policy import load_policy
from universe2.agents.evaluate_replay import Finding
from universe2.agents.evaluate_suite import Suite, Task
from universe2.agents.ranking_runs import SuiteRanking, notes, ranking_json, ranking_markdown, read_rankings
from universe2.core.errors import UsageError
from universe2.core.registry import find
from universe2.core.spec import EnvConfig
from universe2.trace import EpisodeStore, Run, StoredEpisode

ENV = "arcade/Snake-v0"
SUITE = Suite(name="s", tasks=(Task(env_id=ENV, episodes=3),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    with EpisodeStore(tmp_path / "episodes.sqlite") as opened:
        yield opened


def add(
    store: EpisodeStore,
    started: float,
    returns: list[float],
    spec_hash: str = "x",
    interface: str = "native",
    **about: Any,
) -> None:
    """A run that began at ``started``, with so many episodes of the suite."""
    described: dict[str, Any] = {
        "name": "agent",
        "kind": "checkpoint",
        "policy": "run",
        "policy_hash": "abc123",
    }
    suite = {"suite": "s", "suite_hash": SUITE.hash, "suite_content": SUITE.content}
    run = Run(**described | suite | about, references={}, versions={}, hardware={}, started=started)
    number = store.add_run(run)
    for i, total in enumerate(returns):
        store.add_episode(
            StoredEpisode(
                run=number,
                task=ENV,
                env_id=ENV,
                spec_hash=spec_hash,
                config={"options": run.suite_content["tasks"][0]["options"], "interface": interface},
                seed=10**6 + i,
                total=total,
                length=1,
                terminated=True,
                truncated=False,
                actions=b"",
                trajectory="",
                observations="",
            )
        )
    store.end_run(number, "finished" if len(returns) == 3 else "interrupted")


def means(store: EpisodeStore) -> dict[str, float]:
    return {entry.name: entry.tasks[ENV].raw.point for entry in ranked(store).ranking.entries}


def ranked(store: EpisodeStore) -> SuiteRanking:
    (suite,) = read_rankings([store.path])
    return suite


def test_the_newest_run_of_a_policy_counts(store: EpisodeStore) -> None:
    add(store, 1.0, [1.0, 1.0, 1.0])
    add(store, 2.0, [2.0, 2.0, 2.0], policy="elsewhere/run")
    assert means(store) == {"agent": 2.0}
    assert ranked(store).passed_over == {store.path: [1]}
    add(store, 3.0, [])  # refused before anything was played
    assert (means(store), ranked(store).passed_over) == ({"agent": 2.0}, {store.path: [1]})


def test_temperatures_are_policies_of_their_own(store: EpisodeStore) -> None:
    add(store, 1.0, [20.0, 21.0, 22.0], policy="run at temperature 0.25")
    add(store, 2.0, [5.0, 6.0, 7.0])
    assert means(store) == {"agent (temperature 0.25)": 21.0, "agent (temperature 1)": 6.0}
    assert ranked(store).passed_over == {}


def test_random_play_of_a_bots_name_has_no_hash_to_show(store: EpisodeStore) -> None:
    add(store, 1.0, [1.0, 1.0, 1.0], name="champ")
    add(store, 2.0, [2.0] * 3, name="champ", kind="random", policy="random", policy_hash="")
    assert means(store) == {
        "champ (abc123, temperature 1)": 1.0,
        "champ (random, screen interface)": 2.0,
    }


def test_so_are_checkpoints_and_functions_of_one_name(store: EpisodeStore) -> None:
    add(store, 1.0, [1.0, 1.0, 1.0])
    add(store, 2.0, [2.0, 2.0, 2.0], policy_hash="def456")
    assert means(store) == {"agent (abc123)": 1.0, "agent (def456)": 2.0}
    for started, function in ((3.0, "mine:shy"), (4.0, "mine:bold")):
        add(store, started, [started] * 3, name="python", kind="python", policy=function)
    assert means(store)["python (mine:shy)"] == 3.0
    assert means(store)["python (mine:bold)"] == 4.0


def test_so_is_random_play_through_each_interface(store: EpisodeStore) -> None:
    for started, interface in ((1.0, "native"), (2.0, "screen")):
        loaded = load_policy("random", interface)  # type: ignore[arg-type]
        about = {"name": "random", "kind": loaded.kind, "policy": loaded.source, "policy_hash": loaded.hash}
        add(store, started, [started] * 3, **about)
    assert means(store) == {"random (native interface)": 1.0, "random (screen interface)": 2.0}


def test_an_interrupted_run_replaces_no_complete_one(store: EpisodeStore) -> None:
    add(store, 1.0, [1.0])
    add(store, 2.0, [2.0, 2.0])
    assert means(store) == {"agent": 2.0}  # the newest, while none is complete
    add(store, 3.0, [20.0, 20.0, 20.0])
    add(store, 4.0, [5.0])
    add(store, 5.0, [])
    assert means(store) == {"agent": 20.0}
    assert ranked(store).passed_over == {store.path: [1, 2, 4]}  # nothing was played in the last


def test_seeds_that_the_suite_does_not_ask_for_count_nowhere(store: EpisodeStore) -> None:
    add(store, 1.0, [1.0, 2.0, 3.0])
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE episodes SET seed = 7, return = 1000 WHERE seed = 1000001")
    db.close()
    (entry,) = ranked(store).ranking.entries
    assert entry.tasks[ENV].raw.point == 2.0
    assert not entry.tasks[ENV].complete
    assert entry.rank is None


def test_so_do_episodes_under_other_options(store: EpisodeStore) -> None:
    add(store, 1.0, [1.0, 2.0, 300.0])
    with sqlite3.connect(store.path) as db:
        db.execute("""UPDATE episodes SET config = '{"options": {"max_steps": 9}}' WHERE seed = 1000002""")
    db.close()
    suite = ranked(store)
    (entry,) = suite.ranking.entries
    assert (entry.tasks[ENV].raw.point, entry.rank) == (1.5, None)
    told = "agent: 1 episodes of another suite count nowhere: its options were {'max_steps': 9}, the suite's"
    assert told in " ".join(notes(suite))


def here(interface: str) -> str:
    """The spec hash of an episode that is played now."""
    return find(ENV).hash(EnvConfig(interface=interface))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("played", "odd"),
    [
        ({"a": ("x", "native"), "b": ("x", "native")}, ""),
        ({"a": ("x", "native"), "b": ("y", "native")}, "a"),  # unknown versions: the newest run's
        ({"a": ("x", "native"), "b": ("y", "screen")}, ""),  # two ways to see it, both unknown here
        ({"a": (here("native"), "native"), "b": ("y", "native")}, "b"),  # what is known here goes before
        ({"a": (here("native"), "native"), "b": (here("screen"), "screen")}, ""),
        ({"a": (here("native"), "native"), "b": ("y", "screen")}, "b"),
    ],
)
def test_another_version_of_an_environment_is_not_ranked_with_the_others(
    store: EpisodeStore, played: dict[str, tuple[str, str]], odd: str
) -> None:
    for started, (name, (spec_hash, interface)) in enumerate(played.items()):
        kind = "random" if name == "a" else "python"
        returns = [started * 9 + 1.0, started * 9 + 2.0, started * 9 + 3.0]
        add(store, started, returns, spec_hash, interface, name=name, kind=kind)
    suite = ranked(store)
    assert {entry.name for entry in suite.ranking.entries if entry.rank is None} == set(odd)
    (b,) = [entry for entry in suite.ranking.entries if entry.name == "b"]
    assert (b.improvement is None) == bool(odd)
    told = f"{odd} has no rank: it played another version of the environment in {ENV}."
    assert (told in notes(suite)) == bool(odd)


def test_a_store_whose_suite_was_changed_is_refused(store: EpisodeStore) -> None:
    easier = Suite(name="s", tasks=(Task(env_id=ENV, episodes=1),))
    add(store, 1.0, [9.0], suite_content=easier.content)
    with pytest.raises(UsageError, match="the store was changed after it was played"):
        ranked(store)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE episodes SET return = 'abc' WHERE id = 2", "episode 2: return is 'abc', not of type float"),
        ("UPDATE episodes SET return = 9e999 WHERE id = 2", f"the return of {ENV} seed 1000001 is inf"),
        ("UPDATE runs SET suite_content = '{}' WHERE id = 1", "the suite of a run: name, tasks is missing"),
        ("UPDATE runs SET suite_content = '{bad' WHERE id = 1", "suite_content is not JSON"),
        ("UPDATE runs SET suite_hash = 'ab' WHERE id = 1", "the store was changed after it was played"),
        ("UPDATE runs SET started = 1e300 WHERE id = 1", "started is 1e+300, not seconds since 1970"),
        ("UPDATE runs SET ended = 9e999 WHERE id = 1", "ended is inf, not seconds since 1970"),
        ("UPDATE runs SET hardware = '{\"gpus\": 5}' WHERE id = 1", "the hardware's gpus must be a list"),
        ("UPDATE runs SET started = 'abc' WHERE id = 1", "started is 'abc', not of type float"),
        (
            "UPDATE runs SET reference_scores = '{\"x\": 1}' WHERE id = 1",
            "the references of x must be a table",
        ),
    ],
)
def test_a_run_that_can_not_be_read_is_left_out_and_told(store: EpisodeStore, change: str, why: str) -> None:
    add(store, 1.0, [1.0, 2.0, 3.0])
    add(store, 2.0, [4.0, 5.0, 6.0], name="sound")
    with sqlite3.connect(store.path) as db:
        db.execute(change)
    db.close()
    suite = ranked(store)
    assert means(store) == {"sound": 5.0}
    (told,) = suite.unread
    assert told.startswith(f"{store.path}, run 1 is left out: ")
    assert why in told
    assert told in notes(suite)
    assert ranking_json(suite)["left_out"] == [told]
    assert told in ranking_markdown(suite)
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE runs SET suite_hash = 'cd' WHERE id = 2")
    db.close()
    with pytest.raises(UsageError, match=r"no run can be ranked: .*run 1 is left out.*run 2 is left out"):
        ranked(store)


def test_a_mark_that_nothing_was_replayed_for_counts_as_self_reported(store: EpisodeStore) -> None:
    add(store, 1.0, [1.0, 2.0, 3.0], tier="replay-verified")
    (entry,) = ranked(store).ranking.entries
    assert entry.tier == "self-reported"
    assert "agent is marked replay-verified, but was changed since" in " ".join(notes(ranked(store)))
    store.set_tier(1, "replay-verified", store.digest(1))
    (entry,) = ranked(store).ranking.entries
    assert entry.tier == "replay-verified"
    assert "what the file says of itself" in " ".join(notes(ranked(store)))


def test_of_what_was_replayed_just_now_the_files_own_marks_count_nothing(store: EpisodeStore) -> None:
    add(store, 1.0, [1.0, 2.0, 3.0])
    store.set_tier(1, "replay-verified", store.digest(1))

    def told(findings: dict[int, Finding]) -> tuple[str, str]:
        (suite,) = read_rankings([str(store.path)], replayed={store.path: findings})
        (entry,) = suite.ranking.entries
        return entry.tier, " ".join(notes(suite))

    for findings in ({}, {2: Finding([], "replay-verified", store.digest(1), "")}):
        tier, said = told(findings)
        assert tier == "self-reported"
        assert "agent could not be replayed just now: it counts as self-reported." in said
    assert told({1: Finding([], "replay-verified", "of something else", "")})[0] == "self-reported"
    assert told({1: Finding([], "differs", store.digest(1), "")})[0] == "differs"
    tier, said = told({1: Finding([], "replay-verified", store.digest(1), "it can't be written")})
    assert tier == "replay-verified"
    assert "what the file says of itself" not in said


def test_a_run_whose_replay_differs_has_no_rank(store: EpisodeStore) -> None:
    add(store, 1.0, [1.0, 2.0, 3.0])
    add(store, 2.0, [60.0, 60.0, 60.5], name="forged")
    store.set_tier(2, "differs", store.digest(2))
    suite = ranked(store)
    assert [(entry.name, entry.rank) for entry in suite.ranking.entries] == [("agent", 1), ("forged", None)]
    assert "forged has no rank: replayed, its episodes come out otherwise" in " ".join(notes(suite))
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE episodes SET return = 5 WHERE run = 2")  # another run now: nobody has replayed it
    db.close()
    assert {entry.tier for entry in ranked(store).ranking.entries} == {"self-reported"}


def test_a_file_that_says_it_is_newer_displaces_nothing_that_is_verified(
    store: EpisodeStore, tmp_path: Path
) -> None:
    about = {"name": "random", "kind": "random", "policy": "random", "policy_hash": ""}
    add(store, 1.0, [1.0, 2.0, 3.0], **about)
    store.set_tier(1, "replay-verified", store.digest(1))
    with EpisodeStore(tmp_path / "theirs.sqlite") as theirs:
        add(theirs, 4e9, [0.0, 0.0, 0.0], **about)
    (suite,) = read_rankings([store.path, theirs.path])
    (entry,) = suite.ranking.entries
    assert (entry.tier, entry.tasks[ENV].raw.point) == ("replay-verified", 2.0)
    (told,) = [note for note in notes(suite) if note.startswith("Not shown")]
    assert told.endswith(f"run of the same policy: {theirs.path}, run 1.")


@pytest.mark.parametrize("first", [True, False])
def test_of_two_copies_of_a_run_the_one_that_was_borne_out_counts(
    store: EpisodeStore, tmp_path: Path, first: bool
) -> None:
    add(store, 1.0, [1.0, 2.0, 3.0])
    with EpisodeStore(tmp_path / "copy.sqlite") as copy:
        add(copy, 1.0, [7.0, 8.0, 9.0])
        store.set_tier(1, "replay-verified", store.digest(1))
        paths = [store.path, copy.path] if first else [copy.path, store.path]
        (suite,) = read_rankings(paths)
    (entry,) = suite.ranking.entries
    assert (entry.tier, entry.tasks[ENV].raw.point) == ("replay-verified", 2.0)


def test_a_scale_of_other_options_is_told(store: EpisodeStore) -> None:
    options = {"difficulty": "hard", "start_level": 200, "max_steps": 500}
    hard = Suite(name="s", tasks=(Task(env_id=ENV, episodes=3, options=options),))
    assert find(ENV).options["max_steps"] == 500
    add(store, 1.0, [1.0, 2.0, 3.0], suite_hash=hard.hash, suite_content=hard.content)
    (told,) = [note for note in notes(ranked(store)) if "defaults" in note]
    assert told == f"{ENV} is played with difficulty = 'hard'; its 0 and 1 are of the environment's defaults."
