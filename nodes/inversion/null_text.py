"""Null-text inversion on the host's network: gradients by the text alone, everything else left to the host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.conds
import comfy.samplers
import torch
from torch import Tensor

from ...smooth_lora.inversion.algorithms.null_text import INNER_STEPS, LOW_MEMORY, TOLERANCE, optimise_nulls
from ...smooth_lora.inversion.algorithms.text_fit import Effort
from ...smooth_lora.inversion.record import Inversion
from ..host.progress import WalkProgress, stop_if_interrupted
from ..model.gradients import constant_cond, gradients_through
from ..model.latent_space import state_device

CROSS_ATTENTION = "c_crossattn"  # the host's name for what cross-attention reads
_WHO = "Invert Picture"


@dataclass(frozen=True)
class FittedNulls:
    """The empty texts of an inversion.

    nulls:  [N, B or 1, T, D] float32
    effort: of all fits together
    notes:  sentences a user should read
    """

    nulls: Tensor
    effort: Effort
    notes: list[str]


def fit_calls(inversion: Inversion, images: int) -> int:
    """Inner steps, at most, of all fits at one sampling step; 0 for a method that fits nothing."""
    groups = inversion.row.fit_groups(images)
    return len(groups) * inversion.row.settings_of(inversion.settings, _WHO)[INNER_STEPS] if groups else 0


def optimise(
    inversion: Inversion, guider_for: Callable[[slice], tuple[Any, Tensor]], progress: WalkProgress
) -> FittedNulls:
    """Fits the empty texts of an inversion: one for each image, or one that all share.

    guider_for: slice of images -> (guider with their texts and the replay's cfg, their latents), ready to sample
    """
    nulls, total, notes = [], Effort(), []
    for rows in inversion.row.fit_groups(inversion.images):
        sampler = NullTextSampler(inversion, rows, progress)
        guider, latent = guider_for(rows)
        guider.sample(torch.zeros_like(latent), latent, sampler, inversion.sigmas.float(), disable_pbar=True, seed=0)
        nulls.append(sampler.nulls)
        effort = sampler.effort
        total = Effort(*(getattr(total, name) + getattr(effort, name) for name in vars(total)))
        together = "Both pictures" if rows.stop - rows.start == 2 else f"Picture {rows.stop}"
        notes.append(
            f"{together}: {effort.inner} inner steps, {effort.met} of {inversion.steps} steps reached their aim."
        )
    if inversion.cfg == 1.0:
        notes = ["At cfg 1 the empty text has no effect, so nothing was optimised: this is a plain DDIM inversion."]
    return FittedNulls(torch.cat(nulls, dim=1), total, notes)


class NullTextSampler(comfy.samplers.Sampler):
    """A SAMPLER that walks down an inversion's path and fits the negative text at every step.

    rows:  images of the inversion that share the text
    nulls: [N, 1, T, D] float32 on the CPU, once the host has sampled
    """

    nulls: Tensor

    def __init__(self, inversion: Inversion, rows: slice, progress: WalkProgress):
        self.inversion, self.rows, self.progress = inversion, rows, progress
        self.effort = Effort()

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """Called by the host's guider, with the model loaded and the texts prepared."""
        inversion = self.inversion
        settings = inversion.row.settings_of(inversion.settings, _WHO)
        host = _TextCalls(model_wrap, extra_args["model_options"], noise.device)
        bar = _InnerProgress(self.progress, settings[INNER_STEPS])
        with gradients_through(model_wrap.inner_model.diffusion_model, settings[LOW_MEMORY]):
            nulls, self.effort = optimise_nulls(
                host.cond,
                host.uncond,
                inversion.states[:, self.rows].to(state_device(noise.device)).clone(),
                [float(sigma) for sigma in inversion.sigmas],
                text=host.empty_text(),
                cfg=inversion.cfg,
                scale=inversion.scale,
                iterations=settings[INNER_STEPS],
                tolerance=settings[TOLERANCE],
                on_step=bar.end_of_step,
                on_inner=bar.inner_step,
            )
        self.nulls = nulls.cpu()
        return latent_image


class _TextCalls:
    """The host's network with the image's conditioning, and with any text in the place of the negative one."""

    def __init__(self, guider, model_options: dict[str, Any], device: torch.device):
        self.guider, self.options, self.device = guider, model_options, device
        self.entry = guider.conds["negative"][0]

    def empty_text(self) -> Tensor:
        """[1, T, D] float32, the negative text as the network gets it."""
        prepared = self.entry["model_conds"].get(CROSS_ATTENTION)
        if prepared is None:
            raise ValueError(
                f"{_WHO}: this model does not read its text by cross-attention, so there is no empty text "
                "to optimise; choose exact or edit_friendly"
            )
        return prepared.cond[:1].to(self.device, torch.float32).clone()

    def cond(self, x: Tensor, sigma: float) -> Tensor:
        """Denoises with the images' conditioning, no guidance."""
        return self._call(self.guider.conds["positive"], x, sigma)

    def uncond(self, text: Tensor, x: Tensor, sigma: float) -> Tensor:
        """Denoises with a text in place of the negative one."""
        conds = {name: constant_cond(cond) for name, cond in self.entry["model_conds"].items()}
        conds[CROSS_ATTENTION] = comfy.conds.CONDCrossAttn(text)
        return self._call([{**self.entry, "model_conds": conds}], x, sigma)

    def _call(self, conds: list[dict[str, Any]], x: Tensor, sigma: float) -> Tensor:
        stop_if_interrupted()
        sigmas = torch.full([x.shape[0]], sigma, dtype=torch.float32, device=self.device)
        rows = x.to(self.device, torch.float32)
        return comfy.samplers.calc_cond_batch(self.guider.inner_model, [conds], rows, sigmas, self.options)[0].to(x)


@dataclass
class _InnerProgress:
    """Progress of the inner steps; a step that needs fewer gives the rest at its end."""

    progress: WalkProgress
    most: int
    taken: int = 0

    def inner_step(self) -> None:
        """Advances by an inner step."""
        self.taken += 1
        self.progress.advance(1)

    def end_of_step(self, step: int, x: Tensor, denoised: Tensor) -> None:
        """Advances by the inner steps that a sampling step did not need."""
        self.progress.advance(max(0, self.most - self.taken))
        self.taken = 0
