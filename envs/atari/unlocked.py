"""``act_of``: ale-py's ``ALEInterface.act``, without Python's lock.

ale-py keeps the lock while it emulates a frame, so that threads take turns. Its shared library
exports the method, though, and ctypes lets go of the lock during a call. This needs to know
where nanobind keeps the C++ object: at an offset that the Python object holds after its head.
So it does that with releases that it was tested with, and where object and library look as they
did; elsewhere ``ale.act`` itself serves: right, but on one core.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import logging
from collections.abc import Callable
from typing import Any

import ale_py

log = logging.getLogger(__name__)

TESTED = ("0.12.1",)
"""Releases of ale-py whose objects are known to look as ``_address`` expects."""

_ACT = "_ZN3ale12ALEInterface3actENS_6ActionEf"
_FRAME_NUMBER = "_ZNK3ale12ALEInterface14getFrameNumberEv"
_FULL_STRENGTH = 1.0


def act_of(ale: ale_py.ALEInterface) -> Callable[[int], int]:
    """Emulates one frame under an action; returns the reward. ``ale`` has its cartridge loaded."""
    known = ale_py.__version__ in TESTED  # before anything is read from an address
    functions, where = (_functions(), _address(ale)) if known else (None, None)
    if functions is None or where is None or functions[1](where) != ale.getFrameNumber():
        _warn()
        return ale.act

    act = functions[0]

    def unlocked(action: int) -> int:
        reward: int = act(where, action, _FULL_STRENGTH)
        return reward

    unlocked.__dict__["owner"] = ale  # the address is good for as long as the object lives
    return unlocked


@functools.cache
def _functions() -> tuple[Any, Any] | None:
    """The C++ methods ``act`` and ``getFrameNumber``, or None if they aren't exported."""
    library = ctypes.CDLL(importlib.import_module("ale_py._ale_py").__file__)
    try:
        act, frame_number = library[_ACT], library[_FRAME_NUMBER]
    except AttributeError:
        return None
    act.argtypes, act.restype = (ctypes.c_void_p, ctypes.c_int, ctypes.c_float), ctypes.c_int
    frame_number.argtypes, frame_number.restype = (ctypes.c_void_p,), ctypes.c_int
    return act, frame_number


def _address(ale: ale_py.ALEInterface) -> int | None:
    """Of the C++ object, which lies within the Python object."""
    head: int = object.__basicsize__
    offset = ctypes.c_int32.from_address(id(ale) + head).value
    inside = head + 4 < offset < type(ale).__basicsize__ and offset % 8 == 0
    return id(ale) + offset if inside else None


@functools.cache
def _warn() -> None:
    log.warning(
        "ale-py %s looks unknown (known: %s): Atari games will use one core only",
        ale_py.__version__,
        ", ".join(TESTED),
    )
