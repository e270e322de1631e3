"""Pictures as arrays: uint8 (H, W, 3). It doesn't know who draws them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from PIL import Image

from universe2.core.errors import UsageError


def check_size(size: Any, name: str = "size") -> tuple[int, int]:
    """``size`` as (height, width), 8 to 2048 pixels each, or UsageError."""
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        height = width = 0
    if not (8 <= height <= 2048 and 8 <= width <= 2048):
        raise UsageError(f"{name} must be (height, width), each 8 to 2048 pixels, got {size!r:.120}")
    return height, width


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (*size, 3): ``picture`` at another size, each pixel the mean of the area that it covers."""
    if picture.shape[:2] == tuple(size):
        return picture
    height, width = size
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
