"""Replays an inversion on the host's own guider and sampler nodes, and says so when it would be another picture."""

from __future__ import annotations

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.inversion import anchored, encoders, exact
from ...smooth_lora.inversion.methods import ENCODERS, PLAIN_REPLAY, SOURCE_AS_NEGATIVE
from ...smooth_lora.inversion.plain import replay_ddim
from ...smooth_lora.inversion.record import Inversion
from ...smooth_lora.wording import size_text
from ..model.fingerprint import fingerprint
from ..model.latent_space import state_device
from ..model.passes import Stage, stage_of
from ..model.texts import SIGMA_START, per_step, repeated_rows, stacked

PULL, PULL_FROM, QUANTILE = "pull", "pull_from", "quantile"
AS_INVERTED = -1.0


def require_model(inversion: Inversion, model: ModelPatcher, who: str, allow: bool = False) -> None:
    """Refuse a model that is not the one inverted with, unless it is wanted so.

    raises: ValueError
    """
    if not allow and fingerprint(model) != inversion.model:
        raise ValueError(
            f"{who}: this model is not the one that was inverted with (its weights, LoRAs, strengths or "
            "patches differ), so the picture would not come back; wire the same model with the same "
            "LoRAs, or turn on allow_other_model in the Replay Guider if this is what you want"
        )


class ReplayGuider(comfy.samplers.CFGGuider):
    """The host's CFG guider with the texts that an inversion's method needs, for that inversion's model.

    inversion: what is replayed
    cfg:       guidance scale; AS_INVERTED takes the inversion's
    positive, negative: CONDITIONING; None takes the inversion's, which gives the picture back
    raises:    ValueError for another model, unless allow_other_model; for a negative text that does not change by the
               step where the method fitted texts that do
    """

    def __init__(
        self,
        model: ModelPatcher,
        inversion: Inversion,
        cfg: float = AS_INVERTED,
        positive: list | None = None,
        negative: list | None = None,
        allow_other_model: bool = False,
    ):
        require_model(inversion, model, "Replay Guider", allow_other_model)
        self.inversion = inversion
        self.proximal = None
        if inversion.method == "proximal":
            self.proximal = ProximalGuidance(float(inversion.settings[QUANTILE]))
            model = self.proximal.on(model)
        super().__init__(model)
        if negative is not None and inversion.nulls is not None and not _by_steps([values for _, values in negative]):
            raise ValueError(
                f"Replay Guider: {inversion.method} brings the picture back with a negative text of its "
                "own for every step, which the one at negative would replace; leave negative open, or "
                "invert with exact or edit_friendly to use a negative text"
            )
        self.set_conds(*replay_texts(inversion, positive, negative))
        self.set_cfg(inversion.cfg if cfg == AS_INVERTED else cfg)


def replay_texts(inversion: Inversion, positive: list | None = None, negative: list | None = None) -> tuple[list, list]:
    """The positive and negative CONDITIONING of a replay; those given take the place of the inversion's."""
    source = inversion.positive
    if inversion.method == "direct" and positive is not None:
        rows = inversion.pictures
        texts = [repeated_rows(source, rows), repeated_rows(positive, rows)]
        positive = stacked(texts, ["the inversion's text", "positive"])
    if negative is None:
        negative = source if inversion.method in SOURCE_AS_NEGATIVE else inversion.negative
        if inversion.nulls is not None:
            negative = per_step(inversion.negative, inversion.nulls, inversion.sigmas)
    return source if positive is None else positive, negative


def _by_steps(entries: list[dict]) -> bool:
    """Whether the entries of a text are each bound to a step."""
    return all(SIGMA_START in entry for entry in entries)


def _same(one: Inversion, other: Inversion) -> bool:
    """Whether what one's guider adds serves the other; several methods find the same noise, so it is not enough."""
    return one is other or ((one.method, one.cfg) == (other.method, other.cfg) and torch.equal(one.noise, other.noise))


class ProximalGuidance:
    """Proximal guidance as the host's cfg function, and where it acted last."""

    def __init__(self, quantile: float):
        self.quantile = quantile
        self.kept: Tensor | None = None

    def on(self, model: ModelPatcher) -> ModelPatcher:
        """A copy of the model with it.

        raises: ValueError for a model whose guidance another node replaces already
        """
        if "sampler_cfg_function" in model.model_options:
            raise ValueError(
                "Replay Guider: another node replaces this model's guidance (a cfg function), which "
                "proximal inversion needs for itself; remove that node, or invert with negative_prompt"
            )
        model = model.clone()
        model.set_model_sampler_cfg_function(self, disable_cfg1_optimization=True)
        return model

    def __call__(self, args: dict) -> Tensor:
        """Called by the host with both predictions; returns the noise part, x - denoised."""
        source = args["uncond_denoised"]
        change, self.kept = anchored.proximal(args["cond_denoised"] - source, self.quantile)
        return args["input"] - (source + args["cond_scale"] * change)


class ReplaySampler(comfy.samplers.KSAMPLER):
    """A SAMPLER that undoes an inversion's path step by step, in float64 beside the model.

    skip:   steps left out at the noisy end: the replay starts from the path there, so that more of the picture stays
    raises: ValueError if skip leaves nothing to sample
    """

    draws_noise = False

    def __init__(self, inversion: Inversion, skip: int = 0):
        super().__init__(self._steps)
        most = inversion.steps - (2 if inversion.method == "exact" else 1)
        if not 0 <= skip <= max(most, 0):
            raise ValueError(
                f"Replay Sampler: skip is {skip}, but this inversion has {inversion.steps} steps; "
                f"give 0 to {max(most, 0)}"
            )
        self.inversion = inversion
        self.skip = skip
        self.keep_states = False
        self.states: Tensor | None = None
        self.rows = 0

    @property
    def sigmas(self) -> Tensor:
        """[steps + 1] float32, what to wire as SIGMAS."""
        return self.inversion.sigmas[self.skip :].float()

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """Called by the host's guider. Its own latent and mask go on working: outside a mask latent_image stays.

        raises: ValueError when model, steps, size or noise are not the inversion's
        """
        self._require_fitting(model_wrap, sigmas, noise)
        model = comfy.samplers.KSamplerX0Inpaint(model_wrap, sigmas)
        model.latent_image, model.noise = latent_image, noise
        extra_args = {**extra_args, "denoise_mask": denoise_mask}
        stage = stage_of(model_wrap, model, sigmas, extra_args, callback, noise, latent_image)
        states = self._steps(stage)
        self.rows = stage.denoise.rows
        if self.keep_states:
            self.states = states
        end = float(self.inversion.sigmas[-1])
        return (states[-1] / self.inversion.scale.stretch(end)).to(noise)

    def _require_fitting(self, guider, sigmas: Tensor, noise: Tensor) -> None:
        own = self.sigmas
        if sigmas.shape != own.shape or not torch.allclose(sigmas.cpu().float(), own, rtol=1e-5, atol=0):
            raise ValueError(
                f"Replay Sampler: the sigmas are not those of the inversion ({len(own) - 1} steps from "
                f"{float(own[0]):.4g} to {float(own[-1]):.4g}, got {len(sigmas) - 1} from "
                f"{float(sigmas[0]):.4g} to {float(sigmas[-1]):.4g}); wire the sigmas output of the "
                "Replay Sampler"
            )
        if noise.shape[1:] != self.inversion.noise.shape[1:]:
            raise ValueError(
                f"Replay Sampler: the latent is {size_text(noise.shape[1:])}, but the inversion is "
                f"{size_text(self.inversion.noise.shape[1:])}; wire the latent_image of the Replay "
                "Sampler"
            )
        if isinstance(guider, ReplayGuider):
            if not _same(guider.inversion, self.inversion):
                raise ValueError(
                    "Replay Sampler: the Replay Guider belongs to another inversion; wire the same inversion to both"
                )
        else:
            require_model(self.inversion, guider.model_patcher, "Replay Sampler")
            self._require_texts(guider)

    def _require_texts(self, guider) -> None:
        """Refuse a stock guider where the picture comes back only with what the Replay Guider adds."""
        method = self.inversion.method
        negative = guider.original_conds.get("negative", [{}])
        if method == "proximal" or (self.inversion.nulls is not None and not _by_steps(negative)):
            raise ValueError(
                f"Replay Sampler: an inversion with {method} comes back only with the Replay Guider, "
                "which changes the guidance at every step; wire it in place of this guider"
            )

    def _steps(self, stage: Stage) -> Tensor:
        """States [steps + 1, B, ...] of the replay."""
        inversion, method = self.inversion, self.inversion.method
        sigmas = [float(sigma) for sigma in inversion.sigmas[self.skip :]]
        device = state_device(stage.noise.device)
        rows = inversion.rows_of(stage.noise)
        if method in PLAIN_REPLAY:
            return replay_ddim(stage.denoise, self._start(stage, rows, device), sigmas, stage.on_step)
        if bool((rows < 0).any()):
            raise ValueError(
                f"Replay Sampler: the noise is not that of the inversion, but {method} can only replay "
                "from its own; wire the noise of the same inversion, or invert with ddim or null_text to "
                "walk between noises"
            )
        path = inversion.states[self.skip :, rows].to(device)
        if method == "exact":
            return exact.replay_exact(stage.denoise, path[0], path[1], sigmas, stage.on_step)
        if method in ENCODERS:
            kept = inversion.residuals[self.skip :, rows].to(device)
            return encoders.replay_residuals(
                stage.denoise, path[0], kept, sigmas, float(inversion.settings["eta"]), inversion.scale, stage.on_step
            )
        if method == "direct":
            first = torch.tensor([bool(row not in rows[:place]) for place, row in enumerate(rows)], device=device)
            return anchored.replay_direct(stage.denoise, path[0], path, first, sigmas, stage.on_step)
        first_pulled = max(0, int(inversion.settings[PULL_FROM]) - self.skip)
        return anchored.replay_proximal(
            stage.denoise,
            path[0],
            path,
            sigmas,
            edited=lambda: stage.guider.proximal.kept.to(device),
            pull=float(inversion.settings[PULL]),
            pull_from=first_pulled,
            on_step=stage.on_step,
        )

    def _start(self, stage: Stage, rows: Tensor, device: torch.device) -> Tensor:
        """Where a plain replay starts: the inversion's own states, or for walked noise what the host makes of it."""
        path = self.inversion.states[self.skip]
        if bool((rows < 0).any()) and self.skip:
            raise ValueError(
                "Replay Sampler: skip needs the noise of the inversion itself, because it starts on its "
                "path; set skip to 0, or wire that noise"
            )
        sampling = stage.guider.inner_model.model_sampling
        sigma = self.inversion.sigmas[self.skip].float().to(stage.noise.device)
        full = self.max_denoise(stage.guider, [float(sigma)])
        scaled = sampling.noise_scaling(sigma, stage.noise, torch.zeros_like(stage.noise), full)
        start = scaled.to(device).double()
        own = rows >= 0
        start[own.to(device)] = path[rows[own]].to(device)
        return start
