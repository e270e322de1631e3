"""Seeds: which are valid, and how an episode's seed leads to the next one's.

An episode is a function of (spec hash, seed, actions) and of nothing else. A slot that is
reset without a new seed continues a chain: seed_{k+1} = next_seed(seed_k). The chain is the
same locally and remotely, alone and in a vector. Mixer: splitmix64 (Steele et al., 2014).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

from universe2.core.errors import InvalidSeedError

MAX_SEED = 2**63 - 1
_MASK = 2**64 - 1


def mix(value: int) -> int:
    """splitmix64: a well-mixed 64-bit number from an integer."""
    z = (value + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def mix_each(numbers: np.ndarray) -> np.ndarray:
    """``mix`` of each number, uint64."""
    z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def next_seed(seed: int) -> int:
    """The seed of a slot's next episode, in [0, 2**31)."""
    return mix(seed) >> 33


def next_seeds(seeds: np.ndarray) -> np.ndarray:
    """``next_seed`` of each, int64."""
    return (mix_each(seeds) >> np.uint64(33)).astype(np.int64)


def fold31(seed: int) -> int:
    """A seed for a library that takes 31 bits: small seeds as they are, larger ones mixed."""
    return seed if seed < 2**31 else mix(seed) >> 33


def check_seed(seed: Any) -> int:
    """``seed`` as an int in [0, 2**63), or InvalidSeedError."""
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise InvalidSeedError(f"seed must be an integer, got {seed!r} ({type(seed).__name__})")
    if not 0 <= int(seed) <= MAX_SEED:
        raise InvalidSeedError(f"seed must lie in [0, 2**63), got {seed}")
    return int(seed)


def check_seeds(seeds: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """``seeds`` as int64 (count,), or InvalidSeedError."""
    if len(seeds) != count:
        raise InvalidSeedError(f"expected {count} seeds, one per slot, got {len(seeds)}")
    return np.array([check_seed(seed) for seed in seeds], np.int64)


def fresh_seed() -> int:
    """A seed from the operating system's entropy, in [0, 2**31)."""
    return secrets.randbits(31)


def vector_seeds(seed: int | list[int | None] | np.ndarray | None, count: int) -> list[int | None]:
    """Gymnasium's vector convention: an int gives seed, seed+1, …; a list gives one each."""
    if seed is None:
        return [None] * count
    if isinstance(seed, (list, tuple, np.ndarray)):
        if len(seed) != count:
            raise InvalidSeedError(f"expected {count} seeds, one per slot, got {len(seed)}")
        return [None if s is None else check_seed(s) for s in seed]
    first = check_seed(seed)
    return [check_seed(first + i) for i in range(count)]
