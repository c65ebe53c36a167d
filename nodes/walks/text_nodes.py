"""The nodes of text that walks."""

from __future__ import annotations

from ...smooth_lora.walks.text import TextRule
from ...smooth_lora.walks.typed import parse_prompts
from ..host.api import io
from ..host.node import Node
from ..host.types import CATEGORY
from ..model.texts import encode_prompts
from .conditioning import walk_conditioning
from .nodes import keyframes_template, walk_input

_TEXT_PATHS: dict[str, TextRule] = {"lerp": "lerp", "slerp per token": "slerp"}
_LAID_OUT_TEXT = "whose frames the text is laid out for; without it, 48 frames, so wire it for any other number."


def _text_path_input():
    return io.Combo.Input(
        "path",
        options=list(_TEXT_PATHS),
        default="lerp",
        tooltip="lerp: straight lines, the usual choice. slerp per token: keeps every token as long as it "
        "was, stronger in the middle between prompts that differ much.",
    )


def _conditioning_output():
    return io.Conditioning.Output(
        display_name="conditioning",
        tooltip="For the guider of a Walk Sampler, or for stock samplers with one latent per frame.",
    )


class SmoothConditioningWalk(Node):
    """Walks from conditioning to conditioning."""

    @classmethod
    def define_schema(cls):
        keyframe = io.Conditioning.Input(
            "keyframe",
            tooltip="Text, for example from CLIP Text Encode. A batch counts as several "
            "keyframes, a walk as its own keyframes.",
        )
        return io.Schema(
            node_id="SmoothConditioningWalk",
            display_name="Conditioning Walk",
            category=CATEGORY,
            description="Text that travels through any number of conditionings. On a keyframe's own frame it "
            "is exactly that conditioning. Areas, masks and ControlNets go after the walk, where "
            "they hold for every frame.",
            search_aliases=[
                "smooth diffusion",
                "prompt travel",
                "prompt interpolation",
                "conditioning average",
                "text slerp",
                "prompt schedule",
                "blend prompts",
            ],
            inputs=[
                io.Autogrow.Input(
                    "keyframes",
                    tooltip="2 to 100 conditionings, in the order in which the walk visits them.",
                    template=keyframes_template(keyframe),
                ),
                _text_path_input(),
                walk_input(_LAID_OUT_TEXT),
            ],
            outputs=[_conditioning_output()],
        )

    @classmethod
    def execute(cls, keyframes, path, walk=None) -> io.NodeOutput:
        return io.NodeOutput(walk_conditioning(keyframes, _TEXT_PATHS[path], walk, who="Conditioning Walk"))


class SmoothPromptWalk(Node):
    """Walks from prompt to prompt."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SmoothPromptWalk",
            display_name="Prompt Walk",
            category=CATEGORY,
            description="Text that travels from prompt to prompt, one per line. A single line is the same "
            "text in every frame.",
            search_aliases=[
                "smooth diffusion",
                "prompt travel",
                "prompt interpolation",
                "text encode batch",
                "prompt schedule",
                "blend prompts",
                "morph",
            ],
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder that belongs to the model."),
                io.String.Input(
                    "prompts",
                    multiline=True,
                    dynamic_prompts=True,
                    default="a red circle on a blue background\na green square on a yellow background",
                    tooltip="One prompt per line, 1 to 100, in the order in which the walk "
                    "visits them; empty lines do not count.",
                ),
                _text_path_input(),
                walk_input(_LAID_OUT_TEXT),
            ],
            outputs=[_conditioning_output()],
        )

    @classmethod
    def execute(cls, clip, prompts, path, walk=None) -> io.NodeOutput:
        texts = encode_prompts(clip, parse_prompts(prompts))
        named = {f"prompt {number}": text for number, text in enumerate(texts, start=1)}
        return io.NodeOutput(walk_conditioning(named, _TEXT_PATHS[path], walk, who="Prompt Walk"))


NODES = [SmoothConditioningWalk, SmoothPromptWalk]
