"""Instruction text as numbers: hashed words, word pairs and character trigrams.

No vocabulary and no download: any string maps to at most ``LENGTH`` bucket ids. Each string is
hashed once and then named by a small integer. This file doesn't know networks.

Suffixes: U distinct texts, L ids of a text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

BUCKETS = 4096
LENGTH = 64


def hashed_ids(text: str) -> np.ndarray:
    """int32 (LENGTH,): bucket ids in [1, BUCKETS), words first; 0 pads."""
    words = text.lower().split()
    padded = f" {' '.join(words)} " if words else ""
    pieces = [f"w:{word}" for word in words]
    pieces += [f"p:{a} {b}" for a, b in pairwise(words)]
    pieces += [f"c:{padded[i : i + 3]}" for i in range(len(padded) - 2)]
    ids = [1 + zlib.crc32(piece.encode()) % (BUCKETS - 1) for piece in dict.fromkeys(pieces)][:LENGTH]
    return np.array(ids + [0] * (LENGTH - len(ids)), np.int32)


class TextTable:
    """Texts ↔ row numbers. Once ``capacity`` rows are full the oldest is written over."""

    def __init__(self, capacity: int = 65536) -> None:
        self._rows: dict[str, int] = {}
        self._texts: list[str] = []
        self._ids = np.zeros((256, LENGTH), np.int32)
        self._capacity = capacity
        self._next = 0

    @property
    def texts(self) -> list[str]:
        """The texts by row."""
        return list(self._texts)

    def rows(self, texts: Iterable[str]) -> np.ndarray:
        """int32: the row of each text; unknown texts are added."""
        known = self._rows
        return np.array([known[t] if t in known else self._add(t) for t in texts], np.int32)

    def ids(self, rows_U: np.ndarray) -> np.ndarray:
        """int32 (U, L): the hashed ids of these rows."""
        found: np.ndarray = self._ids[rows_U]
        return found

    def _add(self, text: str) -> int:
        row = self._next
        self._next = (row + 1) % self._capacity
        if row < len(self._texts):
            del self._rows[self._texts[row]]
            self._texts[row] = text
        else:
            self._texts.append(text)
        if row >= len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        self._rows[text] = row
        self._ids[row] = hashed_ids(text)
        return row
