"""One and the same LoRA with the key names of every trainer and library, for the tests of the loader."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Pairs = Mapping[str, tuple[Tensor, Tensor]]  # diffusers' dotted name of a module: (up, down)


def old_diffusers(prefix: str = "unet.") -> Callable[[Pairs], dict[str, Tensor]]:
    """As the published Smooth-LoRA is: attention processors, no alpha; other modules have no such name."""

    def name(module: str) -> str:
        if ".to_" not in module:
            return f"{prefix}{module}.lora"
        return f"{prefix}{module.replace('.to_', '.processor.to_').removesuffix('.0')}_lora"

    return lambda pairs: _write(pairs, name, ".up.weight", ".down.weight")


def diffusers(prefix: str = "unet.") -> Callable[[Pairs], dict[str, Tensor]]:
    return lambda pairs: _write(pairs, lambda module: f"{prefix}{module}", ".lora.up.weight", ".lora.down.weight")


def peft(prefix: str = "unet.", adapter: str = "") -> Callable[[Pairs], dict[str, Tensor]]:
    return lambda pairs: _write(
        pairs, lambda module: f"{prefix}{module}", f".lora_B{adapter}.weight", f".lora_A{adapter}.weight"
    )


def kohya(names: Mapping[str, str] | None = None) -> Callable[[Pairs], dict[str, Tensor]]:
    """With alpha = rank, so the scale is 1; names: ComfyUI's dotted name for diffusers', if wanted."""

    def name(module: str) -> str:
        return "lora_unet_" + (names[module] if names else module).replace(".", "_")

    def write(pairs: Pairs) -> dict[str, Tensor]:
        alphas = {f"{name(module)}.alpha": torch.tensor(float(down.shape[0])) for module, (_, down) in pairs.items()}
        return _write(pairs, name, ".lora_up.weight", ".lora_down.weight") | alphas

    return write


def comfyui(names: Mapping[str, str]) -> Callable[[Pairs], dict[str, Tensor]]:
    """names: ComfyUI's dotted name, without 'diffusion_model.', for each of diffusers'."""
    return lambda pairs: _write(
        pairs, lambda module: f"diffusion_model.{names[module]}", ".lora_up.weight", ".lora_down.weight"
    )


def all_styles(names: Mapping[str, str]) -> dict[str, Callable[[Pairs], dict[str, Tensor]]]:
    """Every way of writing the loader must read."""
    return {
        "old diffusers": old_diffusers(),
        "old diffusers, bare": old_diffusers(""),
        "diffusers": diffusers(),
        "diffusers, bare": diffusers(""),
        "peft": peft(),
        "peft, bare": peft(""),
        "peft, named": peft("", ".default"),
        "peft, wrapped": peft("base_model.model."),
        "peft, wrapped twice": peft("unet.base_model.model."),
        "kohya": kohya(),
        "kohya, host's names": kohya(names),
        "comfyui": comfyui(names),
    }


def random_pairs(
    shapes: Mapping[str, tuple[int, ...]],
    rank: int = 8,
    *,
    seed: int = 0,
    scale: float = 0.1,
    dtype: torch.dtype = torch.float32,
) -> dict[str, tuple[Tensor, Tensor]]:
    """A pair for each module; shapes: of the weights, by diffusers' dotted names."""
    generator = torch.Generator().manual_seed(seed)

    def matrix(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=generator) * scale).to(dtype)

    return {
        module: (matrix(shape[0], rank, *[1] * (len(shape) - 2)), matrix(rank, *shape[1:]))
        for module, shape in shapes.items()
    }


def _write(pairs: Pairs, name: Callable[[str], str], up: str, down: str) -> dict[str, Tensor]:
    out = {}
    for module, (b, a) in pairs.items():
        out |= {name(module) + up: b, name(module) + down: a}
    return out
