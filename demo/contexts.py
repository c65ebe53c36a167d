"""The text contexts the UNet is trained on, made by the host's own tokenizer and text encoder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .pictures import PROMPTS
from .text_encoder import PREFIX, text_encoder_weights

NOT_IN_CHECKPOINTS = {"logit_scale", "transformer.text_projection.weight"}  # SD1.x files lack them too


def load_text_encoder() -> tuple[object, object]:
    """The host's SD1.x tokenizer and text model with the generated weights, in float16 as after its loader.

    raises: RuntimeError if the weights do not fit the host's model
    """
    from comfy import sd1_clip

    inner = PREFIX.removesuffix("transformer.text_model.")
    model = sd1_clip.SD1ClipModel(dtype=torch.float16)
    weights = {name.removeprefix(inner): weight for name, weight in text_encoder_weights().items()}
    missing, unexpected = model.clip_l.load_state_dict(weights, strict=False)
    if set(missing) - NOT_IN_CHECKPOINTS or unexpected:
        raise RuntimeError(f"the text encoder does not fit the host: lacks {missing}, has {unexpected}")
    return sd1_clip.SD1Tokenizer(), model


@torch.inference_mode()
def make_contexts() -> Tensor:
    """Contexts of every prompt, in the order of PROMPTS, then of the empty one: [121, 77, 768] float32."""
    tokenizer, model = load_text_encoder()
    tokens = [tokenizer.tokenize_with_weights(text) for text in [*(prompt.text for prompt in PROMPTS), ""]]
    return torch.cat([model.encode_token_weights(one)[0] for one in tokens]).float()


def cached_contexts(folder: Path) -> Tensor:
    """make_contexts, remembered in the build folder."""
    path = folder / "contexts.pt"
    if not path.is_file():
        torch.save(make_contexts(), path)
    return torch.load(path, weights_only=True)
