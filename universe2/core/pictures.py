"""Pictures as arrays: uint8 (H, W, 3). It doesn't know who draws them."""

from __future__ import annotations

import numpy as np
from PIL import Image


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (*size, 3): ``picture`` at another size, each pixel the mean of the area that it covers."""
    if picture.shape[:2] == tuple(size):
        return picture
    height, width = size
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
