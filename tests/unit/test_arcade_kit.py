"""The drawing kit: areas come out right at every size, nothing is drawn off the canvas."""

from __future__ import annotations

import numpy as np
import pytest

from universe2.envs.arcade import kit
from universe2.envs.arcade.rng import below, between, seeded

WHITE = 0xFFFFFF


def area(canvas: np.ndarray) -> float:
    """How much of the screen is white, by the red channel."""
    return float(((canvas >> 16) & 255).mean() / 255)


def blank(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width), np.int32)


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (33, 50)])
def test_rect_covers_its_area_at_any_size(size: tuple[int, int]) -> None:
    canvas = blank(*size)
    kit.rect(canvas, 300, 1001, 2345, 3000, WHITE, kit.OPAQUE)
    assert area(canvas) == pytest.approx((2345 - 300) * (3000 - 1001) / kit.SIZE**2, rel=0.02)


@pytest.mark.parametrize("size", [(64, 64), (33, 50), (512, 512)])
def test_block_is_a_rect_on_whole_pixels(size: tuple[int, int]) -> None:
    canvas, around = blank(*size), blank(*size)
    kit.block(canvas, 290, 1001, 2345, 3000, WHITE)
    assert set(np.unique(canvas)) == {0, WHITE}
    kit.rect(around, 290, 1001, 2345, 3000, WHITE, kit.OPAQUE)
    assert (np.abs((around & 255) - (canvas & 255)) <= 128).all()
    kit.block(canvas, -900, -900, 9000, 9000, WHITE)
    assert (canvas == WHITE).all()
    kit.block(canvas, 5000, -900, 9000, -10, 0)
    assert (canvas == WHITE).all()


def test_rect_alpha_and_edges_blend() -> None:
    canvas = blank(64, 64)
    kit.rect(canvas, 0, 0, 4096, 4096, WHITE, 128)
    assert set(np.unique(canvas)) == {0x7F7F7F}
    canvas = blank(64, 64)
    kit.rect(canvas, 32, 64, 160, 128, WHITE, kit.OPAQUE)
    assert canvas[1, :4].tolist() == [0x7F7F7F, WHITE, 0x7F7F7F, 0]


@pytest.mark.parametrize("pixels", [32, 64])
def test_disc_and_triangle_areas(pixels: int) -> None:
    canvas = blank(pixels, pixels)
    kit.disc(canvas, 2000, 2100, 1000, WHITE, kit.OPAQUE)
    assert area(canvas) == pytest.approx(np.pi * 1000**2 / kit.SIZE**2, rel=0.02)
    for corners in [(500, 500, 3500, 900, 1500, 3500), (1500, 3500, 3500, 900, 500, 500)]:
        canvas = blank(pixels, pixels)
        kit.triangle(canvas, *corners, WHITE, kit.OPAQUE)
        ax, ay, bx, by, cx, cy = corners
        wanted = abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / 2 / kit.SIZE**2
        assert area(canvas) == pytest.approx(wanted, rel=0.02)


def test_round_rect_loses_its_corners() -> None:
    canvas = blank(64, 64)
    kit.round_rect(canvas, 0, 0, 2048, 2048, 512, WHITE, kit.OPAQUE)
    assert canvas[0, 0] == 0
    assert canvas[0, 16] == WHITE
    assert canvas[16, 16] == WHITE
    assert area(canvas) == pytest.approx((2048**2 - (4 - np.pi) * 512**2) / kit.SIZE**2, rel=0.02)


def test_shapes_beyond_the_screen_are_cut() -> None:
    # A guard row and column would show what an index below zero hits.
    beyond = [(-5000, 0), (-700, 2000), (0, -5000), (9000, 9000), (-300, -300), (4200, 4200), (4095, -10)]
    for x, y in beyond:
        canvas = blank(16, 16)
        kit.rect(canvas, x, y, x + 200, y + 200, WHITE, kit.OPAQUE)
        kit.disc(canvas, x, y, 150, WHITE, kit.OPAQUE)
        kit.triangle(canvas, x, y, x + 150, y, x, y + 150, WHITE, kit.OPAQUE)
        kit.round_rect(canvas, x, y, x + 200, y + 200, 90, WHITE, kit.OPAQUE)
        far = abs(x) > 4400 or abs(y) > 4400
        assert area(canvas) < 0.01
        assert not far or not canvas.any()


def test_gradient_and_ridge_fill() -> None:
    canvas = blank(32, 32)
    kit.gradient(canvas, 0x000000, 0xFF0000)
    reds = canvas[:, 0] >> 16
    assert (np.diff(reds) > 0).all()
    kit.ridge(canvas, 2048, 800, 1500, 77, 0x00FF00)
    assert (canvas[17:] == 0x00FF00).all()
    assert (canvas[4] != 0x00FF00).all()


@pytest.mark.parametrize("pixels", [64, 512])
def test_land_fills_below_its_line(pixels: int) -> None:
    canvas = blank(pixels, pixels)
    tops = np.array([1024, 3072, 2048, 2048, 2048])
    kit.land(canvas, tops, 10, 0xFF0000, 0xFF0000)
    wanted = 1 - (2048 + 2560 + 2048 + 2048) / 4 / kit.SIZE
    assert area(canvas) == pytest.approx(wanted, rel=0.01)
    kit.land(canvas, tops, 10, 0xFF0000, 0x0000FF)
    assert (canvas[-1] == 0x0000FF).all()
    assert (canvas[pixels // 2 + 1, -4:] == 0xFF0000).all()


@pytest.mark.parametrize("size", [(32, 32), (33, 50)])
def test_land_and_ridge_by_rows_are_those_by_columns(size: tuple[int, int]) -> None:
    """Also where the surface is the bottom row, above the screen or below it."""
    rows, columns = size
    numbers = np.random.default_rng(0)
    for low, high in [(-500, 5000), (3900, 4300), (2000, 3500), (4096, 4097)]:
        before = numbers.integers(0, 1 << 24, size).astype(np.int32)
        tops, hills = numbers.integers(low, high, 40), before.copy()
        found, wanted = before.copy(), before.copy()
        kit.land(found, tops, 8, 0xFF0000, 0x0000FF)
        thick = max(1, rows // 40)
        for x in range(columns):
            place = (x * (kit.SIZE * 256 // columns) + (kit.SIZE * 256 // columns >> 1)) >> 8
            i = place >> 8
            top = int(tops[i] + ((tops[i + 1] - tops[i]) * (place - (i << 8)) >> 8))
            edge = max(0, top * rows >> 4)
            if edge >> 8 < rows:
                kit.blend(wanted, x, edge >> 8, 0xFF0000, 256 - (edge & 255))
            wanted[(edge >> 8) + 1 :, x] = 0xFF0000
            wanted[(edge >> 8) + 1 + thick :, x] = 0x0000FF
        assert (found == wanted).all()
        kit.ridge(hills, high, 700, 900, low, 0x00FF00)
        foot = min(rows, -(-high * rows // kit.SIZE))
        assert (hills[foot:] == 0x00FF00).all()
        inside = hills == 0x00FF00
        assert (inside[1:] >= inside[:-1]).all()  # below a pixel of a hill is hill


def test_sine_is_a_sine() -> None:
    angles = np.arange(1024)
    wanted = 4096 * np.sin(angles * np.pi / 512)
    assert abs(np.array([kit.sine(int(a)) for a in angles]) - wanted).max() < 8


def test_hue_goes_round_and_mix_stays_in_range() -> None:
    assert kit.hue(0, 255, 255) == 0xFF0000
    assert kit.hue(512, 255, 255) == 0x00FF00
    assert kit.hue(1024, 255, 255) == 0x0000FF
    assert kit.hue(1536 + 512, 255, 255) == kit.hue(512, 255, 255)
    assert kit.hue(700, 0, 99) == 0x636363
    assert kit.mix_colour(0x102030, 0xFFEEDD, 256) == 0xFFEEDD
    assert kit.mix_colour(0x102030, 0xFFEEDD, 0) == 0x102030


def test_random_numbers_are_in_range_and_even() -> None:
    state = np.zeros(1, [("rng", np.int64)]).view(np.recarray)[0]
    state.rng = seeded(5)
    counts = np.bincount([below(state, 7) for _ in range(7000)], minlength=7)
    assert len(counts) == 7
    assert counts.min() > 850
    assert {between(state, -2, 2) for _ in range(200)} == {-2, -1, 0, 1, 2}
    assert len({seeded(n) for n in range(1000)}) == 1000
