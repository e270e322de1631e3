"""ServerConfig: how a server is run, from flags or a TOML file, checked before anything starts.

host = "0.0.0.0"
slots = 512
families = ["arcade", "atari"]
metrics_port = 9090

[tls]
certificate = "server.pem"
key = "server.key"
client_ca = "clients.pem"     # only clients with a certificate from here

[tokens.alice]
file = "alice.token"
slots = 128
sessions = 4
message_bytes = 1048576       # larger requests must come in pieces …
frame_bytes = 16777216        # … and make this much at most
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from universe2.core.errors import UsageError
from universe2.core.files import KINDS, check_keys, checked, read_token, read_toml
from universe2.core.registry import families
from universe2.server.auth import Holder, check_address
from universe2.server.capacity import Share
from universe2.wire.frames import MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, MIN_MESSAGE_BYTES

MOST = {"slots": 2**31 - 1, "sessions": 2**16, "queue": 2**16}
"""Slots are numbered in 32 bits; sessions, and who waits for one, take threads and file descriptors."""

MOST_SECONDS = 86_400.0
"""A day: whoever means "without end" by more would keep what is hung, and its slots, for ever."""


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files: the server's certificate chain and key, and who signs its clients', if they need one."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How a server is run. Times in seconds, sizes in bytes. Raises UsageError if it can't be."""

    host: str = "127.0.0.1"
    port: int = 15900
    """0 lets the system choose; ``Server.port`` says which"""
    slots: int = 256
    sessions: int = 64
    queue: int = 64
    """how many clients may wait for slots"""
    token: str | None = field(default=None, repr=False)
    """what callers must show; more than one, and their limits: ``holders``"""
    holders: tuple[Holder, ...] = ()
    insecure: bool = False
    """listen beyond this machine although there is no token"""
    tls: TlsFiles | None = None
    families: tuple[str, ...] = ()
    """which environment families are offered; empty: all"""
    lease: float = 60.0
    """a session that says nothing for so long is reaped, unless its client asks for another lease"""
    open_deadline: float = 120.0
    drain_seconds: float = 30.0
    """how long running sessions may go on after SIGTERM"""
    max_faults: int = 5
    """faults in a row after which a slot is parked, unless its client asks for another number"""
    restore: bool = True
    """whether clients may restore states; these are trusted input, a made-up one can crash the process"""
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_frame_bytes: int = MAX_FRAME_BYTES
    metrics_port: int = 0
    """Prometheus metrics over HTTP, on the same host; 0: none"""

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.type in KINDS:
                checked(f.name, getattr(self, f.name), str(f.type))
        object.__setattr__(self, "host", _plain_host(self.host))
        if self.slots < 1 or self.sessions < 1 or self.queue < 0 or self.max_faults < 1:
            raise UsageError(
                "slots, sessions and max_faults must be at least 1 and queue at least 0, "
                f"got {self.slots}, {self.sessions}, {self.max_faults} and {self.queue}"
            )
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise UsageError(f"{name} must be at most {most}, got {getattr(self, name)}")
        for name in ("port", "metrics_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise UsageError(f"{name} must lie in 0..65535, got {getattr(self, name)}")
        if self.port and self.port == self.metrics_port:
            raise UsageError(f"port and metrics_port are both {self.port}: metrics need a port of their own")
        if not 2**16 <= self.max_message_bytes <= 2**30:
            raise UsageError(f"a message may be 64 KiB to 1 GiB, got {self.max_message_bytes} bytes")
        if self.max_frame_bytes < self.max_message_bytes:
            raise UsageError(
                f"a frame ({self.max_frame_bytes} bytes) can't be smaller than a message "
                f"({self.max_message_bytes})"
            )
        for name in ("lease", "open_deadline", "drain_seconds"):
            if not 0 < getattr(self, name) <= MOST_SECONDS:
                raise UsageError(
                    f"{name} must be above 0 s and at most a day ({MOST_SECONDS:.0f} s), "
                    f"got {getattr(self, name)}"
                )
        if unknown := set(self.families) - set(families()):
            raise UsageError(f"no family {sorted(unknown)[0]!r}; there are {', '.join(families())}")
        names = [holder.name for holder in self.everyone()]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(
                    f"two tokens are named {name!r} and would share their slots and sessions; "
                    f'that of token_file is named "token", others by their table: rename [tokens.{name}]'
                )
        self._check_secrets()
        check_address(self.host, bool(self.token or self.holders), self.insecure)

    def _check_secrets(self) -> None:
        """A call shows a secret and no name: where two have the same, one's limits would not hold."""
        first: dict[str, str] = {}
        named = [("token_file", self.token)] if self.token else []
        for place, token in (*named, *((f"[tokens.{holder.name}]", holder.token) for holder in self.holders)):
            if token in first:
                raise UsageError(
                    f"{first[token]} and {place} hold the same token, so that nobody could tell who calls: "
                    "was a file copied? Make one of its own for each"
                )
            first[token] = place

    def everyone(self) -> tuple[Holder, ...]:
        """All who may call, with what they must show; empty: anyone."""
        alone = (Holder("token", self.token),) if self.token else ()
        return (*alone, *self.holders)


def read_config(path: Path) -> dict[str, Any]:
    """The arguments of ServerConfig in a TOML file. Relative paths in it are relative to it."""
    content = read_toml(path, "settings file")
    known = {f.name for f in fields(ServerConfig)} - {"token", "holders"} | {"token_file", "tokens"}
    check_keys(content, sorted(known), str(path))
    try:
        return _arguments(content, path.parent)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _arguments(content: dict[str, Any], home: Path) -> dict[str, Any]:
    for f in fields(ServerConfig):
        if f.name in content and f.type in KINDS:
            checked(f.name, content[f.name], str(f.type))
    tokens = checked("tokens", content.pop("tokens", {}), "table")
    if tokens:
        content["holders"] = tuple(_holder(home, name, entry) for name, entry in tokens.items())
    if "token_file" in content:
        content["token"] = read_token(home / checked("token_file", content.pop("token_file"), "str"))
    if "tls" in content:
        content["tls"] = _tls(home, checked("tls", content["tls"], "table"))
    if "families" in content:
        named = checked("families", content["families"], "list")
        if not named:
            raise UsageError("families is empty: name those that are offered, or leave it out to offer all")
        content["families"] = tuple(checked("each of families", family, "str") for family in named)
    return content


def host_and_port(host: str, port: int) -> str:
    """As one text; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _plain_host(host: str) -> str:
    """The address alone, as it may have been written in a URL: ``[::1]``, ``LOCALHOST``."""
    found = host.strip()
    if found.startswith("[") and found.endswith("]"):
        found = found[1:-1]
    if not found:
        raise UsageError(
            "host is empty: give an address of this machine, or leave it out (is a variable not set?)"
        )
    if found.count(":") == 1 or set(found) & set("[]/ "):
        raise UsageError(
            f"host is an address or a name alone, got {host!r}: its port is a setting of its own, port"
        )
    return "localhost" if found.lower() == "localhost" else found


def _holder(home: Path, name: str, entry: Any) -> Holder:
    checked(f"tokens.{name}", entry, "table")
    limits = [f.name for f in fields(Share)]
    check_keys(entry, ("file", *limits), f"tokens.{name}", needed="file")
    share = Share(
        **{limit: checked(f"tokens.{name}.{limit}", entry.get(limit, 0), "int") for limit in limits}
    )
    for limit in limits:
        if getattr(share, limit) < 0:
            raise UsageError(f"tokens.{name}.{limit} must be at least 0, got {getattr(share, limit)}")
    for limit in ("message_bytes", "frame_bytes"):
        if 0 < getattr(share, limit) < MIN_MESSAGE_BYTES:
            raise UsageError(
                f"tokens.{name}: {limit} must be at least {MIN_MESSAGE_BYTES}, got {getattr(share, limit)}"
            )
    return Holder(name, read_token(home / checked(f"tokens.{name}.file", entry["file"], "str")), share)


def _tls(home: Path, entry: Mapping[str, Any]) -> TlsFiles:
    check_keys(entry, ("certificate", "key", "client_ca"), "tls", needed="certificate key")
    return TlsFiles(**{name: home / checked(f"tls.{name}", file, "str") for name, file in entry.items()})
