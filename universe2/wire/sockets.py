"""MessageSocket: messages over a Unix socket, between processes of one machine.

Each is preceded by its length, uint32 little-endian. The socket has a name in Linux's abstract
namespace, which ends with its process, so nothing is left whoever dies. It costs a third of what
a gRPC stream on loopback does. Who waits for a message looks for it a moment before going to
sleep, since to be woken takes longer than many a message. What messages mean is not known here.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np

from universe2.core.errors import ProtocolError

_LENGTH = struct.Struct("<I")
_NAME = re.compile(r"universe2-[0-9a-f]{32}")
"""What ``listen`` names a socket: a server must not have its clients connect to others' sockets."""
_BUFFER_BYTES = 2**20
"""asked of the kernel, which grants what its administrator allows"""
_READ_BYTES = 2**16
"""How much is read at a time. What is left of a larger message is read at once, in its place."""
_SEND_SECONDS = 30
"""A peer that takes nothing for so long counts as gone."""
_CONNECT_SECONDS = 2
"""For so long a listener may leave its queue full; who is in it counts as connected."""
LOOK_SECONDS = 400e-6
"""So long it is looked for a message before its reader sleeps: for longer than two who sleep, each of whom
takes 100 µs to wake, need to answer each other."""
_DOUBT = 2
_LOOKING = threading.Lock()
"""Of the threads of a process one may look: they would take each other's time."""


class Watchfulness:
    """When to look for what may come, and when to sleep at once.

    Looking takes a core that others may need, perhaps the very process that is waited for. So it is done
    where waits are short: after a look that was too short, two waits that would not have been must come
    first. These are slept and counted all the same, or two who wait for each other asleep would never find
    out how quick they are.
    """

    def __init__(self) -> None:
        self._doubt = 0
        """short waits that must come before the next look"""
        self._began = 0.0

    def receive(self, connected: socket.socket) -> bytes:
        """What comes next, b"" at the end."""
        found = self.look(connected)
        if found is None:
            found = connected.recv(_READ_BYTES)
            self.woken()
        return found

    def look(self, connected: socket.socket) -> bytes | None:
        """What is there within a moment, b"" at the end; None if nothing is, or it isn't time to look.

        Who sleeps then says so by ``woken``.
        """
        self._began = time.perf_counter()
        if self._doubt or not _LOOKING.acquire(blocking=False):
            return None
        try:
            end = self._began + LOOK_SECONDS
            while True:
                try:
                    return connected.recv(_READ_BYTES, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    if time.perf_counter() < end:
                        continue
                    self._doubt = _DOUBT
                    return None
        finally:
            _LOOKING.release()

    def woken(self) -> None:
        """Something came, after ``look`` had found nothing."""
        if self._doubt and time.perf_counter() < self._began + LOOK_SECONDS:
            self._doubt -= 1


class MessageSocket:
    """One end of a connection. One thread may read while another sends."""

    def __init__(self, connected: socket.socket, limit: int) -> None:
        """``limit``: the largest message that may come, in bytes."""
        self._socket = connected
        self.limit = limit
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connected.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        _give_up_after(connected, _SEND_SECONDS)
        self._watchfulness = Watchfulness()
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        self._rest = memoryview(b"")
        """what was read beyond the last message"""
        self._reading = threading.Lock()
        self._closed = False

    def send(self, message: bytes) -> None:
        """Raises OSError if the other end is gone; then, and if interrupted, the connection is over."""
        try:
            sent = self._socket.sendmsg((_LENGTH.pack(len(message)), message))
            if sent < _LENGTH.size + len(message):
                self._socket.sendall(memoryview(_LENGTH.pack(len(message)) + message)[sent:])
        except BaseException:  # also Ctrl-C: the next message would be read as the rest of this one
            self._end()
            raise

    def __iter__(self) -> Iterator[memoryview]:
        """Messages until the other end is closed. Raises ProtocolError if one is too large."""
        while (message := self.receive()) is not None:
            yield message

    def ready(self, seconds: float) -> bool:
        """Whether, within ``seconds``, there is anything to receive; the end counts."""
        with self._reading:
            if self._closed or len(self._rest):
                return True
            try:
                found = self._watchfulness.look(self._socket)
                if found is None:
                    if not self._poll.poll(1000 * seconds):
                        return False
                    self._watchfulness.woken()
                    found = self._socket.recv(_READ_BYTES)
            except OSError:  # ended by the other side: receiving tells
                return True
            self._rest = memoryview(found)  # so that receiving doesn't look once more for what is there
            return True

    def receive(self) -> memoryview | None:
        """The next message; None at the end. Raises ProtocolError if it is too large."""
        with self._reading:
            head = self._take(_LENGTH.size)
            if head is None:
                return None
            (size,) = _LENGTH.unpack(head)
            if size > self.limit:
                raise ProtocolError(f"a message of {size} bytes; the limit is {self.limit}")
            return self._take(size)

    def _take(self, size: int) -> memoryview | None:
        """The next ``size`` bytes; None if the end comes before."""
        rest = self._rest
        try:
            while len(rest) < size:
                if size > _READ_BYTES:
                    self._rest = memoryview(b"")
                    return self._filled(np.empty(size, np.uint8).data, rest)
                again = len(rest) > 0
                read = self._socket.recv(_READ_BYTES) if again else self._watchfulness.receive(self._socket)
                if not read:
                    return None
                rest = memoryview(bytes(rest) + read if len(rest) else read)
        except OSError:  # also: closed meanwhile
            return None
        self._rest = rest[size:]
        return rest[:size]

    def _filled(self, whole: memoryview, begun: memoryview) -> memoryview | None:
        """``whole``, of which ``begun`` was read before."""
        whole[: len(begun)] = begun
        left = whole[len(begun) :]
        while len(left):
            count = self._socket.recv_into(left, len(left), socket.MSG_WAITALL)
            if not count:
                return None
            left = left[count:]
        return whole.toreadonly()

    def finish(self) -> None:
        """Nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it at once, also for a thread that reads. May be called twice, from any thread."""
        self._end()
        with self._reading:  # waits for a thread that reads, which the lines before have woken
            self._closed = True
            self._socket.close()

    def _end(self) -> None:
        """Nothing goes either way any more; whoever reads, here or there, wakes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def listen() -> tuple[socket.socket, str] | None:
    """A listening socket and its name; None where the system has no abstract namespace."""
    if not sys.platform.startswith("linux"):
        return None
    name = f"universe2-{secrets.token_hex(16)}"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(f"\0{name}")
    listening.listen()
    return listening, name


def connect(name: str, limit: int) -> MessageSocket | None:
    """The socket of that name; None if it isn't one of ``listen``, not on this machine, or takes nobody."""
    if not sys.platform.startswith("linux") or not _NAME.fullmatch(name):
        return None
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _give_up_after(connecting, _CONNECT_SECONDS)
    try:
        connecting.connect(f"\0{name}")
    except OSError:
        connecting.close()
        return None
    return MessageSocket(connecting, limit)


def _give_up_after(connected: socket.socket, seconds: int) -> None:
    """Sending or connecting fails when it has waited for so long."""
    # ``settimeout`` makes a socket non-blocking: with one, connecting to a full queue fails at once.
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", seconds, 0))
