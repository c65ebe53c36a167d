"""Draw the example workflows' thumbnails from what the workflows themselves render.

    .host/venv/bin/python -m demo.thumbnails [workflow ...]

Runs the kept prompts on the real server with the demo checkpoint and writes example_workflows/<name>.jpg: frames of
the walk, and the chart where the workflow compares two walks or has no frames of its own; single pictures, such as one
before and after an edit, side by side.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from devtools.demo import draw_training_pictures, stored_prompt
from devtools.layout import PACK
from devtools.server import Client, Server

from .strips import evenly

SIDE = 384  # pixels; the template browser shows squares of about 250
FRAME_NODES = ("SaveImage", "PreviewImage")
CHART_NODES = ("SmoothISTD", "SmoothISTDBenchmark", "LossGraphNode")
INVERT_NODE = "SmoothInvert"  # its chart is shown by a stock node
WIDE = 3  # a picture wider than so many times its height is a walk of its own, its frames side by side
GAP = 6  # pixels between single pictures
LARGEST = 60_000  # bytes
HOUR = 3600.0


def mosaic(frames: Sequence[Image.Image], columns: int) -> Image.Image:
    """Frames side by side, `columns` in a row, as wide as a thumbnail."""
    tile = SIDE // columns
    sheet = Image.new("RGB", (SIDE, tile * (len(frames) // columns)))
    for place, frame in enumerate(frames):
        sheet.paste(
            frame.resize((tile, tile), Image.Resampling.BICUBIC), (place % columns * tile, place // columns * tile)
        )
    return sheet


def thumbnail(walks: Sequence[Sequence[Image.Image]], charts: Sequence[Image.Image]) -> Image.Image:
    """One walk: nine of its frames. Two walks: four frames of each above their chart. None: the chart. Pictures that
    are walks of their own: one below the other, and the chart below them.

    Single pictures: in rows of two, an odd one alone above the others, and the chart below them.
    """
    if walks and all(len(walk) == 1 for walk in walks):
        return pairs([walk[0] for walk in walks], charts)
    if len(walks) == 1 and walks[0][0].width > WIDE * walks[0][0].height:
        return strips(walks[0], charts)
    if len(walks) == 1:
        return mosaic(evenly(walks[0], 9), 3)
    sheet = Image.new("RGB", (SIDE, SIDE), "white")
    top = 0
    for walk in walks:
        row = mosaic(evenly(walk, 4), 4)
        sheet.paste(row, (0, top))
        top += row.height
    chart = ImageOps.contain(charts[0], (SIDE, SIDE - top), Image.Resampling.LANCZOS)
    sheet.paste(chart, ((SIDE - chart.width) // 2, top + (SIDE - top - chart.height) // 2))
    return sheet


def strips(walks: Sequence[Image.Image], charts: Sequence[Image.Image]) -> Image.Image:
    """Walks as single pictures, one below the other, and the first chart below them."""
    sheet = Image.new("RGB", (SIDE, SIDE), "white")
    top = GAP
    for walk in walks:
        row = walk.resize((SIDE, round(SIDE * walk.height / walk.width)), Image.Resampling.BICUBIC)
        sheet.paste(row, (0, top))
        top += row.height + GAP
    chart = ImageOps.contain(charts[0], (SIDE, SIDE - top), Image.Resampling.LANCZOS)
    sheet.paste(chart, ((SIDE - chart.width) // 2, top + (SIDE - top - chart.height) // 2))
    return sheet


def pairs(pictures: Sequence[Image.Image], charts: Sequence[Image.Image]) -> Image.Image:
    """Pictures in rows of two, an odd one alone above the others, and the first chart below them."""
    half, odd = SIDE // 2, len(pictures) % 2
    rows = (len(pictures) + odd) // 2
    sheet = Image.new("RGB", (SIDE, half * (rows + bool(charts))), "white")
    for place, picture in enumerate(pictures):
        column, row = (place + odd) % 2, (place + odd) // 2
        left = half // 2 if odd and place == 0 else column * half
        tile = picture.resize((half - GAP, half - GAP), Image.Resampling.BICUBIC)
        sheet.paste(tile, (left + GAP // 2, row * half + GAP // 2))
    if charts:
        chart = ImageOps.contain(charts[0], (SIDE, half), Image.Resampling.LANCZOS)
        sheet.paste(chart, ((SIDE - chart.width) // 2, rows * half))
    return sheet


def shows_chart(prompt: dict[str, Any], node: str) -> bool:
    """True for a node that draws a chart, and for a stock one that shows an inversion's."""
    if prompt[node]["class_type"] in CHART_NODES:
        return True
    source = prompt[node]["inputs"].get("images")
    return isinstance(source, list) and prompt[source[0]]["class_type"] == INVERT_NODE


def shown(client: Client, prompt: dict[str, Any], outputs: dict[str, Any], *, charts: bool) -> list[list[Image.Image]]:
    """The pictures of every node that shows charts, or of every one that shows frames, in the order of the ids."""
    return [
        [Image.open(io.BytesIO(client.view(file))).convert("RGB") for file in outputs[node]["images"]]
        for node in sorted(outputs, key=int)
        if prompt[node]["class_type"] in FRAME_NODES + CHART_NODES and shows_chart(prompt, node) == charts
    ]


def write(image: Image.Image, path: Path) -> None:
    """Save as the best JPEG that is small enough.

    raises:  ValueError when none is
    """
    for quality in (92, 85, 75, 60):
        data = io.BytesIO()
        image.save(data, "JPEG", quality=quality, optimize=True)
        if data.tell() <= LARGEST:
            path.write_bytes(data.getvalue())
            return
    raise ValueError(f"{path.name} stays above {LARGEST} bytes")


def main(names: Sequence[str]) -> None:
    folder = PACK / "example_workflows"
    with Server() as server:
        draw_training_pictures(server.input)
        for name in names or sorted(path.stem for path in folder.glob("*.json")):
            prompt = stored_prompt(name)
            outputs = server.client.run(prompt, HOUR)
            charts = [pictures[0] for pictures in shown(server.client, prompt, outputs, charts=True)]
            walks = shown(server.client, prompt, outputs, charts=False)
            write(thumbnail(walks, charts), folder / f"{name}.jpg")
            print(f"{name}.jpg")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workflows", nargs="*", help="all of them if none is named")
    main(parser.parse_args().workflows)
