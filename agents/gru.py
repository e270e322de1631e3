"""A GRU whose hidden vector is zeroed before every time that begins an episode.

PyTorch's own can't be reset within a sequence. What a loop of small steps costs is its number of
operations, so the gradient is written by hand: what doesn't depend on the gradient of the step
after it is computed for all times at once, and so is the weights' gradient.

Suffixes: T times, N sequences, D features, of which the gates have three parts: reset, update, new.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class ResettingGRU(nn.Module):
    """Gated recurrent units (Cho et al., 2014) over sequences in which episodes begin."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(features, 3 * hidden)
        self.recurrent = nn.Linear(hidden, 3 * hidden)
        for chunk in self.recurrent.weight.data.chunk(3):
            nn.init.orthogonal_(chunk)
        nn.init.zeros_(self.recurrent.bias)

    def forward(self, x_NTD: Tensor, first_NT: Tensor, hidden_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (N, T, D) and the last hidden vector (N, D)."""
        # times first, so that the rows of a step lie together
        gates_TN3D = self.inputs(x_NTD.transpose(0, 1).contiguous())
        weight = self.recurrent.weight.to(gates_TN3D.dtype)
        # the memory is float32 always, also where the products are not
        gates_TN3D = gates_TN3D.to(hidden_ND.dtype)
        keep_TN1 = (~first_NT).t().to(hidden_ND.dtype).unsqueeze(-1)
        recurrence: Any = _Recurrence.apply
        out_TND = recurrence(gates_TN3D, keep_TN1, hidden_ND, weight, self.recurrent.bias)
        return out_TND.transpose(0, 1), out_TND[-1]


class _Recurrence(torch.autograd.Function):
    """(T, N, D) hidden vectors from what the inputs say to the gates. Products are in the weight's type."""

    @staticmethod
    def forward(
        ctx: Any, gates_TN3D: Tensor, keep_TN1: Tensor, hidden_ND: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        times, count, size = *gates_TN3D.shape[:2], hidden_ND.shape[-1]
        before_TND, new_TND, out_TND = (gates_TN3D.new_empty(times, count, size) for _ in range(3))
        inner_TN3D = torch.empty_like(gates_TN3D)
        open_TN2D = gates_TN3D.new_empty(times, count, 2 * size)
        parts = [2 * size, size]
        columns = (
            *torch.split(gates_TN3D, parts, -1),
            *torch.split(inner_TN3D, parts, -1),
            *open_TN2D.chunk(2, -1),
            *(open_TN2D, inner_TN3D, keep_TN1, before_TND, new_TND, out_TND),
        )
        across = weight.t()
        with torch.autocast(hidden_ND.device.type, enabled=False):
            for step in zip(*(column.unbind() for column in columns), strict=True):
                gates, fresh, inner_gates, inner_fresh, reset, update, *whole = step
                both, inner, keep, before, new, out = whole
                torch.mul(hidden_ND, keep, out=before)
                _add_product(bias, before, across, out=inner)
                torch.add(gates, inner_gates, out=both).sigmoid_()
                torch.addcmul(fresh, reset, inner_fresh, out=new).tanh_()
                hidden_ND = torch.lerp(new, before, update, out=out)
        ctx.save_for_backward(keep_TN1, before_TND, open_TN2D, new_TND, inner_TN3D[..., 2 * size :], weight)
        return out_TND

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_TND: Tensor) -> tuple[Tensor | None, ...]:
        keep_TN1, before_TND, open_TN2D, new_TND, inner_new_TND, weight = ctx.saved_tensors
        reset_TND, update_TND = open_TN2D.chunk(2, -1)
        # derivatives of a step's outcome by what went into its gates
        by_new_TND = (1 - update_TND) * (1 - new_TND.square())
        by_reset_TND = by_new_TND * inner_new_TND * (reset_TND - reset_TND.square())
        by_update_TND = (before_TND - new_TND) * (update_TND - update_TND.square())
        by_inner_TN3D = torch.stack([by_reset_TND, by_update_TND, by_new_TND * reset_TND], 2)
        d_out_TND = grad_TND.clone(memory_format=torch.contiguous_format)
        d_inner_TN3D = torch.empty_like(by_inner_TN3D)
        columns = (d_out_TND, by_inner_TN3D, d_inner_TN3D, d_inner_TN3D.flatten(2), update_TND, keep_TN1)
        carried_ND, scratch_ND = torch.zeros_like(before_TND[0]), torch.empty_like(before_TND[0])
        with torch.autocast(grad_TND.device.type, enabled=False):
            for step in zip(*(column.unbind()[::-1] for column in columns), strict=True):
                d_out, by_inner, d_inner, d_inner_rows, update, keep = step
                d_out.add_(carried_ND)
                torch.mul(by_inner, d_out.unsqueeze(1), out=d_inner)
                torch.mul(d_out, update, out=scratch_ND)
                _add_product(scratch_ND, d_inner_rows, weight, out=carried_ND)
                carried_ND.mul_(keep)
            d_inner_BD = d_inner_TN3D.flatten(0, 1).flatten(1)
            before_BD = before_TND.flatten(0, 1).to(weight.dtype)
            d_weight = d_inner_BD.t().to(weight.dtype) @ before_BD if ctx.needs_input_grad[3] else None
        d_gates_TN3D = torch.cat([d_inner_TN3D[:, :, :2].flatten(2), d_out_TND * by_new_TND], -1)
        return d_gates_TN3D, None, carried_ND, d_weight, d_inner_BD.sum(0)


def _add_product(start: Tensor, rows: Tensor, weight: Tensor, out: Tensor) -> None:
    """out = start + rows @ weight; the product in the weight's type."""
    if weight.dtype == out.dtype:
        torch.addmm(start, rows, weight, out=out)
    else:
        torch.add(start, rows.to(weight.dtype) @ weight, out=out)
