"""Evaluation over a fake runtime: seeds, faults, limits, interruption, replay."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import fake_count_env
import numpy as np
import pytest
from fake_count_env import count_spec

import universe2
from universe2.agents.checkpoint_policy import load
from universe2.agents.evaluate import Place, evaluate
from universe2.agents.evaluate_play import Play
from universe2.agents.evaluate_policy import load_policy
from universe2.agents.evaluate_replay import Verdict, verify
from universe2.agents.evaluate_suite import Suite, Task, load_suite, parse_suite, suite_names
from universe2.agents.learner import Learner
from universe2.agents.model import ModelConfig
from universe2.core.batch import Fault
from universe2.core.errors import MissingDependencyError, UsageError
from universe2.core.registry import find, list_envs, register, unregister
from universe2.core.spec import EnvConfig, EnvSpec, Requirement
from universe2.trace import Episode, EpisodeStore

ENV = "test/Count-v0"


@pytest.fixture(autouse=True)
def _env() -> Iterator[None]:
    register(count_spec(random=0.0, heuristic=10.0))
    yield
    fake_count_env.DRIFT[0] = 0.0
    unregister(ENV)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    with EpisodeStore(tmp_path / "episodes.sqlite") as opened:
        yield opened


def suite(episodes: int = 11, **task: Any) -> Suite:
    return Suite(name="tiny", tasks=(Task(env_id=ENV, episodes=episodes, seed=100, **task),))


def test_each_seed_is_played_once_to_its_end(store: EpisodeStore) -> None:
    seen = []
    result = evaluate(
        load_policy("random", "native"), suite(), store, Place(slots=4), observer=lambda t, e: seen.append(e)
    )
    found = {e.seed: e for e in store.episodes(result.run_id)}
    assert sorted(found) == list(range(100, 111))
    assert len(seen) == 11
    for seed, episode in found.items():
        assert episode.length == 3 + seed % 5
        assert (episode.terminated, episode.truncated) == (seed % 2 == 0, seed % 2 == 1)
        assert episode.info == {"success": True, "seed_seen": seed}
        actions = np.frombuffer(zlib.decompress(episode.actions), "<i8")
        assert episode.total == actions.sum()
        assert len(actions) == episode.length
    (run,) = store.runs()
    assert (run.outcome, run.tier, run.kind) == ("finished", "self-reported", "random")
    assert run.references == {ENV: {"random": 0.0, "heuristic": 10.0}}
    assert set(run.versions) == {"universe2", "python", "numpy", "torch", "gymnasium"}


def test_screen_interface(store: EpisodeStore) -> None:
    result = evaluate(load_policy("random"), suite(3), store, Place(slots=2))
    assert all(v.problem == "" for v in verify(store, result.run_id, Place(slots=3)).verdicts)


def test_cut_episodes_are_tried_again_and_count_nowhere(store: EpisodeStore) -> None:
    faulty = suite(6, options={"fault_seeds": [102, 103], "fault_times": 2})
    result = evaluate(load_policy("random", "native"), faulty, store, Place(slots=3))
    cut = list(store.episodes(whole=False))
    assert sorted(e.seed for e in cut) == [102, 102, 103, 103]
    for episode in cut:
        assert (episode.fault, episode.fault_text) == (Fault.INFRASTRUCTURE, "worker died")
        assert not episode.terminated
        assert not episode.truncated
        assert episode.length == 1
    assert sorted(store.returns(result.run_id)[ENV]) == list(range(100, 106))
    assert store.cut_counts(result.run_id) == {ENV: 4}


def test_a_seed_that_always_faults_is_given_up(store: EpisodeStore) -> None:
    faulty = suite(4, options={"fault_seeds": [101], "fault_times": 99})
    result = evaluate(load_policy("random", "native"), faulty, store, Place(slots=2))
    assert sorted(store.returns(result.run_id)[ENV]) == [100, 102, 103]
    assert store.cut_counts(result.run_id) == {ENV: 3}
    assert store.runs()[0].outcome == result.outcome == f"given up after faults: {ENV} (3 of 4 episodes)"


def test_interruption_keeps_what_is_finished(store: EpisodeStore) -> None:
    def stop(task: Task, episode: Any) -> None:
        if len(list(store.episodes())) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(load_policy("random", "native"), suite(), store, Place(slots=2), observer=stop)
    assert len(list(store.episodes())) == 5
    (run,) = store.runs()
    assert run.outcome == "interrupted"
    assert run.ended is not None


def test_out_of_time(store: EpisodeStore) -> None:
    result = evaluate(load_policy("random", "native"), suite(500, max_seconds=1e-9), store, Place(slots=2))
    assert result.out_of_time == [ENV]
    assert store.runs()[0].outcome == result.outcome == f"out of time: {ENV} (0 of 500 episodes)"
    assert store.returns(result.run_id) == {}


def test_missing_dependency(store: EpisodeStore) -> None:
    needy = EnvSpec(
        id="test/Needy-v0",
        runtime="x",
        entry="x",
        spaces_from="x",
        requires=(Requirement("no_such_package", "pip install it"),),
    )
    register(needy)
    try:
        two = Suite(name="two", tasks=(suite(2).tasks[0], Task(env_id=needy.id, episodes=1)))
        with pytest.raises(MissingDependencyError):
            evaluate(load_policy("random", "native"), two, store, Place())
        result = evaluate(load_policy("random", "native"), two, store, Place(), skip_missing=True)
    finally:
        unregister(needy.id)
    assert [text.split(":")[0] for text in result.skipped] == [needy.id]
    assert len(store.returns(result.run_id)[ENV]) == 2
    stopped, narrowed = store.runs()
    assert store.returns(stopped.id) == {}, "what a later task lacks is said before anything is played"
    assert stopped.outcome.startswith("failed: test/Needy-v0 needs")
    # What could not run is not part of the suite any more, so the run is complete and can be ranked.
    assert [task["name"] for task in narrowed.suite_content["tasks"]] == [ENV]
    assert narrowed.suite_hash not in (stopped.suite_hash, "")
    assert narrowed.outcome == "finished"


@pytest.mark.parametrize("remotes", [None, ["127.0.0.1:9"]])
@pytest.mark.parametrize(
    ("env_id", "options", "problem"),
    [
        (ENV, {"nonsense": 1}, "has no option 'nonsense'"),
        ("arcade/Snake-v0", {"start_level": -5}, "option start_level must"),
    ],
)
def test_a_mistake_in_a_later_task_is_found_before_anything_is_played(
    store: EpisodeStore, env_id: str, options: dict[str, Any], problem: str, remotes: list[str] | None
) -> None:
    wrong = Task(env_id=env_id, name="later", episodes=2, options=options)
    two = Suite(name="two", tasks=(*suite(3).tasks, wrong))
    with pytest.raises(UsageError, match=problem) as raised:
        evaluate(load_policy("random"), two, store, Place(remotes=remotes))
    assert raised.value.__notes__ == ["task later"]
    assert store.returns(1) == {}
    assert store.runs()[0].outcome.startswith("failed: ")


def test_replay_verifies(store: EpisodeStore) -> None:
    result = evaluate(load_policy("random", "native"), suite(), store, Place(slots=3))
    verdicts = verify(store, result.run_id, Place(slots=5)).verdicts
    assert len(verdicts) == 11
    assert {v.problem for v in verdicts} == {""}
    assert store.runs()[0].tier == "replay-verified"


def test_replay_notices_a_changed_environment(store: EpisodeStore) -> None:
    result = evaluate(load_policy("random", "native"), suite(4), store, Place(slots=3))
    fake_count_env.DRIFT[0] = 0.25
    verdicts = verify(store, result.run_id, Place(slots=2)).verdicts
    assert len(verdicts) == 4
    assert all("return was" in v.problem for v in verdicts)
    assert store.tier(store.run(result.run_id)) == "differs"


def verified_after(store: EpisodeStore, column: str, value: Any) -> list[Verdict]:
    """Of three episodes, the second of which was changed in the file before they were replayed."""
    result = evaluate(load_policy("random", "native"), suite(3), store, Place(slots=3))
    with sqlite3.connect(store.path) as db:
        db.execute(f"UPDATE episodes SET {column} = ? WHERE seed = 101", (value,))
    db.close()
    return verify(store, result.run_id, Place(slots=2)).verdicts


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("return", 99.0, "return was 99.0"),
        ("trajectory", "0" * 32, "trajectory was"),
        ("observations", "0" * 32, "observations was"),
        ("spec_hash", "0" * 16, "spec hash was"),
        ("actions", zlib.compress(bytes(8)), "goes on"),
        ("actions", zlib.compress(b"123"), "cut short"),
        ("actions", b"junk", "damaged"),
        ("actions", "text", "actions is 'text', not of type bytes"),
        ("actions", zlib.compress(np.array([1, 7, 1], "<i8").tobytes()), "slot 1: action"),
        ("return", "abc", "return is 'abc', not of type float"),
        ("config", "{bad", "config is not JSON"),
        ("config", "[1]", "config is [1], not a table"),
        ("config", '{"foo": 1}', "its config is none"),
        ("config", '{"screen_size": "abc"}', "its config is none"),
        ("config", '{"options": 5}', "its config is none"),
        ("config", '{"autoreset": "same_step"}', "can't be replayed: evaluation needs autoreset"),
    ],
)
def test_replay_notices_forged_rows(
    store: EpisodeStore, tmp_path: Path, column: str, value: Any, problem: str
) -> None:
    verdicts = verified_after(store, column, value)
    assert len(verdicts) == 3
    (bad,) = [v for v in verdicts if v.problem]
    assert bad.seed == 101
    assert problem in bad.problem
    assert bad.open == (column == "spec_hash" or "can't be replayed" in problem)
    assert store.runs()[0].tier == ("self-reported" if bad.open else "differs")


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("seed", 5, "the suite's seeds are 100 to 102"),
        ("env_id", "test/Other-v0", "it was played in test/Other-v0"),
        ("task", "another", "it has no task 'another'"),
        ("config", '{"interface": "native", "options": {"easy": 1}}', "its options were {'easy': 1}"),
    ],
)
def test_replay_notices_episodes_of_another_suite(
    store: EpisodeStore, column: str, value: Any, problem: str
) -> None:
    verdicts = verified_after(store, column, value)
    (told,) = [v.problem for v in verdicts if v.problem]
    assert told.startswith("not an episode of the suite: ")
    assert problem in told
    assert store.runs()[0].tier == "differs"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{}", "name, tasks is missing"),
        ("{bad", "suite_content is not JSON"),
        ('{"name": "tiny", "tasks": 5}', "must be a list, got 5"),
        ('{"name": "tiny", "tasks": [{"env_id": "a/B-v0"}]}', "episodes is missing"),
        ('{"name": "tiny", "tasks": [{"env_id": "a/B-v0", "episodes": 3}]}', "the store was changed"),
    ],
)
def test_a_run_whose_suite_is_no_suite_is_named_and_loses_its_mark(
    store: EpisodeStore, content: str, problem: str
) -> None:
    result = evaluate(load_policy("random", "native"), suite(3), store, Place(slots=3))
    verify(store, result.run_id, Place(slots=2))
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE runs SET suite_content = ?", (content,))
    with pytest.raises(UsageError, match=problem) as raised:
        verify(store, result.run_id, Place(slots=2))
    assert f"{store.path}, run {result.run_id}" in str(raised.value)
    assert db.execute("SELECT tier FROM runs").fetchall() == [("self-reported",)]
    db.close()


def test_episodes_of_an_environment_that_is_gone_are_named(store: EpisodeStore) -> None:
    result = evaluate(load_policy("random", "native"), suite(3), store, Place(slots=3))
    unregister(ENV)
    verdicts = verify(store, result.run_id, Place(slots=2)).verdicts
    register(count_spec(random=0.0, heuristic=10.0))
    assert [v.seed for v in verdicts] == [100, 101, 102]
    assert all(f"can't be replayed: no environment '{ENV}'" in v.problem for v in verdicts)
    assert store.runs()[0].tier == "self-reported"


def test_policies_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_policy_file.py").write_text(
        "from universe2.agents.policy import RandomPolicy\n"
        "def best(): return RandomPolicy('native')\n"
        "def bad(): return 3\n"
    )
    loaded = load_policy("my_policy_file:best")
    assert (loaded.kind, loaded.policy.name, len(loaded.hash)) == ("python", "random", 16)
    for name, problem in [
        ("my_policy_file:nothing", "has no function"),
        ("my_policy_file:bad", "lacks name"),
        ("no_such_module_x:f", "can't import"),
        ("nothing-of-this-name", "no policy"),
    ]:
        with pytest.raises(UsageError, match=problem):
            load_policy(name)
    with pytest.raises(UsageError, match="a temperature is for checkpoints; random draws"):
        load_policy("random", temperature=0.5)
    with pytest.raises(UsageError, match="must be 0 or more, got -1"):
        load_policy("my_policy_file.py", temperature=-1)


def test_a_policy_acts_for_half_of_the_slots_at_once() -> None:
    config = EnvConfig(autoreset="disabled")
    with closing(universe2.open_runtime("arcade/Runner-v0", 12, config)) as runtime:
        busy, ended, turns = 12, 0, []

        def act(slots_K: np.ndarray, *_: Any) -> np.ndarray:
            nonlocal busy, ended
            turns.append((len(slots_K) + ended, busy))
            busy, ended = busy - ended, 0  # there are as many seeds as slots: none is filled again
            return np.zeros(len(slots_K), np.int64)

        def finished(episode: Episode, seconds: float) -> None:
            nonlocal ended
            ended += 1

        Play(runtime, range(12)).run(act, finished)
    assert len(turns) > 10
    assert all(2 * heard >= playing for heard, playing in turns)


def test_suites_that_come_along_are_sound() -> None:
    assert {"arcade-heldout", "demo"} <= set(suite_names())
    known = {spec.id for spec in list_envs()}
    for name in suite_names():
        loaded = load_suite(name)
        assert loaded.name == name
        for task in loaded.tasks:
            assert task.env_id in known
            find(task.env_id).resolve(task.options)


def test_suite_hash_is_over_what_is_played() -> None:
    one = suite(5)
    assert one.hash == suite(5, max_seconds=3.0).hash
    assert len({one.hash, suite(6).hash, suite(5, options={"slow": 1}).hash}) == 3
    assert one.with_episodes(6).hash == suite(6).hash


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"name": "x"}, "no \\[\\[task\\]\\]"),
        ({"name": "x", "task": [{"env_id": ENV}]}, "episodes is missing"),
        ({"name": "x", "task": [{"env_id": ENV, "episodes": 0}]}, "got 0"),
        (
            {"name": "x", "task": [{"env_id": ENV, "episodes": 1, "sed": 1}]},
            "no key 'sed'. Did you mean 'se",
        ),
        ({"name": "x", "task": [{"env_id": ENV, "episodes": True}]}, "episodes must be a whole number"),
        ({"name": "x", "task": [{"env_id": ENV, "episodes": 1, "slots": True}]}, "slots must be a whole"),
        ({"name": "x", "task": [{"env_id": ENV, "episodes": 1, "options": [1]}]}, "options must be a table"),
        ({"name": "x", "task": [{"env_id": 5, "episodes": 1}]}, "env_id must be a text"),
        ({"name": "x", "task": [3]}, r"a \[\[task\]\] must be a table"),
        ({"name": "x", "task": {"env_id": ENV}}, "task must be a list"),
        ({"name": 3, "task": [{"env_id": ENV, "episodes": 1}]}, "name must be a text"),
        ({"name": "x", "task": [{"env_id": ENV, "episodes": 1}] * 2}, "occurs twice"),
        ({"name": "x", "task": [{"env_id": ENV, "episodes": 1, "seed": -1}]}, "seed must lie"),
        (
            {"name": "x", "task": [{"env_id": ENV, "episodes": 1, "options": {"day": date(2024, 1, 1)}}]},
            f"task {ENV}: option day is datetime.date.*can't be kept as JSON",
        ),
        (
            {"name": "x", "task": [{"env_id": ENV, "episodes": 1, "options": {"far": float("inf")}}]},
            f"task {ENV}: option far is inf",
        ),
        ({"name": "x", "max_seconds": -1, "task": [{"env_id": ENV, "episodes": 1}]}, "max_seconds"),
    ],
)
def test_bad_suites(content: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_suite(content, "file.toml")


@pytest.mark.parametrize("interface", ["native", "screen"])
def test_an_episode_of_a_policy_with_chance_is_the_same_in_any_slot(tmp_path: Path, interface: Any) -> None:
    suite = Suite(name="s", tasks=(Task(env_id="arcade/Catcher-v0", episodes=5, options={"max_steps": 40}),))
    traces = []
    for slots in (2, 5):
        with closing(EpisodeStore(tmp_path / f"{slots}.sqlite")) as store:
            run = evaluate(load_policy("random", interface), suite, store, Place(slots=slots), seed=3).run_id
            traces.append({e.seed: e.actions for e in store.episodes(run)})
    assert traces[0] == traces[1]
    assert len(set(traces[0].values())) == 5


def test_a_checkpoint_is_one_policy_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saved(seed: int) -> None:
        learner = Learner(ModelConfig("patch", 4, 16, (32, 32), text_dim=8), [ENV], seed)
        learner.save_state(tmp_path / "checkpoint").result()
        learner.close()

    saved(0)
    names = [str(tmp_path), str(tmp_path / "checkpoint")]
    first = {load_policy(name).hash for name in names}
    monkeypatch.chdir(tmp_path)
    assert load("checkpoint").name == tmp_path.name
    (tmp_path / "train.log").write_text("a log that grows")
    assert {load_policy(name).hash for name in names} == first
    assert len(first) == 1
    saved(1)
    assert load_policy(names[0]).hash not in first
