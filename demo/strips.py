"""Walks under one another, to compare: `python demo/strips.py FOLDER`.

FOLDER/frames/ holds a folder of numbered PNG files for each walk; FOLDER/strips.png gets a row for each, named.
"""
from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

HEAD, GAP, MOST = 22, 6, 12  # pixels; and frames in a row
SIZE = 14  # of the letters


def row(folder: Path) -> Image.Image:
    """The frames of a walk side by side, evenly chosen if they are many, the first and the last among them."""
    files = sorted(folder.glob("*.png"))
    count = min(MOST, len(files))
    chosen = [files[round(place * (len(files) - 1) / max(1, count - 1))] for place in range(count)]
    pictures = [Image.open(file).convert("RGB") for file in chosen]
    width, height = pictures[0].size
    made = Image.new("RGB", (count * width, HEAD + height), "white")
    ImageDraw.Draw(made).text((2, 2), folder.name, fill="black", font=ImageFont.load_default(SIZE))
    for place, picture in enumerate(pictures):
        made.paste(picture, (place * width, HEAD))
    return made


def main(folder: Path) -> None:
    rows = [row(walk) for walk in sorted((folder / "frames").iterdir()) if walk.is_dir()]
    made = Image.new("RGB", (max(one.width for one in rows), sum(one.height + GAP for one in rows)), "white")
    top = 0
    for one in rows:
        made.paste(one, (0, top))
        top += one.height + GAP
    made.save(folder / "strips.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
