"""Models of SD1.5's full shapes, 860 million weights, without a checkpoint, for the host and for diffusers."""

from __future__ import annotations

import torch
from torch import nn

STD = 0.02  # of random weights: small enough for outputs to stay finite


def full_size_model(dtype: torch.dtype, random: bool = False):
    """ComfyUI's own SD1.5 model class, on the host's device.

    random: weights drawn from a fixed seed; otherwise they are whatever the memory holds, which is quicker
    """
    import comfy.model_management
    import comfy.model_patcher
    from comfy.supported_models import SD15

    config = SD15(
        {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "num_res_blocks": [2, 2, 2, 2],
            "dropout": 0,
            "channel_mult": (1, 2, 4, 4),
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_middle": 1,
            "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
            "use_spatial_transformer": True,
            "legacy": False,
            "num_heads": 8,
            "dtype": dtype,
            **SD15.unet_config,
        }
    )
    model = config.get_model({}, "")
    if random:
        _fill(model.diffusion_model)
    return comfy.model_patcher.ModelPatcher(model, comfy.model_management.get_torch_device(), torch.device("cpu"))


@torch.no_grad()
def _fill(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        norm = "Norm" in type(module).__name__
        for name, weight in module.named_parameters(recurse=False):
            if weight.ndim > 1:
                weight.copy_(torch.empty(weight.shape).normal_(0, STD, generator=generator))
            else:
                weight.fill_(1.0 if norm and name == "weight" else 0.0)


def full_size_autoencoder():
    """diffusers' autoencoder of SD1.5's shapes with random weights from a fixed seed."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    blocks = 4
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * blocks,
        up_block_types=["UpDecoderBlock2D"] * blocks,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    ).eval()


def full_size_vae(dtype: torch.dtype):
    """ComfyUI's VAE with the weights of `full_size_autoencoder`."""
    import comfy.sd

    weights = {name: weight.detach() for name, weight in full_size_autoencoder().state_dict().items()}
    return comfy.sd.VAE(sd=weights, dtype=dtype)


def as_diffusers(model):
    """diffusers' UNet with the very weights of a `full_size_model`."""
    import comfy.utils
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
    weights = model.model.diffusion_model.state_dict()
    names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    unet.load_state_dict({name: weights[own] for name, own in names.items() if own in weights}, assign=True)
    return unet.eval()
