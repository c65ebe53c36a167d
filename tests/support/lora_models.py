"""Small models of the host's own classes, without a checkpoint, and what they answer at chosen sigmas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import comfy.model_base
import comfy.model_management
import comfy.samplers
import comfy.supported_models
import comfy.utils
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

CPU = torch.device("cpu")
TINY = {
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
}
SD15 = {
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1] * 9 + [0] * 3,
    "transformer_depth_middle": 1,
}


def unet(
    shape: dict,
    *,
    text_width: int = 768,
    config: type = comfy.supported_models.SD15,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> ModelPatcher:
    """A model as the host's checkpoint loader builds one; its weights are whatever the memory holds."""
    settings = config(
        {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "context_dim": text_width,
            "legacy": False,
            "use_spatial_transformer": True,
            "use_temporal_attention": False,
            "use_linear_in_transformer": False,
            "adm_in_channels": None,
            "dtype": dtype,
            **shape,
        }
    )
    model = comfy.model_base.BaseModel(settings, device=torch.device(device))
    return ModelPatcher(model, load_device=CPU, offload_device=CPU)


def fill(model: ModelPatcher, seed: int = 0) -> ModelPatcher:
    """Random weights with which the network neither vanishes nor explodes."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.model.diffusion_model.named_parameters():
        if weight.ndim == 1:
            weight.data.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            std = weight[0].numel() ** -0.5
            weight.data.copy_(torch.randn(weight.shape, generator=generator) * std)
    return model


def tiny(seed: int = 0, **options) -> ModelPatcher:
    return fill(unet(TINY, **options), seed)


def host_names(model: ModelPatcher, attention_only: bool = True) -> dict[str, str]:
    """ComfyUI's dotted name of each module with a weight of two or more axes, by diffusers' dotted name."""
    weights = model.model.diffusion_model.state_dict()
    names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    return {
        module.removesuffix(".weight"): name.removesuffix(".weight")
        for module, name in names.items()
        if module.endswith(".weight")
        and name in weights
        and weights[name].ndim > 1
        and (".to_" in module or not attention_only)
    }


def shapes(model: ModelPatcher, names: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """The shapes of those modules' weights, by diffusers' dotted name."""
    weights = model.model.diffusion_model.state_dict()
    return {module: tuple(weights[f"{name}.weight"].shape) for module, name in names.items()}


def patched_weights(model: ModelPatcher) -> Iterator[tuple[str, Tensor]]:
    """Each patched weight as the host itself computes it for loading."""
    for key in sorted(model.patches):
        yield key, model.patch_weight_to_device(key, device_to=CPU, return_weight=True)


def text(seed: int, width: int = 768) -> list:
    return [[torch.randn(1, 77, width, generator=torch.Generator().manual_seed(seed)), {}]]


def guider(model: ModelPatcher, positive: list | None = None) -> comfy.samplers.CFGGuider:
    made = comfy.samplers.CFGGuider(model)
    made.set_conds(positive or text(1), text(2))
    made.set_cfg(2.0)
    return made


def noise(batch: int = 1) -> Tensor:
    return torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(9))


def denoised(
    model: ModelPatcher, sigmas: Sequence[float], *, positive: list | None = None, x: Tensor | None = None
) -> list[Tensor]:
    """What the model answers at each of these sigmas for one and the same x, in one run of the host."""
    x = noise() if x is None else x
    answers = []

    def ask(network, x_in, schedule, extra_args=None, callback=None, disable=None):
        answers.extend(network(x * sigma, x.new_full((x.shape[0],), sigma), **extra_args) for sigma in sigmas)
        return x_in

    schedule = torch.tensor([*sorted(sigmas, reverse=True), 0.0])
    with torch.inference_mode():
        guider(model, positive).sample(x, torch.zeros_like(x), comfy.samplers.KSAMPLER(ask), schedule, seed=0)
    return answers


def unload() -> None:
    """Take every model off the host's list of loaded ones, which puts the original weights back."""
    comfy.model_management.unload_all_models()
