"""Runtime: the one contract. Everything that can be stepped is N slots driven as batches.

A runtime never invents data: a slot that could not step returns a row with a fault. A slot
with a fault is over; its next ``send`` (or ``reset``, if autoreset is disabled) begins a new
episode on a restarted environment.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from universe2.core.batch import Batch
from universe2.core.errors import UnsupportedError
from universe2.core.spec import FPS, EnvConfig, EnvSpec


class Runtime(ABC):
    """N slots, each an instance of one spec.

    One thread may send (``reset``, ``send``, ``restore``) while another receives; no more than that.
    Slots are independent: what one does never changes another's trajectory.
    """

    spec: EnvSpec
    config: EnvConfig
    num_slots: int
    observation_space: spaces.Space[Any]
    """of one slot"""
    action_space: spaces.Space[Any]
    """of one slot"""
    action_mask: np.ndarray | None = None
    """bool (209,): live choices of (each agent's) screen action; None under ``interface="native"``"""
    render_fps: float = FPS
    """steps per second at which it should be watched; of servers' slots always the usual number"""
    result_seconds: float = 60.0
    """The longest that a slot that was asked may take until its result comes, or a fault in its place."""

    @abstractmethod
    def reset(self, slots: Sequence[int] | np.ndarray, seeds: Sequence[int] | np.ndarray) -> None:
        """Ask the slots to begin new episodes from ``seeds`` (one each, in [0, 2**63)).

        Returns at once; the first observations come from ``recv`` with ``step == 0``. A slot
        may be reset in mid-episode: that episode is dropped.

        Raises UsageError (slot out of range, twice, or busy), InvalidSeedError, ClosedError.
        """

    @abstractmethod
    def send(self, slots: Sequence[int] | np.ndarray, actions: Any) -> None:
        """Ask the slots to step. ``actions`` is a batched value with one row per slot.

        Returns at once. Raises InvalidActionError or UsageError before anything has moved.
        A slot whose episode ended resets instead and ignores its action (see EnvConfig.autoreset).
        """

    @abstractmethod
    def recv(self, timeout: float | None = None) -> Batch:
        """The results that are ready: at least one row.

        ``timeout`` in seconds; None means the runtime's own deadlines decide, and each of
        them is finite. Raises DeadlineError if nothing came in time, IdleError if no slot is
        busy, ClosedError; and, where a request is carried out elsewhere, what that raised there:
        the error's ``slots`` are those that it was about.
        """

    def snapshot(self, slots: Sequence[int] | np.ndarray) -> list[bytes]:
        """The full state of each slot. None of them may be busy."""
        raise UnsupportedError(
            f"{self.spec.id}: snapshots are not supported by the {self.spec.runtime} runtime"
        )

    def restore(self, slots: Sequence[int] | np.ndarray, states: Sequence[bytes]) -> None:
        """Put slots into states from ``snapshot`` (of this spec hash): same future, same seeds.

        The restored observations come from ``recv``, with the episode's own ``step`` number.
        """
        raise UnsupportedError(
            f"{self.spec.id}: snapshots are not supported by the {self.spec.runtime} runtime"
        )

    @abstractmethod
    def render(
        self, slots: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        """An RGB picture, uint8 (H, W, 3), of each slot, the caller's to keep. None of them may be busy.

        ``size`` is (height, width), 8 to 2048 pixels each; None means the environment's own.
        Raises UsageError.
        """

    @abstractmethod
    def close(self) -> None:
        """Free everything. May be called twice; a blocked ``recv`` raises ClosedError."""


def close_all(runtimes: Iterable[Runtime]) -> None:
    """Close them all, also if one raises; what the last of those raised is raised then."""
    with contextlib.ExitStack() as stack:
        for runtime in runtimes:
            stack.callback(runtime.close)
