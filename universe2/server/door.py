"""Door: a Unix socket at which clients on this machine take their sessions up, instead of over gRPC.

A session begins over gRPC, with its token and TLS; whoever shows its resume token here goes on
with it. So there is nothing to authenticate anew, and nothing but ``resume`` is understood first.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from universe2.core.errors import Universe2Error, shortened
from universe2.wire.frames import Message
from universe2.wire.sockets import MessageSocket, listen

log = logging.getLogger("universe2.server")

FIRST_BYTES = 4096
"""The largest message of a caller that isn't let in yet: many times what ``resume`` takes."""

PAUSE_SECONDS = 1.0
"""How long nobody is let in where the system had no descriptor or no thread for a caller."""


class Caller:
    """A connection at the door, as a session sees it."""

    def __init__(self, connection: MessageSocket) -> None:
        self._connection = connection
        self.send = connection.send

    def cancel(self) -> None:
        self._connection.close()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Nothing to call back for: whoever reads its messages sees the end of them."""
        return True


class Door:
    """Open from ``start`` to ``close``; at most ``most`` callers at a time, a thread each.

    ``serve`` gets a caller's messages and the caller, and returns what to send.
    """

    def __init__(
        self, serve: Callable[[Iterator[Message], Caller], Iterator[bytes]], most: int, message_bytes: int
    ) -> None:
        self._serve = serve
        self._room = threading.Semaphore(most)
        self._message_bytes = message_bytes
        self._talks: set[threading.Thread] = set()
        self._closed = threading.Event()
        found = listen()
        self._listening = None if found is None else found[0]
        self.name = "" if found is None else found[1]

    def start(self) -> None:
        if self._listening is not None:
            threading.Thread(target=self._accept, daemon=True, name="door").start()

    def close(self) -> None:
        self._closed.set()
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.shutdown(2)  # wakes the thread that accepts
            self._listening.close()

    def wait(self, seconds: float) -> None:
        """Until all callers have left, or ``seconds`` are over."""
        end = time.monotonic() + seconds
        for talk in self._talks:
            talk.join(max(end - time.monotonic(), 0.0))

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                self._let_in()
            except (OSError, RuntimeError) as error:  # no descriptor is left, or no thread, or it is closed
                if not self._closed.is_set():
                    log.warning("a caller can't be let in at the door: %s", error)
                    self._closed.wait(PAUSE_SECONDS)

    def _let_in(self) -> None:
        assert self._listening is not None
        accepted, _ = self._listening.accept()
        if not self._room.acquire(blocking=False):
            log.warning("too many connections at the door; one is refused")
            accepted.close()
            return
        try:
            connection = MessageSocket(accepted, FIRST_BYTES)
            talk = threading.Thread(target=self._talk, args=(connection,), daemon=True, name="door-talk")
            talk.start()
        except (OSError, RuntimeError):
            accepted.close()
            self._room.release()
            raise
        self._talks = {other for other in self._talks if other.is_alive()} | {talk}

    def _talk(self, connection: MessageSocket) -> None:
        replies = self._serve(self._heard(connection), Caller(connection))
        try:
            with contextlib.closing(replies):  # type: ignore[type-var]  # it is a generator
                for message in replies:
                    connection.send(message)
        except OSError:
            log.info("a connection at the door broke")
        except Universe2Error as error:
            log.info("a connection at the door is refused: %s", shortened(error))
        finally:
            connection.close()
            self._room.release()

    def _heard(self, connection: MessageSocket) -> Iterator[Message]:
        """Its messages, of which the first must be small."""
        for message in connection:
            yield message
            connection.limit = self._message_bytes  # who goes on reading has let the caller in
