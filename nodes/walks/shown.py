"""Shows the page the frames of a walk while they are rendered: small images in the host's temp folder, and the lengths
of their steps."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...smooth_lora.scores.smoothness import Smoothness, from_distances, step_lengths
from ...smooth_lora.walks.walk import Walk, frames_at_keyframes
from ..host.api import io
from ..host.protocols import Noise
from ..page.page import Page, ShownFolder, not_shown
from .noise import WalkNoise
from .walk_wires import WalkWires

FRAMES_EVENT = "smooth_diffusion.frames"
PLAYED = "smooth_walk"  # among what a node shows: walks whose frames the page plays
LONGEST_SIDE = 512  # pixels: enough to scrub through
JPEG_QUALITY = 90
FEWEST_SCORED = 3  # frames


def walk_shown(cls: type[io.ComfyNode], wires: WalkWires) -> FramesShown | None:
    """Returns what shows the frames of a walk while a node renders them; None where it renders no images."""
    return None if wires.vae is None else FramesShown(cls, "images", len(wires.frames))


def pictures_shown(name: str, images: Tensor, scores: Smoothness) -> dict[str, Any]:
    """Returns what the page needs to show the finished frames [N, H, W, C] of a walk, already scored."""
    folder = ShownFolder()
    _save(folder, images, first=0)
    return {
        "name": name,
        "subfolder": folder.subfolder,
        "total": len(images),
        **asdict(scores),
        "frames": scores.frames,
    }


def keyframes_shown(noise: Noise, walk: Walk) -> list[dict[str, Any]]:
    """Returns the keyframes of a walk's NOISE with the frames that show them; seeds as text, because the page's numbers
    end at 2^53."""
    keyframes = noise.keyframes if isinstance(noise, WalkNoise) else ()
    return [
        {"seed": str(keyframe.seed), "frame": frame}
        for keyframe, frame in zip(keyframes, frames_at_keyframes(walk, len(keyframes)), strict=True)
        if frame is not None
    ]


class FramesShown:
    """The frames of one walk, given in order as they are rendered.

    cls:   the node on the page
    name:  of the walk among those of the node
    total: frames of the walk
    """

    def __init__(self, cls: type[io.ComfyNode], name: str, total: int):
        self.name, self.total = name, total
        self._page, self._folder = Page(cls), ShownFolder()
        self._lengths: list[float] = []
        self._last: Tensor | None = None
        self._size: tuple[int, ...] = ()

    def add(self, images: Tensor) -> None:
        """Adds the next frames [n, H, W, C], values 0 to 1."""
        first = self._frames
        _save(self._folder, images, first)
        seen = images[..., :3]  # alpha does not count, as in every score
        before = seen[:0] if self._last is None else self._last.to(seen)[None]
        lengths = step_lengths(torch.cat([before, seen]))
        self._lengths += lengths
        self._last, self._size = seen[-1].clone(), tuple(seen.shape[1:])
        self._page.tell(FRAMES_EVENT, {"first": first, "count": len(images), "lengths": lengths, **self._address()})

    def data(self, noise: Noise, walk: Walk) -> dict[str, Any]:
        """Returns what the page needs to show the frames again later, as plain JSON data: their files, their scores,
        and which of them are keyframes.

        noise, walk: that were rendered
        """
        scores: dict[str, Any] = {"distances": self._lengths}
        if self._frames >= FEWEST_SCORED:
            scores = asdict(from_distances(self._lengths, self._size))
        keyframes = keyframes_shown(noise, walk) if len(walk) == self._frames else []
        return {**self._address(), **scores, "frames": self._frames, "keyframes": keyframes}

    @property
    def _frames(self) -> int:
        return len(self._lengths) + (self._last is not None)

    def _address(self) -> dict[str, Any]:
        return {"name": self.name, "subfolder": self._folder.subfolder, "total": self.total}


def _save(folder: ShownFolder, images: Tensor, first: int) -> None:
    """Saves small images of the frames from `first` on, named by their numbers."""
    try:
        for number, image in enumerate(images, start=first):
            _picture(image).save(folder.file(f"{number:05}.jpg"), quality=JPEG_QUALITY)
    except OSError as error:
        not_shown(f"frames {first} to {first + len(images) - 1}", error)


def _picture(image: Tensor) -> Image.Image:
    pixels = (image[..., :3].detach().float() * 255).round().clamp(0, 255).to("cpu", torch.uint8).numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BICUBIC)
    return picture.convert("RGB")
