"""Another stream for a session whose stream broke. It knows streams and clocks, not what is said on them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from universe2.client.stream import Broken, LocalStream, Stream, told
from universe2.core.errors import ProtocolError, ServerLostError, Universe2Error

RESUME_SECONDS = 10.0
"""How long a server may take to answer that a session goes on."""

RETRY_SECONDS = 0.2
"""Between two attempts to reach it."""

REFUSED_SECONDS = 2.0
"""For so long a refused connection may be a server's proxy that restarts. A server that is gone takes
its sessions with it, so there is nothing to wait for."""


class Limits:
    """How long a broken stream is worth the trouble."""

    def __init__(self, lease: float, since: float) -> None:
        self._lease_over = since + lease
        self._refused_over = since + REFUSED_SECONDS

    def check(self, error: Broken) -> None:
        """Raise ServerLostError if the lease must be over, or nothing listens there any more."""
        now = time.monotonic()
        if now >= (self._refused_over if error.refused else self._lease_over):
            raise ServerLostError(str(error))


def resumed(
    near: Callable[[], LocalStream | None],
    far: Callable[[], Stream],
    resume: bytes,
    lease: float,
    over: threading.Event,
) -> tuple[Stream | LocalStream, int] | None:
    """A stream on which the server took the session up, and the last frame that it has; None once ``over``.

    ``near`` is tried first, while it does; then ``far``. Raises Universe2Error when it can't be any more.
    """
    limits, trying = Limits(lease, time.monotonic()), True
    while not over.is_set():
        local = near() if trying else None
        stream = local or far()
        stream.send(resume)
        try:
            header = stream.first(RESUME_SECONDS)
        except Broken as error:
            stream.hang_up()
            if local is not None:
                trying = False  # gRPC may still do
                continue
            limits.check(error)
            over.wait(RETRY_SECONDS)
            continue
        except BaseException:
            stream.hang_up()
            raise
        if header.HasField("resumed"):
            return stream, header.resumed.received
        stream.hang_up()
        if header.error.type != "DeadlineError":
            raise told(header.error) if header.HasField("error") else ProtocolError("no answer to resume")
        limits = Limits(lease, time.monotonic())  # the stream before is still busy, so the session lives
        over.wait(RETRY_SECONDS)
    return None


def resumed_once(
    near: Callable[[], LocalStream | None], far: Callable[[], Stream], resume: bytes, seconds: float
) -> tuple[Stream | LocalStream, int] | None:
    """The same by one attempt, for who only wants to say goodbye; None if nothing comes of it."""
    stream = near() or far()
    with contextlib.suppress(Universe2Error):
        stream.send(resume)
        header = stream.first(seconds)
        if header.HasField("resumed"):
            return stream, header.resumed.received
    stream.hang_up()
    return None
