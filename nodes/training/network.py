"""Training on the host's network: its guider loads the model and prepares the texts, its layers compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import comfy.ldm.modules.attention
import comfy.model_management
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.amp import autocast  # type: ignore[attr-defined]  # torch lists it, but not in its __all__ for mypy

from ...smooth_lora.sampling.denoise import DenoiseRows
from ...smooth_lora.training.trained_pairs import TrainedPair
from ..host.progress import stop_if_interrupted
from ..host.protocols import Conditioning
from ..model.call import ATTENTION_OVERRIDE
from ..model.gradients import constant_cond, gradients_through
from ..model.layers import Addition, added

DIFFERENTIATE_TWICE = ("exact", "forward")  # estimators for which attention must be plain matrix products


class TrainNetwork:
    """The host's network while it is loaded for training; made by `run_on_network`.

    device: where latents and pairs have to be
    """

    def __init__(self, guider: Any, model_options: dict[str, Any], device: torch.device, plain_attention: bool):
        self.guider, self.device = guider, device
        self.options = _with_plain_attention(model_options) if plain_attention else model_options
        self._entries = guider.conds["positive"]

    def denoiser_for(self, images: Sequence[int], empty: Sequence[bool], /, *, may_round: bool = False) -> DenoiseRows:
        """Gives the denoiser of a batch whose rows have the texts of these images; it takes latents of one size only.

        The last of the guider's texts is the empty one.
        may_round: computes the network's products in bfloat16
        """
        texts = [self._entries[-1 if left_out else image] for image, left_out in zip(images, empty, strict=True)]
        entry: dict[str, Any] | None = None

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            nonlocal entry
            stop_if_interrupted()
            if entry is None:
                entry = self._entry(texts, x)
            levels = sigma.to(self.device, torch.float32)
            # As the host's own trainer does; the host's casting layers have no gradients.
            with autocast(self.device.type, torch.bfloat16, enabled=may_round):
                return comfy.samplers.calc_cond_batch(self.guider.inner_model, [[entry]], x, levels, self.options)[0]

        return denoise

    def _entry(self, texts: Sequence[dict[str, Any]], x: Tensor) -> dict[str, Any]:
        """Joins the texts of a batch, prepared for latents of the size of x.

        The guider prepared them for the largest batch, and networks such as SDXL's take the image's size as an input.
        """
        blank = torch.zeros_like(x[:1])
        with torch.no_grad():  # networks that have layers for the text, too, would keep a graph of its way through them
            texts = comfy.samplers.encode_model_conds(
                self.guider.inner_model.extra_conds,
                list(texts),
                blank,
                self.device,
                "positive",
                latent_image=blank,
                denoise_mask=None,
                seed=0,
                latent_shapes=[blank.shape],
            )
        return {**texts[0], "model_conds": _joined([text["model_conds"] for text in texts])}


class _TrainSampler(comfy.samplers.Sampler):
    """A SAMPLER that trains."""

    def __init__(
        self, job: Callable[[TrainNetwork], None], pairs: Mapping[str, TrainedPair], estimator: str, low_memory: bool
    ):
        self.job, self.pairs, self.estimator, self.low_memory = job, pairs, estimator, low_memory

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ) -> Tensor:
        """Called by the host's guider, with the model loaded and the texts prepared."""
        network = model_wrap.inner_model.diffusion_model
        additions = [Addition(path, (pair.down, pair.up, None)) for path, pair in self.pairs.items()]
        plain = self.estimator in DIFFERENTIATE_TWICE
        # Around the whole job: blocks that are computed again need the pairs in the backward pass, too.
        with gradients_through(network, self.low_memory), added(network, additions), _host_in_training():
            self.job(TrainNetwork(model_wrap, extra_args["model_options"], noise.device, plain))
        return latent_image


def run_on_network(
    model: ModelPatcher,
    texts: Sequence[Conditioning],
    pairs: Mapping[str, TrainedPair],
    job: Callable[[TrainNetwork], None],
    *,
    empty: Conditioning,
    shape: Sequence[int],
    estimator: str,
    low_memory: bool,
) -> None:
    """Runs a job on the model's network, loaded and freed by the host.

    texts: of a single entry for each image; empty: that of the empty prompt
    pairs: added to the layers, by path; on the model's load device
    shape: [B, C, H, W] of the largest batch, by which the host frees memory
    """
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds([entry for text in (*texts, empty) for entry in text], [])
    blank = torch.zeros(*shape)
    sampler = _TrainSampler(job, pairs, estimator, low_memory)
    guider.sample(blank, blank, sampler, torch.tensor([1.0, 0.0]), disable_pbar=True, seed=0)


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Joins the prepared inputs of several texts into those of one batch."""
    joined = {}
    for name, first in parts[0].items():
        others = [constant_cond(part[name]) for part in parts[1:]]
        first = constant_cond(first)
        joined[name] = first._copy_with(first.concat(others)) if others else first
    return joined


@contextmanager
def _host_in_training() -> Iterator[None]:
    """Sets the host's flag for training within it: without it some networks change tensors in place."""
    before = comfy.model_management.in_training
    comfy.model_management.in_training = True
    try:
        yield
    finally:
        comfy.model_management.in_training = before


def _with_plain_attention(options: dict[str, Any]) -> dict[str, Any]:
    def plain(_, *args, **kwargs):
        return comfy.ldm.modules.attention.attention_basic(*args, **kwargs)

    return {**options, "transformer_options": {**options.get("transformer_options", {}), ATTENTION_OVERRIDE: plain}}
