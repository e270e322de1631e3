"""What games raise within the loops around them, as text: one slot's exception must not cost the others.

Machine code that is called by its address can't raise: it hands the exception to
``sys.unraisablehook``, and the loop goes on with the next slot. Plain Python is made to do alike.
This file doesn't know which slot is whose row; ``causes`` finds the rows.

Suffix: K slots of one call.
"""

from __future__ import annotations

import bdb
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

Raised = list[tuple[int, str]]
"""The thread and the traceback of each exception, in the order in which they came."""


class FromMachineCode:
    """While it is entered, collects what Numba's code raises in any thread. For one caller at a time."""

    def __enter__(self) -> Raised:
        self._raised: Raised = []
        self._others, sys.unraisablehook = sys.unraisablehook, self._note
        return self._raised

    def __exit__(self, *_: object) -> None:
        sys.unraisablehook = self._others

    def _note(self, found: Any) -> None:
        if not str(found.object).startswith("<numba."):
            self._others(found)
            return
        text = traceback.format_exception(found.exc_type, found.exc_value, found.exc_traceback)
        self._raised.append((threading.get_ident(), "".join(text).rstrip()))


def plain(work: Callable[..., None], raised: Raised) -> Callable[..., None]:
    """``work``, which never raises: what it did goes to ``raised``. NumPy's integers raise as Python's do."""

    def noting(*arguments: Any) -> None:
        try:
            with np.errstate(divide="raise"):
                work(*arguments)
        except bdb.BdbQuit:  # the author has had enough
            raise
        except Exception:  # noqa: BLE001 (told as the row's fault)
            raised.append((threading.get_ident(), traceback.format_exc().rstrip()))

    return noting


def causes(failed_K: np.ndarray, raised: Raised) -> dict[int, str]:
    """Row → what it raised, for the rows that failed.

    A thread takes its rows in order. Which rows a thread took is not known, so if several threads
    saw exceptions every failed row gets all the different ones.
    """
    rows = np.flatnonzero(failed_K).tolist()
    if len({thread for thread, _ in raised}) == 1 and len(raised) == len(rows):
        return {row: text for row, (_, text) in zip(rows, raised, strict=True)}
    different = "\nor, in other slots of the same call:\n".join(dict.fromkeys(text for _, text in raised))
    return dict.fromkeys(rows, different)
