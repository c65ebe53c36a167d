"""The NOISE of an inversion."""

from __future__ import annotations

from torch import Tensor

from ...smooth_lora.walks.noise import content_seed
from ...smooth_lora.wording import size_text
from ..host.protocols import Latent
from ..host.wires import plain_samples


class InvertedNoise:
    """The NOISE of an inversion: unit noise that a host sampler scales to the inverted latent.

    It sees a latent and nothing else, so it can check the size alone; the replay nodes check model, sigmas and prompt.
    """

    def __init__(self, noise: Tensor):
        self.noise = noise
        self.seed = content_seed(noise)

    def generate_noise(self, latent: Latent) -> Tensor:
        """Returns noise [B, C, ...] on the CPU, in the latent's dtype; that of fewer images is repeated in order.

        raises: ValueError when the latent has another size, or a batch that is no multiple of the images
        """
        samples = plain_samples(latent, "inverted noise")
        images, wanted = self.noise.shape[0], samples.shape
        if self.noise.shape[1:] != wanted[1:]:
            raise ValueError(
                f"inverted noise: it is of {size_text(self.noise.shape[1:])}, but is asked for a latent of "
                f"{size_text(wanted[1:])}; "
                "wire the latent_image of the Replay Sampler, or an empty latent of the picture's size"
            )
        numbers = latent.get("batch_index")
        if numbers is not None and all(0 <= int(n) < images for n in numbers):
            return self.noise[[int(n) for n in numbers]].to(samples.dtype)
        if wanted[0] % images:
            raise ValueError(
                f"inverted noise: it holds {images} pictures, but the latent batch is {wanted[0]}; "
                f"set the batch to {images}, or a multiple of it"
            )
        return self.noise.repeat(wanted[0] // images, *[1] * (len(wanted) - 1)).to(samples.dtype)
