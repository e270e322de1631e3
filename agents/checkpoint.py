"""Checkpoints: one safetensors file with tensors and, in its header, JSON. No pickle.

A file appears whole or not at all: it is written beside its place, synced and renamed. This
file knows no networks; the learner says what goes in.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from universe2.core.errors import TrainingError

T = TypeVar("T")
CHECKPOINT = "checkpoint"
"""the name of a run's last one in its folder"""
VERSION = 4
_KEY = "universe2_checkpoint"


def make_folder(folder: Path) -> None:
    """Raises TrainingError if it can't be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"cannot make the folder {folder}: {error.strerror}; choose another out_dir"
        ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """``data`` as the file ``path``, surviving a crash at any moment.

    Raises TrainingError if the disk is full or refuses; what was at ``path`` is still there.
    """
    # always the same name: what a killed process left is written over
    temporary = path.with_name(f".{path.name}.tmp")
    make_folder(path.parent)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        kept = "; the last good one is still there" if path.is_file() else ""
        raise TrainingError(
            f"cannot write {path} ({len(data) / 1e6:.1f} MB): {error.strerror}{kept}"
        ) from error
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Tensors by name, and ``meta`` (JSON values; floats keep every bit).

    Raises TrainingError if a number in ``meta`` isn't finite, and what ``write_atomically`` raises.
    """
    try:
        header = {_KEY: json.dumps({**meta, "version": VERSION}, allow_nan=False)}
    except ValueError as error:
        raise TrainingError(f"cannot write {path}: a number in it is not finite ({error})") from error
    # contiguous in the plain sense, so that channels_last weights are laid out as their shapes say
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(plain, header))


def under(values: Mapping[str, T], prefix: str) -> dict[str, T]:
    """Those whose names begin with ``prefix``, by the rest of their names."""
    return {name.removeprefix(prefix): v for name, v in values.items() if name.startswith(prefix)}


def checkpoint_in(path: Path) -> Path:
    """The checkpoint that ``path`` names: the file itself, or the last one in a run's folder."""
    return path / CHECKPOINT if path.is_dir() else path


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors on the CPU, meta). Raises TrainingError if it isn't a checkpoint of this version."""
    if not path.is_file():
        raise TrainingError(f"no checkpoint at {path}")
    try:
        with safe_open(str(path), "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise TrainingError(f"{path} is not a readable checkpoint: {error}") from error
    if _KEY not in header:
        raise TrainingError(f"{path} is a safetensors file, but not a universe2 checkpoint")
    meta: dict[str, Any] = json.loads(header[_KEY])
    if meta["version"] != VERSION:
        raise TrainingError(
            f"{path} is a checkpoint of version {meta['version']}, this universe2 reads version {VERSION}: "
            "use the universe2 that wrote it, or train anew"
        )
    return tensors, meta
