"""Demonstrations: what scripted experts do, recorded through the screen interface as Minari datasets.

    python -m universe2.agents.demonstrations arcade/Runner-v0 u2/runner-v0 --episodes 50
    python -m universe2.agents.demonstrations web/click-test-2-v0 u2/click-v0 --remote node7:15900

Environments with the option ``expert`` say themselves what theirs would do (info["expert"]): arcade
games and web tasks that have a solver. They are opened like anybody's, here or on servers. The
datasets are Minari's own: `minari.load_dataset` opens them. This file trains nothing.

Suffixes: K rows of a batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from gymnasium import spaces
from rich.console import Console

from universe2.agents.progress import bars, reason
from universe2.core.batch import Batch
from universe2.core.errors import FaultError, MissingDependencyError, UsageError
from universe2.core.registry import find
from universe2.core.screen import NVEC, screen_action_space, screen_observation_space
from universe2.core.seeding import next_seed
from universe2.core.shell import errors_in_a_line, typed_options
from universe2.core.spec import EnvConfig, load
from universe2.faces.make import make_pool, token_from

_PATIENCE_S = 120.0
_MASK = "universe2_action_mask"
"""A dataset's own metadata: which choices of the screen action were live when it was recorded."""
MOST_TRIES = 5
"""Episodes begun for each one that is wanted, before giving up on a solver or an environment."""


@dataclass
class Recording:
    """One episode: n + 1 observations around n actions and rewards."""

    seed: int
    screens: list[np.ndarray] = field(default_factory=list)
    """uint8 (H, W, 3) each"""
    instructions: list[str] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    """int64 (5,) each"""
    rewards: list[float] = field(default_factory=list)
    terminated: bool = False
    truncated: bool = False

    @property
    def score(self) -> float:
        return float(sum(self.rewards))

    def see(self, obs: Mapping[str, Any], row: int) -> None:
        self.screens.append(np.array(obs["screen"][row]))
        self.instructions.append(str(obs["instruction"][row]))


@dataclass
class Tries:
    """What came of the episodes so far."""

    kept: int = 0
    ended: int = 0
    faults: int = 0
    last_fault: str = ""

    def count(self, batch: Batch, kept: int, ended: int) -> None:
        """``kept`` and ``ended``: how many episodes this batch did."""
        self.kept += kept
        self.ended += ended
        for row in np.flatnonzero(batch.fault):
            self.faults += 1
            self.last_fault = reason(batch.fault_text.get(int(row), ""))

    def give_up(self, env_id: str, least: float) -> None:
        """Raises FaultError if faults cut most of them, else UsageError."""
        if self.faults > self.ended:
            raise FaultError(
                f"{env_id}: faults cut {self.faults} of {self.ended + self.faults} episodes of its expert, "
                f"too many to go on; the last fault: {self.last_fault}"
            )
        more = f"; faults cut {self.faults} more, the last: {self.last_fault}" if self.faults else ""
        raise UsageError(
            f"{env_id}: only {self.kept} of {self.ended} episodes of its expert scored {least} or more{more}"
        )


def advice(batch: Batch) -> np.ndarray:
    """int64 (K, 5): what the expert would do; nothing, where it is at a loss."""
    said, there = batch.info.get(
        "expert", (np.zeros((len(batch), len(NVEC)), np.int64), np.zeros(len(batch), bool))
    )
    return np.where(there[:, None], said, 0).astype(np.int64)


def record(
    env_id: str,
    episodes: int,
    *,
    slots: int = 8,
    seed: int = 0,
    screen_size: tuple[int, int] = (64, 64),
    remotes: list[str] | None = None,
    token: str | None = None,
    options: Mapping[str, Any] | None = None,
    least: float = -np.inf,
    kept: list[Recording] | None = None,
    after_batch: Callable[[Tries], None] = lambda tries: None,
) -> list[Recording]:
    """Whole episodes of the expert's whose score is at least ``least``; no fault cut any of them.

    They are added to ``kept`` as they end, so that whatever ends the recording before leaves them there.
    Raises UsageError where there is no expert, or where it reaches ``least`` too seldom, and FaultError
    where faults cut too many.
    """
    spec = find(env_id)
    if "expert" not in spec.resolve({}):
        raise UsageError(f'{env_id} has no expert: it lacks the option "expert"')
    kept = [] if kept is None else kept
    tries, most = Tries(), MOST_TRIES * max(episodes, slots)
    given = {env_id: {**(options or {}), "expert": 1}}
    with make_pool(
        {env_id: slots}, remotes=remotes, token=token, screen_size=screen_size, options=given
    ) as pool:
        open_episodes: list[Recording | None] = [None] * slots
        pool.reset(seed)
        while len(kept) < episodes:
            _, batch = pool.recv(_PATIENCE_S)
            done = _write(batch, open_episodes)
            good = [recording for recording in done if recording.score >= least]
            kept.extend(good[: episodes - len(kept)])
            tries.count(batch, len(good), len(done))
            after_batch(tries)
            if tries.ended + tries.faults >= most and len(kept) < episodes:
                tries.give_up(env_id, least)
            actions = advice(batch)
            for row, slot in enumerate(batch.slots):
                if (recording := open_episodes[slot]) is not None:
                    recording.actions.append(actions[row])
            pool.send(0, batch.slots, actions)
    return kept


def _write(batch: Batch, open_episodes: list[Recording | None]) -> list[Recording]:
    """What a batch adds to the episodes under way; those that it ended."""
    done = []
    finals = {int(row): place for place, row in enumerate(batch.final_rows)}
    for row, slot in enumerate(batch.slots):
        recording = open_episodes[slot]
        if batch.fault[row]:
            open_episodes[slot] = None
            continue
        if recording is not None and recording.actions:
            recording.rewards.append(float(batch.reward[row]))
            if batch.ended[row]:
                recording.terminated = bool(batch.terminated[row])
                recording.truncated = bool(batch.truncated[row])
                recording.see(batch.final_obs, finals[row])
                done.append(recording)
        if recording is None or batch.ended[row] or batch.step[row] == 0:
            seed = int(batch.seed[row])
            recording = open_episodes[slot] = Recording(next_seed(seed) if batch.ended[row] else seed)
        recording.see(batch.obs, row)
    return done


def refuse_unwritable(dataset_id: str) -> None:
    """Raises UsageError if there is such a data set already, or can't be one of that name."""
    try:
        _minari().dataset.minari_dataset.parse_dataset_id(dataset_id)
    except (ValueError, TypeError):  # the latter for a name without a version
        raise UsageError(
            f"{dataset_id!r} is no name for a Minari dataset: it must be like u2/runner-v0, of letters, "
            "digits, - and _, with its version at the end"
        ) from None
    if dataset_id in _minari().list_local_datasets():
        raise UsageError(f"there is a dataset {dataset_id} already; minari delete {dataset_id}")


def write_dataset(
    dataset_id: str, env_id: str, recordings: list[Recording], options: Mapping[str, Any] | None = None
) -> None:
    """A Minari dataset in Minari's own place (MINARI_DATASETS_PATH). Raises UsageError if it is there.

    It says which choices of an action were live for ``env_id``, since a clone must learn to leave the others,
    and the ``options`` under which it was recorded.
    """
    minari = _minari()
    from minari.data_collector import EpisodeBuffer

    refuse_unwritable(dataset_id)
    buffers = [
        EpisodeBuffer(
            id=number,
            seed=recording.seed,
            observations={"screen": recording.screens, "instruction": recording.instructions},
            actions=recording.actions,
            rewards=recording.rewards,
            terminations=[False] * (len(recording.rewards) - 1) + [recording.terminated],
            truncations=[False] * (len(recording.rewards) - 1) + [recording.truncated],
        )
        for number, recording in enumerate(recordings)
    ]
    with warnings.catch_warnings():
        # it would rather have a Gymnasium environment to evaluate on
        warnings.simplefilter("ignore", UserWarning)
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            buffers,
            env=None,
            action_space=screen_action_space(),
            observation_space=screen_observation_space(recordings[0].screens[0].shape[:2]),
            algorithm_name=f"scripted expert of {env_id}",
            author="universe2",
            author_email="-",
            code_permalink="-",
            description=f"{env_id} through the screen interface" + (f", {dict(options)}" if options else ""),
            jpeg_encoding=False,
        )
    spec = find(env_id)  # which may run on servers only: its spaces are known here all the same
    mask = load(spec.spaces_from)(spec, EnvConfig(interface="screen")).action_mask
    assert mask is not None, "the screen interface has one"
    dataset.storage.update_metadata({_MASK: [int(live) for live in mask]})


def read_dataset(dataset_id: str) -> list[Recording]:
    """The episodes of a Minari dataset that was recorded through the screen interface; else UsageError."""
    minari = _minari()
    if dataset_id not in minari.list_local_datasets():
        raise UsageError(
            f"no Minari dataset {dataset_id} here; there are {list(minari.list_local_datasets())}"
        )
    dataset = minari.load_dataset(dataset_id)
    _check_spaces(dataset_id, dataset.observation_space, dataset.action_space)
    metadata = dataset.storage.get_episode_metadata(dataset.episode_indices)
    return [
        Recording(
            int(about.get("seed", 0)),
            list(episode.observations["screen"]),
            [str(text) for text in episode.observations["instruction"]],
            list(np.asarray(episode.actions, np.int64)),
            [float(reward) for reward in episode.rewards],
            bool(episode.terminations[-1]),
            bool(episode.truncations[-1]),
        )
        for episode, about in zip(dataset.iterate_episodes(), metadata, strict=True)
    ]


def _check_spaces(dataset_id: str, observations: spaces.Space, actions: spaces.Space) -> None:
    """Minari holds datasets of all kinds."""
    parts = observations.spaces if isinstance(observations, spaces.Dict) else {}
    screen, instruction = parts.get("screen"), parts.get("instruction")
    seen = isinstance(screen, spaces.Box) and screen.dtype == np.uint8 and screen.shape[2:] == (3,)
    if seen and isinstance(instruction, spaces.Text) and np.array_equal(getattr(actions, "nvec", ()), NVEC):
        return
    raise UsageError(
        f"the Minari dataset {dataset_id} was not recorded through the screen interface: its observations "
        f"are {' '.join(repr(observations).split())} and its actions {actions!r}; expected are a Dict of "
        f"screen, uint8 (height, width, 3), and instruction, a Text, and {screen_action_space()!r}, as "
        "`python -m universe2.agents.demonstrations` records them"
    )


def live_choices(dataset_id: str) -> np.ndarray:
    """bool (209,): the choices that were live in a dataset's environment; all, if it doesn't say."""
    told = _minari().load_dataset(dataset_id).storage.metadata.get(_MASK)
    return np.ones(sum(NVEC), bool) if told is None else np.array(told, bool)


def _minari() -> Any:
    try:
        import minari
    except ImportError as error:
        raise MissingDependencyError('demonstrations need Minari: pip install "universe2[demos]"') from error
    return minari


@contextmanager
def _bar(env_id: str, episodes: int) -> Iterator[Callable[[Tries], None]]:
    """Shows what it is given, on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda tries: None
        return
    with bars(console, transient=True) as shown:
        bar = shown.add_task(env_id, total=episodes, said="")

        def show(tries: Tries) -> None:
            left_out = tries.ended - tries.kept
            said = [f"{left_out} left out"] if left_out else []
            said += [f"{tries.faults} cut by faults"] if tries.faults else []
            shown.update(bar, completed=min(tries.kept, episodes), said=", ".join(said))

        yield show


def main(
    env_id: Annotated[str, typer.Argument(help="An arcade game or a web task.")],
    dataset_id: Annotated[str, typer.Argument(help="Minari's name for it, like u2/runner-v0.")],
    episodes: Annotated[int, typer.Option(help="How many.", min=1)] = 100,
    slots: Annotated[int, typer.Option(help="Environments at once.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the episodes.")] = 0,
    size: Annotated[int, typer.Option(help="Height and width of the screen in pixels.")] = 64,
    least: Annotated[float, typer.Option(help="Leave out episodes with a lower score.")] = -np.inf,
    option: Annotated[
        list[str] | None, typer.Option(help="An option of the environment, name=value; may be repeated.")
    ] = None,
    remote: Annotated[list[str] | None, typer.Option(help="host:port of a server.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="A file that holds the servers' token.")] = None,
) -> None:
    """Record an expert's episodes as a Minari dataset.

    Interrupted, or ended by an error, it holds the episodes that had ended by then.
    """
    refuse_unwritable(dataset_id)  # before anything is played
    token = token_from(token_file)
    options = typed_options(option or [])
    found: list[Recording] = []
    try:
        with _bar(env_id, episodes) as show:
            record(
                env_id,
                episodes,
                slots=slots,
                seed=seed,
                screen_size=(size, size),
                remotes=remote,
                token=token,
                options=options,
                least=least,
                kept=found,
                after_batch=show,
            )
    finally:
        if found:
            _write_and_tell(dataset_id, env_id, found, options)


def _write_and_tell(dataset_id: str, env_id: str, found: list[Recording], options: Mapping[str, Any]) -> None:
    write_dataset(dataset_id, env_id, found, options)
    scores = [recording.score for recording in found]
    steps = sum(len(recording.actions) for recording in found)
    typer.echo(f"{dataset_id}: {len(found)} episodes, {steps:,} steps, mean score {np.mean(scores):.2f}")


if __name__ == "__main__":
    with errors_in_a_line():
        typer.run(main)
