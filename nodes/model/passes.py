"""Runs one of our passes over the sigmas through the host's guider, as its samplers run.

So the host loads the model, applies LoRAs and hooks, prepares conditionings and previews, and can be stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.samplers
import torch
from torch import Tensor

from ...smooth_lora.inversion.contract import Inverted
from ...smooth_lora.sampling.denoise import OnStep
from .latent_space import state_device


class HostDenoiser:
    """The host's model as the methods call it; counts the rows that go through the network.

    The states keep float64; the model gets them as float32, which is the same bits whenever the states are.
    model:      as the host's samplers call it, (x, sigma, **extra_args) -> denoised
    network_rows: rows of the network per row of x: 2 where guidance needs both conditionings, else 1
    """

    def __init__(
        self, model: Callable[..., Tensor], extra_args: dict[str, Any], device: torch.device, network_rows: int
    ):
        self.model, self.extra_args, self.device = model, extra_args, device
        self.network_rows = network_rows
        self.rows = 0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """x [B, ...] float64, sigma > 0 -> denoised [B, ...] float64 where x is."""
        self.rows += x.shape[0] * self.network_rows
        levels = torch.full([x.shape[0]], sigma, dtype=torch.float32, device=self.device)
        denoised = self.model(x.to(self.device, torch.float32), levels, **self.extra_args)
        return denoised.to(x)


@dataclass(frozen=True)
class Stage:
    """The arguments of a sampler, in the form our passes use.

    guider:  with its processed `conds` and loaded `inner_model`
    denoise: guidance and conditionings included
    latent:  [B, ...] float64, model units
    noise:   [B, ...] float32 as given
    on_step: shows progress and previews
    """

    guider: comfy.samplers.CFGGuider
    denoise: HostDenoiser
    latent: Tensor
    noise: Tensor
    on_step: OnStep
    extra_args: dict[str, Any]


class PassSampler(comfy.samplers.Sampler):
    """A SAMPLER that runs an inversion and keeps its float64 result, which the host's own way out would round.

    run:      Stage -> the inversion
    inverted: its result, once the host has sampled
    """

    inverted: Inverted

    def __init__(self, run: Callable[[Stage], Inverted]):
        self.run = run
        self.rows = 0

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """Called by the host's guider."""
        stage = stage_of(
            model_wrap,
            model_wrap,
            steps=len(sigmas) - 1,
            extra_args=extra_args,
            callback=callback,
            noise=noise,
            latent=latent_image,
        )
        self.inverted = self.run(stage)
        self.rows = stage.denoise.rows
        return self.inverted.states[-1].to(noise)


def stage_of(
    guider: comfy.samplers.CFGGuider,
    model: Callable[..., Tensor],
    *,
    steps: int,
    extra_args: dict[str, Any],
    callback: Callable[[int, Tensor, Tensor, int], None] | None,
    noise: Tensor,
    latent: Tensor,
) -> Stage:
    """Makes the Stage of a sampler's arguments.

    model:    called for each denoising: the guider itself, or the host's inpainting around it
    callback: the host's, (step, denoised, x, steps)
    latent:   [B, ...] model units
    """
    network_rows = 2 if needs_both_conditionings(guider, extra_args) else 1
    denoise = HostDenoiser(model, extra_args, noise.device, network_rows)

    def on_step(step: int, x: Tensor, denoised: Tensor) -> None:
        if callback is not None:
            callback(step, denoised.to(noise), x.to(noise), steps)

    states = latent.to(state_device(noise.device)).double()
    return Stage(guider, denoise, states, noise, on_step, extra_args)


def needs_both_conditionings(guider: comfy.samplers.CFGGuider, extra_args: dict[str, Any]) -> bool:
    """True where the host runs the negative conditioning together with the positive one."""
    off = extra_args["model_options"].get("disable_cfg1_optimization", False)
    return bool(guider.conds.get("negative")) and (off or abs(guider.cfg - 1.0) > 1e-9)
