"""Buffers that travel as a place in memory instead of as bytes, between processes of one machine.

The Lender is the server's side: it offers a region the first time that a buffer lies in one, and
refers to it once the client has proved that it sees the region. The Borrower is the client's.
Neither ever waits: what isn't shared yet travels in the frame.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import mmap
import os
import stat

import numpy as np

from universe2.core.errors import ProtocolError
from universe2.core.shareable import SECRET_BYTES, Region, find
from universe2.wire.buffers import Buffer
from universe2.wire.frames import Frame
from universe2.wire.v1 import universe_pb2 as pb

LEAST_BYTES = 4096
"""Smaller buffers travel in the frame: it costs less than to say where they lie."""


class Lender:
    """Which of a process's regions one client sees. Two threads: one lends, one is answered."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._offered: dict[int, Region] = {}
        self._seen: set[int] = set()

    def lend(self, header: pb.Header, buffers: list[Buffer]) -> list[pb.Header]:
        """Replace what the client sees in ``buffers`` by references in ``header``; the offers to make."""
        offers = []
        for index, buffer in enumerate(buffers):
            if not isinstance(buffer, np.ndarray) or buffer.nbytes < LEAST_BYTES:
                continue
            found = find(buffer)
            if found is None:
                continue
            region, offset = found
            number = self._numbers.get(region.secret)
            if number is None:
                offers.append(self._offer(region))
            elif number in self._seen:
                header.shared.add(buffer=index, region=number, offset=offset, bytes=buffer.nbytes)
                buffers[index] = b""
        return offers

    def _offer(self, region: Region) -> pb.Header:
        number = self._numbers[region.secret] = len(self._numbers) + 1
        self._offered[number] = region
        digest = hashlib.sha256(region.secret).digest()
        return pb.Header(
            offer=pb.Offer(region=number, pid=os.getpid(), fd=region.fd, bytes=region.nbytes, digest=digest)
        )

    def answered(self, answer: pb.Attach) -> None:
        """The client's answer to an offer. Raises ProtocolError if the proof is wrong."""
        region = self._offered.pop(answer.region, None)
        if region is None:
            raise ProtocolError(f"region {answer.region} was not offered, or answered before")
        if not answer.proof:
            return
        if not hmac.compare_digest(answer.proof, region.secret):
            raise ProtocolError(f"the proof for region {answer.region} is wrong")
        self._seen.add(answer.region)


class Borrower:
    """The regions of a server that this process sees, read-only."""

    def __init__(self) -> None:
        self._regions: dict[int, memoryview] = {}

    def answer(self, offer: pb.Offer) -> pb.Attach:
        """Look for the region; the answer holds the proof if it is there."""
        view = _open(f"/proc/{offer.pid}/fd/{offer.fd}", offer.bytes)
        if view is None or hashlib.sha256(view[:SECRET_BYTES]).digest() != offer.digest:
            return pb.Attach(region=offer.region)
        self._regions[offer.region] = view
        return pb.Attach(region=offer.region, proof=bytes(view[:SECRET_BYTES]))

    def resolve(self, frame: Frame) -> None:
        """Put what is shared in the place of the empty buffers. Raises ProtocolError."""
        for shared in frame.header.shared:
            view = self._regions.get(shared.region)
            end = shared.offset + shared.bytes
            if view is None or end > len(view):
                raise ProtocolError(f"bytes …{end} of region {shared.region}, which this client doesn't see")
            if shared.buffer >= len(frame.buffers) or frame.buffers[shared.buffer]:
                raise ProtocolError(f"buffer {shared.buffer} is both shared and sent, or neither")
            frame.buffers[shared.buffer] = view[shared.offset : end]


def _open(path: str, nbytes: int) -> memoryview | None:
    """The anonymous file at ``path``, if it is one of ``nbytes`` that can't shrink."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        # Should it be another process's pipe or terminal, this doesn't wait and takes nothing over.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode) or about.st_size != nbytes or nbytes <= SECRET_BYTES:
                return None
            if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                return None
            return memoryview(mmap.mmap(fd, nbytes, prot=mmap.PROT_READ))
        finally:
            os.close(fd)
    return None
