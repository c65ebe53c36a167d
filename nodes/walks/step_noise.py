"""Step noise that walks: ancestral and SDE samplers add noise at every step, and it must move with the frames.

A stock sampler draws that noise for a whole batch at once, so that every frame gets an unrelated one and
the walk blinks. Here each keyframe has the same noise stream that the host would give it alone, and the
frames combine these streams as they combine the start noise.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import comfy.k_diffusion.sampling
import comfy.samplers
import torch
from torch import Tensor

from ...smooth_lora.walks.noise import NoisePath, PathRule
from ...smooth_lora.walks.walk import Walk
from ..host.protocols import Sampler

NoiseSampler = Callable[[Any, Any], Tensor]  # (sigma, next sigma) -> step noise, as the host's samplers call it

_REFUSED = {
    "dpm_fast_function": "dpm_fast draws step noise that cannot be walked",
    "dpm_adaptive_function": "dpm_adaptive chooses its steps by the whole batch, so a frame would depend on its mates",
    "sample_lcm_upscale": "SamplerLCMUpscale draws step noise that cannot be walked",
    "sample_ar_video": "the autoregressive video sampler draws step noise that cannot be walked",
}
_INSTEAD = "choose euler, dpmpp_2m or euler_ancestral instead"


class StepNoise:
    """Gives a sampler, chunk by chunk, step noise combined from one noise stream per keyframe.

    sigmas:   [steps + 1], model units
    seeds:    one per keyframe, the seeds of the streams
    rule:     how NoisePath combines them
    template: [1, C, ...] float32 on the sampling device, the shape of one frame's latent
    raises:   ValueError naming a sampler whose noise cannot be walked
    """

    def __init__(self, sampler: Sampler, sigmas: Tensor, seeds: tuple[int, ...], rule: PathRule, template: Tensor):
        require_walkable(sampler)
        self._sampler: Any = sampler
        self._sigmas = sigmas
        self._seeds = seeds
        self._rule = rule
        self._template = template

    @property
    def walked(self) -> bool:
        """Returns whether the sampler takes step noise from outside."""
        return takes_noise(self._sampler)

    def sampler_for(self, walk: Walk) -> Any:
        """Returns the SAMPLER for one chunk: the one given where it takes no step noise, else a copy."""
        if not self.walked or self._sigmas.shape[-1] < 2:
            return self._sampler
        sampler = copy.copy(self._sampler)
        sampler.extra_options = {**self._sampler.extra_options, "noise_sampler": self._walked_noise(walk)}
        return sampler

    def _walked_noise(self, walk: Walk) -> NoiseSampler:
        streams = [self._stream(seed) for seed in self._seeds]

        def noise_sampler(sigma: Any, sigma_next: Any) -> Tensor:
            keyframes = torch.cat([stream(sigma, sigma_next) for stream in streams])
            if len(streams) == 1:
                return keyframes.expand(len(walk), *keyframes.shape[1:])
            return NoisePath(keyframes, self._rule).at(walk)

        return noise_sampler

    def _stream(self, seed: int) -> NoiseSampler:
        """Starts the host's own noise stream for a batch of one, as its sampler would."""
        name = _function_name(self._sampler)
        if not (name.startswith("sample_dpmpp") and "_sde" in name):
            return comfy.k_diffusion.sampling.default_noise_sampler(self._template, seed=seed)
        sigmas = self._sigmas.to(self._template.device)
        return comfy.k_diffusion.sampling.BrownianTreeNoiseSampler(
            self._template, sigmas[sigmas > 0].min(), sigmas.max(), seed=seed, cpu=not name.endswith("_gpu")
        )


def _function_name(sampler: Sampler) -> str:
    return getattr(getattr(sampler, "sampler_function", None), "__name__", type(sampler).__name__)


def takes_noise(sampler: Sampler) -> bool:
    """Returns whether the function of a SAMPLER has a `noise_sampler` argument."""
    function = getattr(sampler, "sampler_function", None)
    return function is not None and "noise_sampler" in inspect.signature(function).parameters


def require_walkable(sampler: Sampler) -> None:
    """Refuses a sampler that would make the frames depend on their batch.

    raises: ValueError naming it
    """
    name = _function_name(sampler)
    if name in _REFUSED:
        raise ValueError(f"Walk Sampler: {_REFUSED[name]}; {_INSTEAD}")
    if not takes_noise(sampler) and getattr(sampler, "extra_options", {}).get("s_churn", 0.0) > 0:
        raise ValueError(
            f"Walk Sampler: {name} with s_churn above 0 draws step noise that cannot be walked; "
            "set s_churn to 0 or choose euler_ancestral instead"
        )


def require_no_masked_noise(sampler: Sampler, noise_mask: Tensor | None) -> None:
    """Refuses the sampler named ddim with a mask: it draws noise of its own for the masked part.

    raises: ValueError
    """
    if noise_mask is not None and getattr(sampler, "inpaint_options", {}).get("random", False):
        raise ValueError(
            "Walk Sampler: the sampler 'ddim' draws noise of its own under a noise_mask, different in "
            "every frame; choose 'euler', which is the same method without it"
        )


def is_known_sampler(sampler: Sampler) -> bool:
    """Returns whether it is known what step noise a sampler draws: the host's own are, and those that say they draw
    none."""
    if getattr(sampler, "draws_noise", True) is False:
        return True
    function = getattr(sampler, "sampler_function", None)
    module = getattr(function, "__module__", None) or ""
    return isinstance(sampler, comfy.samplers.KSAMPLER) and module.startswith(("comfy.", "comfy_extras."))
