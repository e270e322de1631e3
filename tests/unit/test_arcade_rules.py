"""Rules of single games, in plain Python on states made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from universe2.envs.arcade import maze
from universe2.envs.arcade.game import LOST, RUNNING


def maze_with_the_player_at_a_chasers_home(scared: int) -> Any:
    """The other chasers wait for ever."""
    state = np.zeros(1, maze.STATE).view(np.recarray)[0]
    maze.reset(state, 3, 5)
    state.c_wait[:] = 10_000
    state.cell, state.scared = state.c_cell[0], scared
    return state


def test_in_maze_a_chaser_is_caught_once_until_it_leaves_home() -> None:
    state = maze_with_the_player_at_a_chasers_home(scared=maze.SCARED_TICKS)
    state.c_wait[0] = 0
    paid = [maze.step(state, 0) for _ in range(maze.SCARED_TICKS // maze.TICKS - 1)]
    caught = [step for step, (reward, _) in enumerate(paid) if reward]
    assert all(paid[step] == (5, RUNNING) for step in caught)
    assert caught[0] == 0
    assert len(caught) > 1, "back in play, still scared, it is caught again"
    assert (np.diff(caught) >= maze.HOME_TICKS // maze.TICKS).all()


def test_in_maze_a_chaser_that_waits_at_home_does_not_catch() -> None:
    state = maze_with_the_player_at_a_chasers_home(scared=0)
    state.c_wait[0] = 3 * maze.TICKS
    assert [maze.step(state, 0)[1] for _ in range(3)] == [RUNNING, RUNNING, LOST]
