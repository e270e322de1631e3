"""A game that raises costs its slot one row with a fault and the other slots nothing: compiled and plain.

The game here is tiny, so that compiling it takes little. Suffix: P players.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universe2.core.agents import agent_columns
from universe2.core.batch import Fault
from universe2.core.errors import FaultError, UsageError
from universe2.core.seeding import mix, next_seed
from universe2.core.spec import EnvConfig
from universe2.envs.arcade import game_spec
from universe2.envs.arcade.game import DOWN, LEFT, LOST, RIGHT, RUNNING, UP, Game
from universe2.envs.arcade.kit import block
from universe2.envs.arcade.match import FIELDS, Match
from universe2.envs.arcade.matches import match_spec
from universe2.runtimes import compiled_driver, match_driver
from universe2.runtimes.compiled import CompiledRuntime
from universe2.runtimes.match import MatchRuntime

STILL, TRIP, END, BLIND, DIVIDE = range(5)
"""Actions: do nothing; raise; end the episode; raise in drawing; divide by zero."""
CURSED = 1
"""The level that can't be begun."""
DIZZY = 80
"""The light at which the heuristic raises."""


def reset(state: Any, level: int, seed: int) -> None:
    state.light = 50
    if level == CURSED:
        raise ValueError("cursed level")


def step(state: Any, keys: int) -> tuple[int, int]:
    state.light += 10
    if keys & UP:
        raise ValueError("tripped")
    if keys & LEFT:
        return 3, LOST
    if keys & RIGHT:
        state.blind = 1
    if keys & DOWN:
        return state.light // state.blind, RUNNING
    return 1, RUNNING


def draw(state: Any, canvas: Any) -> None:
    block(canvas, 0, 0, 4096, 4096, state.light)
    if state.blind:
        raise ValueError("too dark")


def heuristic(state: Any) -> int:
    if state.light == DIZZY:
        raise ValueError("dizzy")
    return 0


GAME = Game(
    state=np.dtype([("rng", np.int64), ("hard", np.int64), ("light", np.int64), ("blind", np.int64)]),
    reset=reset,
    step=step,
    draw=draw,
    heuristic=heuristic,
    actions=(("none", "none"), ("up", "none"), ("left", "none"), ("right", "none"), ("down", "none")),
    instruction="Don't trip.",
)


def step_all(state: Any, keys: Any) -> int:
    outcome = 0
    for p in range(state.players):
        gained, ending = step(state, keys[p])
        state.gained[p] = gained
        outcome = max(outcome, ending)
    return outcome


def draw_for(state: Any, canvas: Any, player: int) -> None:
    draw(state, canvas)


def heuristic_of(state: Any, player: int) -> int:
    return heuristic(state)


MATCH = Match(
    state=np.dtype([*FIELDS, ("light", np.int64), ("blind", np.int64)]),
    players=(2,),
    reset=reset,
    step=step_all,
    draw=draw_for,
    heuristic=heuristic_of,
    actions=GAME.actions,
    instruction=GAME.instruction,
)

# The compiler's results are kept by game: plain Python needs another one.
PLAIN_GAME = dataclasses.replace(GAME, instruction="Don't trip, plainly.")
PLAIN_MATCH = dataclasses.replace(MATCH, instruction="Don't trip, plainly.")


def level_of(seed: int) -> int:
    """Of two levels."""
    return (mix(seed) >> 1) % 2


def seed_of(*levels: int) -> int:
    """The first seed from which one episode after the other gets these levels."""
    seed = 0
    while True:
        found, later = [], seed
        for _ in levels:
            found.append(level_of(later))
            later = next_seed(later)
        if found == list(levels):
            return seed
        seed += 1


SOUND = seed_of(0, 0, 0)


@pytest.fixture(params=["compiled", "plain"])
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    loops = (compiled_driver._drive_all, match_driver._drive_all)
    if request.param == "plain":
        monkeypatch.setenv("UNIVERSE2_DEBUG", "1")
        for loop in loops:
            loop.cache_clear()
    yield request.param == "plain"
    if request.param == "plain":
        for loop in loops:
            loop.cache_clear()


def opened(plain: bool, slots: int, autoreset: Any = "next_step", players: int = 1, **more: Any) -> Any:
    options = {"num_levels": 2, **more.pop("options", {})}
    if "screen_size" not in more:
        options["size"] = 8
    config = EnvConfig(autoreset=autoreset, options=options, **more)
    prefix = "PLAIN_" if plain else ""
    if players > 1:
        spec = match_spec("Trip-v0", "", "Don't trip.", 100, 2, 0.0, 1.0)
        return MatchRuntime(dataclasses.replace(spec, entry=f"{__name__}:{prefix}MATCH"), slots, config)
    spec = game_spec("Trip-v0", "", "Don't trip.", 100, 0.0, 1.0)
    return CompiledRuntime(dataclasses.replace(spec, entry=f"{__name__}:{prefix}GAME"), slots, config)


def begun(plain: bool, slots: int, *arguments: Any, seeds: Any = None, **options: Any) -> Any:
    runtime = opened(plain, slots, *arguments, **options)
    runtime.reset(range(slots), seeds or [SOUND] * slots)
    return runtime, runtime.recv()


def stepped(runtime: Any, slots: Any, actions: Any) -> Any:
    """In a match the first player does it, the second stands still."""
    actions = np.asarray(actions)
    if isinstance(runtime, MatchRuntime):
        actions = {"player_0": actions, "player_1": np.zeros_like(actions)}
    runtime.send(slots, actions)
    return runtime.recv()


def seen(obs: Any) -> list[set[int]]:
    """Of each row, all values of its pictures."""
    parts = list(obs.values()) if isinstance(obs, dict) else [obs]
    return [{int(value) for part in parts for value in np.unique(part[row])} for row in range(len(parts[0]))]


modes = pytest.mark.parametrize("autoreset", ["next_step", "same_step", "disabled"])
kinds = pytest.mark.parametrize("players", [1, 2], ids=["game", "match"])


@modes
@kinds
def test_slots_that_raise_fault_and_the_others_go_on(plain: bool, players: int, autoreset: Any) -> None:
    runtime, _ = begun(plain, 8, autoreset, players)
    batch = stepped(runtime, range(8), [TRIP, STILL, STILL, STILL, TRIP, STILL, STILL, STILL])
    bad = batch.fault == Fault.ENVIRONMENT
    assert bad.tolist() == [True, False, False, False] * 2
    assert np.isnan(batch.reward).tolist() == bad.tolist()
    assert batch.reward[~bad].tolist() == [float(players)] * 6
    assert not batch.ended.any()
    assert seen(batch.obs) == [{0} if row in (0, 4) else {0, 50 + 10 * players} for row in range(8)]
    assert list(batch.fault_text) == [0, 4]
    text = batch.fault_text[4]
    assert text.startswith(
        "arcade/Trip-v0: the game's code raised an exception in the step of slot 4 (level 0,"
    )
    assert "ValueError: tripped" in text
    assert Path(__file__).name in text  # the folder is that of the tree that compiled it
    assert ("UNIVERSE2_DEBUG=1" in text) != plain
    if players > 1:
        columns = agent_columns(batch)
        assert np.isnan(columns.reward[bad]).all()
        assert columns.live.any(axis=1).tolist() == (~bad).tolist()
    for ask in (runtime.snapshot, runtime.render, runtime.heuristic):
        with pytest.raises(UsageError, match="slot 4 had a fault and has no state"):
            ask([3, 4])
    if autoreset == "disabled":
        with pytest.raises(UsageError, match="reset it"):
            stepped(runtime, [0], [STILL])
        runtime.reset([0, 4], [SOUND, SOUND])
        assert not runtime.recv().fault.any()
        return
    batch = stepped(runtime, range(8), [STILL] * 8)
    assert not batch.fault.any()
    assert batch.step.tolist() == [0, 2, 2, 2] * 2
    assert batch.episode.tolist() == [1, 0, 0, 0] * 2
    assert batch.seed[4] == next_seed(SOUND)
    assert batch.reward.tolist() == [0.0, players, players, players] * 2


@pytest.mark.parametrize("plain", ["plain"], indirect=True)
def test_a_reward_that_is_no_number_is_a_fault(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    unsure = dataclasses.replace(GAME, step=lambda state, keys: (np.nan if keys & UP else 0.5, RUNNING))
    monkeypatch.setitem(globals(), "PLAIN_GAME", unsure)
    runtime, _ = begun(plain, 3)
    batch = stepped(runtime, range(3), [STILL, TRIP, STILL])
    assert batch.fault.tolist() == [0, Fault.ENVIRONMENT, 0]
    assert np.array_equal(batch.reward, [0.5, np.nan, 0.5], equal_nan=True)
    assert "the game's code gave the reward NaN in the step of slot 1" in batch.fault_text[1]
    assert seen(batch.obs)[1] == {0}
    assert stepped(runtime, [1], [STILL]).step.tolist() == [0]


@modes
@kinds
def test_a_reset_that_raises_is_a_fault_too(plain: bool, players: int, autoreset: Any) -> None:
    cursed = seed_of(CURSED, 0)
    runtime, batch = begun(plain, 3, autoreset, players, seeds=[cursed, SOUND, cursed])
    assert batch.fault.tolist() == [Fault.ENVIRONMENT, 0, Fault.ENVIRONMENT]
    assert "in the reset of slot 2" in batch.fault_text[2]
    assert "cursed level" in batch.fault_text[2]
    assert batch.info["level"].mask.tolist() == [False, True, False]
    assert stepped(runtime, [1], [STILL]).reward.tolist() == [players]
    if autoreset != "disabled":
        batch = stepped(runtime, [2], [STILL])
        assert (batch.fault[0], batch.seed[0], batch.step[0]) == (0, next_seed(cursed), 0)


@kinds
def test_a_failed_reset_after_an_end_keeps_the_end(plain: bool, players: int) -> None:
    seed = seed_of(0, CURSED, 0)
    runtime, _ = begun(plain, 2, "same_step", players, seeds=[seed, SOUND])
    batch = stepped(runtime, [0, 1], [END, STILL])
    assert not batch.fault.any()
    assert batch.terminated.tolist() == [True, False]
    assert batch.reward.tolist() == [3.0 + (players - 1), players]
    assert batch.final_rows.tolist() == [0]
    assert batch.final_info["outcome"].values.tolist() == ["lost"]
    assert seen(batch.final_obs)[0] == seen(batch.obs)[0]
    assert max(seen(batch.obs)[0]) > 50
    with pytest.raises(UsageError, match="slot 0 had a fault"):
        runtime.heuristic([0])
    batch = stepped(runtime, [0, 1], [STILL, STILL])
    assert batch.fault.tolist() == [Fault.ENVIRONMENT, 0]
    assert np.isnan(batch.reward).tolist() == [True, False]
    assert "in the reset of slot 0" in batch.fault_text[0]
    assert "cursed level" in batch.fault_text[0]
    assert batch.seed[0] == next_seed(seed)
    assert seen(batch.obs)[0] == {0}
    batch = stepped(runtime, [0, 1], [STILL, STILL])
    assert batch.fault.tolist() == [0, 0]
    assert batch.step.tolist() == [0, 3]


@kinds
def test_a_slot_whose_reset_failed_can_be_reset_and_restored(plain: bool, players: int) -> None:
    runtime, _ = begun(plain, 2, "same_step", players, seeds=[seed_of(0, CURSED, 0)] * 2)
    state = runtime.snapshot([0])
    stepped(runtime, [0, 1], [END, END])
    runtime.restore([0], state)
    assert not runtime.recv().fault.any()
    runtime.reset([1], [SOUND])
    assert not runtime.recv().fault.any()
    assert stepped(runtime, [0, 1], [STILL, STILL]).reward.tolist() == [players, players]


def test_many_slots_over_threads() -> None:
    runtime, _ = begun(False, 64)
    batch = stepped(runtime, range(64), [TRIP if slot % 7 == 0 else STILL for slot in range(64)])
    assert np.flatnonzero(batch.fault).tolist() == list(range(0, 64, 7))
    assert all(f"slot {slot} " in text for slot, text in batch.fault_text.items())
    assert all("ValueError: tripped" in text for text in batch.fault_text.values())
    assert not stepped(runtime, range(64), [STILL] * 64).fault.any()


@kinds
def test_drawing_that_raises(plain: bool, players: int) -> None:
    runtime, _ = begun(plain, 2, "next_step", players)
    batch = stepped(runtime, [0, 1], [BLIND, STILL])
    assert batch.fault.tolist() == [Fault.ENVIRONMENT, 0]
    assert "too dark" in batch.fault_text[0]
    runtime._states_N["blind"][1] = 1
    with pytest.raises(FaultError, match=r"(?s)in the picture of slot 1.*too dark"):
        runtime.render([1])


def test_an_expert_that_raises(plain: bool) -> None:
    runtime, _ = begun(plain, 3, options={"expert": 1})
    for _ in range(2):
        stepped(runtime, [1], [STILL])
    batch = stepped(runtime, [0, 1, 2], [STILL] * 3)
    assert batch.fault.tolist() == [0, Fault.ENVIRONMENT, 0]
    assert "dizzy" in batch.fault_text[1]
    assert batch.info["expert"].mask.tolist() == [True, False, True]
    assert not stepped(runtime, [0, 1, 2], [STILL] * 3).fault.any()


def test_a_faulted_row_of_the_screen_says_nothing(plain: bool) -> None:
    runtime, _ = begun(plain, 2, interface="screen", screen_size=(16, 16))
    actions = np.zeros((2, 5), np.int64)
    actions[1, 0] = 1
    batch = stepped(runtime, [0, 1], actions)
    assert batch.fault.tolist() == [0, Fault.ENVIRONMENT]
    assert batch.obs["instruction"][1] == ""
    assert "trip" in batch.obs["instruction"][0]


def test_dividing_by_zero_raises_in_plain_python_only(plain: bool) -> None:
    runtime, _ = begun(plain, 1)
    batch = stepped(runtime, [0], [DIVIDE])
    assert batch.fault.tolist() == [Fault.ENVIRONMENT if plain else Fault.NONE]
    assert not plain or "divide by zero" in batch.fault_text[0]
    assert plain or batch.reward.tolist() == [0.0]
