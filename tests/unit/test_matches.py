"""The matches: fair to all seats, alike compiled and plain, and what their agents are told.

Suffixes: N slots, P players.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from universe2.core.agents import agent_columns
from universe2.core.errors import UsageError
from universe2.core.registry import find
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade.matches import matches
from universe2.runtimes.match import MatchRuntime

SPECS = {spec.name: spec for spec in matches()}
every_match = pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))


def opened(spec: EnvSpec, slots: int, **options: Any) -> MatchRuntime:
    options = {"size": 16, **options}
    return MatchRuntime(spec, slots, EnvConfig(autoreset="disabled", options=options))


def stepped(runtime: MatchRuntime, actions_NP: np.ndarray) -> Any:
    runtime.send(
        np.arange(len(actions_NP)), {agent: actions_NP[:, p] for p, agent in enumerate(runtime.agents)}
    )
    return runtime.recv()


def advice(runtime: MatchRuntime, slots: Any) -> np.ndarray:
    """int64 (N, P): what the scripted players would do."""
    return np.stack(list(runtime.heuristic(slots).values()), axis=1)


@pytest.mark.parametrize("name", ["Duel", "Cycles", "Sumo", "Flags"])
def test_whoever_sits_where_sees_and_gets_the_same(name: str) -> None:
    """Slot 1 is slot 0 with the players' actions exchanged: then all that they see and get is too."""
    runtime = opened(SPECS[name], 2, players=2, size=32)
    rng, live = np.random.default_rng(5), True
    for seed in (3, 4):
        runtime.reset([0, 1], [seed, seed])
        batch = runtime.recv()
        for step in range(80):
            one, other = batch.obs["player_0"], batch.obs["player_1"]
            for seen, mirrored in ((one[0], other[1]), (one[1], other[0])):
                # Pixels on an edge are rounded one way in a picture and the other way in its mirror.
                differ = (abs(seen.astype(int) - mirrored).max(axis=-1) > 64).mean()
                assert differ < 0.02, f"step {step}: {differ:.1%} of the pixels differ"
            columns = agent_columns(batch)
            for column in columns:
                assert np.array_equal(column[0], column[1][::-1]), f"step {step}: {column}"
            if batch.ended.any():
                live = False
                break
            if step % 4 == 0:
                actions_P = rng.integers(0, len(runtime.match.actions), 2)
            batch = stepped(runtime, np.stack([actions_P, actions_P[::-1]]))
    assert name not in ("Cycles", "Sumo") or not live, "no episode ended: the test shows little"


@every_match
def test_equal_players_win_equally_often(spec: EnvSpec) -> None:
    if spec.name == "Carry":
        pytest.skip("everyone gets the same")
    count = 100
    runtime = opened(spec, count, size=8, max_steps=150)
    rng, live = np.random.default_rng(1), np.arange(count)
    total_NP = np.zeros((count, len(runtime.agents)))
    runtime.reset(live, live)
    runtime.recv()
    while len(live):
        wise = advice(runtime, live)
        drawn = rng.integers(0, len(runtime.match.actions), wise.shape)
        chosen = np.where(rng.random(wise.shape) < 0.6, wise, drawn)
        runtime.send(live, {agent: chosen[:, p] for p, agent in enumerate(runtime.agents)})
        batch = runtime.recv()
        total_NP[live] += agent_columns(batch).reward
        live = live[~batch.ended]
    assert np.array_equal(total_NP.sum(axis=1), np.zeros(count)), "what one gains the others pay"
    spread = total_NP.std(axis=0).mean() / count**0.5
    assert spread > 0
    assert (abs(total_NP.mean(axis=0)) < 4.5 * spread).all(), total_NP.mean(axis=0)


def test_carry_needs_both() -> None:
    runtime = opened(SPECS["Carry"], 1, start_level=3, num_levels=1)
    for helps in (True, False):
        runtime.reset([0], [7])
        runtime.recv()
        total = 0.0
        for _ in range(90):
            actions_NP = advice(runtime, [0])
            if not helps:
                actions_NP[:, 1] = 0
            batch = stepped(runtime, actions_NP)
            rewards = agent_columns(batch).reward[0]
            assert rewards[0] == rewards[1]
            total += float(rewards[0])
            if batch.ended[0]:
                break
        assert (total == 19.0) == helps
        assert not helps or batch.info["outcome"].values[0] == "cleared"


@every_match
def test_heuristics_beat_random_players(spec: EnvSpec) -> None:
    if spec.name == "Carry":
        pytest.skip("nobody to beat")
    runtime = opened(spec, 8, size=8, max_steps=300)
    rng, live = np.random.default_rng(2), np.arange(8)
    total_NP = np.zeros((8, len(runtime.agents)))
    expert_P = np.arange(len(runtime.agents)) % 2 == 1  # of Flags one team, elsewhere every other
    runtime.reset(live, live)
    runtime.recv()
    while len(live):
        drawn = rng.integers(0, len(runtime.match.actions), (len(live), total_NP.shape[1]))
        chosen = np.where(expert_P, advice(runtime, live), drawn)
        runtime.send(live, {agent: chosen[:, p] for p, agent in enumerate(runtime.agents)})
        batch = runtime.recv()
        total_NP[live] += agent_columns(batch).reward
        live = live[~batch.ended]
    assert total_NP[:, expert_P].mean() > total_NP[:, ~expert_P].mean() + 0.5


def test_the_dead_leave_and_the_rest_play_on() -> None:
    runtime = opened(SPECS["Cycles"], 1, players=3)
    runtime.reset([0], [1])
    batch, seen = runtime.recv(), []
    while not batch.ended[0]:
        batch = stepped(runtime, np.where([True, False, False], 0, advice(runtime, [0])))
        columns = agent_columns(batch)
        if columns.terminated[0].any():
            seen.append((columns.terminated[0].sum(), columns.live[0].sum(), columns.reward[0].sum()))
    assert seen[0][:2] == (1, 2)
    assert not columns.live.any()
    assert all(total == 0 for *_, total in seen)
    assert batch.info["outcome"].values[0] in ("won", "drawn")


def test_the_time_limit_truncates_those_who_play() -> None:
    runtime = opened(SPECS["Rally"], 1, max_steps=2)
    runtime.reset([0], [1])
    runtime.recv()
    stepped(runtime, np.zeros((1, 2), int))
    batch = stepped(runtime, np.zeros((1, 2), int))
    columns = agent_columns(batch)
    assert columns.truncated.all()
    assert not columns.terminated.any()
    assert batch.truncated.all()
    assert not batch.terminated.any()


def test_keys_are_mirrored_as_the_picture_is() -> None:
    """Each player of Sumo goes right in its own picture with the right arrow."""
    runtime = opened(SPECS["Sumo"], 1, players=2)
    runtime.reset([0], [1])
    runtime.recv()
    before = runtime._states_N["x"][0].copy()
    right = runtime.match.actions.index(("right", "none"))
    stepped(runtime, np.array([[right, right]]))
    moved = runtime._states_N["x"][0] - before
    assert moved[0] > 0
    assert moved[1] == -moved[0]


def test_wrong_numbers_of_players_are_refused() -> None:
    with pytest.raises(UsageError, match="2 or 4 players, got players=3"):
        opened(SPECS["Flags"], 1, players=3)
    with pytest.raises(UsageError, match=r"must lie in 2\.\.4"):
        opened(SPECS["Cycles"], 1, players=5)


def test_experts_advise_every_agent() -> None:
    config = EnvConfig(interface="screen", options={"expert": 1, "players": 2}, screen_size=(16, 16))
    runtime = MatchRuntime(find("arcade/Cycles-v0"), 3, config)
    runtime.reset([0, 1, 2], [1, 2, 3])
    batch = runtime.recv()
    assert batch.info["agent_expert"].values.shape == (3, 2, 5)
    assert batch.obs["player_1"]["screen"].shape == (3, 16, 16, 3)
