"""The checks that an arcade game must pass besides a runtime's: what its author may have got wrong.

They look at the game's functions themselves, first as plain Python and then as machine code, on states
from some of its levels: ``check_game("arcade/Maze-v0")``. Each complaint says what was seen, where,
and what usually causes it. Games for several players are not looked at.
"""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast

import numpy as np

from universe2.core.batch import Batch
from universe2.core.errors import UsageError
from universe2.core.registry import find
from universe2.core.spec import EnvConfig, EnvSpec, load
from universe2.envs.arcade import DIFFICULTIES
from universe2.envs.arcade.game import Game
from universe2.runtimes.compiled import CompiledRuntime
from universe2.runtimes.compiled_build import reached
from universe2.runtimes.compiled_driver import drivers
from universe2.testing.plainly import division_complaint, play_plainly

LEVELS, SEEDS = 4, 8
"""Levels of each difficulty that somebody must win, and how many seeds are tried for it."""
SIZES = ((16, 16), (20, 33))
"""Canvases on which drawing is watched; (height, width)."""
MOMENTS = (0, 1, 3, 8, 20, 45)
"""Steps after which states are looked at."""


@dataclass(frozen=True)
class Moment:
    """A state of the game, and how it came about."""

    state_1: np.ndarray
    where: str

    def copy(self) -> Any:
        """The state as the game's functions take it in plain Python."""
        return self.state_1.copy().view(np.recarray)[0]


@dataclass(frozen=True)
class GameSubject:
    """The game under test."""

    spec: EnvSpec
    game: Game

    @functools.cached_property
    def moments(self) -> tuple[Moment, ...]:
        """States from some of its levels. Machine code finds them: look before for what could harm it."""
        return tuple(sampled(self.spec))


def check_game(env_id: str) -> list[str]:
    """Run an arcade game for one player through the checks of this file; their names.

    Raises AssertionError, whose text begins with the name of the check, at the first failure.
    """
    spec = find(env_id)
    if spec.runtime != "compiled":
        what = "a match of several agents" if spec.runtime == "match" else "no arcade game"
        raise UsageError(
            f"check_game is for arcade games for one player; {env_id} is {what}: "
            "use check_env of universe2.testing"
        )
    subject, passed = game_subject(spec), []
    for check in GAME_CHECKS:
        title = check.__name__.replace("_", " ")
        try:
            check(subject)
        except AssertionError as error:
            raise AssertionError(f"{env_id}: {title}: {error}") from error
        passed.append(title)
    return passed


def game_subject(spec: EnvSpec) -> GameSubject:
    return GameSubject(spec, cast(Game, load(spec.entry)))


def sampled(spec: EnvSpec) -> Iterator[Moment]:
    """States from the first levels, easy and hard, half of them played by the heuristic."""
    for difficulty in DIFFICULTIES:
        options = {"num_levels": LEVELS, "size": 8, "difficulty": difficulty}
        runtime = CompiledRuntime(spec, 4, EnvConfig(options=options))
        rng, slots = np.random.default_rng(0), np.arange(4, dtype=np.int32)
        runtime.reset(slots, slots)
        batch = received(runtime)
        for step in range(max(MOMENTS) + 1):
            if step in MOMENTS:
                for slot, state in zip(slots, runtime.states(slots), strict=True):
                    how = "the heuristic's" if slot % 2 else "random"
                    if not batch.ended[slot]:
                        yield Moment(state.reshape(1), f"after {step} {how} steps on {difficulty}")
            actions = runtime.heuristic(slots)
            actions[::2] = rng.integers(0, len(runtime.game.actions), 2)
            runtime.send(slots, actions)
            batch = received(runtime)
        runtime.close()


def received(runtime: CompiledRuntime) -> Batch:
    """What ``recv`` gives, if the game raised nothing."""
    batch = runtime.recv()
    assert not batch.fault_text, next(iter(batch.fault_text.values()))
    return batch


def states_are_whole_numbers(subject: GameSubject) -> None:
    state = subject.game.state
    for name in state.names or ():
        kind = state[name].base
        assert kind == np.int64, (
            f"the state's field {name!r} is {kind}: use int64, which plays the same on every machine"
        )


def plain_python_plays_it(subject: GameSubject) -> None:
    play_plainly(subject.game, subject.spec.options["max_steps"])


class Watched(np.ndarray):
    """A canvas that raises IndexError for what an ordinary one would draw elsewhere."""

    def __setitem__(self, place: Any, colour: Any) -> None:
        self._check(place)
        super().__setitem__(place, colour)

    def __getitem__(self, place: Any) -> Any:
        self._check(place)
        return super().__getitem__(place)

    def _check(self, place: Any) -> None:
        indices = place if isinstance(place, tuple) else (place,)
        if not all(_within(index, length) for index, length in zip(indices, self.shape, strict=False)):
            where = ", ".join(f"{i.start}:{i.stop}" if isinstance(i, slice) else str(i) for i in indices)
            raise IndexError(f"pixel ({where}) of {' × '.join(map(str, self.shape))}")


def _within(index: Any, length: int) -> bool:
    """Below 0 an index or an end of a slice would count from the far side."""
    if isinstance(index, slice):
        return all(end is None or 0 <= end <= length for end in (index.start, index.stop))
    return not isinstance(index, (int, np.integer)) or 0 <= int(index) < length


def drawing_stays_in_the_frame(subject: GameSubject) -> None:
    game = subject.game
    for number, moment in enumerate(subject.moments):
        height, width = SIZES[number % len(SIZES)]
        state, canvas = moment.copy(), np.zeros((height, width), np.int32).view(Watched)
        try:
            game.draw(state, canvas)
        except IndexError as error:
            raise AssertionError(
                f"draw left the frame, {moment.where}: {error}. The kit's shapes are cut at the edges; "
                "blend and canvas[y, x] are not, so check their coordinates first"
            ) from error
        assert state.tobytes() == moment.state_1.tobytes(), (
            f"draw changed the state, {moment.where}: what is seen must not depend on who looks"
        )
        other: Any = np.full((height, width), 0x123456, np.int32)
        game.draw(state, other)
        assert (other == np.asarray(canvas)).all(), (
            f"draw left pixels as they were, {moment.where}: another slot's picture shows there. "
            "Begin with gradient, or a block over everything"
        )


def every_key_does_something(subject: GameSubject) -> None:
    game, moments = subject.game, subject.moments

    def outcomes(keys: int) -> list[Any]:
        found = []
        for moment in moments:
            state = moment.copy()
            result = game.step(state, keys)
            found.append((tuple(map(int, result)), state.tobytes()))
        return found

    without = outcomes(0)
    for action, keys in zip(game.actions, game.keys(), strict=True):
        assert not keys or outcomes(int(keys)) != without, (
            f"the action {action} did the same as pressing nothing in all {len(moments)} states tried: "
            "is its key read in step, and is it among the actions on purpose?"
        )


def playing_again_is_the_same(subject: GameSubject) -> None:
    for difficulty in DIFFICULTIES:
        runtime = CompiledRuntime(subject.spec, 4, EnvConfig(options={"size": 8, "difficulty": difficulty}))
        slots, seeds = np.arange(4, dtype=np.int32), [5, 5, 6, 6]
        runtime.reset(slots, seeds)
        received(runtime)
        for step in range(max(MOMENTS)):
            a, b, c, d = (state.tobytes() for state in runtime.states(slots))
            assert (a, c) == (b, d), (
                f"two slots with the same seed and keys differ after {step} steps on {difficulty}: reset and "
                "step may depend on nothing but the state, level, seed and keys; random numbers come from "
                "state.rng (see rng.py), and np.empty holds what was there before"
            )
            actions = runtime.heuristic(slots)
            after = [state.tobytes() for state in runtime.states(slots)]
            assert after == [a, b, c, d], (
                f"heuristic changed the state after {step} steps on {difficulty}: it may only read"
            )
            runtime.send(slots, np.repeat(actions[::2], 2))
            received(runtime)
        runtime.close()


def nothing_is_divided_by_zero(subject: GameSubject) -> None:
    game = subject.game
    for moment in subject.moments:
        state, canvas = moment.copy(), np.zeros(SIZES[0], np.int32)
        _divides("heuristic", moment.where, lambda: game.heuristic(state))  # noqa: B023 (called at once)
        _divides("draw", moment.where, lambda: game.draw(state, canvas))  # noqa: B023
        for keys in game.keys().tolist():
            state = moment.copy()
            _divides("step", moment.where, lambda: game.step(state, keys))  # noqa: B023


def _divides(name: str, where: str, call: Callable[[], object]) -> None:
    """Complain if the call divides by zero."""
    try:
        with np.errstate(divide="raise"):
            call()
    except (ZeroDivisionError, FloatingPointError) as error:
        raise AssertionError(division_complaint(name, where, error)) from error


def nothing_is_allocated(subject: GameSubject) -> None:
    game = subject.game
    if not drivers(game).allocates():
        return
    functions = [
        one for core in (game.reset, game.step, game.draw) for one in reached(cast(FunctionType, core))
    ]
    found = [f"{one.__name__} {what}" for one in functions if (what := _makes_arrays(one))]
    suspects = ", ".join(dict.fromkeys(found)) or "something that their machine code calls"
    raise AssertionError(
        f"reset, step or draw asks for memory at every call: {suspects}. "
        "Keep arrays as fields of the state, and use tuples or plain variables in place of lists"
    )


def _makes_arrays(function: FunctionType) -> str:
    """What in a function's code makes an array or a list, in words; "" if nothing does."""
    for name in function.__code__.co_names:
        if name in _MAKERS and "np" in function.__code__.co_names:
            return f"calls np.{name}"
    for instruction in dis.get_instructions(function):
        if instruction.opname in ("BUILD_LIST", "BUILD_MAP", "BUILD_SET"):
            return f"makes a {instruction.opname[6:].lower().replace('map', 'dict')}"
    return ""


_MAKERS = ("zeros", "ones", "full", "empty", "array", "arange", "copy", "zeros_like", "concatenate")


def levels_can_be_won(subject: GameSubject) -> None:
    spec = subject.spec
    for difficulty in DIFFICULTIES:
        for level in range(LEVELS):
            options = {"start_level": level, "num_levels": 1, "size": 8, "difficulty": difficulty}
            config = EnvConfig(autoreset="disabled", options=options)
            assert _someone_wins(CompiledRuntime(spec, SEEDS, config)), (
                f"level {level} ({difficulty}) was never won by the heuristic, with {SEEDS} seeds and "
                f"max_steps = {spec.options['max_steps']}: make sure in reset that it can be won "
                "(build it backwards, or search), or improve the heuristic until it shows it"
            )


def _someone_wins(runtime: CompiledRuntime) -> bool:
    live = np.arange(runtime.num_slots, dtype=np.int32)
    runtime.reset(live, live)
    received(runtime)
    won = False
    while len(live) and not won:
        runtime.send(live, runtime.heuristic(live))
        batch = received(runtime)
        if batch.ended.any():
            won = "cleared" in batch.info["outcome"].values[batch.ended].tolist()
        live = live[~batch.ended]
    runtime.close()
    return won


GAME_CHECKS: tuple[Callable[[GameSubject], None], ...] = (
    states_are_whole_numbers,
    plain_python_plays_it,
    drawing_stays_in_the_frame,
    every_key_does_something,
    playing_again_is_the_same,
    nothing_is_divided_by_zero,
    nothing_is_allocated,
    levels_can_be_won,
)
