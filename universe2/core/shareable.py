"""Arrays that other processes of this machine can be let see, without a name that could be left behind.

A region is an anonymous file (memfd), mapped here; whoever may look into this process can open
it by its descriptor. It can neither grow nor shrink, so reading it never faults, whatever
becomes of this process. It begins with a secret, which proves that someone sees it. Where the
system has no such files, ``zeros`` gives ordinary memory, which ``find`` doesn't know.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import secrets
import weakref
from typing import Any, NamedTuple

import numpy as np

SECRET_BYTES = 32
DATA_AT = 4096
"""Where a region's data begins: a page is the secret's."""


class Region(NamedTuple):
    """One anonymous file of this process."""

    address: int
    """where it is mapped"""
    nbytes: int
    fd: int
    secret: bytes
    """its first 32 bytes"""


class Mapping(mmap.mmap):
    """The memory of a region. An array that lies in it holds it, by which ``find`` knows the array."""

    region: Region


def open_region(nbytes: int) -> tuple[Mapping, int]:
    """A mapping with ``nbytes`` of zeros from DATA_AT on, and its descriptor, which lives as long.

    Raises OSError or AttributeError where the system has no anonymous files.
    """
    size = DATA_AT + max(nbytes, 1)
    fd = os.memfd_create("universe2", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        mapping = Mapping(fd, size)
    except OSError:
        os.close(fd)
        raise
    secret = secrets.token_bytes(SECRET_BYTES)
    mapping[:SECRET_BYTES] = secret
    mapping.region = Region(np.frombuffer(mapping, np.uint8).ctypes.data, size, fd, secret)
    weakref.finalize(mapping, os.close, fd)
    return mapping, fd


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros in a region of its own, which ends with the last view of it."""
    count = math.prod(shape)
    try:
        mapping, _ = open_region(count * np.dtype(dtype).itemsize)
    except (OSError, AttributeError):
        return np.zeros(shape, dtype)
    return np.frombuffer(mapping, dtype, count, DATA_AT).reshape(shape)


def find(array: np.ndarray) -> tuple[Region, int] | None:
    """The region that a contiguous array lies in, and at which byte; None if in none.

    It is asked of what the array holds, not of a table of addresses: memory that was given back may
    be another's before a table hears of it.
    """
    holder: Any = array.base
    while isinstance(holder, np.ndarray | memoryview):
        holder = holder.base if isinstance(holder, np.ndarray) else holder.obj
    if not isinstance(holder, Mapping):
        return None
    region = holder.region
    return region, array.__array_interface__["data"][0] - region.address
