"""The sampler of a replay: undoes an inversion on the host's guider, or refuses what would be another image."""

from __future__ import annotations

import comfy.samplers
import torch
from torch import Tensor

from ...smooth_lora.inversion.passes import run_replay
from ...smooth_lora.inversion.record import Inversion
from ...smooth_lora.wording import size_text
from ..host.protocols import Guider
from ..model.latent_space import state_device
from ..model.passes import Stage, stage_of
from .guider import ReplayGuider, require_model
from .replay_conditioning import bound_to_steps

_WHO = "Replay Sampler"


class ReplaySampler(comfy.samplers.KSAMPLER):
    """A SAMPLER that undoes an inversion's path step by step, in float64 around the model.

    skip:   steps left out at the noisy end: the replay starts from the path there, so that more of the image stays
    states: [steps + 1, B, ...] float64 of a finished replay, with keep_states
    raises: ValueError if skip leaves nothing to sample
    """

    draws_noise = False
    states: Tensor

    def __init__(self, inversion: Inversion, skip: int = 0):
        super().__init__(self._replayed)
        most = max(0, inversion.steps - inversion.row.least_steps)
        if not 0 <= skip <= most:
            raise ValueError(
                f"{_WHO}: skip is {skip}, but this inversion has {inversion.steps} steps; give 0 to {most}"
            )
        self.inversion = inversion
        self.skip = skip
        self.keep_states = False
        self.rows = 0

    @property
    def sigmas(self) -> Tensor:
        """[steps + 1] float32, to wire as SIGMAS."""
        return self.inversion.sigmas[self.skip :].float()

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """Called by the host's guider. Its own latent and mask go on working: outside a mask latent_image stays.

        raises: ValueError when model, steps, size or noise are not the inversion's
        """
        self._require_sigmas_and_size(sigmas, noise)
        self._require_guider(model_wrap)
        model = comfy.samplers.KSamplerX0Inpaint(model_wrap, sigmas)
        model.latent_image, model.noise = latent_image, noise
        extra_args = {**extra_args, "denoise_mask": denoise_mask}
        stage = stage_of(
            model_wrap,
            model,
            steps=len(sigmas) - 1,
            extra_args=extra_args,
            callback=callback,
            noise=noise,
            latent=latent_image,
        )
        states = self._replayed(stage)
        self.rows = stage.denoise.rows
        if self.keep_states:
            self.states = states
        end = float(self.inversion.sigmas[-1])
        return (states[-1] / self.inversion.scale.stretch(end)).to(noise)

    def _require_sigmas_and_size(self, sigmas: Tensor, noise: Tensor) -> None:
        expected = self.sigmas
        if sigmas.shape != expected.shape or not torch.allclose(sigmas.cpu().float(), expected, rtol=1e-5, atol=0):
            raise ValueError(
                f"{_WHO}: the sigmas are not those of the inversion ({len(expected) - 1} steps from "
                f"{float(expected[0]):.4g} to {float(expected[-1]):.4g}, got {len(sigmas) - 1} from "
                f"{float(sigmas[0]):.4g} to {float(sigmas[-1]):.4g}); wire the sigmas output of the Replay Sampler"
            )
        if noise.shape[1:] != self.inversion.noise.shape[1:]:
            raise ValueError(
                f"{_WHO}: the latent is {size_text(noise.shape[1:])}, but the inversion is "
                f"{size_text(self.inversion.noise.shape[1:])}; wire the latent_image of the Replay Sampler"
            )

    def _require_guider(self, guider: Guider) -> None:
        """Refuses the guider of another inversion, and a stock one where only the Replay Guider serves."""
        inversion = self.inversion
        if isinstance(guider, ReplayGuider):
            if not guider.serves(inversion):
                raise ValueError(
                    f"{_WHO}: the Replay Guider belongs to another inversion; wire the same inversion to both"
                )
            return
        require_model(inversion, guider.model_patcher, _WHO)
        negative = guider.original_conds.get("negative", [{}])
        fitted = inversion.nulls is not None and not bound_to_steps(negative)
        if inversion.row.needs.guidance is not None or fitted:
            raise ValueError(
                f"{_WHO}: an inversion with {inversion.method} comes back only with the Replay Guider, "
                "which changes the guidance at every step; wire it in place of this guider"
            )

    def _replayed(self, stage: Stage) -> Tensor:
        """States [steps + 1, B, ...] of the replay."""
        device = state_device(stage.noise.device)
        rows = self.inversion.rows_of(stage.noise)
        guidance = stage.guider.own_guidance if isinstance(stage.guider, ReplayGuider) else None
        return run_replay(
            self.inversion,
            stage.denoise,
            self._start(stage, rows, device),
            rows,
            skip=self.skip,
            edited=None if guidance is None else lambda: guidance.edited(device),
            on_step=stage.on_step,
            who=_WHO,
        )

    def _start(self, stage: Stage, rows: Tensor, device: torch.device) -> Tensor:
        """Start of the replay: the inversion's own states, or for other noise what the host makes of it."""
        if bool((rows < 0).any()) and self.skip:
            raise ValueError(
                f"{_WHO}: skip needs the noise of the inversion itself, because it starts on its "
                "path; set skip to 0, or wire that noise"
            )
        sampling = stage.guider.inner_model.model_sampling
        sigma = self.inversion.sigmas[self.skip].float().to(stage.noise.device)
        full = self.max_denoise(stage.guider, [float(sigma)])
        scaled = sampling.noise_scaling(sigma, stage.noise, torch.zeros_like(stage.noise), full)
        start = scaled.to(device).double()
        inverted = rows >= 0
        start[inverted.to(device)] = self.inversion.states[self.skip][rows[inverted]].to(device)
        return start
