"""The contract suite tells a game's author what is wrong: one broken game for each complaint."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from universe2.core.errors import UsageError
from universe2.core.spec import EnvSpec
from universe2.envs.arcade import game_spec
from universe2.envs.arcade.game import CLEARED, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import OPAQUE, blend, gradient, rect
from universe2.envs.arcade.match import FIELDS as match_fields
from universe2.envs.arcade.match import Match
from universe2.envs.arcade.rng import between, seeded
from universe2.runtimes import compiled_driver
from universe2.runtimes.match_driver import match_drivers
from universe2.testing import games as checks
from universe2.testing import plainly as plain_play

FIELDS = [("rng", np.int64), ("hard", np.int64), ("x", np.int64), ("goal", np.int64)]


def reset(state: Any, level: int, seed: int) -> None:
    state.rng = seeded(level)
    state.goal = between(state, 5, 15)
    state.x = 2
    state.rng = seeded(seed)


def step(state: Any, keys: int) -> tuple[int, int]:
    if keys & RIGHT:
        state.x += 1
    if keys & LEFT:
        state.x = max(0, state.x - 1)
    return (1, CLEARED) if state.x >= state.goal else (0, RUNNING)


def heuristic(state: Any) -> int:
    return RIGHT if state.x < state.goal else LEFT


def draw(state: Any, canvas: Any) -> None:
    gradient(canvas, 0x204060, 0x102030)
    rect(canvas, state.x * 256 - 128, 2000, state.x * 256 + 128, 2256, 0xFFFFFF, OPAQUE)


WALK = Game(
    state=np.dtype(FIELDS),
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("left", "none"), ("right", "none")),
    instruction="Walk to the right with the arrow keys.",
)


def draw_beyond(state: Any, canvas: Any) -> None:
    draw(state, canvas)
    blend(canvas, min(4, state.x - 3), 2, 0xFF0000, 200)  # left of the frame at the start


def draw_slice_beyond(state: Any, canvas: Any) -> None:
    draw(state, canvas)
    canvas[2, 0 : min(4, state.x - 3)] = OPAQUE  # ends at -1 at the start: counted from the right


def draw_half(state: Any, canvas: Any) -> None:
    rect(canvas, 0, 0, 2048, 4096, 0x204060, OPAQUE)


def draw_and_count(state: Any, canvas: Any) -> None:
    draw(state, canvas)
    state.goal += 1


def reset_too_far(state: Any, level: int, seed: int) -> None:
    reset(state, level, seed)
    state.goal = 1000 if level == 2 else state.goal


_calls = itertools.count()


def step_won(state: Any, keys: int) -> Any:
    state.x += 1
    return CLEARED


def step_without_return(state: Any, keys: int) -> Any:
    state.x += 1


def step_of_three(state: Any, keys: int) -> Any:
    return 1, RUNNING, state.x


def step_with_a_word(state: Any, keys: int) -> Any:
    return 1, "lost"


def step_without_reward(state: Any, keys: int) -> Any:
    return None, RUNNING


def step_beyond_the_endings(state: Any, keys: int) -> Any:
    return 0, 7


def heuristic_without_return(state: Any) -> Any:
    if state.x == 4:
        return None
    return RIGHT


def heuristic_with_a_word(state: Any) -> Any:
    return "left"


def heuristic_without_key(state: Any) -> Any:
    return RIGHT | UP


def step_of_a_branch(state: Any, keys: int) -> Any:
    if state.x == 5:
        return LOST
    return step(state, keys)


def step_by_the_clock(state: Any, keys: int) -> tuple[int, int]:
    state.goal += next(_calls) % 2
    return step(state, keys)


def count_on(state: Any) -> int:
    state.goal += 1
    return RIGHT


def step_with_room(state: Any, keys: int) -> tuple[int, int]:
    ways = np.zeros(state.goal, np.int64)
    ways[state.goal - 1] = state.x
    return step(state, keys) if ways.max() >= 0 else (0, RUNNING)


def step_and_share(state: Any, keys: int) -> tuple[int, int]:
    state.goal += 0 * (state.goal // (state.x - 2) if keys & LEFT else 0)  # x is 2 at the start
    return step(state, keys)


def step_and_trip(state: Any, keys: int) -> tuple[int, int]:
    if state.x == 4:
        raise ValueError("a stone in the way")
    return step(state, keys)


def step_past_the_end(state: Any, keys: int) -> tuple[int, int]:
    state.seen[state.x - 3] = 1
    return step(state, keys)


def step_for_ever(state: Any, keys: int) -> tuple[int, int]:
    while state.x == 4:
        state.goal += 0
    return step(state, keys)


def step_and_mistype(state: Any, keys: int) -> tuple[int, int]:
    state.x = state.goall
    return step(state, keys)


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Games as plain Python: nothing to compile."""
    monkeypatch.setenv("UNIVERSE2_DEBUG", "1")
    compiled_driver._drive_all.cache_clear()
    yield
    compiled_driver._drive_all.cache_clear()


@pytest.fixture
def subject_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the checks get for a game."""

    def subject(game: Game) -> checks.GameSubject:
        module: Any = types.ModuleType("walk_game")
        module.GAME = game
        monkeypatch.setitem(sys.modules, "walk_game", module)
        spec: EnvSpec = game_spec("Walk-v0", "walk", "Walk to the right.", 60, 0.0, 1.0)
        return checks.game_subject(dataclasses.replace(spec, entry="walk_game:GAME"))

    return subject


BROKEN = {
    "draws beyond its frame": (
        {"draw": draw_beyond},
        checks.drawing_stays_in_the_frame,
        r"draw left the frame, after 0 .*pixel \(2, -1\) of 16 × 16.*check their coordinates",
    ),
    "draws a slice beyond its frame": (
        {"draw": draw_slice_beyond},
        checks.drawing_stays_in_the_frame,
        r"draw left the frame, after 0 .*pixel \(2, 0:-1\) of 16 × 16",
    ),
    "leaves pixels": ({"draw": draw_half}, checks.drawing_stays_in_the_frame, "another slot's picture shows"),
    "draws and changes": (
        {"draw": draw_and_count},
        checks.drawing_stays_in_the_frame,
        "draw changed the state",
    ),
    "cannot be won": (
        {"reset": reset_too_far},
        checks.levels_can_be_won,
        r"level 2 \(easy\) was never won by the heuristic, with 8 seeds and max_steps = 60",
    ),
    "plays by the clock": (
        {"step": step_by_the_clock},
        checks.playing_again_is_the_same,
        "two slots with the same seed and keys differ after 1 steps on easy",
    ),
    "advises and changes": (
        {"heuristic": count_on},
        checks.playing_again_is_the_same,
        "heuristic changed the state after 0 steps",
    ),
    "has a dead key": (
        {"actions": (*WALK.actions, ("down", "none"))},
        checks.every_key_does_something,
        r"the action \('down', 'none'\) did the same as pressing nothing in all \d+ states",
    ),
    "writes past the end": (
        {"state": np.dtype([*FIELDS, ("seen", np.int64, (4,))]), "step": step_past_the_end},
        checks.plain_python_plays_it,
        r"step raised IndexError, after 5 heuristic steps on level \d \(easy\): index 4 is out of bounds.*"
        r"state\.seen\[state\.x - 3\] = 1 \(.*test_game_complaints\.py:\d+\).*looks at no index",
    ),
    "never returns": (
        {"step": step_for_ever},
        checks.plain_python_plays_it,
        r"step did not return within 3 s, after 2 heuristic steps .*at \S+ .*test_game_complaints\.py:\d+",
    ),
    "names no field": (
        {"step": step_and_mistype},
        checks.plain_python_plays_it,
        r"step raised AttributeError.*goall.*state\.x = state\.goall \(.*test_game_complaints\.py:\d+\)",
    ),
    "returns how it ended only": (
        {"step": step_won},
        checks.plain_python_plays_it,
        r"step returned 1, after 0 heuristic steps on level 0 \(easy\), at return CLEARED \(.*"
        rf"test_game_complaints\.py:{step_won.__code__.co_firstlineno + 2}\); "
        r"it must return \(reward, RUNNING \| CLEARED \| LOST\)$",
    ),
    "returns nothing": (
        {"step": step_without_return},
        checks.plain_python_plays_it,
        rf"step returned None, .*:{step_without_return.__code__.co_firstlineno + 1}\); "
        r"it must return \(reward",
    ),
    "returns three things": (
        {"step": step_of_three},
        checks.plain_python_plays_it,
        r"step returned \(1, 0, .*2.*\), after 0 .* must return \(reward, RUNNING",
    ),
    "returns a word for its ending": (
        {"step": step_with_a_word},
        checks.plain_python_plays_it,
        r"step returned \(1, 'lost'\), after 0 .* must return \(reward, RUNNING",
    ),
    "returns no reward": (
        {"step": step_without_reward},
        checks.plain_python_plays_it,
        r"step returned \(None, 0\), after 0 .* must return \(reward, RUNNING",
    ),
    "returns an ending that isn't": (
        {"step": step_beyond_the_endings},
        checks.plain_python_plays_it,
        r"step returned \(0, 7\), after 0 .* must return \(reward, RUNNING",
    ),
    "returns how it ended in a branch": (
        {"step": step_of_a_branch},
        checks.plain_python_plays_it,
        rf"step returned 2, after 3 .* at return LOST \(.*:{step_of_a_branch.__code__.co_firstlineno + 2}\)",
    ),
    "advises nothing": (
        {"heuristic": heuristic_without_return},
        checks.plain_python_plays_it,
        r"heuristic returned None, after 2 heuristic steps .* at return None \(.*; "
        "it must return the keys of one of the game's actions, such as 0 or LEFT",
    ),
    "advises in words": (
        {"heuristic": heuristic_with_a_word},
        checks.plain_python_plays_it,
        r"heuristic returned 'left', after 0 .* must return the keys",
    ),
    "advises keys of no action": (
        {"heuristic": heuristic_without_key},
        checks.plain_python_plays_it,
        rf"heuristic returned {RIGHT | UP}, after 0 .* must return the keys of one of the game's actions",
    ),
    "has fractions": (
        {"state": np.dtype([*FIELDS, ("speed", np.float64)])},
        checks.states_are_whole_numbers,
        "field 'speed' is float64: use int64",
    ),
}


@pytest.mark.parametrize(("changes", "check", "complaint"), BROKEN.values(), ids=BROKEN)
def test_the_author_is_told(
    subject_of: Any, plainly: None, monkeypatch: pytest.MonkeyPatch, changes: Any, check: Any, complaint: str
) -> None:
    monkeypatch.setattr(plain_play, "CALL_SECONDS", 3.0)
    subject = subject_of(dataclasses.replace(WALK, **changes))
    with pytest.raises(AssertionError, match=complaint):
        check(subject)


def test_the_author_is_told_of_arrays_made_in_step(subject_of: Any) -> None:
    subject = subject_of(dataclasses.replace(WALK, step=step_with_room))
    with pytest.raises(
        AssertionError, match=r"asks for memory at every call: step_with_room calls np\.zeros"
    ):
        checks.nothing_is_allocated(subject)


def test_a_right_game_passes(subject_of: Any, plainly: None) -> None:
    subject = subject_of(WALK)
    for check in checks.GAME_CHECKS:
        check(subject)


def test_the_author_is_told_of_exceptions(subject_of: Any, plainly: None) -> None:
    subject = subject_of(dataclasses.replace(WALK, step=step_and_trip))
    with pytest.raises(AssertionError, match=r"(?s)Walk-v0: the game's code raised .*a stone in the way"):
        _ = subject.moments
    with pytest.raises(
        AssertionError, match=r"step raised ValueError, after 2 heuristic .*a stone in the way"
    ):
        checks.plain_python_plays_it(subject)


def test_machine_code_does_not_run_before_the_checks_that_spare_it(
    subject_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fractions could not be compiled, and what lies past the end of an array belongs to somebody else."""
    monkeypatch.setattr(checks, "CompiledRuntime", None)
    for name in ("has fractions", "writes past the end"):
        changes, check, complaint = BROKEN[name]
        subject = subject_of(dataclasses.replace(WALK, **changes))
        index = checks.GAME_CHECKS.index(check)
        for earlier in checks.GAME_CHECKS[:index]:
            earlier(subject)
        with pytest.raises(AssertionError, match=complaint):
            check(subject)


def test_the_author_is_told_of_divisions_by_zero(subject_of: Any, plainly: None) -> None:
    # Machine code would play on while states are gathered.
    subject = dataclasses.replace(subject_of(WALK), game=dataclasses.replace(WALK, step=step_and_share))
    with pytest.raises(
        AssertionError, match=r"step divides by zero, after 0 .*: state\.goal \+= .*divisor first"
    ):
        checks.nothing_is_divided_by_zero(subject)


def step_timed(state: Any, keys: int, dt: int) -> tuple[int, int]:
    return step(state, keys)


def reset_unseeded(state: Any, level: int) -> None:
    reset(state, level, 0)


MISMADE = {
    "step with a third": (
        {"step": step_timed},
        r"a game's step is called as step\(state, keys\), but step_timed takes \(state, keys, dt\), "
        rf"at .*test_game_complaints\.py:{step_timed.__code__.co_firstlineno}",
    ),
    "reset without the seed": (
        {"reset": reset_unseeded},
        r"a game's reset is called as reset\(state, level, seed\), but reset_unseeded takes \(state, level\)",
    ),
    "draw for a player": (
        {"draw": step_timed},
        r"a game's draw is called as draw\(state, canvas\), but step_timed takes",
    ),
    "heuristic is step": (
        {"heuristic": step},
        r"a game's heuristic is called as heuristic\(state\), but step takes \(state, keys\)",
    ),
    "heuristic is no function": (
        {"heuristic": 3},
        r"a game's heuristic must be a plain function heuristic\(state\), got 3",
    ),
    "state is a list": (
        {"state": FIELDS},
        r"a game's state must be a structured dtype, such as np\.dtype\(.*, got the list \[\('rng', <class",
    ),
    "state is a field's type": (
        {"state": np.int64},
        r"structured dtype.*, got the type <class 'numpy\.int64'>",
    ),
    "state has no fields": ({"state": np.dtype(np.int64)}, "a game's state needs an int64 field 'rng'"),
}


@pytest.mark.parametrize(("changes", "complaint"), MISMADE.values(), ids=MISMADE)
def test_the_author_is_told_what_is_no_game(changes: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        dataclasses.replace(WALK, **changes)


def step_for_all(state: Any, keys: Any) -> Any:
    return state.live.sum(), RUNNING


def draw_for(state: Any, canvas: Any, player: int) -> None:
    draw(state, canvas)


def heuristic_of(state: Any, player: int) -> int:
    return RIGHT


MATCH = Match(
    state=np.dtype([*match_fields, ("x", np.int64), ("goal", np.int64)]),
    players=(2,),
    reset=reset,
    step=lambda state, keys: RUNNING,
    draw=draw_for,
    heuristic=heuristic_of,
    actions=WALK.actions,
    instruction=WALK.instruction,
)


def test_the_author_is_told_what_is_no_match() -> None:
    with pytest.raises(UsageError, match=r"a match's draw is called as draw\(state, canvas, player\), but"):
        dataclasses.replace(MATCH, draw=draw)
    with pytest.raises(UsageError, match=r"a match's state must be a structured dtype, .* got the list"):
        dataclasses.replace(MATCH, state=match_fields)  # type: ignore[arg-type]


def heuristic_mistyped(state: Any) -> int:
    return RIGHT if state.y < state.goal else LEFT


def step_unimported(state: Any, keys: int) -> tuple[int, int]:
    return walked(state, keys)  # type: ignore[name-defined,no-any-return] # noqa: F821


def step_of_two_minds(state: Any, keys: int) -> Any:
    if keys & RIGHT:
        return RUNNING
    return 0, RUNNING


def advised(spec: EnvSpec) -> None:
    """All of a game's functions are compiled."""
    runtime = checks.CompiledRuntime(spec, 1)
    runtime.reset([0], [0])
    runtime.recv()
    runtime.heuristic([0])


UNCOMPILED = {
    "names no field": (
        {"step": step_and_mistype},
        r"the state has no field 'goall', at .*test_game_complaints\.py:{here}",
        step_and_mistype.__code__.co_firstlineno + 1,
    ),
    "names no field in the heuristic": (
        {"heuristic": heuristic_mistyped},
        r"the state has no field 'y', at .*test_game_complaints\.py:{here}",
        heuristic_mistyped.__code__.co_firstlineno + 1,
    ),
    "calls what it did not import": (
        {"step": step_unimported},
        r"name 'walked' is not defined, at .*test_game_complaints\.py:{here} \(step_unimported\)",
        step_unimported.__code__.co_firstlineno,
    ),
    "returns how it ended only": (
        {"step": step_won},
        r"step_won must return \(reward, RUNNING \| CLEARED \| LOST\) \(failed to unpack .*\), "
        r"at .*test_game_complaints\.py:{here} \(step_won\)\. .*check_game names the line",
        step_won.__code__.co_firstlineno,
    ),
    "returns a word for its ending": (
        {"step": step_with_a_word},
        r"step_with_a_word must return \(reward, RUNNING .* at .*test_game_complaints\.py:{here} ",
        step_with_a_word.__code__.co_firstlineno,
    ),
    "returns no reward": (
        {"step": step_without_reward},
        r"step_without_reward must return \(reward, RUNNING .* at .*test_game_complaints\.py:{here} ",
        step_without_reward.__code__.co_firstlineno,
    ),
    "advises in words": (
        {"heuristic": heuristic_with_a_word},
        r"heuristic_with_a_word must return the keys .* at .*test_game_complaints\.py:{here} ",
        heuristic_with_a_word.__code__.co_firstlineno,
    ),
    "returns this or that": (
        {"step": step_of_two_minds},
        r"Can't unify return type .*, at .*test_game_complaints\.py:\d+",
        0,
    ),
    "has fractions": (
        {"state": np.dtype([*FIELDS[:2], ("x", np.float64), ("goal", np.int64)])},
        r"No implementation of function .*float64.*, at .*test_game_complaints\.py:\d+",
        0,
    ),
}


@pytest.mark.parametrize(("changes", "complaint", "here"), UNCOMPILED.values(), ids=UNCOMPILED)
def test_the_author_is_told_what_cannot_be_compiled(
    subject_of: Any, changes: Any, complaint: str, here: int
) -> None:
    spec = subject_of(dataclasses.replace(WALK, **changes)).spec
    with pytest.raises(UsageError, match=complaint.replace("{here}", str(here))) as caught:
        advised(spec)
    assert "\n" not in str(caught.value)


def test_the_author_of_a_match_is_told_what_its_step_must_return() -> None:
    with pytest.raises(UsageError, match=r"step_for_all must return RUNNING, WON, .* \(step_for_all\)\."):
        match_drivers(dataclasses.replace(MATCH, step=step_for_all))


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("arcade/Sumo-v0", "arcade/Sumo-v0 is a match of several agents"),
        ("gymnasium/CartPole-v1", "gymnasium/CartPole-v1 is no arcade game"),
    ],
)
def test_who_checks_no_game_is_told_what_it_is(env_id: str, words: str) -> None:
    with pytest.raises(UsageError, match=rf"arcade games for one player; {words}.*use check_env"):
        checks.check_game(env_id)
