"""Latents of a walk's frames turned into images, and the storage that a walk's results are put into."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..host import memory_estimate
from ..host.progress import stop_if_interrupted
from ..host.protocols import Vae
from ..model.call import FINITE_ADVICE

Show = Callable[[Tensor], None]  # given images [n, H, W, C]


def decode_latents(vae: Vae, latents: Tensor, numbers: Sequence[int]) -> Tensor:
    """Decodes latents [n, C, ...] into images [n, H, W, C]; the frames of a video latent follow one another.

    numbers: of the frames, for messages
    raises:  ValueError naming a frame that is no image
    """
    parts = []
    for part in latents.split(memory_estimate.frames_per_decoding(vae, latents.shape, vae.device)):
        stop_if_interrupted()
        parts.append(vae.decode(part))
    images = parts[0] if len(parts) == 1 else torch.cat(parts)
    finite = torch.isfinite(images).flatten(1).all(1)
    if not bool(finite.all()):
        number = numbers[int(finite.logical_not().nonzero()[0])]
        source = (
            "VAE, which needs float32: start ComfyUI with --fp32-vae"
            if bool(torch.isfinite(latents).all())
            else f"model: {FINITE_ADVICE}"
        )
        raise ValueError(f"Walk Sampler: frame {number} holds NaN or infinite values, which come from the {source}")
    return images.reshape(-1, *images.shape[-3:]) if images.ndim == 5 else images


class FrameRows:
    """The latents or images of a known number of frames, put in chunk by chunk into one tensor.

    Its shape is known when the first chunk arrives; every frame has equally many rows.

    show: given the rows of each chunk as they arrive
    """

    def __init__(self, frames: int, device: torch.device, show: Show | None = None):
        self._frames, self._device, self._show = frames, device, show
        self._tensor: Tensor | None = None
        self._rows_per_frame = 1

    @property
    def tensor(self) -> Tensor:
        """All rows, of which those are filled that have been put in.

        raises: RuntimeError before the first chunk
        """
        if self._tensor is None:
            raise RuntimeError("the shape of the frames is not known before the first of them")
        return self._tensor

    def put(self, start: int, stop: int, rows: Tensor) -> None:
        """Puts in the rows of the frames start..stop."""
        if self._tensor is None:
            self._rows_per_frame = rows.shape[0] // (stop - start)
            shape = (self._frames * self._rows_per_frame, *rows.shape[1:])
            self._tensor = torch.empty(shape, dtype=rows.dtype, device=self._device)
        self.rows(start, stop).copy_(rows)
        if self._show is not None:
            self._show(rows)

    def rows(self, start: int, stop: int) -> Tensor:
        """Returns the rows of the frames start..stop."""
        return self.tensor[start * self._rows_per_frame : stop * self._rows_per_frame]
