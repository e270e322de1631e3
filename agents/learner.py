"""The learner: low-level training primitives over one network.

Every call returns a ``concurrent.futures.Future`` at once. One thread executes the calls in
the order in which they were made, so ``forward_backward`` and ``optim_step`` may be submitted
back to back. This file knows no environments and no algorithm.

Suffixes: N slots, A = 209 choices, P = 5 parts, L ids of a text.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from universe2.agents.checkpoint import read_checkpoint, write_checkpoint
from universe2.agents.losses import (
    Loss,
    Metrics,
    SegmentBatch,
    TaskScales,
    action_log_prob,
    masked_log_probs,
    sample_action,
)
from universe2.agents.model import ModelConfig, Network, Observation, State
from universe2.agents.returns import Transitions, decode_value
from universe2.core.errors import TrainingError

T = TypeVar("T")
ArrayState = dict[str, np.ndarray]


@dataclass(frozen=True)
class OptimParams:
    """One step of Adam; gradients are scaled down to ``max_grad_norm`` first."""

    lr: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-5
    max_grad_norm: float = 0.5


class SlotObservations(NamedTuple):
    """What N slots see at one time, as arrays."""

    screen: np.ndarray
    """uint8 (N, H, W, 3)"""
    texts: np.ndarray
    """int32 (N, L): hashed instructions, or (U, L) together with ``text_index``"""
    text_index: np.ndarray
    """int64 (N,): row of ``texts``"""
    mask: np.ndarray
    """bool (N, A)"""
    prev_action: np.ndarray
    """int64 (N, P)"""
    prev_reward: np.ndarray
    """float32 (N,)"""
    first: np.ndarray
    """bool (N,)"""


class Sample(NamedTuple):
    """Actions for N slots."""

    action: np.ndarray
    """int64 (N, P)"""
    log_prob: np.ndarray
    """float32 (N,)"""
    value: np.ndarray
    """float32 (N,)"""
    state: ArrayState
    """after this observation"""
    version: int
    """optimiser steps that the policy had seen"""


class Learner:
    """Network, optimiser, random numbers and per-task statistics behind one ordered queue.

    ``tasks`` names the tasks that ``SegmentBatch.task`` counts; their statistics are kept by
    name, so a later run may add tasks or reorder them.
    """

    def __init__(
        self, config: ModelConfig, tasks: Sequence[str], seed: int = 0, device: str | torch.device = "cpu"
    ) -> None:
        keep_freed_memory()
        self.config = config
        self.tasks = list(tasks)
        self.device = torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(config)
        self.network = network.to(self.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), fused=True)
        self.scales = TaskScales(len(self.tasks))
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.version = 0
        self.counts: dict[str, float] = {}
        """the algorithm's own counters; saved and loaded with the rest"""
        self._broken: TrainingError | None = None
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="learner")

    # -- primitives ---------------------------------------------------------------------------

    def sample(self, obs: SlotObservations, state: ArrayState) -> Future[Sample]:
        """Act: draw one action per slot from the current policy."""
        return self._submit(self._sample, obs, state)

    def forward_backward(self, batch: SegmentBatch, loss: Loss) -> Future[Metrics]:
        """Add the loss's gradient to the gradients. ``loss`` is for example ``PPOLoss()``."""
        return self._submit(self._forward_backward, batch, loss)

    def forward_backward_custom(
        self, batch: SegmentBatch, fn: Callable[[Network, SegmentBatch], tuple[Tensor, dict[str, Tensor]]]
    ) -> Future[Metrics]:
        """Like ``forward_backward``, for a loss that calls the network itself: fn(network, batch)."""
        return self._submit(self._backward, batch, lambda: fn(self.network, batch))

    def optim_step(self, params: OptimParams) -> Future[Metrics]:
        """Move the weights along the gradients gathered so far, and clear them."""
        return self._submit(self._optim_step, params)

    def save_state(self, path: str | Path, extra: Mapping[str, Any] | None = None) -> Future[Path]:
        """Everything an exact continuation needs, to one file. ``extra`` (JSON values) goes along.

        Gradients that no ``optim_step`` has used yet are not saved.
        """
        return self._submit(self._save, Path(path), dict(extra or {}))

    def load_state(self, path: str | Path) -> Future[dict[str, Any]]:
        """The inverse; the ``extra`` that was saved. The network must have the same sizes."""
        return self._submit(self._load, Path(path))

    def close(self) -> None:
        """Wait for what was submitted and stop the thread. May be called twice."""
        self._queue.shutdown()

    def initial_state(self, count: int) -> ArrayState:
        """The recurrent state of ``count`` fresh slots."""
        return {name: value.cpu().numpy() for name, value in self.network.initial_state(count).items()}

    # -- what the thread does -------------------------------------------------------------------

    def _submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        return self._queue.submit(call, *args)

    def _sample(self, obs: SlotObservations, state: ArrayState) -> Sample:
        with torch.inference_mode():
            output = self.network(self._on_device(obs), self._state(state))
            logits_NA = output.logits[:, 0]
            action_NP = sample_action(logits_NA, self.generator)
            log_prob_N = action_log_prob(masked_log_probs(logits_NA), action_NP)
            value_N = decode_value(output.value_logits[:, 0], self.config.value_limit)
            after = {name: value.cpu().numpy() for name, value in output.state.items()}
        arrays = (action_NP.cpu().numpy(), log_prob_N.cpu().numpy(), value_N.cpu().numpy())
        return Sample(*arrays, after, self.version)

    def _forward_backward(self, batch: SegmentBatch, loss: Loss) -> Metrics:
        return self._backward(batch, lambda: loss(self._forward(batch), batch, self.scales))

    def _forward(self, batch: SegmentBatch) -> Any:
        return self.network(batch.obs, batch.state)

    def _backward(
        self, batch: SegmentBatch, compute: Callable[[], tuple[Tensor, dict[str, Tensor]]]
    ) -> Metrics:
        if self._broken is not None:
            raise self._broken
        loss, metrics = compute()
        # one transfer for all numbers: each would stall a GPU
        numbers = torch.stack([loss.detach(), *metrics.values()]).tolist()
        if not np.isfinite(numbers[0]):
            self._broken = NonFiniteLoss(
                f"the loss is {numbers[0]} after {self.version} optimiser steps; "
                "likely causes: a learning rate that is too high, or rewards that are not finite",
                batch,
            )
            raise self._broken
        loss.backward()  # type: ignore[no-untyped-call]
        return dict(zip(("loss/total", *metrics), numbers, strict=True))

    def _optim_step(self, params: OptimParams) -> Metrics:
        if self._broken is not None:
            raise self._broken
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), params.max_grad_norm)
        for group in self.optimizer.param_groups:
            group.update(lr=params.lr, betas=params.betas, eps=params.eps)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.version += 1
        return {"optim/grad_norm": float(norm), "optim/lr": params.lr}

    def _save(self, path: Path, extra: dict[str, Any]) -> Path:
        tensors = {f"model.{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{name}.{key}"] = value
        tensors["rng.sample"] = self.generator.get_state()
        meta = {
            "model": dataclasses.asdict(self.config),
            "tasks": self.tasks,
            "task_square": self.scales.square.tolist(),
            "task_updates": self.scales.updates.tolist(),
            "optimizer_steps": self.version,
            "counts": self.counts,
            "extra": extra,
        }
        write_checkpoint(path, tensors, meta)
        return path

    def _load(self, path: Path) -> dict[str, Any]:
        tensors, meta = read_checkpoint(path)
        if model_config(meta) != self.config:
            raise TrainingError(
                f"{path} holds a network of other sizes: {meta['model']}, expected {self.config}"
            )
        self.network.load_state_dict(_under(tensors, "model."))
        self.optimizer.state.clear()
        for name, parameter in self.network.named_parameters():
            found = _under(tensors, f"adam.{name}.")
            if found:
                self.optimizer.state[parameter] = {
                    key: torch.empty_like(parameter).copy_(value) if value.ndim else value.to(self.device)
                    for key, value in found.items()
                }
        self.generator.set_state(tensors["rng.sample"])
        for i, task in enumerate(self.tasks):
            if task in meta["tasks"]:
                at = meta["tasks"].index(task)
                self.scales.square[i] = meta["task_square"][at]
                self.scales.updates[i] = meta["task_updates"][at]
        self.version = meta["optimizer_steps"]
        self.counts = dict(meta["counts"])
        self._broken = None
        extra: dict[str, Any] = meta["extra"]
        return extra

    def _on_device(self, obs: SlotObservations) -> Observation:
        to = self.to_device
        return Observation(
            screen=to(obs.screen)[:, None],
            texts=to(obs.texts),
            text_index=to(obs.text_index)[:, None],
            mask=to(obs.mask),
            prev_action=to(obs.prev_action)[:, None],
            prev_reward=to(obs.prev_reward)[:, None],
            first=to(obs.first)[:, None],
        )

    def _state(self, state: ArrayState) -> State:
        return {name: self.to_device(value) for name, value in state.items()}

    def to_device(self, array: np.ndarray) -> Tensor:
        """The array as a tensor where the network lives."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, non_blocking=True)


class NonFiniteLoss(TrainingError):
    """The loss became NaN or infinite; ``batch`` is what it was computed from."""

    def __init__(self, message: str, batch: SegmentBatch | None = None) -> None:
        super().__init__(message)
        self.batch = batch

    def save_batch(self, path: Path) -> None:
        """The offending batch as a safetensors file, for a look at what was wrong."""
        if self.batch is None:
            return
        named: dict[str, Tensor] = {}
        for field in dataclasses.fields(self.batch):
            value = getattr(self.batch, field.name)
            if isinstance(value, (Observation, Transitions)):
                named.update({f"{field.name}.{key}": part for key, part in value._asdict().items()})
            elif isinstance(value, dict):
                named.update({f"{field.name}.{key}": part for key, part in value.items()})
            else:
                named[field.name] = value
        write_checkpoint(path, named, {"kind": "batch", "error": str(self)})


def model_config(meta: Mapping[str, Any]) -> ModelConfig:
    """The network's sizes as a checkpoint's meta says them."""
    sizes = dict(meta["model"])
    sizes["screen_size"] = tuple(sizes["screen_size"])
    return ModelConfig(**sizes)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def use_threads(count: int = 0) -> None:
    """Arithmetic on ``count`` CPU threads; 0 means half of the cores, at least one.

    The other half steps environments. PyTorch's threads spin while they wait for each other, so
    with another program on the same cores two of them are ten times slower than one (measured).
    """
    torch.set_num_threads(count or max(1, len(os.sched_getaffinity(0)) // 2))


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks instead of unmapping them.

    A CPU batch of screens is tens of megabytes; mapping it afresh for every step costs more in
    page faults than the arithmetic on it (measured: half of the time of a small network).
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, mmap_threshold, arena_max = -1, -3, -8
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(arena_max, 1)  # other arenas are too small for such blocks and map them anyway
