"""Walks under one another, to compare: `python -m demo.strips FOLDER`.

FOLDER/frames/ holds a folder of numbered PNG files for each walk; FOLDER/strips.png gets a row for each, named.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HEAD, GAP, MOST = 22, 6, 12  # pixels above a row and below it; and frames in a row
SIZE, INK = 14, (40, 40, 40)  # of the letters


def evenly(frames: Sequence, count: int) -> list:
    """`count` of the frames, the first and the last among them."""
    return [frames[round(k * (len(frames) - 1) / (count - 1))] for k in range(count)]


def strips(walks: Mapping[str, Sequence[Image.Image]], between: int = 0) -> Image.Image:
    """A named row for each walk: its frames, evenly chosen if there are more than MOST, `between` pixels apart."""
    rows = {name: evenly(frames, MOST) if len(frames) > MOST else frames for name, frames in walks.items()}
    width, height = next(iter(rows.values()))[0].size
    most = max(len(frames) for frames in rows.values())
    row = HEAD + height + GAP
    made = Image.new("RGB", (most * (width + between) - between, len(rows) * row), "white")
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(SIZE)
    for top, (name, frames) in zip(range(0, made.height, row), rows.items(), strict=True):
        draw.text((2, top + 2), name, INK, font)
        for place, frame in enumerate(frames):
            made.paste(frame, (place * (width + between), top + HEAD))
    return made


def main(folder: Path) -> None:
    walks = {
        walk.name: [Image.open(file).convert("RGB") for file in sorted(walk.glob("*.png"))]
        for walk in sorted((folder / "frames").iterdir())
        if walk.is_dir()
    }
    strips(walks).save(folder / "strips.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Walks under one another, to compare.")
    parser.add_argument("folder", type=Path, help="with frames/, a folder of numbered PNG files for each walk")
    main(parser.parse_args().folder)
