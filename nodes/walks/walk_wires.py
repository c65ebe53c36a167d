"""The wires of a walk: what a node is given to render one, passed on as a single record."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from ...smooth_lora.walks.walk import Walk
from ..host.protocols import Guider, Latent, Noise, Sampler, Vae
from ..host.wires import plain_samples

_RATIO = "downscale_ratio_"  # of an empty latent's entries, which hold for the size it was made in


@dataclass(frozen=True, eq=False)
class WalkWires:
    """The wires of a walk, and what follows from them alone.

    guider:  used through a copy
    sigmas:  [steps + 1], model units
    noise:   a walk NOISE, or any NOISE, which then is the same in every frame
    latent:  LATENT with 1 sample or one per frame; batch_index, where present, names frame numbers
    vae:     None where no images are wanted
    frames_per_batch: frames that go through the model together; 0 chooses from free memory
    """

    guider: Guider
    sampler: Sampler
    sigmas: Tensor
    noise: Noise
    latent: Latent
    walk: Walk
    vae: Vae | None = None
    frames_per_batch: int = 0

    @cached_property
    def frames(self) -> Walk:
        """The frames to render: those of the walk that the latent names, all of them where it names none.

        raises: ValueError naming a number that no frame of the walk has
        """
        numbers = self.latent.get("batch_index")
        return self.walk if numbers is None else self.walk.select(numbers)

    @property
    def samples(self) -> Tensor:
        """Samples [B, C, ...] of the latent.

        raises: ValueError for a latent that nests several
        """
        return plain_samples(self.latent, "Walk Sampler")

    @property
    def noise_mask(self) -> Tensor | None:
        """Mask of the latent: where it is sampled anew."""
        return self.latent.get("noise_mask")

    @property
    def downscale_ratios(self) -> dict[str, int]:
        """Pixels per latent value that an empty latent was made for, by the host's names; ComfyUI 0.18 has only one."""
        return {name: value for name, value in self.latent.items() if name.startswith(_RATIO)}

    @property
    def decoder(self) -> Vae:
        """The VAE.

        raises: ValueError if there is none
        """
        if self.vae is None:
            raise ValueError("Walk Sampler: images need a VAE, and none is wired; wire the vae of your checkpoint")
        return self.vae

    @property
    def steps(self) -> int:
        """Sampling steps."""
        return max(0, self.sigmas.shape[-1] - 1)

    def units(self, frames: int) -> int:
        """Units of progress that so many frames take."""
        return walk_units(frames, self.steps, decoded=self.vae is not None)

    def latent_of(self, samples: Tensor) -> Latent:
        """Returns a LATENT like the one sampled from, with other samples."""
        return {
            **{name: value for name, value in self.latent.items() if not name.startswith(_RATIO)},
            "samples": samples,
        }


def walk_units(frames: int, steps: int, *, decoded: bool) -> int:
    """Units of progress that a walk takes: one per frame and step, and one per frame to decode."""
    return frames * (steps + decoded)
