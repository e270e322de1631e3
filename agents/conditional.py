"""ConditionalEncoder: for each instruction, an encoder of its own out of the same few.

Its weights are W₀ + Σ aₖ Bₖ: conditionally parameterized layers (CondConv; Yang et al., 2019), with a unit
vector a that depends on the instruction instead of the picture. So games that show different things don't
overwrite each other's filters, and share what they have in common. The vector is nearly one base alone: in
a base that many games pull at, Adam's steps are mostly the others' noise. Weights are mixed once per
instruction and batch. It doesn't know what an encoder is made of.

Suffixes: B screens, U distinct texts, L ids of a text, K bases, D elements of a weight.
"""

from __future__ import annotations

import copy
import threading
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from universe2.agents.lora import trunk_name
from universe2.agents.text import BUCKETS


class _Shells(threading.local):
    """Each thread's own copies of encoders: while a call with other weights lasts, the module holds them."""

    def __init__(self) -> None:
        self.of: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()


_SHELLS = _Shells()


SHARPNESS = 4.0
"""Power of a code's numbers: with 1 all bases would have about the same part in each instruction."""


class ConditionalEncoder(nn.Module):
    """``encoder`` with ``count`` bases B, all 0 at first. Similar instructions have similar mixtures; without
    one there is none.
    """

    def __init__(self, encoder: nn.Module, count: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.code = nn.EmbeddingBag(BUCKETS, count, mode="sum", padding_idx=0)
        self._names = [name for name, _ in encoder.named_parameters()]
        self.bases = nn.ParameterList(torch.zeros(count, own.numel()) for own in encoder.parameters())

    def forward(
        self, screen_BHW3: Tensor, motion_BHW: Tensor, texts_UL: Tensor, index_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What ``encoder`` makes of each screen under the text that ``index_B`` (int64, in [0, U)) says."""
        order_B = index_B.argsort(stable=True)
        counts = index_B.bincount(minlength=len(texts_UL)).tolist()
        present = [text for text, count in enumerate(counts) if count]
        sights = self._encoders(texts_UL[present])
        if len(present) == 1:
            return self._seen(sights[0], screen_BHW3, motion_BHW)
        groups = torch.split(order_B, [counts[text] for text in present])
        parts = [
            self._seen(sight, screen_BHW3[rows], motion_BHW[rows])
            for sight, rows in zip(sights, groups, strict=True)
        ]
        back_B = order_B.argsort()
        seen, cells = (torch.cat(part)[back_B] for part in zip(*parts, strict=True))
        return seen, cells

    def _encoders(self, texts_UL: Tensor) -> list[dict[str, Tensor]]:
        """The weights for each of the texts."""
        common = {**dict(self.encoder.named_buffers()), **dict(self.encoder.named_parameters())}
        found = [dict(common) for _ in texts_UL]
        with torch.autocast(texts_UL.device.type, enabled=False):  # bfloat16 would round what bases change
            code_UK = self._codes(texts_UL)
            for name, base_KD in zip(self._names, self.bases, strict=True):
                name = trunk_name(self.encoder, name)
                own = common[name]
                for weights, change_D in zip(found, code_UK @ base_KD, strict=True):
                    weights[name] = own + change_D.view(own.shape)
        return found

    def _codes(self, texts_UL: Tensor) -> Tensor:
        """(U, K): unit vectors, zeros where there is no text."""
        flat_UK = F.normalize(self.code(texts_UL), dim=-1)
        return F.normalize(flat_UK * flat_UK.abs() ** (SHARPNESS - 1), dim=-1)

    def _seen(self, weights: dict[str, Tensor], screen: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        shells = _SHELLS.of
        if self.encoder not in shells:
            shells[self.encoder] = copy.deepcopy(self.encoder)
        seen: tuple[Tensor, Tensor] = functional_call(shells[self.encoder], weights, (screen, motion))
        return seen
