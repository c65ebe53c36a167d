"""The guider of a replay: the host's own, with the conditioning and the guidance that the inversion's method needs."""

from __future__ import annotations

import comfy.samplers
import torch
from comfy.model_patcher import ModelPatcher

from ...smooth_lora.inversion.record import Inversion
from ..host.protocols import Conditioning
from ..model.fingerprint import fingerprint
from .guidance import OwnGuidance
from .replay_conditioning import bound_to_steps, replay_conditioning

AS_INVERTED = -1.0  # a cfg


def require_model(inversion: Inversion, model: ModelPatcher, who: str, *, allow_other: bool = False) -> None:
    """Refuses a model that is not the one inverted with, unless another one is allowed.

    raises: ValueError
    """
    if not allow_other and fingerprint(model) != inversion.model:
        raise ValueError(
            f"{who}: this model is not the one that was inverted with (its weights, LoRAs, strengths or "
            "patches differ), so the picture would not come back; wire the same model with the same "
            "LoRAs, or turn on allow_other_model in the Replay Guider if this is what you want"
        )


class ReplayGuider(comfy.samplers.CFGGuider):
    """The host's CFG guider with the conditioning that an inversion's method needs, for that inversion's model.

    inversion: the one that is replayed
    cfg:       guidance scale; AS_INVERTED takes the inversion's
    positive, negative: CONDITIONING; None takes the inversion's, which brings the image back
    raises:    ValueError for another model, unless allow_other_model; for a negative conditioning that does not change
               by the step where the method fitted one that does
    """

    def __init__(
        self,
        model: ModelPatcher,
        inversion: Inversion,
        cfg: float = AS_INVERTED,
        positive: Conditioning | None = None,
        negative: Conditioning | None = None,
        allow_other_model: bool = False,
    ):
        require_model(inversion, model, "Replay Guider", allow_other=allow_other_model)
        self.inversion, method = inversion, inversion.row
        self.own_guidance: OwnGuidance | None = None
        if method.needs.guidance is not None:
            settings = method.settings_of(inversion.settings, "Replay Guider")
            self.own_guidance = OwnGuidance(method.needs.guidance, settings, method.name)
            model = self.own_guidance.on(model)
        super().__init__(model)
        if negative is not None and inversion.nulls is not None and not bound_to_steps(v for _, v in negative):
            raise ValueError(
                f"Replay Guider: {inversion.method} brings the picture back with a negative text of its "
                "own for every step, which the one at negative would replace; leave negative open, or "
                "invert with exact or edit_friendly to use a negative text"
            )
        self.set_conds(*replay_conditioning(inversion, positive, negative))
        self.set_cfg(inversion.cfg if cfg == AS_INVERTED else cfg)

    def serves(self, inversion: Inversion) -> bool:
        """True where this guider adds what an inversion needs.

        Several methods find the same noise, so that the noise alone does not say.
        """
        own = self.inversion
        return own is inversion or (
            (own.method, own.cfg) == (inversion.method, inversion.cfg) and torch.equal(own.noise, inversion.noise)
        )
