"""Null-text inversion on the host's network: gradients by the text alone, everything else left to the host."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.conds
import comfy.model_management
import comfy.samplers
import torch
from torch import Tensor

from ...smooth_lora.inversion.null_text import Effort, optimise_nulls
from ...smooth_lora.inversion.record import Inversion
from ..host.progress import WalkProgress, stop_if_interrupted
from ..model.gradients import constant_cond, gradients_through
from ..model.latent_space import state_device

TEXT = "c_crossattn"  # the host's name for what cross-attention reads


class NullTextSampler(comfy.samplers.Sampler):
    """A SAMPLER that walks down an inversion's path and fits the negative text at every step.

    rows: which of the inversion's pictures share the text
    """

    def __init__(self, inversion: Inversion, rows: slice, progress: WalkProgress):
        self.inversion, self.rows, self.progress = inversion, rows, progress
        self.nulls: Tensor | None = None
        self.effort = Effort()

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """Called by the host's guider, with the model loaded and the texts prepared."""
        inversion, settings = self.inversion, self.inversion.settings
        network = model_wrap.inner_model.diffusion_model
        host = _TextCalls(model_wrap, extra_args["model_options"], noise.device)
        bar = _Bar(self.progress, int(settings["inner_steps"]))
        with gradients_through(network, bool(settings["low_memory"])):
            path = inversion.states[:, self.rows].to(state_device(noise.device)).clone()
            nulls, self.effort = optimise_nulls(
                host.cond,
                host.uncond,
                path,
                [float(sigma) for sigma in inversion.sigmas],
                host.empty_text(),
                cfg=inversion.cfg,
                scale=inversion.scale,
                iterations=int(settings["inner_steps"]),
                tolerance=float(settings["tolerance"]),
                on_step=bar.step,
                on_inner=bar.inner,
            )
        self.nulls = nulls.cpu()
        return latent_image


class _TextCalls:
    """The host's network with the picture's text, and with any text in the place of the negative one."""

    def __init__(self, guider, model_options: dict, device: torch.device):
        self.guider, self.options, self.device = guider, model_options, device
        self.entry = guider.conds["negative"][0]

    def empty_text(self) -> Tensor:
        """[1, T, D] float32: the negative text as the network gets it."""
        given = self.entry["model_conds"].get(TEXT)
        if given is None:
            raise ValueError(
                "Invert: this model does not read its text by cross-attention, so there is no empty text "
                "to optimise; choose exact or edit_friendly"
            )
        return given.cond[:1].to(self.device, torch.float32).clone()

    def cond(self, x: Tensor, sigma: float) -> Tensor:
        """Denoised with the pictures' texts, no guidance."""
        return self._call(self.guider.conds["positive"], x, sigma)

    def uncond(self, text: Tensor, x: Tensor, sigma: float) -> Tensor:
        """Denoised with a text in place of the negative one."""
        conds = {name: constant_cond(cond) for name, cond in self.entry["model_conds"].items()}
        conds[TEXT] = comfy.conds.CONDCrossAttn(text)
        return self._call([{**self.entry, "model_conds": conds}], x, sigma)

    def _call(self, conds: list[dict], x: Tensor, sigma: float) -> Tensor:
        stop_if_interrupted()
        levels = torch.full([x.shape[0]], sigma, dtype=torch.float32, device=self.device)
        rows = x.to(self.device, torch.float32)
        return comfy.samplers.calc_cond_batch(self.guider.inner_model, [conds], rows, levels, self.options)[0].to(x)


@dataclass
class _Bar:
    """Progress of the inner steps; a step that needs fewer gives the rest at its end."""

    progress: WalkProgress
    most: int
    taken: int = 0

    def inner(self) -> None:
        """One inner step more."""
        self.taken += 1
        self.progress.advance(1)

    def step(self, step: int, x: Tensor, denoised: Tensor) -> None:
        """The end of an outer step."""
        self.progress.advance(max(0, self.most - self.taken))
        self.taken = 0


def optimise(made: Inversion, guider_for, progress: WalkProgress) -> tuple[Tensor, Effort, list[str]]:
    """The empty texts of an inversion, picture by picture, or one for both in the dual method.

    guider_for: slice of pictures -> (guider with their texts and the replay's cfg, their latents), ready to sample
    returns:    [N, B or 1, T, D] float32, the effort of all, and what the user should know
    """
    shared = made.method == "null_text_dual"
    groups = [slice(0, made.pictures)] if shared else [slice(b, b + 1) for b in range(made.pictures)]
    nulls, total, notes = [], Effort(), []
    for number, rows in enumerate(groups, start=1):
        sampler = NullTextSampler(made, rows, progress)
        guider, latent = guider_for(rows)
        guider.sample(torch.zeros_like(latent), latent, sampler, made.sigmas.float(), disable_pbar=True, seed=0)
        nulls.append(sampler.nulls)
        effort = sampler.effort
        total = Effort(*(getattr(total, name) + getattr(effort, name) for name in vars(total)))
        if made.cfg == 1.0:
            notes = ["At cfg 1 the empty text has no effect, so nothing was optimised: this is a plain DDIM inversion."]
        else:
            notes.append(
                f"{'Both pictures' if shared else f'Picture {number}'}: {effort.inner} inner steps, "
                f"{effort.met} of {made.steps} steps reached their aim."
            )
    return torch.cat(nulls, dim=1), total, notes
