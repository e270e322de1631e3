"""Face: what all faces have in common. How they print, what they refuse, and what infos of one slot hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, SupportsIndex

import numpy as np

from universe2.core.errors import UsageError
from universe2.core.pictures import check_size

_INSTEAD = {
    "human": "; for a window there are gymnasium.wrappers.HumanRendering and `universe2 play`",
    "rgb_array_list": "; gymnasium.wrappers.RenderCollection keeps the pictures of an episode",
}
"""render modes that are Gymnasium's affair: what supplies them"""


class Face:
    """Says who it is, and can't be copied.

    Comes first among the bases, since Gymnasium's and PettingZoo's print themselves otherwise.
    """

    remotes: Sequence[str] = ()
    """the servers that it was opened on; none: it is here"""

    def __repr__(self) -> str:
        """In Gymnasium's form, which its wrappers write theirs around."""
        where = [f"remote={'+'.join(self.remotes)}"] if self.remotes else []
        return f"<{type(self).__name__}<{', '.join([*self._about(), *where])}>>"

    def __str__(self) -> str:
        return repr(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Where ``pickle`` and ``copy`` come by."""
        raise UsageError(
            f"{self!r} can't be copied or pickled: its slots, and perhaps its servers, run on beside it. In "
            "another process make one from the same id, by a function that is passed there; to come back to "
            "a state, as tree search does, use its runtime's snapshot and restore, then recv"
        )

    def _about(self) -> list[str]:
        """What of, and through which interface."""
        raise NotImplementedError


def check_asked(render_mode: Any, render_size: Any, on_fault: Any) -> tuple[int, int] | None:
    """The size of pictures that was asked for. Raises UsageError for what no face knows."""
    if on_fault not in ("raise", "truncate"):
        raise UsageError(f'on_fault must be "raise" or "truncate", got {on_fault!r}')
    if render_mode not in (None, "rgb_array"):
        instead = _INSTEAD.get(str(render_mode), "")
        raise UsageError(f'render_mode must be None or "rgb_array", got {render_mode!r}{instead}')
    if render_size is None:
        return None
    if render_mode is None:
        raise UsageError(
            f'render_size={render_size!r:.120} has no effect without pictures; give render_mode="rgb_array"'
        )
    return check_size(render_size, "render_size")


def plain_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """``info`` with Python's numbers in place of NumPy's, which JSON for one doesn't take. Arrays stay."""
    return {key: _plain(value) for key, value in info.items()}


def _plain(value: Any) -> Any:
    single = isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0
    return value.item() if single and value.dtype.kind in "biuf" else value
