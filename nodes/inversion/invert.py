"""Inverts pictures on the host's model, replays them once, and writes down how exact that was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import comfy.model_management
import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.files.content_key import content_key
from ...smooth_lora.inversion import encoders, exact
from ...smooth_lora.inversion.fixed_point import invert_fixed_point
from ...smooth_lora.inversion.inversion_cache import InversionCache
from ...smooth_lora.inversion.methods import ENCODERS, INVERTED_AT_ONE
from ...smooth_lora.inversion.plain import invert_ddim
from ...smooth_lora.inversion.record import Inversion, PictureReceipt, Receipt
from ...smooth_lora.inversion.whiteness import whiteness
from ...smooth_lora.scores.quality import relative_error
from ..host.folders import GIB
from ..host.memory_peak import PeakMemory
from ..host.progress import WalkProgress
from ..model.call import FINITE_ADVICE
from ..model.fingerprint import fingerprint, read_model, weights_stamp
from ..model.latent_space import falling_sigmas, last_part, noise_factor, scale_of
from ..model.passes import PassSampler, Stage
from ..model.texts import require_reversible, require_single_text, rows_of_conditioning, stacked
from .null_text import optimise
from .pictures import Pictures
from .replay import PULL, PULL_FROM, QUANTILE, ReplayGuider, ReplaySampler
from .store import cache_folder

# What of the node's inputs each method uses; the others are left out, so that they change neither result nor cache.
_USED = {
    "fixed_point": ("iterations",),
    "null_text": ("inner_steps", "tolerance", "low_memory"),
    "null_text_dual": ("inner_steps", "tolerance", "low_memory"),
    "edit_friendly": ("eta", "seed"),
    "dpm_encoder": ("eta", "seed"),
    "proximal": (QUANTILE, PULL),
}
VERSION = 1  # of what an inversion computes: another one never meets the cached results of this


@dataclass(frozen=True)
class Request:
    """What an inversion is asked for; settings are the method's own, see the node."""

    method: str
    cfg: float
    steps: int
    scheduler: str
    final_sigma: str
    settings: Mapping[str, str | int | float]

    @classmethod
    def of(
        cls,
        method: str,
        cfg: float,
        steps: int,
        scheduler: str,
        final_sigma: str,
        inputs: Mapping[str, str | int | float],
    ) -> Request:
        """The request of the node's inputs."""
        return cls(method, cfg, steps, scheduler, final_sigma, {name: inputs[name] for name in _USED.get(method, ())})


def invert_cached(
    model: ModelPatcher,
    positive: list,
    negative: list,
    positive_2: list | None,
    pictures: Pictures,
    request: Request,
    cache_gb: float,
) -> Inversion:
    """`invert`, or what an earlier run with the very same inputs made, also before a restart.

    positive_2: the second picture's text, None if both share the first
    raises:     ValueError
    """
    if positive_2 is not None:
        if pictures.count != 2:
            raise ValueError(
                f"Invert: positive_2 is the text of the second of two pictures, but the number "
                f"of pictures is {pictures.count}; put two pictures into one batch, or remove positive_2"
            )
        positive = stacked([positive, positive_2], ["positive", "positive_2"])
    stamp, complete = read_model(model)
    if not complete:  # the cache could not tell it from another model
        return invert(model, positive, negative, pictures, request)
    cache = InversionCache(cache_folder(), int(cache_gb * GIB))
    try:
        key = content_key(
            version=VERSION,
            request=vars(request),
            model=stamp,
            positive=positive,
            negative=negative,
            latent=pictures.latent,
            image=pictures.input,
            vae=weights_stamp(pictures.vae),
        )
    except TypeError:  # a text that carries a ControlNet, say: nothing tells it from another one
        return invert(model, positive, negative, pictures, request)
    kept = cache.get(key)
    if kept is None:
        kept = invert(model, positive, negative, pictures, request)
        cache.put(key, kept)
    return kept


def invert(model: ModelPatcher, positive: list, negative: list, pictures: Pictures, request: Request) -> Inversion:
    """Invert pictures and measure the result by replaying it.

    raises: ValueError for what cannot be inverted, before any work; the host's interrupt between model calls
    """
    scale = scale_of(model)
    sigmas = falling_sigmas(model, request.scheduler, request.steps, request.final_sigma)
    _require_request(request, positive, negative, pictures, len(sigmas) - 1)
    blank = Inversion(
        method=request.method,
        cfg=request.cfg,
        sigmas=sigmas,
        states=torch.empty(0),
        noise=torch.empty(0),
        scale=scale,
        model=fingerprint(model),
        positive=positive,
        negative=negative,
        settings={
            **request.settings,
            "steps": request.steps,
            "scheduler": request.scheduler,
            "final_sigma": request.final_sigma,
            PULL_FROM: last_part(model, sigmas),
        },
    )
    job = _Job(model, blank, pictures)
    started = time.perf_counter()
    with PeakMemory(model.load_device) as peak:
        made = job.run()
    seconds = time.perf_counter() - started
    return replace(made, receipt=job.receipt(made, seconds, peak.bytes))


def _require_request(request: Request, positive: list, negative: list, pictures: Pictures, steps: int) -> None:
    for what, text in (("positive", positive), ("negative", negative)):
        require_reversible(what, text)
    if request.method.startswith("null_text"):
        require_single_text("Invert: negative", negative)
    if request.method == "exact" and steps < 2:
        raise ValueError("Invert: exact joins three noise levels, so it needs at least 2 steps; set steps to 2 or more")
    if request.method == "null_text_dual" and pictures.count != 2:
        raise ValueError(
            f"Invert: null_text_dual shares one empty text between two pictures, got {pictures.count}; "
            "put two pictures into one batch (Batch Images), or use null_text"
        )


class _Job:
    """One inversion on the way."""

    def __init__(self, model: ModelPatcher, blank: Inversion, pictures: Pictures):
        self.model, self.blank, self.pictures = model, blank, pictures
        self.sigmas = [float(sigma) for sigma in blank.sigmas]
        self.notes: list[str] = []
        self.rows = 0
        fits = {"null_text": pictures.count, "null_text_dual": 1}.get(blank.method, 0)
        self.progress = WalkProgress(model, blank.steps * (2 + fits * int(blank.settings.get("inner_steps", 0))))

    def run(self) -> Inversion:
        """The inversion without its receipt."""
        method = self.blank.method
        states, kept = self._pass(self._invert, 1.0 if method in INVERTED_AT_ONE else self.blank.cfg)
        made = replace(self.blank, states=states, noise=self._unit(states[0]), residuals=kept)
        if method.startswith("null_text"):
            made = replace(made, nulls=self._optimised(made))
        return made

    def _pass(self, run, cfg: float) -> tuple[Tensor, Tensor | None]:
        """Run one pass through the host; its states, and residuals if it keeps any, on the CPU."""
        kept: list[Tensor] = []
        sampler = PassSampler(lambda stage: run(stage, kept))
        guider = comfy.samplers.CFGGuider(self.model)
        guider.set_conds(self.blank.positive, self.blank.negative)
        guider.set_cfg(cfg)
        self._sample(guider, sampler, self.pictures.latent, torch.zeros_like(self.pictures.latent))
        self.rows += sampler.rows
        _require_finite(sampler.states)
        return sampler.states.cpu(), kept[0].cpu() if kept else None

    def _invert(self, stage: Stage, kept: list[Tensor]) -> Tensor:
        method, settings, scale = self.blank.method, self.blank.settings, self.blank.scale
        x0 = stage.latent * scale.stretch(self.sigmas[-1])
        if method == "exact":
            return exact.invert_exact(stage.denoise, x0, self.sigmas, scale, stage.on_step)
        if method == "fixed_point":
            solved = invert_fixed_point(
                stage.denoise, x0, self.sigmas, scale, int(settings["iterations"]), stage.on_step
            )
            self._say_diverged(solved.diverged)
            return solved.states
        if method in ENCODERS:
            return self._encode(stage, x0, kept)
        return invert_ddim(stage.denoise, x0, self.sigmas, scale, stage.on_step)

    def _encode(self, stage: Stage, x0: Tensor, kept: list[Tensor]) -> Tensor:
        eta, scale = float(self.blank.settings["eta"]), self.blank.scale
        seeds = [int(self.blank.settings["seed"]) + place for place in range(x0.shape[0])]
        if self.blank.method == "edit_friendly":
            states = encoders.edit_friendly_path(x0, self.sigmas, scale, seeds)
        else:
            states = encoders.dpm_encoder_path(x0, self.sigmas, eta, scale, seeds)
        kept.append(encoders.residuals_of(stage.denoise, states, self.sigmas, eta, scale, stage.on_step))
        return states

    def _say_diverged(self, diverged: Tensor) -> None:
        for place in diverged.nonzero().flatten().tolist():
            self.notes.append(
                f"Picture {place + 1}: the fixed point did not settle at some steps, so the picture "
                "may not come back; take more iterations, a lower cfg, or exact."
            )

    def _unit(self, x: Tensor) -> Tensor:
        """The noise that a host sampler scales to x."""
        return (x / noise_factor(self.model, self.sigmas[0])).float()

    def _optimised(self, made: Inversion) -> Tensor:
        def guider_for(rows: slice) -> tuple[comfy.samplers.CFGGuider, Tensor]:
            guider = comfy.samplers.CFGGuider(self.model)
            guider.set_conds(
                *(
                    rows_of_conditioning(text, rows.start, rows.stop, made.pictures)
                    for text in (made.positive, made.negative)
                )
            )
            guider.set_cfg(made.cfg)
            return guider, self.pictures.latent[rows]

        nulls, effort, notes = optimise(made, guider_for, self.progress)
        self.rows += effort.forward
        self.notes += notes
        return nulls

    def _sample(self, guider, sampler, latent: Tensor, noise: Tensor) -> None:
        guider.sample(
            noise,
            latent,
            sampler,
            self.blank.sigmas.float(),
            seed=0,
            callback=self.progress.callback,
            disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
        )
        self.progress.advance(self.blank.steps)

    def receipt(self, made: Inversion, seconds: float, peak: int | None) -> Receipt:
        """Replay through the nodes' own guider and sampler, and compare."""
        sampler = ReplaySampler(made)
        sampler.keep_states = True
        guider = ReplayGuider(self.model, made)
        self._sample(guider, sampler, torch.zeros_like(self.pictures.latent), made.noise)
        _require_finite(sampler.states)
        states = sampler.states.cpu()
        errors = [relative_error(a, b) for a, b in zip(states, made.states, strict=True)]
        reconstruction = self.model.get_model_object("process_latent_out")(
            (states[-1] / made.scale.stretch(self.sigmas[-1])).float()
        )
        qualities = self.pictures.qualities(reconstruction)
        noise = [dict(vars(w)) for w in whiteness(made.noise)]
        per_picture = tuple(
            PictureReceipt(float(error), stats, *quality)
            for error, stats, quality in zip(errors[-1], noise, qualities, strict=True)
        )
        return Receipt(
            per_picture,
            tuple(tuple(map(float, row)) for row in errors),
            self.rows / self.pictures.count,
            sampler.rows / self.pictures.count,
            seconds,
            peak,
            tuple(self.notes),
        )


def _require_finite(states: Tensor) -> None:
    if not bool(torch.isfinite(states).all()):
        raise ValueError(f"Invert Picture: the model answered NaN or infinite values; {FINITE_ADVICE}")
