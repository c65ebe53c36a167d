"""The node that lets the frames of a walk attend to their keyframes."""

from __future__ import annotations

from ..host.api import io
from ..host.node import Node
from ..host.types import CATEGORY
from .between import KINDS_OF_NODE, interpolate_attention


class SmoothAttentionWalk(Node):
    """Puts attention interpolation on a model."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SmoothAttentionWalk",
            display_name="Attention Walk",
            category=CATEGORY,
            description="For walks between different prompts or pictures: in the first steps every frame attends to "
            "the two keyframes it lies between as well, so that they agree on what is where. The "
            "keyframes themselves stay as they are. For the Walk Sampler; with a stock sampler every batch "
            "is taken for a walk from its first picture to its last.",
            search_aliases=[
                "smooth diffusion",
                "aid",
                "paid",
                "attention interpolation",
                "morph",
                "prompt interpolation",
                "latent walk",
            ],
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="The model of the walk, with or without a Smooth-LoRA; it is copied, never changed.",
                ),
                io.Combo.Input(
                    "interpolation",
                    options=list(KINDS_OF_NODE),
                    default=next(iter(KINDS_OF_NODE)),
                    tooltip="inner mixes what the keyframes offer to be attended to, outer what comes of "
                    "attending to each. fused: beside the frame's own; without it frames follow "
                    "the keyframes alone, which suits keyframes of one layout.",
                ),
                io.Float.Input(
                    "warm_up",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The share of the steps, from the first, in which it acts. More binds the "
                    "frames to the keyframes, and washes out detail.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="For the guider of a Walk Sampler.")],
        )

    @classmethod
    def execute(cls, model, interpolation, warm_up) -> io.NodeOutput:
        return io.NodeOutput(interpolate_attention(model, interpolation, warm_up))


NODES = [SmoothAttentionWalk]
