"""Which slots go to which server, and ``open_remote``, which opens them there."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from universe2.client.connection import call_info
from universe2.client.part import Terms
from universe2.client.remote import RemoteRuntime
from universe2.core.errors import CapacityError, UsageError, VersionError
from universe2.core.runtime import Runtime
from universe2.core.spec import EnvConfig, EnvSpec
from universe2.wire.frames import MAX_MESSAGE_BYTES, PROTOCOL
from universe2.wire.v1 import universe_pb2 as pb
from universe2.wire.values import write_value

INFO_DEADLINE = 10.0


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
    deadline: float = 60.0,
    open_deadline: float = 120.0,
    reopen_deadline: float = 60.0,
    lease: float = 60.0,
    queue: float = 0.0,
    shared_memory: bool = True,
    codec: Literal["raw", "delta"] = "raw",
) -> Runtime:
    """Open ``num_slots`` slots on one server or several (``"host:port"``), by their free capacity.

    A server with TLS is ``"tls://host:port"``, with PEM files as in ``?ca=ca.pem&cert=me.pem&key=me.key``.

    The environment's own packages need not be installed here, nor its id be known. Times are in
    seconds: a request without a result for ``deadline`` makes its session count as lost; slots of a
    lost server are looked for elsewhere for at most ``reopen_deadline``; a server that hears
    nothing for ``lease`` frees the slots, and for as long a broken connection is resumed without
    loss; a full server's queue is waited in for at most ``queue``. A server on this machine is read
    through shared memory unless ``shared_memory`` is False. ``codec="delta"`` sends only those
    blocks of an observation that changed: for networks of 10 Gbit/s and less, in place of shared
    memory.

    Raises UnknownEnvError, MissingDependencyError, UsageError, CapacityError, VersionError (also
    if an EnvSpec was given and the server's definition differs), AuthenticationError,
    ServerLostError, DeadlineError.
    """
    if num_slots < 1:
        raise UsageError(f"num_slots must be at least 1, got {num_slots}")
    if not remotes:
        raise UsageError("remotes is empty: name one server or several as host:port")
    if isinstance(remotes, str) or len(set(remotes)) != len(remotes):
        raise UsageError(f"remotes must be a list of different host:port, got {remotes!r}")
    config = config or EnvConfig()
    ask = pb.Open(
        protocol=PROTOCOL,
        env_id=env if isinstance(env, str) else env.id,
        interface=config.interface,
        screen_height=config.screen_size[0],
        screen_width=config.screen_size[1],
        autoreset=config.autoreset,
        options={name: write_value(value) for name, value in config.options.items()},
        lease_seconds=lease,
        spec_hash="" if isinstance(env, str) else env.hash(config),
        max_message_bytes=MAX_MESSAGE_BYTES,
        queue_seconds=queue,
        shared_memory=shared_memory,
        codecs=[] if codec == "raw" else [codec],
    )
    terms = Terms(
        ask=ask,
        addresses=tuple(remotes),
        token=token,
        deadline=deadline,
        open_deadline=open_deadline,
        reopen_deadline=reopen_deadline,
    )
    shares = plan(num_slots, remotes, token) if len(remotes) > 1 else [(remotes[0], num_slots)]
    return RemoteRuntime(env, config, shares, terms)


def plan(num_slots: int, remotes: Sequence[str], token: str | None) -> list[tuple[str, int]]:
    """(address, slots) for the servers that get any, in proportion to what they have free."""
    with ThreadPoolExecutor(min(len(remotes), 32)) as pool:
        infos = list(pool.map(lambda address: server_info(address, token), remotes))
    for address, info in zip(remotes, infos, strict=True):
        if PROTOCOL not in info.protocols:
            raise VersionError(f"{address} speaks protocols {list(info.protocols)}, this client {PROTOCOL}")
    return shares(num_slots, dict(zip(remotes, (info.slots_free for info in infos), strict=True)))


def shares(num_slots: int, free: dict[str, int]) -> list[tuple[str, int]]:
    """Split ``num_slots`` in proportion to ``free``, none beyond what is free."""
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
