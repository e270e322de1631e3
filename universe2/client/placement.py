"""Which slots go to which server, and ``open_remote`` and ``open_together``, which open them there."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Real

from universe2.client.berth import Berth
from universe2.client.part import Terms
from universe2.client.remote import RemoteRuntime
from universe2.client.stream import call_info
from universe2.client.waiting import Patience
from universe2.core.errors import (
    CapacityError,
    DeadlineError,
    ServerLostError,
    UnknownEnvError,
    UsageError,
    VersionError,
)
from universe2.core.registry import find
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec, is_lossy
from universe2.wire.codecs import check_codecs
from universe2.wire.frames import MAX_MESSAGE_BYTES, PROTOCOL
from universe2.wire.v1 import universe_pb2 as pb
from universe2.wire.values import read_value, write_value

log = logging.getLogger("universe2.client")

INFO_DEADLINE = 10.0
RETRY_SECONDS = 5.0
"""When to look again whether servers that are full together have room."""


Wanted = tuple[str | EnvSpec, int, EnvConfig | None]
"""An environment, how many slots of it, and how."""


def server_info(address: str, token: str | None = None, timeout: float = INFO_DEADLINE) -> pb.InfoReply:
    """What a server says about itself: versions, features, slots in all and free, families.

    Raises ServerLostError, AuthenticationError, DeadlineError.
    """
    return call_info(address, token, timeout)


def open_remote(
    env: str | EnvSpec,
    num_slots: int,
    config: EnvConfig | None = None,
    remotes: Sequence[str] = (),
    token: str | None = None,
    *,
    deadline: float | None = None,
    open_deadline: float = 150.0,
    reopen_deadline: float = 60.0,
    lease: float = 60.0,
    wait: float = 90.0,
    max_faults: int | None = None,
    same_host: bool = True,
    codec: str | Sequence[str] = "auto",
    same_definition: bool = True,
) -> Runtime:
    """Open ``num_slots`` slots on one server or several (``"host:port"``), by their free capacity.

    A server with TLS is ``"tls://host:port"``, with PEM files as in ``?ca=ca.pem&cert=me.pem&key=me.key``.

    The environment's own packages need not be installed here, nor its id be known. Times are in
    seconds: a server that says nothing for ``open_deadline`` when it is called or while it opens slots is
    waited for no longer (unless told otherwise it gives itself 120 s for that); a request without a
    result for ``deadline`` makes its session count as lost (None: a little longer than the server says
    that it may take itself, until it returns a fault); slots of a lost server are looked for elsewhere
    for at most ``reopen_deadline``; a server that hears nothing for ``lease`` frees the slots, and for
    as long a broken connection is resumed without loss; servers that are full are waited for during
    ``wait``, with a line in the log that says the place in the queue (0: CapacityError at once). A slot
    is parked after ``max_faults`` faults in a row (None: as many as its server is set to; at least 1):
    it is restarted no more and answers with a fault that says so. A server on this machine is talked to
    through a Unix socket and shared memory unless ``same_host`` is False.

    ``codec``: how observations travel from a server on another machine, one name or several in the order
    of liking; the first that the server has and that fits a leaf is taken, "raw" if none. "delta", which
    is what "auto" takes, sends only those blocks that changed, "lz4" packs them (needs the package lz4),
    "png" sends picture files: which pays on which network, benchmarks/codecs.py measures. "jpeg-90" and
    "webp-80" (any quality) lose something of the pictures: they are part of ``config`` and its hash, and
    no memory is shared.

    ``same_definition``: of an environment that is known here the servers must have the same definition,
    or episodes would differ. A gateway, whose clients see to that themselves, sets it to False.

    Raises UnknownEnvError, MissingDependencyError, UsageError, CapacityError, VersionError (also
    if the servers' definition of the environment differs from that here), AuthenticationError,
    ServerLostError, DeadlineError.
    """
    (runtime,) = open_together(
        [(env, num_slots, config)],
        remotes,
        token,
        deadline=deadline,
        open_deadline=open_deadline,
        reopen_deadline=reopen_deadline,
        lease=lease,
        wait=wait,
        max_faults=max_faults,
        same_host=same_host,
        codec=codec,
        same_definition=same_definition,
    )
    return runtime


def open_together(
    wanted: Sequence[Wanted],
    remotes: Sequence[str] = (),
    token: str | None = None,
    *,
    deadline: float | None = None,
    open_deadline: float = 150.0,
    reopen_deadline: float = 60.0,
    lease: float = 60.0,
    wait: float = 90.0,
    max_faults: int | None = None,
    same_host: bool = True,
    codec: str | Sequence[str] = "auto",
    same_definition: bool = True,
) -> list[Runtime]:
    """``open_remote`` of several environments, whose slots on a server share one session: all or none.

    A session that is lost is lost for all its environments, and is opened again for them together. It
    ends when all have closed their part. Raises what ``open_remote`` does.
    """
    _check_remotes(remotes)
    _check_times(
        wait=wait,
        deadline=deadline,
        open_deadline=open_deadline,
        reopen_deadline=reopen_deadline,
        lease=lease,
    )
    if max_faults is not None and not (isinstance(max_faults, int) and 1 <= max_faults < 2**32):
        raise UsageError(f"max_faults must be a whole number from 1 on, got {max_faults!r}")
    asked_codecs = ["delta"] if codec == "auto" else [codec] if isinstance(codec, str) else codec
    codecs = [name for name in asked_codecs if name != "raw"]
    common = pb.Open(
        protocol=PROTOCOL,
        lease_seconds=lease,
        max_message_bytes=MAX_MESSAGE_BYTES,
        max_faults=max_faults or 0,
        same_host=same_host,
        codecs=[name for name in codecs if not is_lossy(name)],
    )
    terms = Terms(
        addresses=tuple(remotes),
        token=token,
        deadline=deadline,
        open_deadline=open_deadline,
        reopen_deadline=reopen_deadline,
    )
    asked = [_asked(one, codecs, common, same_definition) for one in wanted]
    slots = [(ask.env_id, count) for (_, ask), (_, count, _) in zip(asked, wanted, strict=True)]
    planned = plan(slots, remotes, token, wait > 0, min(INFO_DEADLINE, open_deadline))
    berths = {address: Berth(address, terms) for address in sorted(remotes)}
    runtimes = [
        RemoteRuntime(config, ask, [(berths[address], count) for address, count in shares], terms)
        for (config, ask), shares in zip(asked, planned, strict=True)
    ]
    patience = Patience(wait)
    try:
        # In the order of their names, so that no two clients that wait hold what the other waits for.
        for berth in berths.values():
            if berth.parts:
                berth.open(patience)
        for runtime, (env, _, _) in zip(runtimes, wanted, strict=True):
            runtime.begin(env)
    except BaseException:
        for runtime in runtimes:
            runtime.close()
        raise
    return list(runtimes)


def _check_remotes(remotes: Sequence[str]) -> None:
    if not remotes:
        raise UsageError("remotes is empty: name one server or several as host:port")
    if isinstance(remotes, str) or len(set(remotes)) != len(remotes):
        raise UsageError(f"remotes must be a list of different host:port, got {remotes!r}")


def _check_times(**seconds: object) -> None:
    """Raise UsageError for what is no time in seconds. A deadline may be None: as the server says."""
    for name, value in seconds.items():
        if value is None and name == "deadline":
            continue
        if isinstance(value, bool) or not isinstance(value, Real) or not float(value) >= 0:
            raise UsageError(f"{name} must be a number of seconds, 0 or more, got {value!r}")


def _asked(
    wanted: Wanted, codecs: Sequence[str], common: pb.Open, same_definition: bool
) -> tuple[EnvConfig, pb.Open]:
    """The config of an environment, with what is lost on the way, and what its servers are asked for."""
    env, num_slots, config = wanted
    if num_slots < 1:
        raise UsageError(f"num_slots must be at least 1, got {num_slots}")
    config = with_losses(config or EnvConfig(), codecs)
    check_codecs([*filter(None, [config.lossy]), *codecs])
    ask = pb.Open(
        env_id=env if isinstance(env, str) else env.id,
        interface=config.interface,
        screen_height=config.screen_size[0],
        screen_width=config.screen_size[1],
        autoreset=config.autoreset,
        options={name: write_value(value) for name, value in config.options.items()},
        spec_hash=own_hash(env, config) if same_definition else "",
        lossy=config.lossy,
    )
    ask.MergeFrom(common)
    return config, ask


def own_hash(env: str | EnvSpec, config: EnvConfig) -> str:
    """The hash of the environment as it is defined here; empty for an id that only servers know."""
    if isinstance(env, str):
        try:
            env = find(env)
        except UnknownEnvError:
            return ""
    # as the server sees the options: a NumPy number arrives as a plain one
    options = {name: read_value(write_value(value)) for name, value in config.options.items()}
    try:
        return env.hash(dataclasses.replace(config, options=options))
    except UsageError:
        # Options that it doesn't have here. A server refuses them too, or has another definition, whose
        # hash with them is not this one.
        return env.hash(dataclasses.replace(config, options={}))


def with_losses(config: EnvConfig, codecs: Sequence[str]) -> EnvConfig:
    """The config that says what is lost, if a codec with losses was asked for."""
    lossy = [name for name in codecs if is_lossy(name)]
    if not lossy:
        return config
    if len({*lossy, config.lossy} - {""}) > 1:
        raise UsageError(f"pictures can have losses of one kind only, got {lossy} and {config.lossy!r}")
    return dataclasses.replace(config, lossy=lossy[0])


def plan(
    wanted: Sequence[tuple[str, int]],
    remotes: Sequence[str],
    token: str | None,
    may_wait: bool = False,
    info_deadline: float = INFO_DEADLINE,
) -> list[list[tuple[str, int]]]:
    """For each (id, slots) that is wanted, (address, slots) for the servers that get any of them.

    In proportion to what they have free. If that is too little and the caller may wait: as if all
    were free. Servers that can't be reached, and those that don't offer an id's family, get none.
    """
    if len(remotes) == 1:
        return [[(remotes[0], count)] for _, count in wanted]
    infos = _reached(remotes, token, info_deadline)
    for address, info in infos.items():
        if PROTOCOL not in info.protocols:
            raise VersionError(f"{address} speaks protocols {list(info.protocols)}, this client {PROTOCOL}")
    asked = [(_offering(env_id, infos), count) for env_id, count in wanted]
    free = {address: _free(info) for address, info in infos.items()}
    total = {address: info.slots_total for address, info in infos.items()}
    try:
        return _spread(asked, free)
    except CapacityError as error:
        if may_wait:
            return _spread(asked, total)
        if sum(count for _, count in wanted) <= sum(total.values()):
            error.retry_after = RETRY_SECONDS
        raise


def _free(info: pb.InfoReply) -> int:
    """How many slots another session would find; none if all sessions are open."""
    return 0 if info.sessions_open >= info.sessions_total > 0 else info.slots_free


def _reached(remotes: Sequence[str], token: str | None, deadline: float) -> dict[str, pb.InfoReply]:
    """What the servers say of themselves that can be reached; the others are named in the log.

    If none can, the first one's error is raised.
    """
    with ThreadPoolExecutor(min(len(remotes), 32)) as pool:
        answers = list(pool.map(lambda address: _info_or_loss(address, token, deadline), remotes))
    found, lost = {}, []
    for address, answer in zip(remotes, answers, strict=True):
        if isinstance(answer, pb.InfoReply):
            found[address] = answer
        else:
            lost.append(answer)
    if not found:
        raise lost[0]
    for error in lost:
        log.warning("left out, the slots go to the other servers: %s", error)
    return found


def _info_or_loss(
    address: str, token: str | None, deadline: float
) -> pb.InfoReply | ServerLostError | DeadlineError:
    """Other errors than these, of a token for one, are no machine's that is down: they are raised."""
    try:
        return server_info(address, token, deadline)
    except (ServerLostError, DeadlineError) as error:
        return error


def _offering(env_id: str, infos: dict[str, pb.InfoReply]) -> list[str]:
    """The servers that offer an id's family. All if none does: the first one asked says what is wrong."""
    family = env_id.partition("/")[0]
    return [address for address, info in infos.items() if family in info.families] or list(infos)


def _spread(asked: Sequence[tuple[Sequence[str], int]], free: dict[str, int]) -> list[list[tuple[str, int]]]:
    """``shares`` for each (servers, slots). Who has the least choice comes first, others get what is left."""
    left, found = dict(free), {}
    for i in sorted(range(len(asked)), key=lambda i: len(asked[i][0])):
        addresses, count = asked[i]
        found[i] = shares(count, {address: left[address] for address in addresses})
        for address, given in found[i]:
            left[address] -= given
    return [found[i] for i in range(len(asked))]


def shares(num_slots: int, free: dict[str, int]) -> list[tuple[str, int]]:
    """Split ``num_slots`` in proportion to ``free``, none beyond what is free. Raises CapacityError."""
    total = sum(free.values())
    if num_slots > total:
        listed = ", ".join(f"{address}: {count}" for address, count in free.items())
        raise CapacityError(f"{num_slots} slots were asked for, {total} are free ({listed})")
    given = {address: num_slots * count // total for address, count in free.items()}
    # What rounding left goes to those that are furthest from their due.
    order = sorted(free, key=lambda address: num_slots * free[address] % total, reverse=True)
    for address in order[: num_slots - sum(given.values())]:
        given[address] += 1
    return [(address, count) for address, count in given.items() if count]
