"""The first layer of the cheap encoder: patches of 4 × 4 pixels and how they moved, times weights.

As floats the pixels of a batch are eight times what a core's cache holds, and more than all else
that is kept for the gradient. So they become floats a few screens at a time, and once more for the
gradient: memory is slower than that. This file doesn't know what comes after.

Suffixes: B screens, H W pixels, C patches, of 48 colours and 4 changes of brightness, D features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

PIXEL = 1 / 255
_BLOCK = 64
"""screens that a CPU works on at once; their pixels as floats are 3 MB for 64 × 64"""


def see_patches(
    screen_BHW3: Tensor, motion_BHW: Tensor, weight_D52: Tensor, bias_D: Tensor
) -> tuple[Tensor, Tensor]:
    """ReLU of the layer (B, C, D), given uint8 (B, H, W, 3) and int16 (B, H/2, W/2); the mean patch (B, 48).

    The mean patch is taken off before: what matters is small, the background is not.
    """
    count, height, width, _ = screen_BHW3.shape
    rows, columns = height // 4, width // 4
    # four RGB pixels are three 32-bit words, two changes one: fewer elements to move
    words = screen_BHW3.reshape(count, -1).view(torch.int32).view(count, rows, 4, columns, 3)
    pairs = motion_BHW.reshape(count, -1).view(torch.int32).view(count, rows, 2, columns, 1)
    shape = (count, rows * columns, -1)
    colours_BC48 = words.transpose(2, 3).reshape(shape).view(torch.uint8)
    moved_BC4 = pairs.transpose(2, 3).reshape(shape).view(torch.int16)
    apply: Any = _Patches.apply
    found: tuple[Tensor, Tensor] = apply(colours_BC48, moved_BC4, weight_D52 * PIXEL, bias_D)
    return found


class _Patches(torch.autograd.Function):
    """(colours, moved, weight, bias) → features and the mean patch; the gradient of weight and bias alone."""

    @staticmethod
    def forward(
        ctx: Any, colours_BC48: Tensor, moved_BC4: Tensor, weight_D52: Tensor, bias_D: Tensor
    ) -> tuple[Tensor, Tensor]:
        count, cells, _ = colours_BC48.shape
        out_BCD = weight_D52.new_empty(count, cells, len(weight_D52))
        mean_B48 = weight_D52.new_empty(count, 48)
        weight_48D, weight_4D = torch.split(weight_D52.t(), [48, 4])
        for colours, moved, out, mean in _blocks(colours_BC48, moved_BC4, out_BCD, mean_B48):
            pixels = colours.float()
            torch.mean(pixels, 1, out=mean)
            flat = out.flatten(0, 1)
            torch.mm(moved.flatten(0, 1).float(), weight_4D, out=flat)
            flat.addmm_(pixels.flatten(0, 1), weight_48D)
            # taking the mean off after the product spares a copy of all pixels
            shift = bias_D - mean @ weight_48D
            out.add_(shift.unsqueeze(1)).clamp_(min=0)
        ctx.save_for_backward(colours_BC48, moved_BC4, out_BCD, mean_B48)
        ctx.mark_non_differentiable(mean_B48)
        return out_BCD, mean_B48

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BCD: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        colours_BC48, moved_BC4, out_BCD, mean_B48 = ctx.saved_tensors
        features = out_BCD.shape[-1]
        d_48D, d_4D = out_BCD.new_zeros(48, features), out_BCD.new_zeros(4, features)
        sum_BD = out_BCD.new_empty(len(out_BCD), features)
        for colours, moved, out, grad, sums in _blocks(colours_BC48, moved_BC4, out_BCD, grad_BCD, sum_BD):
            d_out = torch.ops.aten.threshold_backward(grad, out, 0)
            torch.sum(d_out, 1, out=sums)
            flat = d_out.flatten(0, 1)
            d_48D.addmm_(colours.flatten(0, 1).float().t(), flat)
            d_4D.addmm_(moved.flatten(0, 1).float().t(), flat)
        d_48D.addmm_(mean_B48.t(), sum_BD, alpha=-1)
        return None, None, torch.cat([d_48D, d_4D]).t(), sum_BD.sum(0)


def _blocks(*columns: Tensor) -> zip[tuple[Tensor, ...]]:
    """The same few rows of each, one block after another; all rows on a GPU."""
    block = _BLOCK if columns[0].device.type == "cpu" else len(columns[0])
    return zip(*(torch.split(column, block) for column in columns), strict=True)
