"""The images that are inverted: encoded once, and kept to compare the reconstruction with."""

from __future__ import annotations

from functools import cached_property

import comfy.sample
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.checks import require_finite
from ...smooth_lora.inversion.receipt import compared
from ...smooth_lora.scores.quality import PictureQuality
from ..host.protocols import Latent, Vae
from ..host.wires import plain_samples

MOST_IMAGES = 64
_WHO = "Invert Picture"


class SourceImages:
    """Images as latents in VAE units, from an IMAGE through a VAE or from a LATENT.

    image:  [B, H, W, C] 0..1, or None
    latent: LATENT dict, or None; exactly one of the two
    vae:    needed with an image; with a latent it lets the receipt compare images
    raises: ValueError naming what is missing, nested, not finite or too many
    """

    def __init__(self, model: ModelPatcher, image: Tensor | None, latent: Latent | None, vae: Vae | None):
        self.vae = vae
        self.input: Tensor | None = None
        if image is not None and latent is None:
            self.input, self.latent = _encoded(image, vae)
        elif latent is not None and image is None:
            self.latent = plain_samples(latent, _WHO).float()
        else:
            wired = "neither" if image is None else "both"
            raise ValueError(f"{_WHO}: wire either an image (with a vae) or a latent_image, got {wired}")
        require_finite(f"{_WHO}: latent_image", self.latent)
        fixed = comfy.sample.fix_empty_latent_channels(model, self.latent)
        if fixed.shape != self.latent.shape or self.latent.shape[1] != model.model.latent_format.latent_channels:
            raise ValueError(
                f"{_WHO}: the latent has {self.latent.shape[1]} channels, but this model's have "
                f"{model.model.latent_format.latent_channels}; encode the picture with the model's own "
                "VAE"
            )
        if not 1 <= self.count <= MOST_IMAGES:
            raise ValueError(
                f"{_WHO}: {self.count} pictures at once, but 1 to {MOST_IMAGES} can be inverted "
                "together; invert them in parts"
            )
        if not bool(self.latent.any()):
            raise ValueError(
                f"{_WHO}: the latent is empty (all zeros), so there is no picture to invert; wire an "
                "image, or the latent of an encoded picture"
            )

    @property
    def count(self) -> int:
        """Number of images."""
        return self.latent.shape[0]

    def decoded(self, latent: Tensor) -> Tensor | None:
        """Decodes latents into images [B, H, W, 3]; None without a VAE."""
        if self.vae is None:
            return None
        images = self.vae.decode(latent)
        return (images.reshape(-1, *images.shape[-3:]) if images.ndim == 5 else images).float().cpu().clamp(0, 1)

    @cached_property
    def round_trip(self) -> Tensor | None:
        """Images [B, H, W, 3] as the VAE alone brings them back; None without a VAE."""
        return self.decoded(self.latent)

    def qualities(self, reconstruction: Tensor) -> list[tuple[PictureQuality | None, ...]]:
        """Compares each reconstruction with the input and with the VAE's round trip, and measures the ceiling.

        reconstruction: [B, C, ...] latents in VAE units
        """
        images, round_trip = self.decoded(reconstruction), self.round_trip
        if images is None or round_trip is None or images.shape[0] != self.count:
            return [(None, None, None)] * self.count
        against_vae = compared(images, round_trip)
        if self.input is None:
            return [(None, quality, None) for quality in against_vae]
        given = self.input.cpu()[..., : images.shape[-1]].clamp(0, 1)
        return list(zip(compared(images, given), against_vae, compared(round_trip, given), strict=True))


def _encoded(image: Tensor, vae: Vae | None) -> tuple[Tensor, Tensor]:
    """Encodes an image: the part of it that a latent holds, and that latent.

    raises: ValueError without a VAE, or for an image that is not finite or too small
    """
    if vae is None:
        raise ValueError(
            f"{_WHO}: an image needs a VAE to be encoded; wire the vae of your checkpoint, or encode "
            "the picture yourself and wire the latent_image"
        )
    require_finite(f"{_WHO}: image", image)
    _require_size(image, vae.spacial_compression_encode())
    return vae.vae_encode_crop_pixels(image).float(), vae.encode(image).float()


def _require_size(image: Tensor, latent_pixel: int) -> None:
    height, width = image.shape[1:3]
    if min(height, width) < latent_pixel:
        raise ValueError(
            f"{_WHO}: image is {width}x{height} pixels, but the model's latents have one value for "
            f"{latent_pixel}x{latent_pixel}; wire a larger picture"
        )
