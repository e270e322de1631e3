"""A batch in parts: threads that each run the network on some of its sequences.

PyTorch's own threads share every single operation and wait for each other after each; most
operations of a small network are too small for that. Whole parts don't wait. The gradients of the
parts are added up in their order, so a result depends on the number of threads but on nothing
else. This file doesn't know losses.

Suffixes: N sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from universe2.agents.model import Network, Observation, Output, State

_LEAST = 64
"""observations that are worth a thread: acting for fewer slots leaves the other cores to learning"""
X = TypeVar("X")
Y = TypeVar("Y")


class InParts:
    """``network``, called the same, on ``workers`` threads; with one it is the network itself.

    All else that is asked of it is the network's own.
    """

    def __init__(self, network: Network, workers: int = 1) -> None:
        self.network, self.workers = network, workers
        # the caller's own thread is the first
        self._pool = ThreadPoolExecutor(workers - 1, "arithmetic") if workers > 1 else None

    def __call__(self, obs: Observation, state: State) -> Output:
        count = min(self.workers, len(obs.first), obs.first.numel() // _LEAST)
        if count < 2:
            output: Output = self.network(obs, state)
            return output
        parts = _cut(obs, state, count)
        names = list(state)
        if torch.is_grad_enabled():
            trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
            apply: Any = _Joint.apply
            found = apply(self, parts, *trained)
        else:
            found = _joined(self.each(self._forward, parts))
        logits, value_logits, *others = found
        picture = others[len(names)] if len(others) > len(names) else None
        return Output(logits, value_logits, dict(zip(names, others, strict=False)), picture)

    def __getattr__(self, name: str) -> Any:
        if name == "network":  # not set yet
            raise AttributeError(name)
        return getattr(self.network, name)

    def each(self, call: Callable[[X], Y], parts: Sequence[X]) -> list[Y]:
        """``call`` of every part, each on a thread of its own, with this thread's modes for gradients."""
        assert self._pool is not None
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def run(part: X) -> Y:
            with torch.inference_mode(inference), torch.set_grad_enabled(grad):
                return call(part)

        others = [self._pool.submit(run, part) for part in parts[1:]]
        first = call(parts[0])
        return [first, *(future.result() for future in others)]

    def _forward(self, part: tuple[Observation, State]) -> tuple[Tensor, ...]:
        output = self.network(*part)
        painted = () if output.picture is None else (output.picture,)
        return (output.logits, output.value_logits, *output.state.values(), *painted)

    def close(self) -> None:
        """Stop the threads. May be called twice."""
        if self._pool is not None:
            self._pool.shutdown()


class _Joint(torch.autograd.Function):
    """The parts' outputs as one, given the trained weights so that the gradient flows to them."""

    @staticmethod
    def forward(
        ctx: Any, network: InParts, parts: list[tuple[Observation, State]], *trained: Tensor
    ) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            ctx.outputs = network.each(network._forward, parts)
        ctx.network, ctx.trained = network, trained
        ctx.set_materialize_grads(False)
        found = _joined([[x.detach() for x in part] for part in ctx.outputs])
        ctx.mark_non_differentiable(*(x for x in found if not x.is_floating_point()))
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        def weights_of(
            part: tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]],
        ) -> tuple[Tensor | None, ...]:
            wanted = [(x, grad) for x, grad in zip(*part, strict=True) if grad is not None]
            outputs, given = zip(*wanted, strict=True)
            found: tuple[Tensor | None, ...] = torch.autograd.grad(
                outputs, ctx.trained, given, allow_unused=True
            )
            return found

        sizes = [len(part[0]) for part in ctx.outputs]
        nothing = [None] * len(sizes)
        cut = zip(*(nothing if grad is None else torch.split(grad, sizes) for grad in grads), strict=True)
        found = ctx.network.each(weights_of, list(zip(ctx.outputs, cut, strict=True)))
        del ctx.outputs
        return None, None, *(_sum(of_parts) for of_parts in zip(*found, strict=True))


def _cut(obs: Observation, state: State, count: int) -> list[tuple[Observation, State]]:
    """``count`` parts of nearly the same number of sequences; the texts are everyone's."""
    total = len(obs.first)
    ends = [total * (i + 1) // count for i in range(count)]
    parts = []
    for begin, end in zip([0, *ends], ends, strict=False):
        here = (obs.points >= begin) & (obs.points < end)
        whole = {"texts": obs.texts, "points": obs.points[here] - begin}
        mine = Observation(*(x[begin:end] for x in obs))._replace(**whole)
        parts.append((mine, {name: value[begin:end] for name, value in state.items()}))
    return parts


def _joined(parts: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(of_parts) for of_parts in zip(*parts, strict=True))


def _sum(of_parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [x for x in of_parts if x is not None]
    return sum(there[1:], there[0]) if there else None
