"""Opening a session's runtime: what the client asked for, checked, opened in time, and described."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np

from universe2.core.errors import DeadlineError, Universe2Error, UsageError, VersionError
from universe2.core.runtime import Runtime, close_all
from universe2.core.spec import Autoreset, EnvConfig, Interface
from universe2.wire.buffers import Buffer
from universe2.wire.codecs import agree
from universe2.wire.frames import MEMBERS_PER_DEADLINE, PROTOCOL
from universe2.wire.schema import write_space
from universe2.wire.v1 import universe_pb2 as pb
from universe2.wire.values import read_value, write_value

OpenRuntime = Callable[[str, int, EnvConfig], Runtime]

MOST_MEMBERS = 1024
LONGEST_NAME = 256
"""Characters of an environment's id, an option's name and the like: whoever asks for an unknown one is told
so by that name, and of those that are like it."""

LATE_SECONDS = 120.0
"""What isn't open so long after its deadline either counts as hung: its slots are lent again."""


class Asked(NamedTuple):
    """What one member of a session is asked to be, and the config that this makes."""

    ask: pb.Open
    config: EnvConfig


def read_asks(ask: pb.Open) -> list[Asked]:
    """What each member of a session is asked to be. Raises VersionError and UsageError."""
    if ask.protocol != PROTOCOL:
        raise VersionError(
            f"the client speaks protocol {ask.protocol}, this server {PROTOCOL}; "
            "install the same release of universe2 on both sides"
        )
    if len(ask.more) >= MOST_MEMBERS:
        raise UsageError(f"a session has at most {MOST_MEMBERS} members, got {len(ask.more) + 1}")
    if any(further.more for further in ask.more):
        raise UsageError("members of a session have no members themselves")
    return [Asked(member, _config_of(member)) for member in (ask, *ask.more)]


def _config_of(ask: pb.Open) -> EnvConfig:
    _check_names(ask)
    if ask.num_slots < 1:
        raise UsageError(f"num_slots must be at least 1, got {ask.num_slots}")
    return EnvConfig(
        interface=cast(Interface, ask.interface),  # EnvConfig checks both
        screen_size=(ask.screen_height or 64, ask.screen_width or 64),
        autoreset=cast(Autoreset, ask.autoreset),
        options={name: read_value(value) for name, value in ask.options.items()},
        lossy=ask.lossy,
    )


def _check_names(ask: pb.Open) -> None:
    named = [
        (name, getattr(ask, name)) for name in ("env_id", "interface", "autoreset", "spec_hash", "lossy")
    ]
    for what, text in (*named, *(("an option's name", name) for name in ask.options)):
        if len(text) > LONGEST_NAME:
            raise UsageError(
                f"{what} has at most {LONGEST_NAME} characters, got {len(text)}: {text[:LONGEST_NAME]!r}…"
            )


class _Opening:
    """What comes of one runtime that is being opened: itself, or an error. What is said first counts."""

    def __init__(self) -> None:
        self._result: queue.SimpleQueue[Runtime | Exception] = queue.SimpleQueue()
        self._decided = False
        self._lock = threading.Lock()

    def decide(self, result: Runtime | Exception) -> bool:
        """False: something else was said before. From any thread."""
        with self._lock:
            if self._decided:
                return False
            self._decided = True
            self._result.put(result)
            return True

    def wait(self, seconds: float, late: str) -> Runtime | Exception:
        """What comes of it; within ``seconds``, or it is a DeadlineError that says ``late``."""
        try:
            return self._result.get(timeout=seconds)
        except queue.Empty:
            self.decide(DeadlineError(late))
        return self._result.get()


class Openings:
    """All that a server is opening."""

    def __init__(self) -> None:
        self._waited_for: set[_Opening] = set()
        self._stopped: Universe2Error | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def another(self) -> Iterator[_Opening]:
        """One more, which is waited for inside."""
        opening = _Opening()
        with self._lock:
            if self._stopped is not None:
                opening.decide(self._stopped)
            self._waited_for.add(opening)
        try:
            yield opening
        finally:
            with self._lock:
                self._waited_for.discard(opening)

    def stop(self, error: Universe2Error) -> None:
        """Whoever waits hears ``error`` at once, and so does whoever comes. What opens late is closed."""
        with self._lock:
            self._stopped = error
            for opening in self._waited_for:
                opening.decide(error)


def open_all(
    open_runtime: OpenRuntime,
    members: Sequence[Asked],
    deadline: float,
    give_back: Callable[[], None],
    openings: Openings,
) -> list[Runtime]:
    """``open_in_time`` of all members of a session, one after the other: all of them or none.

    One after the other because what they import, and foreign code that is asked for its spaces, need not
    bear to run at the same time. ``give_back`` is called once, when all that failed or came too late is
    closed again.
    """
    if len(members) == 1:
        return [open_in_time(open_runtime, members[0], deadline, give_back, openings)]
    left = _Countdown(len(members), give_back)
    end = time.monotonic() + deadline * -(-len(members) // MEMBERS_PER_DEADLINE)
    runtimes: list[Runtime] = []
    try:
        for member in members:
            seconds = max(end - time.monotonic(), 0.0)
            runtimes.append(open_in_time(open_runtime, member, seconds, left.down, openings))
    except Exception:
        try:
            close_all(runtimes)
        finally:
            for _ in range(len(members) - 1):  # the one that failed counts itself
                left.down()
        raise
    return runtimes


class _Countdown:
    """Calls ``done`` once, when it was counted down ``count`` times, from any threads."""

    def __init__(self, count: int, done: Callable[[], None]) -> None:
        self._count, self._done = count, done
        self._lock = threading.Lock()

    def down(self) -> None:
        with self._lock:
            self._count -= 1
            over = self._count == 0
        if over:
            self._done()


def open_in_time(
    open_runtime: OpenRuntime,
    asked: Asked,
    deadline: float,
    give_back: Callable[[], None],
    openings: Openings,
) -> Runtime:
    """The runtime that was asked for, if it opens within ``deadline`` seconds.

    Otherwise ``give_back`` is called once, at the latest when what came too late is closed again, or when
    nothing came for ``LATE_SECONDS`` more. Raises DeadlineError, VersionError, whatever opening raises, and
    what ``openings`` was stopped with.
    """
    ask, config = asked
    give_back = _Countdown(1, give_back).down
    failed = threading.Event()

    def work() -> None:
        result: Runtime | Exception
        try:
            # What is lost is lost on the way: the environment knows nothing of it.
            result = open_runtime(ask.env_id, ask.num_slots, dataclasses.replace(config, lossy=""))
            _check_hash(ask, result, config)
        except Exception as error:  # noqa: BLE001  raised again in the session's thread
            result = error
        except BaseException as error:  # noqa: BLE001  sys.exit is an environment's failure, not ours
            result = Universe2Error(f"{ask.env_id} could not be opened: {type(error).__name__}: {error}")
        if isinstance(result, Exception):
            failed.set()
            give_back()  # first: who is told so finds the slots free
            opening.decide(result)
        elif not opening.decide(result):
            try:
                result.close()
            finally:
                give_back()

    with openings.another() as opening:
        try:
            threading.Thread(target=work, daemon=True, name="session-open").start()
        except RuntimeError:  # the system has no thread left
            give_back()
            raise
        late = f"{ask.env_id}: {ask.num_slots} slots were not open after {deadline:.3g} s"
        result = opening.wait(deadline, late)
    if isinstance(result, Exception):
        if not failed.is_set():  # it may open yet, or hang
            hung = threading.Timer(LATE_SECONDS, give_back)
            hung.daemon = True
            hung.start()
        raise result
    return result


def _check_hash(ask: pb.Open, runtime: Runtime, config: EnvConfig) -> None:
    spec_hash = runtime.spec.hash(config)
    if ask.spec_hash and ask.spec_hash != spec_hash:
        runtime.close()
        raise VersionError(
            f"{ask.env_id}: the client's definition has hash {ask.spec_hash!r}, the server's {spec_hash!r}; "
            "their episodes would differ. Install the same releases on both sides"
        )


def describe(runtime: Runtime, ask: pb.Open) -> tuple[pb.Opened, list[Buffer]]:
    """What the client must know of an open runtime. The session fills in what is its own."""
    spec, mask = runtime.spec, runtime.action_mask
    opened = pb.Opened(
        spec_hash=spec.hash(dataclasses.replace(runtime.config, lossy=ask.lossy)),
        codecs=_codecs(runtime, ask),
        observation_space=write_space(runtime.observation_space),
        action_space=write_space(runtime.action_space),
        has_action_mask=mask is not None,
        result_seconds=runtime.result_seconds,
        spec=pb.SpecInfo(
            id=spec.id,
            runtime=spec.runtime,
            description=spec.description,
            options={name: write_value(value) for name, value in spec.options.items()},
            reference=dict(spec.reference),
            multi_agent=spec.multi_agent,
        ),
    )
    return opened, [] if mask is None else [mask.astype(np.uint8)]


def _codecs(runtime: Runtime, ask: pb.Open) -> list[str]:
    """How each leaf of the observation travels; empty if all do as they are."""
    names = agree(runtime.observation_space, [*filter(None, [ask.lossy]), *ask.codecs])
    if ask.lossy and ask.lossy not in names:
        raise UsageError(f"{ask.env_id} observes no pictures that could be sent as {ask.lossy}")
    return names if any(names) else []
