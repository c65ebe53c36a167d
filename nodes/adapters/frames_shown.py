"""Shows the page the frames of a walk while they are rendered: pictures in the host's temp folder, and what is known of
their steps."""

from __future__ import annotations

import logging
import secrets
from dataclasses import asdict
from pathlib import Path

import folder_paths
import torch
from PIL import Image
from server import PromptServer
from torch import Tensor

from ...smooth_lora.smoothness import Smoothness, from_distances, step_lengths
from ...smooth_lora.walk import Walk
from .._api import io

log = logging.getLogger(__name__)
EVENT = "smooth_diffusion.frames"
FOLDER = "smooth_diffusion"
LONGEST_SIDE = 512  # pixels; they are there to be scrubbed
QUALITY = 90
FEWEST_SCORED = 3  # frames


def walk_shown(cls: type[io.ComfyNode], walk: Walk, latent: dict) -> FramesShown:
    """For the node that renders the walk, or the frames of it that the LATENT names."""
    numbers = latent.get("batch_index")
    return FramesShown(cls, "images", len(walk) if numbers is None else len(numbers))


def pictures_shown(name: str, images: Tensor, found: Smoothness) -> dict:
    """What the page needs to show the finished frames [N, H, W, C] of a walk, already scored."""
    pictures = _Pictures()
    pictures.save(images, first=0)
    return {"name": name, "subfolder": pictures.subfolder, "total": len(images), **asdict(found),
            "frames": found.frames}


class _Pictures:
    """Small pictures of a walk's frames in a folder of their own, below the host's temp folder.

    subfolder: below that, as the host's /view wants it
    """

    def __init__(self) -> None:
        self.subfolder = f"{FOLDER}/{secrets.token_hex(8)}"
        self._folder = Path(folder_paths.get_temp_directory()) / self.subfolder

    def save(self, images: Tensor, first: int) -> None:
        """Those of the frames [n, H, W, C] from `first`. A folder that cannot be written costs them, not the walk."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(images, start=first):
                _picture(image).save(self._folder / f"{number:05}.jpg", quality=QUALITY)
        except OSError as error:
            log.warning("the player cannot show frames %d to %d: ComfyUI's temp folder could not be written (%s)",
                        first, first + len(images) - 1, error.strerror or error)


class FramesShown:
    """The frames of one walk, given in order as they are rendered.

    cls:  the node whose page is told of them
    name: of the walk among those of the node; total: its frames
    """

    def __init__(self, cls: type[io.ComfyNode], name: str, total: int):
        self.name, self.total = name, total
        hidden = getattr(cls, "hidden", None)
        self._node_id = None if hidden is None else hidden.unique_id
        self._pictures = _Pictures()
        self._lengths: list[float] = []
        self._last: Tensor | None = None
        self._size: tuple[int, ...] = ()

    def add(self, images: Tensor) -> None:
        """The next frames [n, H, W, C] on 0..1."""
        first = self._frames
        self._pictures.save(images, first)
        seen = images[..., :3]  # alpha does not count, as in every score
        before = seen[:0] if self._last is None else self._last.to(seen)[None]
        lengths = step_lengths(torch.cat([before, seen]))
        self._lengths += lengths
        self._last, self._size = seen[-1].clone(), tuple(seen.shape[1:])
        server = getattr(PromptServer, "instance", None)
        if server is not None and self._node_id is not None:
            told = {"node": self._node_id, "first": first, "count": len(images), "lengths": lengths, **self._place()}
            server.send_sync(EVENT, told, server.client_id)

    def data(self) -> dict:
        """What the page needs to show them again later, as plain JSON data: where they are, and their scores."""
        found = {"distances": self._lengths}
        if self._frames >= FEWEST_SCORED:
            found = asdict(from_distances(self._lengths, self._size))
        return {**self._place(), **found, "frames": self._frames}

    @property
    def _frames(self) -> int:
        return len(self._lengths) + (self._last is not None)

    def _place(self) -> dict:
        return {"name": self.name, "subfolder": self._pictures.subfolder, "total": self.total}


def _picture(image: Tensor) -> Image.Image:
    pixels = (image[..., :3].detach().float() * 255).round().clamp(0, 255).to("cpu", torch.uint8).numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BICUBIC)
    return picture.convert("RGB")
