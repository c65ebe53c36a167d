"""The methods of inversion."""

from __future__ import annotations

# Which replay each method needs. plain: any DDIM sampler gives the picture back from the noise alone.
METHODS = (
    "exact",
    "ddim",
    "fixed_point",
    "null_text",
    "null_text_dual",
    "negative_prompt",
    "proximal",
    "edit_friendly",
    "dpm_encoder",
    "direct",
)


# Replayed by plain DDIM sampling from the noise; the others need the states or residuals of the inversion.
PLAIN_REPLAY = ("ddim", "fixed_point", "null_text", "null_text_dual", "negative_prompt")


# Inverted at cfg 1 whatever the cfg of the replay: what they do to guidance they do in the replay.
INVERTED_AT_ONE = ("null_text", "null_text_dual", "negative_prompt", "proximal", "direct")


ENCODERS = ("edit_friendly", "dpm_encoder")


# Replayed with the source text as the negative one.
SOURCE_AS_NEGATIVE = ("negative_prompt", "proximal")
