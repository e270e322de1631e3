"""Frames as an agent sees them: averaged over areas, like PIL's, like those of ale-py's own vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from universe2.envs.atari.picture import Picture, areas, show
from universe2.runtimes.native import _compiled

SOURCE = (210, 160)


def shown(one: np.ndarray, other: np.ndarray, size: tuple[int, int], compiled: Any = _compiled) -> np.ndarray:
    channels = 1 if one.ndim == 2 else 3
    picture = Picture((one.shape[0], one.shape[1]), size, channels, 1, compiled)
    out = np.zeros((*size, channels), np.uint8)
    picture.add(one, other, out)
    return out[:, :, 0] if channels == 1 else out


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("size", [(210, 160), (105, 80), (70, 32), (420, 320)])
def test_whole_factors_agree_with_pil(size: tuple[int, int], channels: tuple[int, ...]) -> None:
    one, other = noise(2, *SOURCE, *channels)
    image = Image.fromarray(np.maximum(one, other)).resize((size[1], size[0]), Image.Resampling.BOX)
    assert np.abs(shown(one, other, size).astype(int) - np.asarray(image)).max() <= 1


@pytest.mark.parametrize("size", [(84, 84), (64, 64), (37, 211)])
def test_any_size_is_the_average_over_areas(size: tuple[int, int]) -> None:
    frame = noise(*SOURCE)
    fine = np.kron(frame, np.ones((size[0], size[1]), np.uint8))[:, ::1]
    blocks = fine.reshape(size[0], SOURCE[0], size[1], SOURCE[1])
    average = blocks.mean(axis=(1, 3), dtype=np.float64)
    assert np.abs(shown(frame, frame, size) - average).max() <= 0.51


@pytest.mark.parametrize(("source", "size"), [(210, 84), (160, 84), (160, 160), (160, 7), (210, 2048)])
def test_each_pixel_counts_once(source: int, size: int) -> None:
    pixels, weights = areas(source, size)
    assert (weights.sum(axis=0) == source).all()
    assert (np.bincount(pixels.ravel(), weights.ravel()) == size).all()


def test_repeated_lines_do_not_hide_others() -> None:
    frame = np.zeros(SOURCE, np.uint8)
    frame[100] = 200
    frame[101, 80] = 255
    rows = shown(frame, frame, SOURCE)
    assert np.array_equal(rows, frame)


def test_machine_code_does_what_the_source_says() -> None:
    def plain(function: Callable[..., Any]) -> Callable[..., Any]:
        assert function is show
        return function

    one, other = noise(2, 30, 20, 3)
    assert np.array_equal(shown(one, other, (12, 7)), shown(one, other, (12, 7), plain))


@pytest.mark.parametrize("game", ["pong", "ms_pacman"])
def test_pixels_are_those_of_the_librarys_own_vector(game: str) -> None:
    vector_env = pytest.importorskip("ale_py.vector_env")
    from universe2.core.spec import EnvConfig
    from universe2.envs.atari import title
    from universe2.runtimes import open_runtime

    settings = {"noop_max": 0, "reward_clipping": False, "use_fire_reset": False}
    peer = vector_env.AtariVectorEnv(
        game, 1, full_action_space=True, repeat_action_probability=0.0, **settings
    )
    theirs, _ = peer.reset(seed=0)
    name = title(game).replace(" ", "")
    runtime = open_runtime(f"atari/{name}-v0", 1, EnvConfig(options={"sticky": 0.0}))
    runtime.reset([0], [0])
    ours = runtime.recv().obs
    for step in range(40):
        assert np.abs(ours[0, -1].astype(int) - theirs[0, -1]).max() <= 1, f"step {step}"
        theirs, rewards, *_ = peer.step(np.array([step % 18]))
        runtime.send([0], [step % 18])
        batch = runtime.recv()
        ours = batch.obs
        assert batch.reward[0] == rewards[0]
    runtime.close()
    peer.close()
