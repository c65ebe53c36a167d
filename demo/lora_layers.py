"""Low-rank additions to the demo UNet's attention projections, and the published file's names for them."""
from __future__ import annotations

import torch
from torch import Tensor, nn

RANK = 8
# the host's name -> the published name
PROJECTIONS = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out.0": "to_out"}
BLOCKS = {"input_blocks.1.1": "down_blocks.0.attentions.0",
          "output_blocks.0.1": "up_blocks.0.attentions.0",
          "output_blocks.1.1": "up_blocks.0.attentions.1"}


class LoraLinear(nn.Module):
    """A frozen projection plus up(down(x)); up starts at zero, so training starts from the bare model."""

    def __init__(self, base: nn.Module, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = base.weight.shape
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(RANK, columns, generator=generator) / RANK)
        self.up = nn.Parameter(torch.zeros(rows, RANK))

    def forward(self, x: Tensor) -> Tensor:
        """The projection with its addition, at strength 1."""
        return self.base(x) + x @ self.down.t() @ self.up.t()


def add_lora(unet: nn.Module, generator: torch.Generator) -> dict[str, LoraLinear]:
    """Freeze the UNet and put a LoraLinear in place of every attention projection, keyed by its host name."""
    unet.requires_grad_(False)
    layers = {}
    for block in BLOCKS:
        for attention in ("attn1", "attn2"):
            for projection in PROJECTIONS:
                name = f"{block}.transformer_blocks.0.{attention}.{projection}"
                parent_name, _, leaf = name.rpartition(".")
                parent = unet.get_submodule(parent_name)
                layers[name] = LoraLinear(unet.get_submodule(name), generator)
                setattr(parent, leaf, layers[name])
    return layers


def published_name(name: str) -> str:
    """A projection's name in the published LoRA's style, the old attention processors of diffusers."""
    block, _, rest = name.partition(".transformer_blocks.")
    depth, attention, projection = rest.split(".", 2)
    return f"{BLOCKS[block]}.transformer_blocks.{depth}.{attention}.processor.{PROJECTIONS[projection]}_lora"


def published_keys(layers: dict[str, LoraLinear]) -> dict[str, Tensor]:
    """The LoRA as the published file stores it: no alpha, so its scale is 1."""
    weights = {}
    for name, layer in layers.items():
        weights[f"{published_name(name)}.down.weight"] = layer.down.detach().clone()
        weights[f"{published_name(name)}.up.weight"] = layer.up.detach().clone()
    return weights
