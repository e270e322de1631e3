"""The sampler: a network that acts. Batches of slots go in, actions come out, as futures.

One on the learner's own network acts in the order of the learner's calls. One on a snapshot
has a thread and a copy of the weights of its own, so that acting and learning overlap. It
doesn't know where observations come from.

Suffixes: N slots, A = 209 choices, P = 5 parts, L ids of a text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from universe2.agents.losses import action_log_prob, masked_log_probs, sample_action
from universe2.agents.model import ModelConfig, Network, Observation
from universe2.agents.parts import InParts
from universe2.agents.pointing import points
from universe2.agents.returns import decode_value
from universe2.agents.stopwatch import Stopwatch

ArrayState = dict[str, np.ndarray]


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


class Sampler:
    """Acts with ``parts.network``. The calls run one after another on ``queue``'s thread."""

    def __init__(
        self, parts: InParts, generator: torch.Generator, queue: ThreadPoolExecutor, watch: Stopwatch
    ) -> None:
        self.network, self.generator = parts.network, generator
        self._parts = parts
        self.version = 0
        """optimiser steps that its weights have seen"""
        self._queue, self._watch = queue, watch
        self._weights = threading.Lock()

    @property
    def config(self) -> ModelConfig:
        return self.network.config

    def sample(self, obs: SlotObservations, state: ArrayState) -> Future[Sample]:
        """Act: draw one action per slot."""
        return self._queue.submit(self._sample, obs, state)

    def values(self, obs: SlotObservations, state: ArrayState) -> Future[np.ndarray]:
        """float32 (N,): what these observations are worth. Draws no random numbers."""
        return self._queue.submit(self._values, obs, state)

    def initial_state(self, count: int) -> ArrayState:
        """The recurrent state of ``count`` fresh slots."""
        return {name: value.cpu().numpy() for name, value in self.network.initial_state(count).items()}

    def take_weights(self, network: Network, version: int) -> None:
        """Become a copy of ``network``; waits for a call in progress."""
        with self._weights, torch.no_grad():
            mine, others = self.network.state_dict(), network.state_dict()
            for name, value in mine.items():
                value.copy_(others[name])
            self.version = version

    def close(self) -> None:
        """Wait for what was submitted and stop the threads. May be called twice."""
        self._queue.shutdown()
        self._parts.close()

    def _sample(self, obs: SlotObservations, state: ArrayState) -> Sample:
        with self._watch("inference"), self._weights, torch.inference_mode():
            output = self._see(obs, state)
            logits_NA = output.logits[:, 0]
            action_NP = sample_action(logits_NA, self.generator)
            log_prob_N = action_log_prob(masked_log_probs(logits_NA), action_NP)
            value_N = decode_value(output.value_logits[:, 0], self.config.value_limit)
            names = list(output.state)
            found = on_host([action_NP, log_prob_N, value_N, *output.state.values()])
            action, log_prob, value, *after = found
            return Sample(action, log_prob, value, dict(zip(names, after, strict=True)), self.version)

    def _values(self, obs: SlotObservations, state: ArrayState) -> np.ndarray:
        with self._watch("inference"), self._weights, torch.inference_mode():
            value_logits = self._see(obs, state).value_logits[:, 0]
            value_N: np.ndarray = decode_value(value_logits, self.config.value_limit).cpu().numpy()
            return value_N

    def _see(self, obs: SlotObservations, state: ArrayState) -> Any:
        device = self.network.policy.weight.device
        to: Callable[[np.ndarray], Tensor] = lambda array: on_device(array, device)  # noqa: E731
        seen = Observation(
            screen=to(obs.screen)[:, None],
            texts=to(obs.texts),
            text_index=to(obs.text_index)[:, None],
            mask=to(obs.mask),
            prev_action=to(obs.prev_action)[:, None],
            prev_reward=to(obs.prev_reward)[:, None],
            first=to(obs.first)[:, None],
            points=to(points(obs.mask)),
        )
        return self._parts(seen, {name: to(value) for name, value in state.items()})


def on_host(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """The tensors, which lie on one device, as arrays; a GPU is waited for once."""
    device = tensors[0].device
    if device.type != "cuda":
        return [tensor.cpu().numpy() for tensor in tensors]
    pinned = [torch.empty_like(tensor, device="cpu", pin_memory=True) for tensor in tensors]
    for there, tensor in zip(pinned, tensors, strict=True):
        there.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(device).synchronize()
    return [tensor.numpy() for tensor in pinned]


def on_device(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor on ``device``; to a GPU through pinned memory, without waiting."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
