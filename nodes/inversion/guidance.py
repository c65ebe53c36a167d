"""A method's own guidance as the host's cfg function."""

from __future__ import annotations

from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.inversion.contract import Guidance, MethodSettings


class OwnGuidance:
    """The guidance rule of an inversion's method, and where it acted last.

    name: of the method, for errors
    """

    def __init__(self, rule: Guidance, settings: MethodSettings, name: str):
        self.rule, self.settings, self.name = rule, settings, name
        self._edited: Tensor | None = None

    def on(self, model: ModelPatcher) -> ModelPatcher:
        """Returns a copy of the model that is guided by it.

        raises: ValueError for a model whose guidance another node replaces already
        """
        if "sampler_cfg_function" in model.model_options:
            raise ValueError(
                "Replay Guider: another node replaces this model's guidance (a cfg function), which "
                f"{self.name} inversion needs for itself; remove that node, or invert with negative_prompt"
            )
        model = model.clone()
        model.set_model_sampler_cfg_function(self, disable_cfg1_optimization=True)
        return model

    def __call__(self, args: dict[str, Any]) -> Tensor:
        """Called by the host with both predictions; returns the noise part, x - denoised."""
        guided = self.rule(args["cond_denoised"], args["uncond_denoised"], args["cond_scale"], self.settings)
        self._edited = guided.edited
        return args["input"] - guided.denoised

    def edited(self, device: torch.device) -> Tensor:
        """Returns where the last model call was guided, [B, ...] bool.

        raises: ValueError before the first call
        """
        if self._edited is None:
            raise ValueError("Replay Guider: the model was not called yet; sample with the Replay Sampler")
        return self._edited.to(device)
