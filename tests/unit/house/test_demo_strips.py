"""The demo's comparison of two walks, as a picture."""

from __future__ import annotations

import subprocess
import sys

from PIL import Image

from devtools.layout import PACK


def test_a_row_for_each_walk_with_its_first_frame_and_its_last(tmp_path):
    for name, count, red in (("with", 24, 255), ("without", 3, 0)):
        (tmp_path / "frames" / name).mkdir(parents=True)
        for place in range(count):
            Image.new("RGB", (8, 8), (red, place * 10, 0)).save(tmp_path / "frames" / name / f"{place:03}.png")
    subprocess.run([sys.executable, "-m", "demo.strips", str(tmp_path)], cwd=PACK, check=True)
    made = Image.open(tmp_path / "strips.png")
    assert made.size == (96, 2 * (22 + 8 + 6))
    first, second = (made.crop((0, top, 96, top + 8)) for top in (22, 22 + 8 + 6 + 22))
    assert [first.getpixel((8 * place + 4, 4))[1] for place in (0, 11)] == [0, 230]
    assert [second.getpixel((8 * place + 4, 4)) for place in range(4)] == [
        (0, 0, 0),
        (0, 10, 0),
        (0, 20, 0),
        (255, 255, 255),
    ]
