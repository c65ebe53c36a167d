"""Names of the tensors in a LoRA file, in five families: each names a module and its part in the module's pair.

Trainers and libraries name one and the same pair of matrices differently. For the query projection of the
first self-attention of Stable Diffusion 1.x, with A for
down_blocks.0.attentions.0.transformer_blocks.0.attn1:

    old diffusers   [unet.]A.processor.to_q_lora.down.weight
    diffusers       [unet.]A.to_q.lora.down.weight
    PEFT            [unet.][base_model.model.]A.to_q.lora_A[.default].weight
    kohya           lora_unet_A_to_q.lora_down.weight (A with underscores), or with ComfyUI's own names:
                    lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.lora_down.weight
    ComfyUI         diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_down.weight
"""

from __future__ import annotations

import re
from typing import Literal

Role = Literal["up", "down", "mid", "alpha", "dora_scale", "diff", "diff_b", "set_weight"]
PAIR_ROLES: tuple[Role, ...] = ("up", "down", "mid", "alpha", "dora_scale")

SUFFIXES: tuple[tuple[str, Role], ...] = (
    ("_lora.up.weight", "up"),
    ("_lora.down.weight", "down"),
    (".lora.up.weight", "up"),
    (".lora.down.weight", "down"),
    (".lora_up.weight", "up"),
    (".lora_down.weight", "down"),
    (".lora_mid.weight", "mid"),
    (".lora_linear_layer.up.weight", "up"),
    (".lora_linear_layer.down.weight", "down"),
    (".alpha", "alpha"),
    (".dora_scale", "dora_scale"),
    (".diff", "diff"),
    (".diff_b", "diff_b"),
    (".set_weight", "set_weight"),
)
PEFT_SUFFIX = re.compile(r"\.lora_([AB])(?:(?:\.[\w-]+)?\.weight)?$")  # an adapter's name may stand between
WRAPPERS = ("base_model.model.", "unet.", "model.diffusion_model.", "diffusion_model.", "transformer.")
UNDERSCORED = ("lora_unet_", "lora_prior_unet_", "lora_transformer_", "lycoris_")
TEXT_ENCODERS = (
    "lora_te",
    "lora_prior_te",
    "text_encoder",
    "text_model.",
    "te_",
    "te1_",
    "te2_",
    "te1.",
    "te2.",
    "cond_stage_model.",
    "conditioner.",
    "clip_l.",
    "clip_g.",
    "t5xxl.",
)


def split_key(key: str) -> tuple[str, Role] | None:
    """Splits a tensor's name into its module and its role there; None for a tensor that is no part of a LoRA.

    key: a tensor's name in the file
    returns: (module name in the file, without the suffix; role)
    """
    peft = PEFT_SUFFIX.search(key)
    if peft:
        return key[: peft.start()], "down" if peft[1] == "A" else "up"
    for suffix, role in SUFFIXES:
        if key.endswith(suffix) and len(key) > len(suffix):
            return key[: -len(suffix)], role
    return None


def key_style(name: str, key: str) -> str:
    """Names the one of the five families that a module's names belong to, for reports.

    name: the module's name as `split_key` gives it; key: one of its tensors' names
    """
    if name.startswith(UNDERSCORED):
        return "kohya"
    if name.startswith("diffusion_model."):
        return "ComfyUI"
    if ".processor." in name:
        return "diffusers attention processor"
    return "PEFT" if PEFT_SUFFIX.search(key) else "diffusers"


def is_text_encoder(key: str) -> bool:
    """Returns True for a tensor of the text encoder's part of a LoRA, for which a MODEL has no weights."""
    return key.removeprefix("base_model.model.").startswith(TEXT_ENCODERS)


def is_text_projection(name: str) -> bool:
    """Returns True for a module that reads the text embedding: keys and values of a UNet's cross-attention."""
    return re.search(r"attn2[._](processor[._])?to_[kv]$", name) is not None


def candidate_names(name: str) -> tuple[str, ...]:
    """Names under which ComfyUI's table of LoRA names may list a module, the most literal first.

    name: the module's name in the file
    returns: ComfyUI lists the attention of SD1.x and SDXL only with '.processor' or with underscores, so a
             dotted name is tried with underscores too; the old processors' to_out is the first layer of
             today's to_out
    """
    bare = _bare_name(name)
    flat = bare.replace(".", "_")
    guesses = [name, f"lora_unet_{flat}", f"diffusion_model.{bare}", f"transformer.{bare}", bare]
    if flat.endswith("_to_out"):
        guesses += [f"lora_unet_{flat}_0", f"diffusion_model.{bare}.0", f"transformer.{bare}.0", f"{bare}.0"]
    return tuple(dict.fromkeys(guesses))


def _bare_name(name: str) -> str:
    """Strips the wrappers that libraries put around the network, and the level of the old processors."""
    wrapped = True
    while wrapped:
        wrapped = False
        for prefix in WRAPPERS:
            if name.startswith(prefix):
                name, wrapped = name[len(prefix) :], True
    return name.replace(".processor.", ".")


def module_kind(weight: str, dimensions: int) -> tuple[str, str]:
    """Kind of module that a weight of the network belongs to, and its part there.

    weight: its name in the host; dimensions: number of its axes
    returns: (kind, part): ("self-attention", "q"), ("feed-forward", ""), ...
    """
    attention = re.search(r"\.(attn1|attn2)\.to_(q|k|v|out)\b", weight)
    if attention:
        return ("self-attention" if attention[1] == "attn1" else "cross-attention"), attention[2]
    if "attn" in weight or "attention" in weight:
        return "attention", ""
    if re.search(r"\.(ff|mlp|feed_forward|img_mlp|txt_mlp)\.", weight):
        return "feed-forward", ""
    return ("convolutions" if dimensions > 2 else "other"), ""
