"""Attention interpolation on the host's model: frames between two keyframes attend to both, in the first steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrapperExecutor, WrappersMP
from torch import Tensor

from ...smooth_lora.attention.between import Between, InterpolationKind, interpolated_attention
from ...smooth_lora.walks.walk import Walk
from ..model.call import ATTENTION_OVERRIDE, ENDS, KEY_MARK, KEYFRAMES, options_of, walk_of, with_options

RUN_SIGMAS = "sample_sigmas"  # and for the sigmas of a sampling run
CONDITIONAL = 0  # among the host's cond_or_uncond: the rows of the positive conditioning
KINDS_OF_NODE: dict[str, tuple[InterpolationKind, bool]] = {
    "fused inner": ("inner", True),
    "fused outer": ("outer", True),
    "inner": ("inner", False),
    "outer": ("outer", False),
}


def interpolate_attention(model: ModelPatcher, kind: str, warm_up: float) -> ModelPatcher:
    """Returns a copy of the model that interpolates the attention of a walk's frames.

    kind:    one of KINDS_OF_NODE
    warm_up: share of the steps in which it does, from the first one, 0 to 1
    returns: the model, for which the Walk Sampler renders the keyframes around each batch along with its frames
    raises:  ValueError for a model that already does this
    """
    if model.model_options.get("transformer_options", {}).get(ENDS):
        raise ValueError("Attention Walk: this model already has an Attention Walk; wire in the one before it")
    patched = model.clone()
    walked = AttentionWalk(*KINDS_OF_NODE[kind], warm_up)
    patched.model_options["transformer_options"][ENDS] = True
    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, f"{KEY_MARK} attention {kind} {warm_up!r}", walked.apply_model)
    return patched


@dataclass(frozen=True)
class AttentionWalk:
    """A wrapper around the host's model call; comparing the sigma waits for the device once a call."""

    kind: InterpolationKind
    fused: bool
    warm_up: float

    def apply_model(self, executor: WrapperExecutor, x: Tensor, sigma: Tensor, *args, **kwargs) -> Tensor:
        """Wraps BaseModel.apply_model: with the attention of walks in the first steps."""
        options = options_of(args, kwargs)
        keyframes = options.get(KEYFRAMES, 2)
        groups = tuple(group == CONDITIONAL for group in options.get("cond_or_uncond", ()))
        sigmas = options.get(RUN_SIGMAS)  # there are none outside of sampling, where nothing walks
        if keyframes == 1 or not any(groups) or sigmas is None or not self._warming_up(sigma, sigmas):
            return executor(x, sigma, *args, **kwargs)
        between = _between(walk_of(options, len(x)), keyframes, groups, x.device)
        attention = partial(self._attend, between, len(x), options.get(ATTENTION_OVERRIDE))
        more, named = with_options(args, kwargs, {ATTENTION_OVERRIDE: attention})
        return executor(x, sigma, *more, **named)

    def _warming_up(self, sigma: Tensor, sigmas: Tensor) -> bool:
        steps = round(self.warm_up * (len(sigmas) - 1))
        return steps > 0 and bool(sigma.max() > sigmas[steps])

    def _attend(
        self,
        between: Between,
        rows: int,
        before: Callable | None,
        function: Callable,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        heads: int,
        mask: Tensor | None = None,
        **kwargs,
    ) -> Tensor:
        """Replaces the host's attention function; before: a replacement that stood there already."""
        if mask is not None or len(q) != rows:
            raise ValueError(
                "Attention Walk: this model masks its attention or makes video, for which no "
                "interpolation is known; leave out the Attention Walk"
            )
        attend = partial(before, function) if before else function
        return interpolated_attention(
            lambda *qkv: attend(*qkv, heads, **kwargs), q, k, v, between=between, kind=self.kind, fused=self.fused
        )


@lru_cache(maxsize=8)
def _between(walk: Walk, keyframes: int, groups: tuple[bool, ...], device: torch.device) -> Between:
    """The rows of a call, found once for each chunk and not for each call."""
    return Between.of(walk, keyframes, groups, device)
