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
from ..model.call import ENDS, KEY_MARK, KEYFRAMES, options_of, walk_of, with_options

OVERRIDE = "optimized_attention_override"  # the host's key for what stands in for its attention
SIGMAS = "sample_sigmas"  # and for the noise schedule of a sampling run
OF_COND = 0  # in the host's cond_or_uncond
KINDS_OF_NODE: dict[str, tuple[InterpolationKind, bool]] = {
    "fused inner": ("inner", True),
    "fused outer": ("outer", True),
    "inner": ("inner", False),
    "outer": ("outer", False),
}


def interpolate_attention(model: ModelPatcher, kind: str, warm_up: float) -> ModelPatcher:
    """A copy of the model that interpolates the attention of a walk's frames.

    kind:    one of KINDS_OF_NODE; warm_up: share of the steps in which it does, from the first one, 0 to 1
    returns: the model; the Walk Sampler renders the keyframes around its frames beside them for it
    raises:  ValueError for a model that already does this
    """
    if model.model_options.get("transformer_options", {}).get(ENDS):
        raise ValueError("attention walk: this model already has an Attention Walk; wire in the one before it")
    patched = model.clone()
    walked = AttentionWalk(*KINDS_OF_NODE[kind], warm_up)
    patched.model_options["transformer_options"][ENDS] = True
    patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, f"{KEY_MARK} attention {kind} {warm_up!r}", walked.apply_model)
    return patched


@dataclass(frozen=True)
class AttentionWalk:
    """A wrapper around the host's model call. Asking the sigma for its step waits for the device once a call."""

    kind: InterpolationKind
    fused: bool
    warm_up: float

    def apply_model(self, executor: WrapperExecutor, x: Tensor, sigma: Tensor, *args, **kwargs) -> Tensor:
        """Around BaseModel.apply_model: with the attention of walks in the first steps."""
        options = options_of(args, kwargs)
        keyframes = options.get(KEYFRAMES, 2)
        groups = tuple(of == OF_COND for of in options.get("cond_or_uncond", ()))
        sigmas = options.get(SIGMAS)  # there are none outside of sampling, where nothing walks
        if keyframes == 1 or not any(groups) or sigmas is None or not self._warming_up(sigma, sigmas):
            return executor(x, sigma, *args, **kwargs)
        between = _between(walk_of(options, len(x)), keyframes, groups, x.device)
        attention = partial(self._attend, between, len(x), options.get(OVERRIDE))
        args, kwargs = with_options(args, kwargs, {OVERRIDE: attention})
        return executor(x, sigma, *args, **kwargs)

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
        """What the host calls instead of its attention function; before: what stood there already."""
        if mask is not None or len(q) != rows:
            raise ValueError(
                "attention walk: this model masks its attention or makes video, for which no "
                "interpolation is known; leave out the Attention Walk"
            )
        attend = partial(before, function) if before else function
        return interpolated_attention(
            lambda *qkv: attend(*qkv, heads, **kwargs), q, k, v, between, self.kind, fused=self.fused
        )


@lru_cache(maxsize=8)
def _between(walk: Walk, keyframes: int, groups: tuple[bool, ...], device: torch.device) -> Between:
    """Once a chunk, not once a call."""
    return Between.of(walk, keyframes, groups, device)
