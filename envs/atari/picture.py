"""Picture: frames of the console as an agent sees them: flicker removed, shrunk, the last few together.

Shrinking averages over areas, exactly: a pixel of the source counts by the part of it that is
covered. It doesn't know the console.

Suffixes: H × W × C a frame of the source, h × w × C a frame that is shown, S frames of a
stack, n = W·C values of a source line, m = w·C values of a shown one, T source pixels under
one that is shown (at most).
"""

from __future__ import annotations

import numpy as np

from universe2.core.native import Compiled


class Picture:
    """Shows frames of ``source`` = (H, W) pixels and ``channels`` in uint8 (stack, h, w, channels)."""

    def __init__(
        self, source: tuple[int, int], size: tuple[int, int], channels: int, stack: int, compiled: Compiled
    ) -> None:
        self._show = compiled(show)
        self._source = (source[0], source[1] * channels)
        columns_Tw, weights_Tw = areas(source[1], size[1])
        columns_Tm = columns_Tw[:, :, None] * channels + np.arange(channels)
        self._tables = (
            *areas(source[0], size[0]),
            np.ascontiguousarray(columns_Tm.reshape(len(columns_Tw), -1), np.uint32),
            np.repeat(weights_Tw, channels, axis=1),
            np.zeros((2, source[1] * channels), np.float32),
            np.zeros(size[1] * channels, np.float32),
        )
        self.frames = np.zeros((stack, size[0], size[1] * channels), np.uint8)

    def clear(self) -> None:
        """Forget the frames shown so far."""
        self.frames[...] = 0

    def add(self, first: np.ndarray, second: np.ndarray, out: np.ndarray) -> None:
        """Show the maximum of two frames as the newest; all go to ``out``."""
        self._show(first.reshape(self._source), second.reshape(self._source), *self._tables, self.frames)
        self.show(out)

    def show(self, out: np.ndarray) -> None:
        out.reshape(self.frames.shape)[...] = self.frames


def areas(source: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of a line of ``source`` lie under each of ``size``, and by how much.

    Pixels, uint32 (T, size), and overlaps, float32 (T, size): whole numbers that sum to
    ``source`` over T, as the line is cut into source × size pieces.
    """
    begin = np.arange(size) * source
    first, last = begin // size, (begin + source - 1) // size
    pixel = first + np.arange(int((last - first).max()) + 1)[:, None]
    overlap = np.minimum((pixel + 1) * size, begin + source) - np.maximum(pixel * size, begin)
    return np.minimum(pixel, source - 1).astype(np.uint32), np.maximum(overlap, 0).astype(np.float32)


def show(
    one_Hn: np.ndarray,
    other_Hn: np.ndarray,
    row_Th: np.ndarray,
    row_weight_Th: np.ndarray,
    column_Tm: np.ndarray,
    column_weight_Tm: np.ndarray,
    lines_2n: np.ndarray,
    sum_m: np.ndarray,
    frames_Shm: np.ndarray,
) -> None:
    """Move the frames up by one; the last becomes the average over areas of the pixels' maximum.

    Sums of products are whole numbers below 2**24, so float32 holds them exactly: the result
    doesn't depend on the order or on the processor.
    """
    last = frames_Shm.shape[0] - 1
    for s in range(last):
        frames_Shm[s] = frames_Shm[s + 1]
    scale = np.float32(1.0) / (row_weight_Th[:, 0].sum() * column_weight_Tm[:, 0].sum())
    half = np.float32(0.5)
    for y in range(row_Th.shape[1]):
        line, before, same = lines_2n[y & 1], lines_2n[1 - (y & 1)], y > 0
        line[:] = 0
        for t in range(row_Th.shape[0]):
            weight = row_weight_Th[t, y]
            if weight > 0:
                one, other = one_Hn[row_Th[t, y]], other_Hn[row_Th[t, y]]
                for i in range(line.shape[0]):
                    line[i] += weight * np.float32(max(one[i], other[i]))
        if same:
            different = 0
            for i in range(line.shape[0]):
                different += line[i] != before[i]
            same = different == 0
        target = frames_Shm[last, y]
        if same:  # as often happens: these pictures are made of bars
            target[:] = frames_Shm[last, y - 1]
            continue
        sum_m[:] = 0
        for t in range(column_Tm.shape[0]):
            column, weights = column_Tm[t], column_weight_Tm[t]
            for i in range(sum_m.shape[0]):
                sum_m[i] += weights[i] * line[column[i]]
        for i in range(sum_m.shape[0]):
            target[i] = np.uint8(sum_m[i] * scale + half)
