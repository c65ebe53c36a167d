"""A model's sampling as an inversion needs it: its scale, its sigmas, and how noise enters."""

from __future__ import annotations

from typing import Literal

import comfy.model_management
import comfy.model_sampling
import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.sampling.scale import Scale

ZERO, SMALLEST = "zero", "smallest of the model (diffusers)"
FINAL_SIGMAS = (ZERO, SMALLEST)
_UNSUPPORTED = (comfy.model_sampling.IMG_TO_IMG, comfy.model_sampling.IMG_TO_IMG_FLOW)


def scale_of(model: ModelPatcher, who: str = "Invert Picture", what: str = "inversion") -> Scale:
    """Finds the scale of a model's noisy latents.

    who, what: the node and its work, for errors
    raises: ValueError for a model that is neither of eps-, v- or x0-prediction nor a flow model
    """
    sampling = model.get_model_object("model_sampling")
    kind = _kind_of(sampling)
    if kind is None:
        names = ", ".join(base.__name__ for base in type(sampling).__mro__[1:3])
        raise ValueError(
            f"{who}: this model predicts in a way ({names}) that has no {what} here; "
            "use a model of eps-, v- or flow prediction, such as SD1.5, SDXL, SD3 or Flux"
        )
    probe = torch.ones(1, 1, 1, 1)
    scale = Scale(kind, float(getattr(sampling, "sigma_data", 1.0)) if kind == "ve" else 1.0)
    sigma = torch.tensor([1.0])
    ratio = float(sampling.calculate_input(sigma, probe)) / float(sampling.calculate_input(sigma / 2, probe))
    expected = scale.stretch(0.5) / scale.stretch(1.0)
    if abs(ratio - expected) > 1e-4:
        raise ValueError(
            f"{who}: this model scales its input in an unknown way ({type(sampling).__name__}); "
            "remove the node that patches its sampling, or use another model"
        )
    return scale


def _kind_of(sampling: object) -> Literal["ve", "flow"] | None:
    """Kind of a model's sampling; None for one that has no inversion."""
    if isinstance(sampling, _UNSUPPORTED):
        return None
    if isinstance(sampling, comfy.model_sampling.CONST):
        return "flow"
    return "ve" if isinstance(sampling, comfy.model_sampling.EPS) else None


def falling_sigmas(model: ModelPatcher, scheduler: str, steps: int, final: str) -> Tensor:
    """Computes the sigmas of a scheduler.

    final:   ZERO, or SMALLEST: the model's own smallest sigma in place of the last, as in diffusers' DDIM
             with set_alpha_to_one off
    returns: [N + 1] float64 on the CPU, strictly falling, exactly the float32 values that the host's samplers take
    raises:  ValueError if the scheduler gives fewer than two, or does not fall to 0
    """
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, scheduler, steps).to("cpu", torch.float32).double()
    if len(sigmas) < 2 or not bool((sigmas[:-1] > sigmas[1:]).all()) or float(sigmas[-1]) != 0.0:
        raise ValueError(
            f"Invert Picture: the scheduler {scheduler!r} with {steps} steps gives noise levels that cannot be "
            "walked back: they must fall at every step and end at 0; choose ddim_uniform or normal"
        )
    if final == SMALLEST:
        sigmas[-1] = float(sampling.sigma_min)
        if float(sigmas[-2]) <= float(sigmas[-1]):
            raise ValueError(
                f"Invert Picture: final_sigma {SMALLEST!r} needs a scheduler whose last step starts above it, "
                f"and {scheduler!r} with {steps} steps starts at it; choose ddim_uniform, or zero"
            )
    return sigmas


def noise_factor(model: ModelPatcher, sigma: float) -> float:
    """Factor of unit noise where a host sampler starts at this sigma with an empty latent."""
    sampling = model.get_model_object("model_sampling")
    wrap = type("Wrap", (), {"inner_model": type("Inner", (), {"model_sampling": sampling})})
    full = comfy.samplers.Sampler().max_denoise(wrap, [sigma])
    one = torch.ones(1, dtype=torch.float32)
    return float(sampling.noise_scaling(torch.tensor([sigma]), one, torch.zeros_like(one), full))


def last_part(model: ModelPatcher, sigmas: Tensor, percent: float = 0.6) -> int:
    """First step that lies in the last part of the sampling; percent 0.6 is the timesteps below 400 of 1000."""
    bound = float(model.get_model_object("model_sampling").percent_to_sigma(percent))
    return int((sigmas[:-1] >= bound).sum())


def state_device(device: torch.device) -> torch.device:
    """Device of the float64 states: the model's own, or the CPU where that may have no float64."""
    return device if device.type in ("cpu", "cuda") else torch.device("cpu")
