"""Frames ↔ bytes: the protobuf wire format of ``Frame``, written and read around raw buffers.

A protobuf library copies every ``bytes`` field at least once each way. Here a frame is written
by one join over the arrays themselves, and read by walking its top-level fields and slicing.
The bytes are plain protobuf: any library reads and writes the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError

from universe2.core.errors import ProtocolError
from universe2.wire.buffers import Buffer, nbytes
from universe2.wire.v1 import universe_pb2 as pb

PROTOCOL = 1
MAX_MESSAGE_BYTES = 16 * 2**20
MAX_FRAME_BYTES = 256 * 2**20
MIN_MESSAGE_BYTES = 64 * 2**10
CHUNK_OVERHEAD = 1024
"""What a chunk's own header takes at most, in bytes."""

MEMBERS_PER_DEADLINE = 8
"""A server may take its open_deadline for every so many members of a session."""

MAX_HEADER_BYTES = 2**20
"""Of what a client sends: protobuf makes objects of a header, of a hundred times its size where they are
empty. Slots, seeds, actions and states lie in buffers, however many; what needs most is an opening: 1 KiB for
each of 1,024 members, where ids, codecs and a few options take a fifth of that."""

MAX_BUFFERS = 2**16
MIN_PIECE_BYTES = 512
"""Every chunk of a frame but the last has this many bytes, so that there can't be millions."""

_HEADER, _BUFFERS = 0x0A, 0x12
"""tags: fields 1 and 2, length-delimited"""


Message = bytes | memoryview
"""What a stream carries, as gRPC and as sockets deliver it."""


class Frame(NamedTuple):
    """One frame as read. ``buffers`` are views of the message."""

    header: pb.Header
    buffers: list[memoryview]


def size_of(header: pb.Header, buffers: Sequence[Buffer]) -> int:
    """About as many bytes as ``encode`` makes of a frame, which it doesn't make."""
    return header.ByteSize() + sum(map(nbytes, buffers))


def encode(header: pb.Header, buffers: Sequence[Buffer] = ()) -> bytes:
    """The serialised frame."""
    head = header.SerializeToString()
    parts: list[Buffer] = [_prefix(_HEADER, len(head)), head]
    for buffer in buffers:
        size = nbytes(buffer)
        parts.append(_prefix(_BUFFERS, size))
        if size:  # an array with an axis of length 0 has no bytes to join
            parts.append(buffer)
    return b"".join(parts)  # type: ignore[arg-type]  # arrays have the buffer protocol; the stubs lag


def decode(message: Message, max_header_bytes: int | None = None) -> Frame:
    """Read a frame. Raises ProtocolError if the bytes aren't one or its header is too large, nothing else."""
    view = memoryview(message)
    header: memoryview | None = None
    buffers: list[memoryview] = []
    position, end = 0, len(view)
    while position < end:
        tag, position = view[position], position + 1
        if tag >= 0x80:
            tag, position = _varint(view, position - 1)
        if tag not in (_HEADER, _BUFFERS):
            position = _skip(view, position, tag)
            continue
        size, position = _size(view, position, end)
        if size > end - position:
            raise ProtocolError(f"a field of {size} bytes in a frame with {end - position} left")
        part = view[position : position + size]
        position += size
        if tag == _BUFFERS:
            buffers.append(part)
            if len(buffers) > MAX_BUFFERS:
                raise ProtocolError(f"a frame of more than {MAX_BUFFERS} buffers")
        elif header is None:
            header = part
        else:
            raise ProtocolError("a frame with two headers")
    if header is None:
        raise ProtocolError("a frame without a header")
    if max_header_bytes is not None and len(header) > max_header_bytes:
        raise ProtocolError(f"a header of {len(header)} bytes; the limit is {max_header_bytes}")
    return Frame(_parse(header), buffers)


def chunks(message: bytes, header: pb.Header, limit: int) -> Iterable[bytes]:
    """A serialised frame as gRPC messages of at most ``limit`` bytes each: itself, or its pieces."""
    if len(message) <= limit:
        yield message
        return
    view = memoryview(message)
    step = limit - CHUNK_OVERHEAD
    for offset in range(0, len(message), step):
        part = pb.Header(sequence=header.sequence, reply_to=header.reply_to, session=header.session)
        part.chunk.total_bytes = len(message)
        part.chunk.offset = offset
        yield encode(part, [view[offset : offset + step]])


class Assembler:
    """One direction of a session: joins chunks, and checks that sequence numbers have no gap."""

    def __init__(
        self,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_header_bytes: int | None = None,
    ) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.max_message_bytes = max_message_bytes
        self._max_header_bytes = max_header_bytes
        self._pieces: list[Message] = []
        self._size = 0
        self._total = 0
        self._last = 0

    @property
    def received(self) -> int:
        """The number of the last whole frame."""
        return self._last

    def restart(self, last: int | None = None) -> None:
        """Another stream begins; it repeats the frame whose chunks were cut off, or all after ``last``."""
        self._pieces, self._size, self._total = [], 0, 0
        self._last = self._last if last is None else last

    def add(self, message: Message) -> Frame | None:
        """The frame that ``message`` completes, or None if more pieces must come."""
        if len(message) > self.max_message_bytes:
            raise ProtocolError(f"a message of {len(message)} bytes; the limit is {self.max_message_bytes}")
        frame = decode(message, self._max_header_bytes)
        if frame.header.sequence != self._last + 1:
            raise ProtocolError(f"frame {frame.header.sequence} came where {self._last + 1} was due")
        if frame.header.WhichOneof("body") == "chunk":
            whole = self._add_piece(frame, len(message))
            if whole is None:
                return None
            sequence = frame.header.sequence
            frame = decode(whole, self._max_header_bytes)
            if frame.header.sequence != sequence or frame.header.WhichOneof("body") == "chunk":
                raise ProtocolError(f"the chunks of frame {sequence} hold another frame")
        elif self._pieces:
            raise ProtocolError("a frame came between the chunks of another")
        elif len(message) > self.max_frame_bytes:
            raise ProtocolError(f"a frame of {len(message)} bytes; the limit is {self.max_frame_bytes}")
        self._last += 1
        return frame

    def _add_piece(self, frame: Frame, message_bytes: int) -> bytes | None:
        chunk = frame.header.chunk
        if len(frame.buffers) != 1 or chunk.offset != self._size:
            raise ProtocolError(f"a chunk begins at {chunk.offset}, {self._size} was due")
        self._total = self._total or chunk.total_bytes
        if chunk.total_bytes != self._total or self._total > self.max_frame_bytes:
            raise ProtocolError(f"a frame of {chunk.total_bytes} bytes; the limit is {self.max_frame_bytes}")
        piece = frame.buffers[0]
        if not piece or self._size + len(piece) > self._total:
            raise ProtocolError("chunks are empty, or hold more than they declared")
        # A view keeps its whole message: whatever that holds besides would be kept and not counted.
        self._pieces.append(piece if message_bytes <= len(piece) + CHUNK_OVERHEAD else bytes(piece))
        self._size += len(piece)
        if len(piece) < MIN_PIECE_BYTES and self._size < self._total:
            raise ProtocolError(f"a chunk of {len(piece)} bytes that isn't a frame's last")
        if self._size < self._total:
            return None
        whole = b"".join(self._pieces)
        self.restart()
        return whole


def _parse(header: memoryview) -> pb.Header:
    try:
        return pb.Header.FromString(bytes(header))
    except DecodeError as error:
        raise ProtocolError(f"a frame's header is not readable: {error}") from None


@functools.lru_cache(1024)
def _prefix(tag: int, size: int) -> bytes:
    if size < 0x80:
        return bytes((tag, size))
    out = bytearray((tag,))
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


def _size(view: memoryview, position: int, end: int) -> tuple[int, int]:
    """A number, mostly of one byte or two."""
    if position + 1 >= end:
        return _varint(view, position)
    first = view[position]
    if first < 0x80:
        return first, position + 1
    second = view[position + 1]
    return (first & 0x7F | second << 7, position + 2) if second < 0x80 else _varint(view, position)


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    for byte in view[position : position + 10]:
        position += 1
        if byte < 0x80:
            return value | byte << shift, position
        value |= (byte & 0x7F) << shift
        shift += 7
    raise ProtocolError("a frame ends in the middle of a number")


def _skip(view: memoryview, position: int, tag: int) -> int:
    """Past a field that this version doesn't know."""
    kind = tag & 7
    if tag >> 3 in (0, 1, 2) or kind in (3, 4, 6, 7):
        raise ProtocolError(f"a field with tag {tag} can't be in a frame")
    if kind == 0:
        return _varint(view, position)[1]
    size = {1: 8, 5: 4}.get(kind)
    if size is None:
        size, position = _varint(view, position)
    if size > len(view) - position:
        raise ProtocolError(f"a field of {size} bytes in a frame with {len(view) - position} left")
    return position + size
