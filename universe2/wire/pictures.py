"""The codecs "png", "jpeg-Q" and "webp-Q": each row of a leaf as a picture file.

PNG keeps every pixel. The other two don't, at quality Q (1 … 100); what they make of a frame
depends on the release of Pillow that the server has.

Suffixes: K rows of a batch, B bytes of a row, H×W pixels, C channels.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from gymnasium import spaces
from PIL import Image

from universe2.core.errors import ProtocolError

_MODES = {1: "L", 3: "RGB"}


def is_picture(space: spaces.Space[Any]) -> bool:
    """A leaf of pixels: uint8, (H, W), (H, W, 1) or (H, W, 3)."""
    shape = space.shape or ()
    channels = shape[2] if len(shape) == 3 else 1
    return space.dtype == np.uint8 and len(shape) in (2, 3) and channels in _MODES and 0 not in shape


class PictureFiles:
    """One side of a session, one leaf. ``codec`` is png, jpeg-Q or webp-Q."""

    def __init__(self, codec: str, shape: tuple[int, ...]) -> None:
        name, _, quality = codec.partition("-")
        self._format = name.upper()
        self._settings: dict[str, Any] = {"quality": int(quality)} if quality else {"compress_level": 1}
        self._size = shape[1], shape[0]
        channels = shape[2] if len(shape) == 3 else 1
        self._mode = _MODES[channels]
        self._shape = shape[:2] if channels == 1 else shape

    def write(self, slots_K: np.ndarray, rows_KB: np.ndarray) -> bytes:
        """The files' lengths, int32 (K), and the files."""
        files = [self._file(row.reshape(self._shape)) for row in rows_KB]
        return np.array([len(file) for file in files], "<i4").tobytes() + b"".join(files)

    def read(self, slots_K: np.ndarray, coded: memoryview) -> memoryview:
        head = 4 * len(slots_K)
        if len(coded) < head:
            raise ProtocolError(f"{len(coded)} bytes for {len(slots_K)} pictures")
        lengths_K = np.frombuffer(coded[:head], "<i4")
        if lengths_K.min() < 0 or int(lengths_K.sum(dtype=np.int64)) != len(coded) - head:
            raise ProtocolError(f"pictures of {len(coded) - head} bytes don't have the sizes that were said")
        ends = (head + np.cumsum(lengths_K, dtype=np.int64)).tolist()
        rows = [
            self._pixels(coded[end - size : end]) for end, size in zip(ends, lengths_K.tolist(), strict=True)
        ]
        return np.stack(rows).data.cast("B")

    def _file(self, pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, self._format, **self._settings)
        return file.getvalue()

    def _pixels(self, file: memoryview) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(file), formats=[self._format]) as picture:
                if picture.size != self._size:  # before anything is made of it
                    raise ProtocolError(f"a picture of {picture.size} pixels where {self._size} were due")
                return np.asarray(picture.convert(self._mode))
        except ProtocolError:
            raise
        except Exception as error:  # noqa: BLE001  a foreign decoder raises anything
            raise ProtocolError(f"a picture can't be read: {type(error).__name__}: {error}") from None
