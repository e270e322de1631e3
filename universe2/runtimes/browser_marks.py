"""The set-of-marks screenshot: a numbered box around everything that can be acted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from universe2.envs.web.observations import ACTIONABLE

_COLOURS = ((200, 30, 30), (20, 90, 200), (10, 130, 60), (150, 60, 170), (190, 100, 0))


def marked(frame: np.ndarray, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """A copy of ``frame`` with a numbered box around every row that can be acted on."""
    picture = Image.fromarray(frame)
    draw = ImageDraw.Draw(picture)
    chosen = [row for row in rows if row["role"] in ACTIONABLE or "editable" in row["states"]]
    for row in chosen:
        left, top, width, height = row["box"]
        colour = _COLOURS[row["ref"] % len(_COLOURS)]
        draw.rectangle((left, top, left + width - 1, top + height - 1), outline=colour)
    for row in chosen:
        number = str(row["ref"])
        left, top, width, _ = row["box"]
        wide = 6 * len(number) + 1
        x = min(max(0, left + width - wide), frame.shape[1] - wide)
        y = min(max(0, top - 4), frame.shape[0] - 9)
        draw.rectangle((x, y, x + wide - 1, y + 8), fill=_COLOURS[row["ref"] % len(_COLOURS)])
        draw.text((x + 1, y - 1), number, fill=(255, 255, 255), font_size=9)
    return np.asarray(picture)
