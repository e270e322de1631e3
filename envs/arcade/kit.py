"""The drawing kit: anti-aliased shapes on a canvas of any size, in integers only.

A game draws in world units: the screen is SIZE × SIZE of them, x to the right, y down,
whatever its size in pixels. A canvas is an int32 (H, W) array of colours 0xRRGGBB. ``alpha``
runs from 0 (invisible) to 256 (opaque). All of it is scalar Python that the compiled runtime
turns into machine code and debug mode runs as it is; integers make every picture the same on
every machine. The kit knows no game.
"""

from __future__ import annotations

from typing import Any

SIZE = 4096
"""World units along each side of the screen."""

OPAQUE = 256


def mix_colour(under: int, over: int, alpha: int) -> int:
    """``over`` laid on ``under``; alpha 0..256."""
    red_blue = ((under & 0xFF00FF) * (256 - alpha) + (over & 0xFF00FF) * alpha) >> 8
    green = ((under & 0x00FF00) * (256 - alpha) + (over & 0x00FF00) * alpha) >> 8
    return (red_blue & 0xFF00FF) | (green & 0x00FF00)


def hue(angle: int, saturation: int, value: int) -> int:
    """A colour from a hue of 0..1535 (six sextants of 256), saturation and value of 0..255."""
    angle = angle % 1536
    rise = angle & 255
    sextant = angle >> 8
    low = value * (255 - saturation) // 255
    up = low + (value - low) * rise // 255
    down = value - (value - low) * rise // 255
    if sextant == 0:
        return (value << 16) | (up << 8) | low
    if sextant == 1:
        return (down << 16) | (value << 8) | low
    if sextant == 2:
        return (low << 16) | (value << 8) | up
    if sextant == 3:
        return (low << 16) | (down << 8) | value
    if sextant == 4:
        return (up << 16) | (low << 8) | value
    return (value << 16) | (low << 8) | down


def gradient(canvas: Any, top: int, bottom: int) -> None:
    """Fill the canvas, from the colour ``top`` to the colour ``bottom``."""
    height = canvas.shape[0]
    for y in range(height):
        canvas[y, :] = mix_colour(top, bottom, 256 * y // height)


def dot(canvas: Any, x: int, y: int, colour: int, alpha: int) -> None:
    """One pixel at pixel (x, y), if it is on the canvas."""
    if 0 <= y < canvas.shape[0] and 0 <= x < canvas.shape[1]:
        canvas[y, x] = mix_colour(int(canvas[y, x]), colour, alpha)


def rect(canvas: Any, x0: int, y0: int, x1: int, y1: int, colour: int, alpha: int = 256) -> None:
    """The rectangle from corner (x0, y0) to corner (x1, y1)."""
    height, width = canvas.shape
    # In 1/256 pixels from here on.
    left, right = max(0, x0 * width >> 4), min(width << 8, x1 * width >> 4)
    top, bottom = max(0, y0 * height >> 4), min(height << 8, y1 * height >> 4)
    if left >= right or top >= bottom:
        return
    first, last = left >> 8, (right - 1) >> 8
    solid0, solid1 = (left + 255) >> 8, right >> 8
    for y in range(top >> 8, ((bottom - 1) >> 8) + 1):
        cover = (min(bottom, (y + 1) << 8) - max(top, y << 8)) * alpha >> 8
        if cover >= 256:
            canvas[y, solid0:solid1] = colour
        else:
            for x in range(solid0, solid1):
                canvas[y, x] = mix_colour(int(canvas[y, x]), colour, cover)
        if first < solid0:
            part = min(right, (first + 1) << 8) - left
            canvas[y, first] = mix_colour(int(canvas[y, first]), colour, cover * part >> 8)
        if last >= solid1 and last >= solid0:
            part = right - (last << 8)
            canvas[y, last] = mix_colour(int(canvas[y, last]), colour, cover * part >> 8)


def disc(canvas: Any, cx: int, cy: int, radius: int, colour: int, alpha: int = 256) -> None:
    """The disc of ``radius`` around (cx, cy)."""
    height, width = canvas.shape
    pixel = SIZE // width
    x0, x1 = max(0, (cx - radius) * width // SIZE), min(width - 1, (cx + radius) * width // SIZE)
    y0, y1 = max(0, (cy - radius) * height // SIZE), min(height - 1, (cy + radius) * height // SIZE)
    # Coverage from the distance to the rim, (r² - d²) / 2r, in 1/256 pixels: no square root.
    scale = 2 * radius * max(1, pixel)
    square = radius * radius
    for y in range(y0, y1 + 1):
        dy = ((2 * y + 1) * SIZE // (2 * height)) - cy
        for x in range(x0, x1 + 1):
            dx = ((2 * x + 1) * SIZE // (2 * width)) - cx
            inside = square - dx * dx - dy * dy
            cover = 128 + inside * 256 // scale
            if cover >= 256:
                cover = 256
            if cover > 0:
                cover = cover * alpha >> 8
                canvas[y, x] = mix_colour(int(canvas[y, x]), colour, cover)


def root(value: int) -> int:
    """The integer square root."""
    if value <= 0:
        return 0
    guess = 1
    while guess * guess < value:
        guess *= 2
    while True:
        better = (guess + value // guess) // 2
        if better >= guess:
            return guess
        guess = better


def edge_cover(ax: int, ay: int, bx: int, by: int, length: int, x: int, y: int, pixel: int) -> int:
    """How far pixel (x, y) lies on the right-hand side of the edge a → b: 0 outside, 256 inside."""
    cross = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
    return min(256, max(0, 128 + cross * 256 // (length * pixel)))


def triangle(
    canvas: Any, ax: int, ay: int, bx: int, by: int, cx: int, cy: int, colour: int, alpha: int = 256
) -> None:
    """The triangle a, b, c (in either order)."""
    if (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0:
        bx, by, cx, cy = cx, cy, bx, by
    height, width = canvas.shape
    pixel = max(1, SIZE // width)
    ab = max(1, root((bx - ax) ** 2 + (by - ay) ** 2))
    bc = max(1, root((cx - bx) ** 2 + (cy - by) ** 2))
    ca = max(1, root((ax - cx) ** 2 + (ay - cy) ** 2))
    x0, x1 = min(ax, bx, cx) * width // SIZE, max(ax, bx, cx) * width // SIZE
    y0, y1 = min(ay, by, cy) * height // SIZE, max(ay, by, cy) * height // SIZE
    for py in range(max(0, y0), min(height - 1, y1) + 1):
        y = (2 * py + 1) * SIZE // (2 * height)
        for px in range(max(0, x0), min(width - 1, x1) + 1):
            x = (2 * px + 1) * SIZE // (2 * width)
            cover = min(
                edge_cover(ax, ay, bx, by, ab, x, y, pixel),
                edge_cover(bx, by, cx, cy, bc, x, y, pixel),
                edge_cover(cx, cy, ax, ay, ca, x, y, pixel),
            )
            if cover > 0:
                canvas[py, px] = mix_colour(int(canvas[py, px]), colour, cover * alpha >> 8)


def round_rect(
    canvas: Any, x0: int, y0: int, x1: int, y1: int, radius: int, colour: int, alpha: int = 256
) -> None:
    """A rectangle with rounded corners. Below two pixels of radius the corners are left square."""
    if radius * canvas.shape[1] < 2 * SIZE:
        rect(canvas, x0, y0, x1, y1, colour, alpha)
        return
    rect(canvas, x0, y0 + radius, x1, y1 - radius, colour, alpha)
    rect(canvas, x0 + radius, y0, x1 - radius, y0 + radius, colour, alpha)
    rect(canvas, x0 + radius, y1 - radius, x1 - radius, y1, colour, alpha)
    corner(canvas, x0, y0, radius, radius, radius, colour, alpha)
    corner(canvas, x1 - radius, y0, 0, radius, radius, colour, alpha)
    corner(canvas, x0, y1 - radius, radius, 0, radius, colour, alpha)
    corner(canvas, x1 - radius, y1 - radius, 0, 0, radius, colour, alpha)


def corner(canvas: Any, x0: int, y0: int, ox: int, oy: int, radius: int, colour: int, alpha: int) -> None:
    """The part of a disc around (x0 + ox, y0 + oy) that lies in the square at (x0, y0)."""
    height, width = canvas.shape
    scale = 2 * radius * max(1, SIZE // width)
    for y in range(max(0, y0 * height // SIZE), min(height, ((y0 + radius) * height + SIZE - 1) // SIZE)):
        wy = (2 * y + 1) * SIZE // (2 * height)
        if wy < y0 or wy >= y0 + radius:
            continue
        dy = wy - y0 - oy
        for x in range(max(0, x0 * width // SIZE), min(width, ((x0 + radius) * width + SIZE - 1) // SIZE)):
            wx = (2 * x + 1) * SIZE // (2 * width)
            if wx < x0 or wx >= x0 + radius:
                continue
            dx = wx - x0 - ox
            cover = min(256, 128 + (radius * radius - dx * dx - dy * dy) * 256 // scale)
            if cover > 0:
                canvas[y, x] = mix_colour(int(canvas[y, x]), colour, cover * alpha >> 8)
