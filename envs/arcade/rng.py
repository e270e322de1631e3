"""Random numbers for games: one 32-bit stream, kept in the state's int64 field ``rng``.

The generator is PCG-RXS-M-XS-32 (O'Neill, 2014). Every product fits into 63 bits, so that
compiled code and plain Python agree. Two streams are usual: while a level is laid out the
field holds a seed made from the level, afterwards one made from the episode's seed.
"""

from __future__ import annotations

from typing import Any

_WORD = 0xFFFFFFFF


def draw32(state: Any) -> int:
    """A number in [0, 2**32); advances ``state.rng``."""
    word = int(state.rng)
    state.rng = (word * 747796405 + 2891336453) & _WORD
    word = (((word >> ((word >> 28) + 4)) ^ word) * 277803737) & _WORD
    return (word >> 22) ^ word


def below(state: Any, bound: int) -> int:
    """A number in [0, bound), for bounds up to 2**31."""
    return (draw32(state) * bound) >> 32


def between(state: Any, low: int, high: int) -> int:
    """A number in [low, high], both included."""
    return low + below(state, high - low + 1)


def chance(state: Any, percent: int) -> bool:
    """True in ``percent`` of 100 cases."""
    return below(state, 100) < percent


def seeded(number: int) -> int:
    """A starting value for ``state.rng`` from any non-negative number."""
    word = (number ^ (number >> 32)) & _WORD
    for _ in range(3):
        word = ((word ^ (word >> 16)) * 0x45D9F3B) & _WORD
    return word ^ (word >> 16)
