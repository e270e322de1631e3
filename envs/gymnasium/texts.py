"""Texts that a Gymnasium environment observes: in a space of Gymnasium's, and as the screen's instruction.

Some packages have a space of their own for them, such as MiniGrid's ``MissionSpace``, which neither vectors
nor the wire know.
"""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from universe2.core.screen import CHARSET, INSTRUCTION_LENGTH
from universe2.core.spaces import FIXED

_TEN = (*FIXED, spaces.Dict, spaces.Tuple, spaces.Text, spaces.Sequence, spaces.Graph, spaces.OneOf)


def with_texts(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """``space`` with a Text in place of every space of others whose samples are texts; itself if it has none.

    Looks into Dict and Tuple.
    """
    if isinstance(space, spaces.Dict):
        parts = {key: with_texts(sub) for key, sub in space.spaces.items()}
        changed = any(parts[key] is not sub for key, sub in space.spaces.items())
        return spaces.Dict(parts) if changed else space
    if isinstance(space, spaces.Tuple):
        found = [with_texts(sub) for sub in space.spaces]
        changed = any(new is not old for new, old in zip(found, space.spaces, strict=True))
        return spaces.Tuple(found) if changed else space
    if isinstance(space, _TEN) or not isinstance(space.sample(), str):
        return space
    return spaces.Text(INSTRUCTION_LENGTH, min_length=0, charset=CHARSET)


def instructed(space: spaces.Space[Any], observation: Any) -> str:
    """The texts at the top of an observation, which say what is to be done; mostly none."""
    if not isinstance(space, spaces.Dict) or not isinstance(observation, dict):
        return ""
    texts = [observation.get(key) for key, sub in space.spaces.items() if isinstance(sub, spaces.Text)]
    return " ".join(text for text in texts if isinstance(text, str))
