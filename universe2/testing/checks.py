"""The checks that every runtime must pass, one function each.

A check takes a ``Subject`` and raises AssertionError with a sentence that names the cause. A
check that can't apply raises ``Skip`` with the reason, which the report shows. Checks share
runtimes, which may be expensive to open, and so see what earlier episodes have left behind; each
resets the slots that it uses and leaves none busy. Those that must have a fresh one open it.

Suffixes: N slots.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from universe2.core.errors import (
    ClosedError,
    IdleError,
    InvalidActionError,
    InvalidSeedError,
    MissingDependencyError,
    UnsupportedError,
    UsageError,
)
from universe2.core.runtime import Runtime
from universe2.core.spaces import empty, leaf_values, leaves
from universe2.core.spec import Autoreset, EnvConfig
from universe2.faces.env import RuntimeEnv
from universe2.faces.vector import RuntimeVectorEnv
from universe2.testing.play import ActionSource, Played, play, receive
from universe2.testing.rows import check_rows
from universe2.testing.wrong import wrong_actions

Opener = Callable[[int, EnvConfig], Runtime]


class Skip(Exception):
    """The check doesn't apply; the message says why."""


@dataclass(frozen=True)
class Subject:
    """What is under test.

    ``reference`` is another way to open the same, which must agree to the bit. ``together`` opens it with
    all slots in one process, so that what they share by mistake shows, however many cores there are.
    """

    open: Opener
    config: EnvConfig
    steps: int
    reference: Opener | None = None
    together: Opener | None = None
    _shared: dict[tuple[int, Autoreset], Runtime] = field(default_factory=dict, repr=False)

    def opened(self, slots: int, autoreset: Autoreset = "next_step") -> Runtime:
        """A fresh runtime, which the caller closes. Two slots may have a process each, more are together."""
        opener = (self.together if slots > 2 else None) or self.open
        return opener(slots, replace(self.config, autoreset=autoreset))

    def shared(self, slots: int, autoreset: Autoreset = "next_step") -> Runtime:
        """The runtime of so many slots that all checks use."""
        if (slots, autoreset) not in self._shared:
            self._shared[slots, autoreset] = self.opened(slots, autoreset)
        return self._shared[slots, autoreset]

    def close(self) -> None:
        """Close what is shared."""
        while self._shared:
            self._shared.popitem()[1].close()

    def play(
        self, seeds: Sequence[int], autoreset: Autoreset = "next_step", action_seed: int | None = None
    ) -> list[Played]:
        """``play`` on the shared runtime of so many slots. Looks at every row, see ``check_rows``."""
        runtime = self.shared(len(seeds), autoreset)
        watch = partial(check_rows, runtime)
        return play(runtime, seeds, self.steps, action_seed=action_seed, watch=watch)


def spaces_hold_what_comes_out(subject: Subject) -> None:
    subject.play([3, 4])


def spaces_are_the_runtimes_own(subject: Subject) -> None:
    one, other = subject.shared(1), subject.shared(2)
    for name in ("observation_space", "action_space"):
        theirs = {id(space) for _, space in leaves(getattr(other, name))}
        for path, space in leaves(getattr(one, name)):
            assert id(space) not in theirs, (
                f"two runtimes share {name}{path}, so that sampling in one changes what the other samples"
            )


def same_seed_gives_the_same_trajectory(subject: Subject) -> None:
    runtime = subject.opened(1)
    try:
        first = play(runtime, [11], subject.steps)[0]
    finally:
        runtime.close()
    for which in ("in another runtime", "again in the same one"):
        again = subject.play([11])[0]
        assert first.same_as(again), f"the seed {which}: it differs from {_where(first, again)} on"


def another_seed_is_honoured(subject: Subject) -> None:
    seeds = [21, 22, 23, 24, 25, 26, 27]
    runtime = subject.shared(len(seeds))
    runtime.reset(np.arange(len(seeds)), seeds)
    for batch in receive(runtime, len(seeds)):
        asked = [seeds[slot] for slot in batch.slots]
        assert batch.seed.tolist() == asked, f"reset with the seeds {asked}, rows say {batch.seed.tolist()}"
    # With actions that depend on the seed, trajectories would differ in any case.
    if len({tuple(played.stream) for played in subject.play(seeds, action_seed=20)}) == 1:
        raise Skip(
            f"with the same actions, the seeds {seeds} all gave the same {subject.steps} steps: "
            "the environment is deterministic, or ignores its seed"
        )


def alone_as_in_a_vector_of_7(subject: Subject) -> None:
    seeds = [5, 6, 7, 8, 9, 10, 11]
    together = subject.play(seeds)
    for slot in (0, 3, 6):
        alone = subject.play([seeds[slot]])[0]
        assert alone.same_as(together[slot]), (
            f"seed {seeds[slot]} alone and in slot {slot} of 7 differ from {_where(alone, together[slot])} on"
        )


def autoreset_modes_agree(subject: Subject) -> None:
    modes: tuple[Autoreset, ...] = ("next_step", "same_step", "disabled")
    played = {mode: subject.play([31, 32], mode) for mode in modes}
    for mode in modes[1:]:
        for slot in range(2):
            a, b = played["next_step"][slot], played[mode][slot]
            assert a.same_as(b), f"next_step and {mode} differ from {_where(a, b)} on (slot {slot})"
    if not any(p.episodes for p in played["next_step"]):
        raise Skip(f"no episode ended within {subject.steps} steps, so only their beginnings were compared")


def gymnasium_vector_keeps_final_observations(subject: Subject) -> None:
    ended = 0
    plain = subject.play([41, 42], "disabled")
    env = RuntimeVectorEnv(subject.shared(2, "same_step"))  # shared, so not closed here
    source = ActionSource(env.runtime)
    env.reset(seed=[41, 42])
    for slot, seed in enumerate((41, 42)):
        source.begin(slot, seed)
    for _ in range(subject.steps):
        *_, terminated_N, truncated_N, infos = env.step(source.batch(np.arange(2)))
        over_N = terminated_N | truncated_N
        assert over_N.any() == ("final_obs" in infos), "final_obs must be there when an episode ends"
        if over_N.any():
            assert (infos["_final_obs"] == over_N).all(), "the mask _final_obs is wrong"
            final = infos["final_obs"][int(np.argmax(over_N))]
            assert env.single_observation_space.contains(final), "the final observation is not in its space"
            ended += 1
            break
    if not ended:
        raise Skip(f"no episode ended within {subject.steps} steps")
    assert any(p.episodes for p in plain), "an episode ended under same_step but not under disabled"


def sequence_numbers_count(subject: Subject) -> None:
    runtime = subject.shared(1)
    source = ActionSource(runtime)
    runtime.reset([0], [50])
    (batch,) = receive(runtime, 1)
    before = int(batch.episode[0])
    runtime.reset([0], [51])
    episode, step = before + 1, 0
    for _ in range(min(subject.steps, 40)):
        (batch,) = receive(runtime, 1)
        got = int(batch.episode[0]), int(batch.step[0])
        assert got == (episode, step), f"expected (episode, step) {(episode, step)}, got {got}"
        episode, step = (episode + 1, 0) if batch.ended[0] else (episode, step + 1)
        runtime.send([0], source.batch(np.arange(1)))
    receive(runtime, 1)
    runtime.reset([0], [52])
    (batch,) = receive(runtime, 1)
    assert (batch.step[0], batch.seed[0]) == (0, 52), "a reset in mid-episode must give step 0 and its seed"


def wrong_actions_are_refused_by_name(subject: Subject) -> None:
    runtime = subject.shared(2)
    source = ActionSource(runtime)
    runtime.reset([0, 1], [61, 62])
    receive(runtime, 2)
    good = source.batch(np.arange(2))
    for what, bad, slot in wrong_actions(runtime):
        try:
            runtime.send([0, 1], bad)
        except InvalidActionError as error:
            refusal = str(error)
        else:
            raise AssertionError(f"an action with {what} was accepted")
        for word in (slot, "expected", "received"):
            assert word in refusal, f"the refusal of an action with {what} doesn't say {word!r}: {refusal}"
    runtime.send([0, 1], good)
    for batch in receive(runtime, 2):
        assert not batch.fault.any(), f"after refused actions a right one failed: {batch.fault_text}"
        assert (batch.step == 1).all(), "a refused action moved a slot"


def wrong_use_is_refused(subject: Subject) -> None:
    runtime = subject.opened(1)
    try:
        source = ActionSource(runtime)
        action = source.batch(np.arange(1))
        _raises(UsageError, lambda: runtime.send([0], action), "sending before the first reset")
        _raises(IdleError, lambda: runtime.recv(1.0), "receiving when nothing was sent")
        _raises(UsageError, lambda: runtime.reset([1], [0]), "a slot that doesn't exist")
        wrong: list[Any] = [-1, 2**63, 1.5, "7", True]
        for seed in wrong:
            _raises(InvalidSeedError, partial(runtime.reset, [0], [seed]), f"seed {seed!r}")
        runtime.reset([0], [71])
        _raises(UsageError, lambda: runtime.reset([0], [72]), "resetting a busy slot")
        receive(runtime, 1)
    finally:
        runtime.close()


def subsets_leave_others_alone(subject: Subject) -> None:
    runtime = subject.shared(7)
    seeds = [81, 82, 83, 84, 85, 86, 87]
    whole = play(runtime, seeds, 10)
    source = ActionSource(runtime)
    runtime.reset([0, 1, 2], [81, 82, 83])
    receive(runtime, 3)
    for _ in range(3):  # slots 0 and 2 run ahead and start anew; the others wait
        runtime.send([0, 2], source.batch(np.arange(2)))
        receive(runtime, 2)
    runtime.send(np.zeros(0, np.int32), empty(runtime.action_space, 0))  # of no slot: nothing
    runtime.reset([2, 0], [83, 81])
    receive(runtime, 2)
    runtime.send([1], source.batch(np.arange(1, 2)))
    (batch,) = receive(runtime, 1)
    assert (batch.slots[0], batch.step[0], batch.seed[0]) == (1, 1, 82), (
        "slot 1 moved while it was left alone"
    )
    runtime.reset([1], [82])
    receive(runtime, 1)
    again = play(runtime, seeds, 10)
    for slot in range(len(seeds)):
        assert whole[slot].same_as(again[slot]), (
            f"slot {slot} differs from {_where(whole[slot], again[slot])} on"
        )


def snapshots_have_one_future(subject: Subject) -> None:
    runtime = subject.shared(1)
    source = ActionSource(runtime)
    runtime.reset([0], [91])
    receive(runtime, 1)
    for _ in range(5):
        runtime.send([0], source.batch(np.arange(1)))
        receive(runtime, 1)
    try:
        state = runtime.snapshot([0])
    except UnsupportedError as error:
        raise Skip(str(error)) from None
    actions = [source.batch(np.arange(1)) for _ in range(10)]
    futures = []
    for attempt in range(2):
        if attempt:
            runtime.restore([0], state)
            receive(runtime, 1)
        future = []
        for action in actions:
            runtime.send([0], action)
            (batch,) = receive(runtime, 1)
            arrays = [
                np.asarray(leaf).tobytes() for leaf in leaf_values(runtime.observation_space, batch.obs)
            ]
            future.append((arrays, batch.reward.tolist(), batch.ended.tolist(), batch.seed.tolist()))
        futures.append(future)
    assert futures[0] == futures[1], "the same snapshot and actions gave two futures"


def pictures_are_pictures(subject: Subject) -> None:
    runtime = subject.shared(1)
    runtime.reset([0], [101])
    receive(runtime, 1)
    try:
        pictures = [*runtime.render([0]), *runtime.render([0], (48, 40))]
    except (UnsupportedError, MissingDependencyError) as error:
        raise Skip(str(error)) from None
    for picture in pictures:
        assert picture.dtype == np.uint8, f"render gave dtype {picture.dtype}"
        assert picture.ndim == 3, f"render gave shape {picture.shape}"
        assert picture.shape[2] == 3, f"render gave shape {picture.shape}"
        assert picture.flags.writeable, "render gave a picture that can't be drawn on"
    assert pictures[1].shape == (48, 40, 3), f"render at 48 × 40 gave shape {pictures[1].shape}"


def closing_twice_is_fine(subject: Subject) -> None:
    runtime = subject.opened(1)
    runtime.reset([0], [111])
    receive(runtime, 1)
    runtime.close()
    runtime.close()
    _raises(ClosedError, lambda: runtime.reset([0], [112]), "using a closed runtime")


def gymnasium_says_so_too(subject: Subject) -> None:
    env = RuntimeEnv(subject.opened(1, "disabled"))
    try:
        with warnings.catch_warnings():
            # Advice on taste (bounds of a Box, render modes) is not a failure of the contract.
            warnings.simplefilter("ignore")
            gymnasium_check_env(env, skip_render_check=True, skip_close_check=True)
    finally:
        env.close()


def agrees_with_its_reference(subject: Subject) -> None:
    if subject.reference is None:
        raise Skip("there is nothing to compare with")
    seeds = [121, 122]
    with closing(Subject(subject.reference, subject.config, subject.steps)) as reference:
        for autoreset in ("next_step", "same_step"):
            here, there = reference.play(seeds, autoreset), subject.play(seeds, autoreset)
            for slot in range(len(seeds)):
                assert here[slot].same_as(there[slot]), (
                    f"{autoreset}: slot {slot} differs from {_where(here[slot], there[slot])} on"
                )
                ends, others = (
                    [str((e.length, e.total, e.info)) for e in played[slot].episodes]
                    for played in (here, there)
                )
                assert ends == others, f"{autoreset}: slot {slot}: episodes end as {others}, not {ends}"
                rows = zip(here[slot].infos, there[slot].infos, strict=True)
                for row, (ours, theirs) in enumerate(rows):
                    odd = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
                    assert not odd, f"{autoreset}: slot {slot}, row {row}: the infos differ in {odd}"


CHECKS: tuple[Callable[[Subject], None], ...] = (
    spaces_hold_what_comes_out,
    spaces_are_the_runtimes_own,
    same_seed_gives_the_same_trajectory,
    another_seed_is_honoured,
    alone_as_in_a_vector_of_7,
    autoreset_modes_agree,
    sequence_numbers_count,
    wrong_actions_are_refused_by_name,
    wrong_use_is_refused,
    subsets_leave_others_alone,
    snapshots_have_one_future,
    pictures_are_pictures,
    closing_twice_is_fine,
    agrees_with_its_reference,
)
ONE_AGENT_CHECKS: tuple[Callable[[Subject], None], ...] = (
    gymnasium_vector_keeps_final_observations,
    gymnasium_says_so_too,
)
"""Of Gymnasium's faces; universe2.testing.agents has those for several agents."""


def _raises(kind: type[Exception], call: Callable[[], Any], what: str) -> None:
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise AssertionError(
            f"{what} raised {type(error).__name__} ({error}), not {kind.__name__}"
        ) from error
    raise AssertionError(f"{what} was accepted; it must raise {kind.__name__}")


def _where(a: Played, b: Played) -> str:
    pairs = enumerate(zip(a.stream, b.stream, strict=False))
    return f"observation {next((i for i, (x, y) in pairs if x != y), 'none')}"
