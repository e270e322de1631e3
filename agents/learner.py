"""The learner: low-level training primitives over one network.

Every call returns a ``concurrent.futures.Future`` at once. One thread executes the calls in
the order in which they were made, so ``forward_backward`` and ``optim_step`` may be submitted
back to back. This file knows no environments and no algorithm.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from universe2.agents.checkpoint import checkpoint_in, read_checkpoint, under, write_checkpoint
from universe2.agents.distributed import Ranks
from universe2.agents.losses import Loss, Metrics, SegmentBatch, TaskScales
from universe2.agents.model import ANEW, ModelConfig, Network, Observation
from universe2.agents.parts import InParts
from universe2.agents.returns import Transitions
from universe2.agents.sampler import ArrayState, Sample, Sampler, SlotObservations, on_device
from universe2.agents.stopwatch import Stopwatch
from universe2.core.errors import TrainingError, UsageError
from universe2.core.heap import keep_batches

log = logging.getLogger("universe2.train")
T = TypeVar("T")
CustomLoss = Callable[[Network, SegmentBatch], tuple[Tensor, Mapping[str, Tensor | float]]]
_Compute = Callable[[SegmentBatch], tuple[Tensor, Mapping[str, Tensor | float]]]


@dataclass(frozen=True)
class OptimParams:
    """One step of Adam; gradients are scaled down to ``max_grad_norm`` first."""

    lr: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-5
    max_grad_norm: float = 0.5


class Saved(NamedTuple):
    """What went along with a saved state."""

    extra: dict[str, Any]
    """JSON values"""
    arrays: dict[str, np.ndarray]


class Learner:
    """Network, optimiser, random numbers and per-task statistics behind one ordered queue.

    ``tasks`` names the tasks that ``SegmentBatch.task`` counts; their statistics are kept by
    name, so a later run may add tasks or reorder them. With several ``ranks`` all of them must
    make the same calls in the same order. ``bf16`` runs the network in bfloat16 where PyTorch
    deems it safe; weights, optimiser and losses stay float32. On a CPU, ``workers`` threads take
    a part of each batch (see ``use_workers``).
    """

    def __init__(
        self,
        config: ModelConfig,
        tasks: Sequence[str],
        seed: int = 0,
        device: str | torch.device = "cpu",
        ranks: Ranks | None = None,
        bf16: bool = False,
        workers: int = 1,
    ) -> None:
        if isinstance(tasks, str):
            raise UsageError(f"tasks = {tasks!r} is one name, and a list is expected: [{tasks!r}]")
        keep_batches()
        self.config = config
        self.tasks = list(tasks)
        self.device = torch.device(device)
        self.ranks = ranks or Ranks()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(config)
        self.network = network.to(self.device)
        self.network.bf16 = bf16
        self.ranks.broadcast(self.network.state_dict().values())
        self.optimizer = torch.optim.Adam(self._trained(), fused=True)
        self.scales = TaskScales(len(self.tasks), self.ranks, device=self.device)
        self.generator = torch.Generator(self.device).manual_seed(seed + 7919 * self.ranks.rank)
        self.watch = Stopwatch()
        self.counts: dict[str, float] = {}
        """the algorithm's own counters; saved and loaded with the rest"""
        self._broken: NonFiniteLoss | None = None
        self._ahead = self.device.type != "cpu"
        """does it step before it knows whether the gradient is finite? A GPU is told all that it has to do
        before it is waited for"""
        self._spoilt = False
        """are the weights such that nobody may go on from them?"""
        self._gathered = False
        """was there a gradient since the last step?"""
        self._failed: Exception | None = None
        """why there wasn't: the step that was queued behind it fails, too"""
        self._batch: SegmentBatch | None = None
        """the last one, to be looked at if its gradient isn't finite"""
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="learner")
        self._parts = InParts(self.network, workers)
        self._sampler = Sampler(self._parts, self.generator, self._queue, self.watch)

    @property
    def version(self) -> int:
        """Optimiser steps so far."""
        return self._sampler.version

    @version.setter
    def version(self, steps: int) -> None:
        self._sampler.version = steps

    # -- primitives ---------------------------------------------------------------------------

    def sample(self, obs: SlotObservations, state: ArrayState) -> Future[Sample]:
        """Act: draw one action per slot from the current policy."""
        return self._sampler.sample(obs, state)

    def values(self, obs: SlotObservations, state: ArrayState) -> Future[np.ndarray]:
        """float32 (N,): what these observations are worth now."""
        return self._sampler.values(obs, state)

    def snapshot(self) -> Future[Sampler]:
        """A copy of the current policy that acts on a thread of its own, beside the learning."""
        return self._submit(self._snapshot)

    def refresh(self, sampler: Sampler) -> Future[None]:
        """Give a snapshot the weights of now."""
        return self._submit(lambda: sampler.take_weights(self.network, self.version))

    def forward_backward(self, batch: SegmentBatch, loss: Loss) -> Future[Metrics]:
        """Add the loss's gradient to the gradients. ``loss`` is for example ``PPOLoss()``.

        What the loss tells of each task comes as ``name/task``, of those that are in the batch.
        """
        return self._submit(
            self._backward, batch, lambda b: loss(self._parts(b.obs, b.state), b, self.scales)
        )

    def forward_backward_custom(self, batch: SegmentBatch, fn: CustomLoss) -> Future[Metrics]:
        """Like ``forward_backward``, for a loss that calls the network itself: fn(network, batch).

        It returns (loss, metrics). Metrics are numbers or tensors, by name: scalars, which are means of the
        batch (``batch.mean``), or (tasks,), a part of each task (``batch.by_task``). Others are a UsageError.
        Several workers share each call ``network(obs, state)``, which can be differentiated once.
        """
        # all that is asked of the parts beside a call, the network answers
        return self._submit(self._backward, batch, lambda b: fn(cast("Network", self._parts), b))

    def optim_step(self, params: OptimParams) -> Future[Metrics]:
        """Move the weights along the gradients gathered so far, and clear them.

        Without any since the last step it is a UsageError; if one of them failed, the step fails as it did.
        """
        return self._submit(self._optim_step, params)

    def agree(self, value: float) -> float:
        """The largest ``value`` that any rank gave: every rank gets the same answer."""
        return value if self.ranks.size == 1 else self._submit(self.ranks.maximum, value).result()

    def total(self, numbers: np.ndarray) -> np.ndarray:
        """The sum of every rank's ``numbers`` (float64, of one shape): every rank gets it."""
        mine = torch.tensor(numbers, dtype=torch.float64, device=self.ranks.device)
        summed: Tensor = self._submit(self.ranks.sum, mine).result()
        return summed.cpu().numpy()

    def save_state(
        self,
        path: str | Path,
        extra: Mapping[str, Any] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> Future[Path]:
        """Everything an exact continuation needs, to one file.

        ``extra`` (JSON values) and ``arrays`` go along. Gradients that no ``optim_step`` has
        used yet are not saved.
        """
        return self._submit(self._save, Path(path), dict(extra or {}), dict(arrays or {}))

    def load_state(self, path: str | Path) -> Future[Saved]:
        """The inverse; what was given along. The network must have the same sizes."""
        return self._submit(self._load, Path(path))

    def load_weights(self, path: str | Path, anew: Sequence[str] = ()) -> Future[None]:
        """The network alone, of a checkpoint or of a run's folder, to start something new from; adapters, and
        the heads in ``anew`` (see ``ANEW``), begin as they are."""
        return self._submit(self._load_weights, checkpoint_in(Path(path)), tuple(anew))

    def close(self) -> None:
        """Wait for what was submitted and stop the threads. May be called twice."""
        self._sampler.close()

    def initial_state(self, count: int) -> ArrayState:
        """The recurrent state of ``count`` fresh slots."""
        return self._sampler.initial_state(count)

    def to_device(self, array: np.ndarray) -> Tensor:
        """The array as a tensor where the network lives."""
        return on_device(array, self.device)

    # -- what the thread does -------------------------------------------------------------------

    def _submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        return self._queue.submit(call, *args)

    def _trained(self) -> list[Tensor]:
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def _snapshot(self) -> Sampler:
        network = copy.deepcopy(self.network).requires_grad_(False)
        queue = ThreadPoolExecutor(1, thread_name_prefix="sampler")
        parts = InParts(network, self._parts.workers)
        sampler = Sampler(parts, self.generator, queue, self.watch)
        sampler.version = self.version
        return sampler

    def _backward(self, batch: SegmentBatch, compute: _Compute) -> Metrics:
        if self._broken is not None:
            raise self._broken
        try:
            told = self._add_gradient(batch, compute)
        except Exception as error:
            self._failed = error
            raise
        self._gathered = True
        return told

    def _add_gradient(self, batch: SegmentBatch, compute: _Compute) -> Metrics:
        with self.watch("learning"):
            batch = self._batch = self._normalised(batch)
            before = self.scales.square.clone(), self.scales.updates.clone()
            loss, metrics = _loss_and_metrics(compute(batch))
            told = {name: self._metric(name, x) for name, x in {"loss/total": loss, **metrics}.items()}
            weight_K = batch.by_task(torch.ones_like(batch.log_prob), len(self.tasks))
            # one transfer for all numbers: each would stall a GPU
            sums = self._sum(torch.cat([weight_K, *(value.reshape(-1) for value in told.values())]))
            loss.backward()  # type: ignore[no-untyped-call]
            # only now: a GPU is told all that it has to do before it is waited for
            numbers = sums.tolist()
            total = numbers[len(self.tasks)]
            if not np.isfinite(total):
                self.optimizer.zero_grad(set_to_none=True)
                self.scales.square, self.scales.updates = before  # so that what is saved now is sound
                self._broken = NonFiniteLoss(
                    f"the loss is {total} after {self.version} optimiser steps; "
                    "likely causes: a learning rate that is too high, or rewards that are not finite",
                    batch,
                )
                raise self._broken
        return self._named(told, numbers)

    def _metric(self, name: str, value: Any) -> Tensor:
        """A scalar or a part of each task, on the learner's device. Raises UsageError for anything else."""
        shapes = f"it must be a number, or ({len(self.tasks)},): a part of each task"
        try:
            found = torch.as_tensor(value, device=self.device).detach()
        except (TypeError, ValueError, RuntimeError):
            raise UsageError(f"the loss tells {name} = {value!r:.80}; {shapes}") from None
        if found.shape not in ((), (len(self.tasks),)):
            raise UsageError(f"the loss tells {name} in the shape {tuple(found.shape)}; {shapes}")
        return found

    def _named(self, told: Mapping[str, Tensor], numbers: list[float]) -> Metrics:
        """Scalars by their names; of what is a part of each task the task's own mean, as name/task."""
        left = iter(numbers)
        weights = list(zip(self.tasks, islice(left, len(self.tasks)), strict=True))
        found: Metrics = {}
        for name, value in told.items():
            if value.ndim == 0:
                found[name] = next(left)
                continue
            parts = list(islice(left, len(weights)))
            found |= {
                f"{name}/{task}": part / w for (task, w), part in zip(weights, parts, strict=True) if w > 0
            }
        return found

    def _normalised(self, batch: SegmentBatch) -> SegmentBatch:
        """The weights of all valid transitions, of all ranks, sum to 1."""
        total = self._sum((batch.weight[:, None] * batch.transitions.valid).sum())
        return dataclasses.replace(batch, weight=batch.weight / total.clamp(min=1e-8))

    def _sum(self, tensor: Tensor) -> Tensor:
        with self._waiting():
            return self.ranks.sum(tensor)

    def _waiting(self) -> AbstractContextManager[None]:
        return self.watch("waiting") if self.ranks.size > 1 else nullcontext()

    def _optim_step(self, params: OptimParams) -> Metrics:
        if self._broken is not None:
            raise self._broken
        failed, gathered = self._failed, self._gathered
        if failed is not None or not gathered:
            self._forget_gradients()
            raise failed or UsageError("no forward_backward since the last optim_step: there is no gradient")
        with self.watch("learning"):
            trained = self._trained()
            with self._waiting():
                self.ranks.sum_gradients(trained)
            norm = torch.nn.utils.clip_grad_norm_(trained, params.max_grad_norm)
            for group in self.optimizer.param_groups:
                group.update(lr=params.lr, betas=params.betas, eps=params.eps)
            if stepped := self._ahead or bool(norm.isfinite()):
                self.optimizer.step()
            self._forget_gradients()
        if not np.isfinite(size := float(norm)):
            self._spoilt = stepped
            assert self._batch is not None, "a gradient comes from a batch"
            self._broken = NonFiniteLoss(
                f"the gradient is {size} after {self.version} optimiser steps, at a finite loss; "
                "likely causes: a learning rate that is too high, or a probability that became 0",
                self._batch,
            )
            raise self._broken
        self.version += 1
        return {"optim/grad_norm": size, "optim/lr": params.lr}

    def _forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self._failed, self._gathered = None, False

    def _save(self, path: Path, extra: dict[str, Any], arrays: dict[str, np.ndarray]) -> Path:
        if self._spoilt and self._broken is not None:
            raise self._broken
        tensors = {f"model.{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"adam.{name}.{key}"] = value
        tensors["rng.sample"] = self.generator.get_state()
        tensors |= {f"extra.{name}": torch.from_numpy(array) for name, array in arrays.items()}
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

    def _load(self, path: Path) -> Saved:
        tensors, meta = read_checkpoint(path)
        if model_config(meta) != self.config:
            raise TrainingError(
                f"{path} holds a network of other sizes: {meta['model']}, expected {self.config}"
            )
        self._broken, self._spoilt = None, False
        self._forget_gradients()
        self.network.load_state_dict(under(tensors, "model."))
        self.optimizer.state.clear()
        for name, parameter in self.network.named_parameters():
            found = under(tensors, f"adam.{name}.")
            if found:
                self.optimizer.state[parameter] = {
                    key: torch.empty_like(parameter).copy_(value) if value.ndim else value.to(self.device)
                    for key, value in found.items()
                }
        if self.ranks.rank == 0:  # the others' random numbers begin anew
            self._take_random_numbers(tensors["rng.sample"])
        for i, task in enumerate(self.tasks):
            if task in meta["tasks"]:
                at = meta["tasks"].index(task)
                self.scales.square[i] = meta["task_square"][at]
                self.scales.updates[i] = meta["task_updates"][at]
        self.version = meta["optimizer_steps"]
        self.counts = dict(meta["counts"])
        arrays = {name: tensor.numpy() for name, tensor in under(tensors, "extra.").items()}
        return Saved(meta["extra"], arrays)

    def _take_random_numbers(self, state: Tensor) -> None:
        if state.shape == self.generator.get_state().shape:
            self.generator.set_state(state)
        else:
            log.warning(
                "the checkpoint was written on another kind of device than %s: random numbers begin anew, "
                "and the run isn't the one that it would have been there",
                self.device,
            )

    def _load_weights(self, path: Path, anew: tuple[str, ...]) -> None:
        tensors, meta = read_checkpoint(path)
        theirs, mine = model_config(meta), self.config
        if dataclasses.replace(theirs, lora_rank=0, reconstruct=False) != dataclasses.replace(
            mine, lora_rank=0, reconstruct=False
        ):
            raise TrainingError(f"{path} holds a network of other sizes: {theirs}, expected {mine}")
        if theirs.lora_rank:
            raise TrainingError(f"{path} holds adapters; start from a checkpoint of full weights")
        there = self.network.state_dict()
        left_out = () if mine.reconstruct else ("picture.",)
        found = {
            self.network.trunk_name(name): tensor
            for name, tensor in under(tensors, "model.").items()
            if not name.startswith(left_out)
        }
        for layer, rows in (ANEW[head] for head in anew):
            for name in (f"{layer}.weight", f"{layer}.bias"):
                found[name][rows] = there[name][rows].cpu()
        self.network.load_state_dict({name: found.get(name, value) for name, value in there.items()})


class NonFiniteLoss(TrainingError):
    """The loss or its gradient became NaN or infinite; ``batch`` is what it was computed from."""

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


def _loss_and_metrics(found: Any) -> tuple[Tensor, Mapping[str, Any]]:
    """What a loss function returned. Raises UsageError if it isn't what one has to return."""
    if not (isinstance(found, (tuple, list)) and len(found) == 2 and isinstance(found[1], Mapping)):
        raise UsageError(
            f"a loss function returns (loss, metrics), metrics by name, {{}} for none; got {found!r:.80}"
        )
    loss, metrics = found
    if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
        raise UsageError(
            "the loss must be a scalar tensor, computed from what the network says (batch.mean makes one of "
            f"(N, T)); got {_described(loss)}"
        )
    if "loss/total" in metrics:
        raise UsageError('the loss tells a metric "loss/total": that is the loss itself, choose another name')
    return loss, metrics


def _described(loss: Any) -> str:
    if not isinstance(loss, Tensor):
        return f"{loss!r:.80}"
    return f"the shape {tuple(loss.shape)}" if loss.ndim else "a constant, which has no gradient"


def model_config(meta: Mapping[str, Any]) -> ModelConfig:
    """The network's sizes as a checkpoint's meta says them."""
    sizes = dict(meta["model"])
    sizes["screen_size"] = tuple(sizes["screen_size"])
    return ModelConfig(**sizes)
