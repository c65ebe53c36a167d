"""Two pictures that the demo checkpoint knows, and the checkpoint loaded as the host's nodes load it."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from demo.pictures import Prompt, draw

FIRST, SECOND = Prompt("red", "circle", "blue"), Prompt("green", "square", "white")


def picture(prompt: Prompt) -> torch.Tensor:
    """[1, 64, 64, 3]"""
    return draw(prompt, torch.tensor([[30.0, 33.0]]), torch.tensor([17.0]))


def load(host_pack, checkpoint: str = "smooth_demo.safetensors") -> SimpleNamespace:
    """The model, CLIP and VAE, the texts of both pictures and an empty one, the pictures [2, 64, 64, 3], and the
    latents of both and of the first."""
    with torch.inference_mode():
        model, clip, vae = host_pack.node("CheckpointLoaderSimple")().load_checkpoint(checkpoint)
        encode = host_pack.node("CLIPTextEncode")()
        texts = [encode.encode(clip, words)[0] for words in (FIRST.text, SECOND.text, "")]
        pictures = torch.cat([picture(FIRST), picture(SECOND)])
        both = vae.encode(pictures)
        return SimpleNamespace(
            model=model,
            clip=clip,
            vae=vae,
            first=texts[0],
            second=texts[1],
            empty=texts[2],
            pictures=pictures,
            both=both,
            latent=both[:1],
        )
