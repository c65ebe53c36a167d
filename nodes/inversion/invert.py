"""Inverts images on the host's model, replays them once, and measures how exact that was."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import comfy.samplers
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.files.content_key import content_key
from ...smooth_lora.inversion.algorithms.anchored import PULL_FROM
from ...smooth_lora.inversion.contract import InversionMethod, Inverted, MethodSettings
from ...smooth_lora.inversion.inversion_cache import InversionCache
from ...smooth_lora.inversion.methods import method_of
from ...smooth_lora.inversion.passes import run_inversion
from ...smooth_lora.inversion.record import Inversion, PictureReceipt, Receipt
from ...smooth_lora.inversion.whiteness import whiteness
from ...smooth_lora.scores.quality import relative_error
from ..host.folders import GIB
from ..host.memory_peak import PeakMemory
from ..host.progress import WalkProgress
from ..host.protocols import Conditioning
from ..model.call import FINITE_ADVICE
from ..model.fingerprint import fingerprint, read_model, weights_stamp
from ..model.latent_space import falling_sigmas, last_part, noise_factor, scale_of
from ..model.passes import PassSampler, Stage
from ..model.texts import require_reversible, require_single_text, rows_of_conditioning, stacked
from .guider import ReplayGuider
from .images import SourceImages
from .null_text import fit_calls, optimise
from .sampler import ReplaySampler
from .store import cache_folder

RESULT_VERSION = 1  # of what an inversion computes: another one never meets the cached results of this
_WHO = "Invert Picture"


@dataclass(frozen=True)
class InversionRequest:
    """An inversion as the node's inputs ask for it; settings are the method's own."""

    method: InversionMethod
    cfg: float
    steps: int
    scheduler: str
    final_sigma: str
    settings: MethodSettings

    @classmethod
    def of(
        cls, method: str, *, cfg: float, steps: int, scheduler: str, final_sigma: str, inputs: Mapping[str, object]
    ) -> InversionRequest:
        """Makes the request of the node's inputs.

        inputs: values of settings by name; those of other methods are left out, so that they change neither result nor
                cache
        raises: ValueError for a setting out of range
        """
        row = method_of(method)
        return cls(row, cfg, steps, scheduler, final_sigma, row.settings_of(inputs, _WHO))

    def content(self) -> dict[str, object]:
        """Returns everything that decides the result, as the key of the cache takes it."""
        return {
            "method": self.method.name,
            "cfg": self.cfg,
            "steps": self.steps,
            "scheduler": self.scheduler,
            "final_sigma": self.final_sigma,
            "settings": self.settings.asked(),
        }


def invert_cached(
    model: ModelPatcher,
    images: SourceImages,
    request: InversionRequest,
    *,
    positive: Conditioning,
    negative: Conditioning,
    positive_2: Conditioning | None,
    cache_gb: float,
) -> Inversion:
    """Returns what `invert` makes, or what an earlier run with the very same inputs made, also before a restart.

    positive_2: the second image's conditioning, None if both share the first
    raises:     ValueError
    """
    if positive_2 is not None:
        positive = _joined(positive, positive_2, images.count)
    key = _cache_key(model, images, request, positive, negative)
    if key is None:
        return invert(model, images, request, positive=positive, negative=negative)
    cache = InversionCache(cache_folder(), int(cache_gb * GIB))
    inversion = cache.get(key)
    if inversion is None:
        inversion = invert(model, images, request, positive=positive, negative=negative)
        cache.put(key, inversion)
    return inversion


def _joined(positive: Conditioning, positive_2: Conditioning, images: int) -> Conditioning:
    """Joins the conditionings of two images.

    raises: ValueError for another number of images
    """
    if images != 2:
        raise ValueError(
            f"{_WHO}: positive_2 is the text of the second of two pictures, but the number of pictures is {images}; "
            "put two pictures into one batch, or remove positive_2"
        )
    return stacked([positive, positive_2], ["positive", "positive_2"])


def _cache_key(
    model: ModelPatcher, images: SourceImages, request: InversionRequest, positive: Conditioning, negative: Conditioning
) -> str | None:
    """Key of an inversion in the cache; None where something in it cannot be told from another."""
    stamp, complete = read_model(model)
    if not complete:
        return None
    try:
        return content_key(
            version=RESULT_VERSION,
            request=request.content(),
            model=stamp,
            positive=positive,
            negative=negative,
            latent=images.latent,
            image=images.input,
            vae=weights_stamp(images.vae),
        )
    except TypeError:  # a conditioning that carries a ControlNet, say
        return None


def invert(
    model: ModelPatcher,
    images: SourceImages,
    request: InversionRequest,
    *,
    positive: Conditioning,
    negative: Conditioning,
) -> Inversion:
    """Inverts images and measures the result by replaying it.

    raises: ValueError for what cannot be inverted, before any work; the host's interrupt between model calls
    """
    scale = scale_of(model)
    sigmas = falling_sigmas(model, request.scheduler, request.steps, request.final_sigma)
    for what, conditioning in (("positive", positive), ("negative", negative)):
        require_reversible(what, conditioning)
    if request.method.needs.nulls:
        require_single_text(f"{_WHO}: negative", negative)
    request.method.require(_WHO, steps=len(sigmas) - 1, images=images.count)
    blank = Inversion(
        method=request.method.name,
        cfg=request.cfg,
        sigmas=sigmas,
        states=torch.empty(0),
        noise=torch.empty(0),
        scale=scale,
        model=fingerprint(model),
        positive=positive,
        negative=negative,
        settings={
            **request.settings.asked(),
            "steps": request.steps,
            "scheduler": request.scheduler,
            "final_sigma": request.final_sigma,
            PULL_FROM.name: last_part(model, sigmas),
        },
    )
    return InversionJob(model, blank, images).run()


class InversionJob:
    """One inversion in progress.

    blank: the inversion without what the job finds
    """

    def __init__(self, model: ModelPatcher, blank: Inversion, images: SourceImages):
        self.model, self.blank, self.images = model, blank, images
        self.sigmas = [float(sigma) for sigma in blank.sigmas]
        self.settings = blank.row.settings_of(blank.settings, _WHO)
        self.notes: list[str] = []
        self.rows = 0
        self.progress = WalkProgress(model, blank.steps * (2 + fit_calls(blank, images.count)))

    def run(self) -> Inversion:
        """Inverts, fits what the method fits, and measures."""
        started = time.perf_counter()
        with PeakMemory(self.model.load_device) as peak:
            inverted = self._inverted()
            made = replace(
                self.blank,
                states=inverted.states,
                noise=self._unit_noise(inverted.states[0]),
                residuals=inverted.residuals,
            )
            if made.row.needs.nulls:
                made = replace(made, nulls=self._fitted_nulls(made))
        seconds = time.perf_counter() - started
        return replace(made, receipt=self._receipt(made, seconds, peak.bytes))

    def _inverted(self) -> Inverted:
        """Runs the method's inversion through the host; its tensors on the CPU."""
        sampler = PassSampler(self._invert)
        guider = comfy.samplers.CFGGuider(self.model)
        guider.set_conds(self.blank.positive, self.blank.negative)
        guider.set_cfg(self.blank.row.cfg_of_inversion(self.blank.cfg))
        self._sample(guider, sampler, self.images.latent, torch.zeros_like(self.images.latent))
        inverted = sampler.inverted
        self.rows += sampler.rows
        self.notes += inverted.notes
        _require_finite(inverted.states)
        residuals = None if inverted.residuals is None else inverted.residuals.cpu()
        return replace(inverted, states=inverted.states.cpu(), residuals=residuals)

    def _invert(self, stage: Stage) -> Inverted:
        x0 = stage.latent * self.blank.scale.stretch(self.sigmas[-1])
        return run_inversion(
            self.blank.row,
            stage.denoise,
            x0,
            self.sigmas,
            scale=self.blank.scale,
            settings=self.settings,
            on_step=stage.on_step,
        )

    def _unit_noise(self, x: Tensor) -> Tensor:
        """Noise that a host sampler scales to x."""
        return (x / noise_factor(self.model, self.sigmas[0])).float()

    def _fitted_nulls(self, made: Inversion) -> Tensor:
        def guider_for(rows: slice) -> tuple[comfy.samplers.CFGGuider, Tensor]:
            texts = (made.positive, made.negative)
            guider = comfy.samplers.CFGGuider(self.model)
            guider.set_conds(*(rows_of_conditioning(text, rows.start, rows.stop, made.images) for text in texts))
            guider.set_cfg(made.cfg)
            return guider, self.images.latent[rows]

        fitted = optimise(made, guider_for, self.progress)
        self.rows += fitted.effort.forward
        self.notes += fitted.notes
        return fitted.nulls

    def _sample(self, guider: comfy.samplers.CFGGuider, sampler: object, latent: Tensor, noise: Tensor) -> None:
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

    def _receipt(self, made: Inversion, seconds: float, peak: int | None) -> Receipt:
        """Replays through the nodes' own guider and sampler, and compares."""
        sampler = ReplaySampler(made)
        sampler.keep_states = True
        self._sample(ReplayGuider(self.model, made), sampler, torch.zeros_like(self.images.latent), made.noise)
        _require_finite(sampler.states)
        states = sampler.states.cpu()
        errors = [relative_error(a, b) for a, b in zip(states, made.states, strict=True)]
        to_vae_units = self.model.get_model_object("process_latent_out")
        replayed = to_vae_units((states[-1] / made.scale.stretch(self.sigmas[-1])).float())
        noise = [dict(vars(w)) for w in whiteness(made.noise)]
        pictures = tuple(
            PictureReceipt(float(error), stats, *quality)
            for error, stats, quality in zip(errors[-1], noise, self.images.qualities(replayed), strict=True)
        )
        return Receipt(
            pictures,
            tuple(tuple(map(float, row)) for row in errors),
            calls=self.rows / self.images.count,
            replay_calls=sampler.rows / self.images.count,
            seconds=seconds,
            peak_memory=peak,
            notes=tuple(self.notes),
        )


def _require_finite(states: Tensor) -> None:
    if not bool(torch.isfinite(states).all()):
        raise ValueError(f"{_WHO}: the model answered NaN or infinite values; {FINITE_ADVICE}")
