"""Draw a folder of pictures and captions to train on: `python demo/training_pictures.py INPUT_DIR`.

Writes INPUT_DIR/smooth_demo_pictures/*.png with a caption beside each (*.txt), as ComfyUI's Load Image-Text (from
Folder) reads them: what the demo checkpoint knows, one picture for each of its 120 prompts. Needs torch and pillow.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

import torch
from PIL import Image

if __package__:
    from .pictures import PROMPTS, random_pictures
else:  # started as a file, see assemble.py
    drawing = runpy.run_path(str(Path(__file__).with_name("pictures.py")))
    PROMPTS, random_pictures = drawing["PROMPTS"], drawing["random_pictures"]

FOLDER = "smooth_demo_pictures"
SEED = 6


def draw_folder(input_dir: Path, per_prompt: int = 1) -> Path:
    """Draw the pictures; those that are there already stay.

    returns: the folder
    """
    folder = input_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(SEED)
    for prompt in PROMPTS:
        for number, picture in enumerate(random_pictures(prompt, per_prompt, generator)):
            path = folder / f"{prompt.text.replace(' ', '_')}_{number}.png"
            if not path.is_file():
                path.with_suffix(".txt").write_text(prompt.text + "\n", encoding="ascii")
                Image.fromarray((picture.numpy() * 255).round().astype("uint8")).save(path)
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw a folder of pictures and captions to train on.")
    parser.add_argument("input_dir", type=Path, help="ComfyUI's input folder")
    print(draw_folder(parser.parse_args().input_dir))
