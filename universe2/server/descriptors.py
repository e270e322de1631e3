"""File descriptors: a server at their limit accepts connections no more, and gRPC says nothing of it.

So the limit is raised as far as the system lets, and who sets up a server is told if that isn't enough.
"""

from __future__ import annotations

import contextlib
import logging
import resource

from universe2.server.config import ServerConfig

log = logging.getLogger("universe2.server")

PER_SESSION = 6
"""A connection and two pieces of shared memory; three more where environments run in worker processes."""

PER_SLOT = 1
"""A worker process's end of its pipe; slots that share a process, as the arcade's, have none."""

OTHERS = 64
"""Viewers, libraries, what listens, and connections that aren't sessions yet."""

PLENTY = 2**20
"""As many as anybody needs. Without a limit, programs that go through all numbers would never end."""


def most_descriptors(config: ServerConfig) -> int:
    """About how many a server takes whose sessions are all open, each client on this machine."""
    return OTHERS + config.queue + PER_SESSION * config.sessions + PER_SLOT * config.slots


def provide_descriptors(config: ServerConfig) -> None:
    """Raise this process's limit as far as it may, and warn if a full server could need more."""
    limit = _raised()
    if limit < (most := most_descriptors(config)):
        log.warning(
            "this process may have %d file descriptors, and %d sessions with %d slots can take about %d; at "
            "the limit new clients get no answer: raise it (ulimit -Hn, LimitNOFILE=), or lower --sessions "
            "and --slots",
            limit, config.sessions, config.slots, most,
        )  # fmt: skip


def _raised() -> int:
    """The limit, as high as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    now, most = (PLENTY if limit == resource.RLIM_INFINITY else min(limit, PLENTY) for limit in (soft, hard))
    if now < most:
        with contextlib.suppress(ValueError, OSError):  # macOS grants less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return most
    return now
