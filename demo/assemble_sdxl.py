"""Put a miniature SDXL checkpoint into a models folder: `python -m demo.assemble_sdxl MODELS_DIR`.

For tests of what is different in SDXL: the stock loader takes it for SDXL, with both text encoders and their 2048
features per token, the pooled text, the size of the picture as an input of the network, and ten blocks in a row. Its
VAE is the demo's; everything else is generated here and draws nothing. Needs torch, safetensors and the host.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from devtools.in_process import use_host
from devtools.layout import DEMO_BUILD

from .assemble import DEMO, UNET_VAE, put
from .text_encoder import POSITIONS, PREFIX, SEED, VOCABULARY, bell, text_encoder_weights

CHECKPOINT_NAME = "smooth_demo_sdxl.safetensors"
UNET_CONFIG = {  # SDXL's, but one width throughout and a single transformer block wherever the loader does not count
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_head_channels": 64,
    "channel_mult": [1, 1, 1],
    "num_res_blocks": [2, 2, 2],
    "use_spatial_transformer": True,
    "legacy": False,
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "use_linear_in_transformer": True,
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
}
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP_L, CLIP_G = "conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.1.model."
WIDTH, INNER, LAYERS = 1280, 5120, 32  # of CLIP ViT-bigG/14's text model
WORD_STD, POSITION_STD = 1.0, 0.1  # SDXL takes the tokens without a norm behind them
SDXL_FACTOR = 0.13025  # of SDXL's latents: one number in the network per number from the VAE


def _unet_weights() -> dict[str, Tensor]:
    """Random, so that what goes through a layer keeps its size."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    generator = torch.Generator().manual_seed(SEED)
    weights = {}
    for name, like in UNetModel(**UNET_CONFIG, device="meta").state_dict().items():
        if like.ndim == 1:
            weights[UNET + name] = torch.full(like.shape, float(name.endswith("weight")), dtype=torch.float16)
        else:
            inputs = like[0].numel()
            weights[UNET + name] = bell(len(like), inputs, inputs**-0.5, generator).view(like.shape)
    return weights


def _clip_g_weights() -> dict[str, Tensor]:
    """Layers of zeros, which hand each token on as it is; the last adds the mean of the tokens before, from which the
    pooled text is made."""
    generator = torch.Generator().manual_seed(SEED)
    weights = {
        "token_embedding.weight": bell(VOCABULARY, WIDTH, WORD_STD, generator),
        "positional_embedding": bell(POSITIONS, WIDTH, POSITION_STD, generator),
        "text_projection": _eye(),
        "ln_final.weight": _one(WIDTH),
        "ln_final.bias": _zero(WIDTH),
    }
    for index in range(LAYERS):
        layer = f"transformer.resblocks.{index}."
        for norm in ("ln_1", "ln_2"):
            weights |= {f"{layer}{norm}.weight": _one(WIDTH), f"{layer}{norm}.bias": _zero(WIDTH)}
        for part, out, into in (
            ("attn.in_proj_", 3 * WIDTH, WIDTH),
            ("attn.out_proj.", WIDTH, WIDTH),
            ("mlp.c_fc.", INNER, WIDTH),
            ("mlp.c_proj.", WIDTH, INNER),
        ):
            weights |= {f"{layer}{part}weight": _zero(out, into), f"{layer}{part}bias": _zero(out)}
    weights[f"{layer}attn.in_proj_weight"][-WIDTH:] = _eye()  # queries and keys are zero: each token weighs the same
    weights[f"{layer}attn.out_proj.weight"] = _eye()
    return {CLIP_G + name: weight for name, weight in weights.items()}


def _zero(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float16)


def _one(*shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.float16)


def _eye() -> Tensor:
    return torch.eye(WIDTH, dtype=torch.float16)


def write_checkpoint(target: Path) -> None:
    """All parts, by the names of SDXL's own checkpoints."""
    weights = {name: weight for name, weight in load_file(UNET_VAE).items() if name.startswith(VAE)}
    weights[f"{VAE}vae_scale"] = torch.tensor(SDXL_FACTOR, dtype=torch.float16)
    weights |= {CLIP_L + name.removeprefix(PREFIX): weight for name, weight in text_encoder_weights().items()}
    save_file({**weights, **_unet_weights(), **_clip_g_weights()}, target)


def assemble(models_dir: Path) -> Path:
    """Write checkpoints/smooth_demo_sdxl.safetensors (1.9 GB) below models_dir unless it is current; returns its path.
    The host's modules must be importable."""
    target = models_dir / "checkpoints" / CHECKPOINT_NAME
    put(target, [UNET_VAE, DEMO / "text_encoder.py", Path(__file__)], write_checkpoint)
    return target


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Put a miniature SDXL checkpoint into a models folder.")
    parser.add_argument("models_dir", type=Path, help="the folder that has or gets checkpoints/")
    chosen = parser.parse_args()
    use_host(DEMO_BUILD / "host", cpu=True)
    assemble(chosen.models_dir)
