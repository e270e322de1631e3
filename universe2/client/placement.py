"""Which slots go to which server, and ``open_remote`` and ``open_together``, which open them there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from universe2.client.berth import Berth
from universe2.client.part import Terms
from universe2.client.remote import RemoteRuntime
from universe2.client.stream import call_info
from universe2.client.waiting import Patience
from universe2.core.errors import CapacityError, UnknownEnvError, UsageError, VersionError
from universe2.core.registry import find
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec, is_lossy
from universe2.wire.codecs import check_codecs
from universe2.wire.frames import MAX_MESSAGE_BYTES, PROTOCOL
from universe2.wire.v1 import universe_pb2 as pb
from universe2.wire.values import read_value, write_value

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
    counts = [count for _, count, _ in wanted]
    planned = plan(counts, remotes, token, wait > 0, min(INFO_DEADLINE, open_deadline))
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
    counts: Sequence[int],
    remotes: Sequence[str],
    token: str | None,
    may_wait: bool = False,
    info_deadline: float = INFO_DEADLINE,
) -> list[list[tuple[str, int]]]:
    """For each of ``counts`` slots, (address, slots) for the servers that get any of them.

    In proportion to what they have free. If that is too little and the caller may wait: as if all
    were free.
    """
    if len(remotes) == 1:
        return [[(remotes[0], count)] for count in counts]
    with ThreadPoolExecutor(min(len(remotes), 32)) as pool:
        infos = list(pool.map(lambda address: server_info(address, token, info_deadline), remotes))
    for address, info in zip(remotes, infos, strict=True):
        if PROTOCOL not in info.protocols:
            raise VersionError(f"{address} speaks protocols {list(info.protocols)}, this client {PROTOCOL}")
    left = {address: info.slots_free for address, info in zip(remotes, infos, strict=True)}
    total = {address: info.slots_total for address, info in zip(remotes, infos, strict=True)}
    retry_after = RETRY_SECONDS if sum(counts) <= sum(total.values()) else 0.0
    if may_wait and sum(counts) > sum(left.values()):
        left = total
    found = []
    for count in counts:
        found.append(shares(count, left, retry_after))
        for address, given in found[-1]:
            left[address] -= given
    return found


def shares(num_slots: int, free: dict[str, int], retry_after: float = 0.0) -> list[tuple[str, int]]:
    """Split ``num_slots`` in proportion to ``free``, none beyond what is free.

    Raises CapacityError, with ``retry_after``.
    """
    total = sum(free.values())
    if num_slots > total:
        listed = ", ".join(f"{address}: {count}" for address, count in free.items())
        raise CapacityError(f"{num_slots} slots were asked for, {total} are free ({listed})", retry_after)
    given = {address: num_slots * count // total for address, count in free.items()}
    # What rounding left goes to those that are furthest from their due.
    order = sorted(free, key=lambda address: num_slots * free[address] % total, reverse=True)
    for address in order[: num_slots - sum(given.values())]:
        given[address] += 1
    return [(address, count) for address, count in given.items() if count]
