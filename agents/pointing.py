"""Where to point: a head that finds the place among the cells of what the encoder sees.

A layer from pooled features to 64 columns and 64 rows has to learn each place on the screen anew.
Here every cell is scored for being what is wanted, and says in the same words wherever it is how
far from its own middle the place lies; together that is a distribution over columns and one over
rows (Bishop, 1994, calls such sums mixture densities). It knows no tasks, and runs only for those
sequences whose pointer is live.

Suffixes: M sequences with a live pointer, T times, B = M·T, R rows and L columns of cells, C = R·L
cells, D features of a cell, H features of the context, K places that a cell may name, P = 64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from universe2.core.screen import NVEC, POINTER

POINTER_AT = NVEC[0] + NVEC[1]
"""where the pointer's choices begin among all choices: columns, then rows"""
_REACH = 1.5
"""how far from its middle a cell may point, in cells"""
_FLOOR = 1e-4
"""probability of what no cell means: no choice is ever ruled out"""


@dataclass(frozen=True)
class Cells:
    """How an encoder's cells lie on a screen of ``size`` pixels: in ``grid``, the middles in pixels."""

    grid: tuple[int, int]
    size: tuple[int, int]
    first: float
    """middle of the first cell"""
    stride: float


def points(mask_NA: np.ndarray) -> np.ndarray:
    """int64 (M,): the sequences whose pointer is live, given their live choices."""
    pointer = mask_NA[:, POINTER_AT : POINTER_AT + 2 * POINTER]
    # a dead pointer keeps its first column and its first row
    return np.flatnonzero(pointer.sum(1) > 2)


class Pointing(nn.Module):
    """Log-probabilities of columns and rows, to be added to the pointer's logits."""

    columns_LKP: Tensor
    rows_RKP: Tensor

    def __init__(self, channels: int, cells: Cells, context: int) -> None:
        super().__init__()
        self.grid = cells.grid
        self.key = nn.Linear(channels, channels)
        self.query = nn.Linear(context, channels)
        columns, rows = (_places(cells, axis) for axis in (1, 0))
        self.register_buffer("columns_LKP", columns, persistent=False)
        self.register_buffer("rows_RKP", rows, persistent=False)
        self.counts = [columns.shape[1], rows.shape[1]]
        self.offset = nn.Linear(channels, sum(self.counts))
        # at first all cells count alike, and name all their places alike
        for layer in (self.query, self.offset):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, cells_BCD: Tensor, context_BH: Tensor) -> Tensor:
        """(B, 2·P): log-probabilities of the columns, then of the rows."""
        score_BC = torch.bmm(self.key(cells_BCD), self.query(context_BH).unsqueeze(-1)).squeeze(-1)
        score_BRL = score_BC.float().softmax(-1).view(len(score_BC), *self.grid)
        across, down = torch.split(self.offset(cells_BCD).float(), self.counts, -1)
        # probabilities are summed: bfloat16 would lose the small ones
        with torch.autocast(cells_BCD.device.type, enabled=False):
            x_BP = _mixture(score_BRL, across, self.columns_LKP, 1)
            y_BP = _mixture(score_BRL, down, self.rows_RKP, 2)
            return (torch.cat([x_BP, y_BP], -1) + _FLOOR).log()


def _mixture(score_BRL: Tensor, offset_BCK: Tensor, places: Tensor, over: int) -> Tensor:
    """(B, P): what the cells of each column (``over`` = 1) or row (2) name together.

    ``places`` is (L, K, P) or (R, K, P); what lies off the screen is not among them.
    """
    offset_BRLK = offset_BCK.view(*score_BRL.shape, offset_BCK.shape[-1])
    there = places.any(-1) if over == 1 else places.any(-1).unsqueeze(1)
    named_BRLK = offset_BRLK.masked_fill(~there, -torch.inf).softmax(-1)
    named = (score_BRL.unsqueeze(-1) * named_BRLK).sum(over)
    return named.flatten(1) @ places.flatten(0, 1)


def _places(cells: Cells, axis: int) -> Tensor:
    """float32 (cells, K, P): 1 where the k-th place of a cell is on the screen, and where that is."""
    scale = POINTER / cells.size[axis]
    reach = _REACH * cells.stride * scale
    count = max(4, round(2 * reach))
    places = torch.zeros(cells.grid[axis], count, POINTER)
    for cell in range(cells.grid[axis]):
        begin = round((cells.first + cell * cells.stride) * scale - count / 2)
        for k in range(count):
            if 0 <= begin + k < POINTER:
                places[cell, k, begin + k] = 1
    return places
