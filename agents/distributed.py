"""Several processes that train one network: sums over all of them, or nothing for one alone.

Started by ``torchrun``, each process (a rank) plays environments of its own and holds a part of
every batch. Gradients, per-task statistics and metrics are summed over the ranks, and a batch's
weights are normalised over all of it, so N ranks with a batch of B each do what one does with
N·B. Collective calls are made by the learner's thread alone, in the order of its queue.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed
from torch import Tensor

from universe2.core.errors import UsageError


class Ranks:
    """The processes of this run; by default this one alone.

    What they tell each other lies on ``device``, each rank's own: NCCL knows no other place than a
    GPU. (PyTorch's current device won't do: every thread has its own.)
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size = rank, size
        self.device = device or torch.device("cpu")

    def seed(self, seed: int) -> int:
        """One of this rank's own from the run's ``seed``; rank 0 keeps it as it is."""
        return seed + 104729 * self.rank

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of every rank's tensor, on all of them."""
        if self.size > 1:
            tensor = tensor.clone()
            torch.distributed.all_reduce(tensor)
        return tensor

    def maximum(self, value: float) -> float:
        """The largest value that any rank gave: how ranks agree on when to stop."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
        return float(tensor)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Every gradient becomes the sum over the ranks, in one transfer."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Every rank gets what rank 0 has."""
        if self.size > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)


def world_size() -> int:
    """How many processes ``torchrun`` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process is rank 0, or alone: the one that writes the run's files and shows progress."""
    return world_size() == 1 or os.environ["RANK"] == "0"


def own_gpu() -> torch.device:
    """This rank's CUDA device. The ranks on one machine have one each; UsageError if there are too few."""
    local, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= found:
        raise UsageError(
            f"rank {local} of this machine has no CUDA device of its own: there are {found}. Start no more "
            'ranks than that, or with device = "cpu"'
        )
    return torch.device("cuda", local)


def join_ranks(device: torch.device) -> Ranks:
    """The ranks that ``torchrun`` started, joined; this process alone without it.

    ``device`` is where this rank's network lives: NCCL joins GPUs, Gloo joins CPUs.
    """
    if world_size() == 1:
        return Ranks()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Ranks(torch.distributed.get_rank(), world_size(), device)


def leave_ranks() -> None:
    """The end of a process that ``join_ranks`` joined to others."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
