"""The drawing kit: anti-aliased shapes on a canvas of any size, in integers only.

A game draws in world units: the screen is SIZE × SIZE of them, x to the right, y down,
whatever its size in pixels. A canvas is an int32 (H, W) array of colours 0xRRGGBB. ``alpha``
runs from 0 (invisible) to 256 (opaque). All of it is scalar Python that the compiled runtime
turns into machine code and debug mode runs as it is; integers make every picture the same on
every machine. The kit knows no game.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

BITS = 12
SIZE = 1 << BITS
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
    height, width = canvas.shape
    alpha, rest = 0, 0
    for y in range(height):
        fill(canvas, y, 0, width, mix_colour(top, bottom, alpha))
        # alpha = 256 * (y + 1) // height without a division a row.
        rest += 256
        while rest >= height:
            rest -= height
            alpha += 1


def fill(canvas: Any, y: int, left: int, right: int, colour: int) -> None:
    """The pixels from ``left`` to before ``right``, if any, of row y, which must be on the canvas."""
    if right <= left:
        return  # off the canvas to the left, where a slice would count from its right end
    row = canvas[y, left:right]  # loops from 0 over a whole array become wide stores
    for i in range(row.shape[0]):
        row[i] = colour


def tint(canvas: Any, y: int, left: int, right: int, colour: int, alpha: int) -> None:
    """``blend`` for the pixels that ``fill`` fills."""
    if right <= left:
        return
    row = canvas[y, left:right]
    for i in range(row.shape[0]):
        row[i] = mix_colour(int(row[i]), colour, alpha)


def blend(canvas: Any, x: int, y: int, colour: int, alpha: int) -> None:
    """``colour`` onto pixel (x, y), which must be on the canvas."""
    canvas[y, x] = mix_colour(int(canvas[y, x]), colour, alpha)


def block(canvas: Any, x0: int, y0: int, x1: int, y1: int, colour: int) -> None:
    """An opaque rectangle whose edges go to the nearest pixels: the cheapest shape there is."""
    height, width = canvas.shape
    half = SIZE // 2
    left, right = max(0, (x0 * width + half) >> BITS), min(width, (x1 * width + half) >> BITS)
    for y in range(max(0, (y0 * height + half) >> BITS), min(height, (y1 * height + half) >> BITS)):
        fill(canvas, y, left, right, colour)


def rect(canvas: Any, x0: int, y0: int, x1: int, y1: int, colour: int, alpha: int) -> None:
    """The rectangle from corner (x0, y0) to corner (x1, y1)."""
    height, width = canvas.shape
    # In 1/256 pixels from here on.
    left, right = max(0, x0 * width >> 4), min(width << 8, x1 * width >> 4)
    top, bottom = max(0, y0 * height >> 4), min(height << 8, y1 * height >> 4)
    if left >= right or top >= bottom:
        return
    if alpha >= OPAQUE and (left | right | top | bottom) & 255 == 0:
        # Whole pixels, as most rectangles of small pictures are: there are no edges to work out.
        if 4 * (right - left) < bottom - top and right - left <= 512:
            for x in range(left >> 8, right >> 8):  # a row of one or two pixels takes as long as one of ten
                column = canvas[top >> 8 : bottom >> 8, x]
                for i in range(column.shape[0]):
                    column[i] = colour
            return
        for y in range(top >> 8, bottom >> 8):
            fill(canvas, y, left >> 8, right >> 8, colour)
        return
    first, last = left >> 8, (right - 1) >> 8
    solid0, solid1 = (left + 255) >> 8, right >> 8
    for y in range(top >> 8, ((bottom - 1) >> 8) + 1):
        cover = (min(bottom, (y + 1) << 8) - max(top, y << 8)) * alpha >> 8
        if cover >= OPAQUE:
            fill(canvas, y, solid0, solid1, colour)
        else:
            tint(canvas, y, solid0, solid1, colour, cover)
        if first < solid0:
            part = min(right, (first + 1) << 8) - left
            blend(canvas, first, y, colour, cover * part >> 8)
        if last >= solid1 and last >= solid0:
            part = right - (last << 8)
            blend(canvas, last, y, colour, cover * part >> 8)


def disc(canvas: Any, cx: int, cy: int, radius: int, colour: int, alpha: int) -> None:
    """The disc of ``radius`` around (cx, cy)."""
    height, width = canvas.shape
    x0, x1 = max(0, (cx - radius) * width >> BITS), min(width - 1, (cx + radius) * width >> BITS)
    y0, y1 = max(0, (cy - radius) * height >> BITS), min(height - 1, (cy + radius) * height >> BITS)
    # World units of a pixel's centre are (column * across + half) >> 8.
    across, down = SIZE * 256 // width, SIZE * 256 // height
    # Coverage comes from (r² - d²) / 2r, which near the rim is the distance to it: no square root.
    scale = (256 << 24) // max(1, 2 * radius * across)
    for y in range(y0, y1 + 1):
        dy = ((y * down + (down >> 1)) >> 8) - cy
        rest = radius * radius - dy * dy
        # From either side inwards to where it is opaque: beyond that there is nothing to work out.
        left, right = x0, x1
        while left <= x1:
            dx = ((left * across + (across >> 1)) >> 8) - cx
            cover = 128 + ((rest - dx * dx) * scale >> 16)
            if cover >= 256:
                break
            if cover > 0:
                blend(canvas, left, y, colour, cover * alpha >> 8)
            left += 1
        while right > left:
            dx = ((right * across + (across >> 1)) >> 8) - cx
            cover = 128 + ((rest - dx * dx) * scale >> 16)
            if cover >= 256:
                break
            if cover > 0:
                blend(canvas, right, y, colour, cover * alpha >> 8)
            right -= 1
        if alpha >= OPAQUE:
            fill(canvas, y, left, right + 1, colour)
        else:
            tint(canvas, y, left, right + 1, colour, alpha)


def root(value: int) -> int:
    """The integer square root of a number up to 2**52: so far it is IEEE's, which is the same everywhere."""
    return int(sqrt(value)) if value > 0 else 0


def triangle(
    canvas: Any, ax: int, ay: int, bx: int, by: int, cx: int, cy: int, colour: int, alpha: int
) -> None:
    """The triangle a, b, c (in either order)."""
    if (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0:
        bx, by, cx, cy = cx, cy, bx, by
    height, width = canvas.shape
    across, down = SIZE * 256 // width, SIZE * 256 // height
    ab = sharpness(bx - ax, by - ay, across)
    bc = sharpness(cx - bx, cy - by, across)
    ca = sharpness(ax - cx, ay - cy, across)
    x0, x1 = max(0, min(ax, bx, cx) * width >> BITS), min(width - 1, max(ax, bx, cx) * width >> BITS)
    y0, y1 = max(0, min(ay, by, cy) * height >> BITS), min(height - 1, max(ay, by, cy) * height >> BITS)
    for py in range(y0, y1 + 1):
        y = (py * down + (down >> 1)) >> 8
        # Twice the area to each edge, over its length, is the distance from it. Here it is at x = 0.
        row_ab = ((bx - ax) * (y - ay) + (by - ay) * ax) * ab
        row_bc = ((cx - bx) * (y - by) + (cy - by) * bx) * bc
        row_ca = ((ax - cx) * (y - cy) + (ay - cy) * cx) * ca
        for px in range(x0, x1 + 1):
            x = (px * across + (across >> 1)) >> 8
            p, q, r = row_ab - (by - ay) * ab * x, row_bc - (cy - by) * bc * x, row_ca - (ay - cy) * ca * x
            cover = min(256, 128 + (min(p, q, r) >> 16))
            if cover > 0:
                blend(canvas, px, py, colour, cover * alpha >> 8)


def sharpness(dx: int, dy: int, across: int) -> int:
    """What turns a cross product with the edge (dx, dy) into 1/256 pixels, times 2**16."""
    return (256 << 24) // max(1, root(dx * dx + dy * dy) * across)


def round_rect(canvas: Any, x0: int, y0: int, x1: int, y1: int, radius: int, colour: int, alpha: int) -> None:
    """A rectangle with rounded corners. Below two pixels of radius the corners are left square."""
    if radius * canvas.shape[1] < 2 * SIZE:
        radius = 0
    for part in range(3):
        inset = 0 if part == 1 else radius
        top = y0 if part == 0 else y0 + radius if part == 1 else y1 - radius
        bottom = y0 + radius if part == 0 else y1 - radius if part == 1 else y1
        rect(canvas, x0 + inset, top, x1 - inset, bottom, colour, alpha)
    if radius > 0:
        for part in range(4):
            left = x0 if part & 1 else x1 - radius
            top = y0 if part & 2 else y1 - radius
            corner(canvas, left, top, radius, part, colour, alpha)


def corner(canvas: Any, left: int, top: int, radius: int, part: int, colour: int, alpha: int) -> None:
    """A quarter of a disc in the square at (left, top); bits of ``part``: 1 a left, 2 an upper corner."""
    height, width = canvas.shape
    scale = 2 * radius * max(1, SIZE // width)
    cx, cy = left + (radius if part & 1 else 0), top + (radius if part & 2 else 0)
    x0, x1 = max(0, left * width // SIZE), min(width, (left + radius) * width // SIZE + 1)
    for y in range(max(0, top * height // SIZE), min(height, (top + radius) * height // SIZE + 1)):
        wy = (2 * y + 1) * SIZE // (2 * height)
        if not top <= wy < top + radius:
            continue
        for x in range(x0, x1):
            wx = (2 * x + 1) * SIZE // (2 * width)
            if left <= wx < left + radius:
                inside = radius * radius - (wx - cx) * (wx - cx) - (wy - cy) * (wy - cy)
                cover = min(256, 128 + inside * 256 // scale)
                if cover > 0:
                    blend(canvas, x, y, colour, cover * alpha >> 8)


def ridge(canvas: Any, base: int, height: int, period: int, shift: int, colour: int) -> None:
    """Rolling hills up to ``height`` above y = ``base``, filled to the bottom, moved left by ``shift``."""
    rows, columns = canvas.shape
    foot = min(rows, (base * rows + SIZE - 1) // SIZE)
    rect(canvas, 0, foot * SIZE // rows, SIZE, SIZE, colour, 256)
    short = period * 5 // 8
    wide, narrow = (256 << 16) // period, (256 << 16) // short
    slow, fast = shift % period, shift % short
    # place = x * SIZE // columns without a division a column.
    stride, over = SIZE // columns, SIZE % columns
    place, rest, highest = 0, 0, foot
    for x in range(columns):
        u = (((slow + place) * wide >> 16) & 255) - 128
        v = (((fast + place) * narrow >> 16) & 255) - 128
        rise = height * ((16384 - u * u) * 3 + (16384 - v * v)) >> 16
        edge = max(0, (base - rise) * rows >> 4)
        if edge >> 8 < foot:
            blend(canvas, x, edge >> 8, colour, 256 - (edge & 255))
        highest = min(highest, edge >> 8)
        note_surface(canvas, x, edge >> 8, foot)
        place, rest = place + stride, rest + over
        if rest >= columns:
            place, rest = place + 1, rest - columns
    fill_below(canvas, highest + 1, foot, 0, colour, colour)


def land(canvas: Any, tops: Any, shift: int, crust: int, colour: int) -> None:
    """The ground below the line through (i << shift, tops[i]), under a crust of another colour."""
    rows, columns = canvas.shape
    thick, across = max(1, rows // 40), SIZE * 256 // columns
    highest, lowest = rows, 0
    for x in range(columns):
        place = (x * across + (across >> 1)) >> 8
        i = place >> shift
        top = tops[i] + ((tops[i + 1] - tops[i]) * (place - (i << shift)) >> shift)
        edge = max(0, top * rows >> 4)
        y = edge >> 8
        if y < rows:
            blend(canvas, x, y, crust, 256 - (edge & 255))
        highest, lowest = min(highest, y), max(lowest, y)
        note_surface(canvas, x, y, rows)
    solid = min(rows - 1, lowest + 1 + thick)
    fill_below(canvas, highest + 1, solid, thick, crust, colour)
    for y in range(solid, rows - 1):
        fill(canvas, y, 0, columns, colour)


def note_surface(canvas: Any, x: int, y: int, foot: int) -> None:
    """Have column x of the bottom row hold y for ``fill_below``, or its own final colour, inverted.

    The latter if nothing of it is to be filled: y is ``foot`` or below, or the bottom row itself.
    """
    bottom = canvas.shape[0] - 1
    canvas[bottom, x] = y if y < min(foot, bottom) else ~int(canvas[bottom, x])


def fill_below(canvas: Any, first: int, foot: int, thick: int, crust: int, colour: int) -> None:
    """Fill each column below the y noted for it, in the rows ``first`` to before ``foot`` and the bottom row.

    By rows, which go through memory in order; ``thick`` pixels of crust come before the colour.
    """
    bottom = canvas.shape[0] - 1
    surface = canvas[bottom]
    for y in range(first, min(foot, bottom)):
        row = canvas[y]
        for x in range(row.shape[0]):
            top, seen = int(surface[x]), int(row[x])
            if 0 <= top < y:
                seen = crust if y <= top + thick else colour
            row[x] = seen
    for x in range(surface.shape[0]):
        top = int(surface[x])
        below = crust if bottom <= top + thick else colour
        surface[x] = below if top >= 0 else ~top


def sine(angle: int) -> int:
    """4096 times the sine of an angle of 0..1023 for a whole turn; Bhaskara's formula, good to 8."""
    half = angle & 511
    bow = half * (512 - half)
    value = (bow << 14) // (327680 - bow)
    return -value if angle & 512 else value
