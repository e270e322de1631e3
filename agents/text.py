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
    """Texts ↔ row numbers. Once ``capacity`` rows are full, that of the text which was asked for least
    recently is written over."""

    def __init__(self, capacity: int = 65536) -> None:
        self._rows: dict[str, int] = {}
        """in the order in which they were asked for"""
        self._texts: list[str] = []
        self._ids = np.zeros((256, LENGTH), np.int32)
        self._capacity = capacity

    @property
    def texts(self) -> list[str]:
        """The texts by row."""
        return list(self._texts)

    def rows(self, texts: Iterable[str]) -> np.ndarray:
        """int32: the row of each text; unknown texts are added."""
        return np.array([self._row(text) for text in texts], np.int32)

    def ids(self, rows_U: np.ndarray) -> np.ndarray:
        """int32 (U, L): the hashed ids of these rows."""
        found: np.ndarray = self._ids[rows_U]
        return found

    def _row(self, text: str) -> int:
        row = self._rows.pop(text, None)
        if row is None:
            row = self._add(text)
        self._rows[text] = row
        return row

    def _add(self, text: str) -> int:
        row = len(self._texts)
        if row < self._capacity:
            self._texts.append(text)
        else:
            row = self._rows.pop(next(iter(self._rows)))
            self._texts[row] = text
        if row >= len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        self._ids[row] = hashed_ids(text)
        return row
