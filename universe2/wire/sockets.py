"""MessageSocket: messages over a Unix socket, between processes of one machine.

Each is preceded by its length, uint32 little-endian. The socket has a name in Linux's abstract
namespace, which ends with its process, so nothing is left whoever dies. It costs a third of what
a gRPC stream on loopback does. What messages mean is not known here.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import sys
from collections.abc import Iterator

from universe2.core.errors import ProtocolError

_LENGTH = struct.Struct("<I")
_BUFFER_BYTES = 2**20
"""asked of the kernel, which grants what its administrator allows"""
_SEND_SECONDS = 30
"""A peer that takes nothing for so long counts as gone."""


class MessageSocket:
    """One end of a connection. One thread may read while another sends."""

    def __init__(self, connected: socket.socket, limit: int) -> None:
        """``limit``: the largest message that may come, in bytes."""
        self._socket = connected
        self._limit = limit
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            connected.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", _SEND_SECONDS, 0))
        self._reader = connected.makefile("rb", buffering=2**16)

    def send(self, message: bytes) -> None:
        """Raises OSError if the other end is gone."""
        sent = self._socket.sendmsg((_LENGTH.pack(len(message)), message))
        if sent < _LENGTH.size + len(message):
            self._socket.sendall(memoryview(_LENGTH.pack(len(message)) + message)[sent:])

    def __iter__(self) -> Iterator[bytes]:
        """Messages until the other end is closed. Raises ProtocolError if one is too large."""
        while (head := self._read(_LENGTH.size)) is not None:
            (size,) = _LENGTH.unpack(head)
            if size > self._limit:
                raise ProtocolError(f"a message of {size} bytes; the limit is {self._limit}")
            message = self._read(size)
            if message is None:
                return
            yield message

    def _read(self, size: int) -> bytes | None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed meanwhile
            data: bytes = self._reader.read(size)
            return data if len(data) == size else None
        return None

    def finish(self) -> None:
        """Nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it at once, also for a thread that reads. May be called twice, from any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.close()  # waits for a thread that reads, which the line before has woken
        self._socket.close()


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
    """The socket of that name; None if it isn't on this machine."""
    if not sys.platform.startswith("linux"):
        return None
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connecting.connect(f"\0{name}")
    except OSError:
        connecting.close()
        return None
    return MessageSocket(connecting, limit)
