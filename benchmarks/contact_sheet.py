"""Writes docs/arcade.png: each game on some levels, played by its heuristic. Or docs/matches.png.

python benchmarks/contact_sheet.py [FILE] [--matches] [--pixels 160] [--levels 2] [--columns 10]
python benchmarks/contact_sheet.py --clips      # docs/arcade.webp: the games as they are played, in motion
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from universe2.core.spec import EnvConfig, EnvSpec
from universe2.envs.arcade import games
from universe2.envs.arcade.matches import matches
from universe2.runtimes import open_runtime
from universe2.runtimes.compiled import CompiledRuntime

CLIP_FRAMES, CLIP_STEPS, CLIP_MS = 100, 2, 80
"""frames of a clip, steps of the game between two, and how long each is shown"""


def pictures(spec: EnvSpec, levels: int, pixels: int) -> list[np.ndarray]:
    """uint8 (pixels, pixels, 3) of each level, somewhere in the middle of a game."""
    found = []
    for level in range(levels):
        options = {"start_level": 200 + level, "num_levels": 1}
        runtime = open_runtime(spec, 1, EnvConfig(autoreset="disabled", options=options))
        assert isinstance(runtime, CompiledRuntime)
        runtime.reset([0], [level])
        batch = runtime.recv()
        for _ in range(45 + 37 * level):
            if batch.ended[0]:
                break
            runtime.send([0], runtime.heuristic([0]))
            batch = runtime.recv()
        found.append(runtime.render([0], (pixels, pixels))[0])
        runtime.close()
    return found


def clip(spec: EnvSpec, pixels: int) -> Iterator[np.ndarray]:
    """uint8 (pixels, pixels, 3), CLIP_FRAMES of them: levels held out from training, one after the other."""
    options = {"start_level": 200}
    runtime = open_runtime(spec, 1, EnvConfig(autoreset="next_step", options=options))
    assert isinstance(runtime, CompiledRuntime)
    runtime.reset([0], [1])
    runtime.recv()
    for _ in range(CLIP_FRAMES):
        yield runtime.render([0], (pixels, pixels))[0]
        for _ in range(CLIP_STEPS):
            runtime.send([0], runtime.heuristic([0]))
            runtime.recv()
    runtime.close()


def sheet(specs: Iterable[EnvSpec], levels: int, pixels: int, columns: int) -> Image.Image:
    """Game after game, each with its levels side by side."""
    return laid_out([frame for spec in specs for frame in pictures(spec, levels, pixels)], columns)


def laid_out(frames: Sequence[np.ndarray], columns: int, gap: int = 6) -> Image.Image:
    """Square frames of one size in rows, from left to right."""
    pixels = len(frames[0])
    pitch, rows = pixels + gap, -(-len(frames) // columns)
    picture = Image.new("RGB", (gap + pitch * columns, gap + pitch * rows), (18, 20, 28))
    for i, frame in enumerate(frames):
        picture.paste(Image.fromarray(frame), (gap + pitch * (i % columns), gap + pitch * (i // columns)))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--matches", action="store_true", help="the games for several players")
    parser.add_argument("--clips", action="store_true", help="the games for one player, in motion")
    parser.add_argument("--pixels", type=int, default=160)
    parser.add_argument("--levels", type=int, default=2)
    parser.add_argument("--columns", type=int, default=10)
    chosen = parser.parse_args()
    if chosen.clips:
        file = chosen.file or Path("docs") / "arcade.webp"
        moving = zip(*(clip(spec, 112) for spec in games() if not spec.multi_agent), strict=True)
        first, *rest = (laid_out(frames, 5) for frames in moving)
        first.save(file, save_all=True, append_images=rest, duration=CLIP_MS, loop=0, quality=55, method=4)
        print(f"wrote {file}")
        return
    file = chosen.file or Path("docs") / ("matches.png" if chosen.matches else "arcade.png")
    shown = sheet(matches() if chosen.matches else games(), chosen.levels, chosen.pixels, chosen.columns)
    shown.save(file, optimize=True)
    print(f"wrote {file}")


if __name__ == "__main__":
    main()
