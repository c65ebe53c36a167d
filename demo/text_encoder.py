"""The demo checkpoint's text encoder: CLIP-L in shape, its weights drawn from a fixed generator.

It is not trained and knows no language. Its attention and MLP outputs are zero, so every token's embedding
is the layer norm of its own token and position vectors: distinct prompts differ at exactly the changed words.
The UNet was trained on exactly these embeddings.

The numbers come from integers only, so every machine writes the same bytes: a normal generator's last bits
differ with the CPU's vector instructions.
"""

from __future__ import annotations

import torch
from torch import Tensor

SEED = 20240613
VOCABULARY, POSITIONS, WIDTH, INNER, LAYERS = 49408, 77, 768, 3072, 12  # CLIP ViT-L/14's text model
TOKEN_STD = 0.02  # CLIP's own initializer range
POSITION_STD = 0.01  # smaller, so that the padding tokens resemble each other and yet can be told apart
UNIFORMS = 4  # bytes summed per weight: a bell curve of four uniform variables
SUM_MEAN, SUM_STD = UNIFORMS * 255 / 2, (UNIFORMS * (256**2 - 1) / 12) ** 0.5
PREFIX = "cond_stage_model.transformer.text_model."


def bell(rows: int, columns: int, std: float, generator: torch.Generator) -> Tensor:
    """A [rows, columns] float16 matrix of mean 0 and the given std, bit-equal on every machine."""
    total = torch.zeros(rows, columns, dtype=torch.int16)
    for _ in range(UNIFORMS):
        total += torch.empty(rows, columns, dtype=torch.uint8).random_(generator=generator)
    return ((total.float() - SUM_MEAN) * (std / SUM_STD)).half()


def _linear(name: str, rows: int, columns: int, std: float, generator: torch.Generator) -> dict[str, Tensor]:
    weight = bell(rows, columns, std, generator) if std else torch.zeros(rows, columns, dtype=torch.float16)
    return {f"{name}.weight": weight, f"{name}.bias": torch.zeros(rows, dtype=torch.float16)}


def _norm(name: str) -> dict[str, Tensor]:
    return {
        f"{name}.weight": torch.ones(WIDTH, dtype=torch.float16),
        f"{name}.bias": torch.zeros(WIDTH, dtype=torch.float16),
    }


def _layer(name: str, generator: torch.Generator) -> dict[str, Tensor]:
    weights = {**_norm(f"{name}.layer_norm1"), **_norm(f"{name}.layer_norm2")}
    for part in ("q_proj", "k_proj", "v_proj"):
        weights |= _linear(f"{name}.self_attn.{part}", WIDTH, WIDTH, TOKEN_STD, generator)
    weights |= _linear(f"{name}.self_attn.out_proj", WIDTH, WIDTH, 0.0, generator)
    weights |= _linear(f"{name}.mlp.fc1", INNER, WIDTH, TOKEN_STD, generator)
    return weights | _linear(f"{name}.mlp.fc2", WIDTH, INNER, 0.0, generator)


def text_encoder_weights() -> dict[str, Tensor]:
    """All weights of the text encoder in float16, under an SD1.x checkpoint's own keys."""
    generator = torch.Generator().manual_seed(SEED)
    weights = {
        f"{PREFIX}embeddings.token_embedding.weight": bell(VOCABULARY, WIDTH, TOKEN_STD, generator),
        f"{PREFIX}embeddings.position_embedding.weight": bell(POSITIONS, WIDTH, POSITION_STD, generator),
    }
    for index in range(LAYERS):
        weights |= _layer(f"{PREFIX}encoder.layers.{index}", generator)
    return weights | _norm(f"{PREFIX}final_layer_norm")
