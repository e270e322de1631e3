"""Journal: one direction of a session as it was sent, kept until the other side has it.

Both sides keep one. After a broken stream each says which frame it received last, and the other
sends what came later again, byte for byte, so nothing is lost and nothing is done twice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from universe2.core.errors import ProtocolError
from universe2.wire.buffers import Buffer
from universe2.wire.frames import chunks, encode
from universe2.wire.v1 import universe_pb2 as pb


class Journal:
    """Numbers frames from 1 and keeps them. Any thread may use it.

    At most ``limit`` bytes are kept: a correct peer acknowledges with whatever it sends.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._last = 0
        self._bytes = 0
        self._kept: deque[tuple[int, list[bytes]]] = deque()

    def add(
        self, header: pb.Header, buffers: Sequence[Buffer], message_bytes: int
    ) -> tuple[int, list[bytes]]:
        """Number and keep a frame: its number and its messages, each of at most ``message_bytes``."""
        with self._lock:
            self._last += 1
            header.sequence = self._last
            message = encode(header, buffers)
            messages = list(chunks(message, header, message_bytes))
            self._kept.append((self._last, messages))
            self._bytes += len(message)
            if self._bytes > self.limit and len(self._kept) > 1:
                raise ProtocolError(f"{self._bytes} bytes were sent and not acknowledged")
            return self._last, messages

    def acknowledge(self, number: int) -> None:
        """The other side has the frames up to ``number``; they are forgotten."""
        with self._lock:
            if number > self._last:
                raise ProtocolError(f"frame {number} was acknowledged; the last one sent is {self._last}")
            while self._kept and self._kept[0][0] <= number:
                _, messages = self._kept.popleft()
                self._bytes -= sum(map(len, messages))

    def after(self, number: int) -> list[bytes]:
        """The messages of all frames after ``number``, to be sent again."""
        self.acknowledge(number)
        with self._lock:
            if number < (self._kept[0][0] - 1 if self._kept else self._last):
                raise ProtocolError(f"frame {number + 1} was acknowledged before and is forgotten")
            return [message for _, messages in self._kept for message in messages]
