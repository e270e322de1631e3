"""LoRA (Hu et al., 2021): small trained matrices beside frozen weights.

A linear layer's weight becomes W + B·A with W frozen; B begins at zero, so at first nothing
changes. The heads are trained in full: a held-out game needs its own. This file doesn't know
how anything is trained.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

TRUNK = ("encoder", "mix", "core")
HEADS = ("policy", "pointing", "value", "picture")


class LowRank(nn.Module):
    """Adds B·A of ``rank`` to an (out, in) weight."""

    def __init__(self, out_features: int, in_features: int, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, in_features) / in_features**0.5)
        self.b = nn.Parameter(torch.zeros(out_features, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return torch.addmm(weight, self.b, self.a)


def add_adapters(network: nn.Module, rank: int) -> None:
    """Freeze ``network`` but for its heads, and put an adapter beside each linear layer of its trunk."""
    network.requires_grad_(False)
    for name, module in list(network.named_modules()):
        part = name.partition(".")[0]
        if part in HEADS:
            module.requires_grad_(True)
        elif part in TRUNK and isinstance(module, nn.Linear):
            adapter = LowRank(module.out_features, module.in_features, rank)
            parametrize.register_parametrization(module, "weight", adapter)


def trunk_name(network: nn.Module, name: str) -> str:
    """What a weight of a network without adapters is called in ``network``."""
    layer, _, kind = name.rpartition(".")
    adapted = kind == "weight" and parametrize.is_parametrized(network.get_submodule(layer), "weight")
    return f"{layer}.parametrizations.weight.original" if adapted else name
