"""Nodes that say where frames lie along a walk, and what walks: noise and text."""

from __future__ import annotations

from ...smooth_lora.walks.easing import EASINGS
from ...smooth_lora.walks.typed import parse_easings, parse_numbers, parse_prompts, parse_seeds
from ...smooth_lora.walks.walk import DEFAULT_FRAMES, MAX_FRAMES, schedule, schedule_at
from ..host.api import io
from ..host.node import Node
from ..host.types import CATEGORY, WALK
from ..model.texts import encode_prompts
from .conditioning import walk_conditioning
from .mixed_noise import mix_noises
from .noise import WalkNoise, seed_keyframes, wired_keyframes

_EASING_OVER = {"whole walk": "walk", "between keyframes": "segment"}
_NOISE_PATHS = {"slerp": "slerp", "spline": "spline", "variance exact": "variance_exact"}
_TEXT_PATHS = {"lerp": "lerp", "slerp per token": "slerp"}
_LAID_OUT_NOISE = "whose frames the noise is laid out for; without it, it spreads evenly over the latent's batch."
_LAID_OUT_TEXT = "whose frames the text is laid out for; without it, 48 frames, so wire it for any other number."


def _walk_input(effect: str):
    return WALK.Input(
        "walk",
        optional=True,
        tooltip=f"Only for stock samplers: a Walk Schedule {effect} The Walk Sampler needs "
        "nothing here, it uses its own schedule.",
    )


def _noise_path_input():
    return io.Combo.Input(
        "path",
        options=list(_NOISE_PATHS),
        default="slerp",
        tooltip="slerp: great circles, one angle per picture, even speed between keyframes. spline: the same "
        "without a kink at the keyframes, for three and more. variance exact: for keyframes that "
        "resemble each other, such as inverted pictures.",
    )


def _text_path_input():
    return io.Combo.Input(
        "path",
        options=list(_TEXT_PATHS),
        default="lerp",
        tooltip="lerp: straight lines, the usual choice. slerp per token: keeps every token as long as it "
        "was, stronger in the middle between prompts that differ much.",
    )


def _grown(slot, prefix="keyframe_"):
    return io.Autogrow.TemplatePrefix(slot, prefix=prefix, min=2, max=100)


def _noise_output():
    return io.Noise.Output(
        display_name="noise", tooltip="For the Walk Sampler, or for SamplerCustomAdvanced with one latent per frame."
    )


def _conditioning_output():
    return io.Conditioning.Output(
        display_name="conditioning",
        tooltip="For the guider of a Walk Sampler, or for stock samplers with one latent per frame.",
    )


class SmoothWalkSchedule(Node):
    """Places frames along a walk."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SmoothWalkSchedule",
            display_name="Walk Schedule",
            category=CATEGORY,
            description="How many frames a walk has, how they are spaced, and whether it closes into a loop. "
            "One schedule drives noise and text together, whatever their numbers of keyframes.",
            search_aliases=[
                "smooth diffusion",
                "easing",
                "frames",
                "timing",
                "loop",
                "interpolation schedule",
                "seed travel",
                "prompt travel",
                "latent walk",
            ],
            inputs=[
                io.Int.Input(
                    "frames",
                    default=DEFAULT_FRAMES,
                    min=1,
                    max=MAX_FRAMES,
                    tooltip="Frames of the whole walk. An open walk starts on the first keyframe and ends on the last.",
                ),
                io.Combo.Input(
                    "easing",
                    options=list(EASINGS),
                    default="linear",
                    tooltip="linear moves evenly; ease in starts slowly, ease out ends slowly, "
                    "ease in and out does both.",
                ),
                io.Combo.Input(
                    "easing_over",
                    options=list(_EASING_OVER),
                    default="whole walk",
                    tooltip="whole walk: the easing bends the walk once. between keyframes: it "
                    "bends every stretch between two keyframes, so that the walk pauses "
                    "at each of them.",
                ),
                io.Boolean.Input(
                    "loop",
                    default=False,
                    tooltip="Closes the walk: it leads back to the first keyframe, and the "
                    "frame after the last would be the first again.",
                ),
                io.Int.Input(
                    "first_frame",
                    default=0,
                    min=0,
                    max=MAX_FRAMES - 1,
                    tooltip="The first frame to render, to render a long walk in parts; numbers start at 0.",
                ),
                io.Int.Input(
                    "last_frame",
                    default=-1,
                    min=-1,
                    max=MAX_FRAMES - 1,
                    tooltip="The last frame to render, itself included; -1 renders to the end.",
                ),
                io.String.Input(
                    "positions",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Where the frames lie, as numbers 0 to 1 that rise, for example from Pace "
                    "Walk. Frames and an easing over the whole walk do not count then. Empty: as "
                    "the widgets say.",
                ),
                io.String.Input(
                    "easings",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="An easing for each stretch between two keyframes, in order, separated by "
                    "commas; they begin again where there are more stretches. Empty: as the "
                    "widgets say.",
                ),
            ],
            outputs=[
                WALK.Output(
                    display_name="walk", tooltip="The positions of the frames, for the Walk Sampler and the walk nodes."
                )
            ],
        )

    @classmethod
    def execute(
        cls, frames, easing, easing_over, loop, first_frame, last_frame, positions="", easings=""
    ) -> io.NodeOutput:
        shared = {
            "easing": easing,
            "easing_over": _EASING_OVER[easing_over],
            "segment_easings": parse_easings(easings),
            "loop": loop,
            "first": first_frame,
            "last": last_frame,
        }
        if positions.strip():
            return io.NodeOutput(schedule_at(positions, **shared))
        return io.NodeOutput(schedule(frames, **shared))


class SmoothSeedWalk(Node):
    """Walks from seed to seed."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SmoothSeedWalk",
            display_name="Seed Walk",
            category=CATEGORY,
            description="Noise that travels from seed to seed. On a seed's own frame it is exactly the noise "
            "that Random Noise gives this seed.",
            search_aliases=[
                "smooth diffusion",
                "seed travel",
                "slerp",
                "noise interpolation",
                "variation seed",
                "latent walk",
                "spherical interpolation",
            ],
            inputs=[
                io.String.Input(
                    "seeds",
                    default="12, 99, 7",
                    tooltip="2 to 100 seeds separated by commas; the walk visits them in this order.",
                ),
                _noise_path_input(),
                _walk_input(_LAID_OUT_NOISE),
            ],
            outputs=[_noise_output()],
        )

    @classmethod
    def execute(cls, seeds, path, walk=None) -> io.NodeOutput:
        return io.NodeOutput(WalkNoise(seed_keyframes(parse_seeds(seeds)), _NOISE_PATHS[path], walk))


class SmoothNoiseWalk(Node):
    """Walks from noise to noise."""

    @classmethod
    def define_schema(cls):
        keyframe = io.MultiType.Input(
            "keyframe",
            types=[io.Noise, io.Latent],
            tooltip="A NOISE, or a LATENT that holds noise (an inverted picture). A latent batch counts as "
            "several keyframes, a walk as its own keyframes.",
        )
        return io.Schema(
            node_id="SmoothNoiseWalk",
            display_name="Noise Walk",
            category=CATEGORY,
            description="Noise that travels through any number of keyframes: seeds, walks and inverted pictures.",
            search_aliases=[
                "smooth diffusion",
                "slerp",
                "noise interpolation",
                "latent interpolation",
                "slerp latent",
                "latent walk",
                "morph",
                "spherical interpolation",
            ],
            inputs=[
                io.Autogrow.Input(
                    "keyframes",
                    tooltip="2 to 100 noises, in the order in which the walk visits them.",
                    template=_grown(keyframe),
                ),
                _noise_path_input(),
                _walk_input(_LAID_OUT_NOISE),
            ],
            outputs=[_noise_output()],
        )

    @classmethod
    def execute(cls, keyframes, path, walk=None) -> io.NodeOutput:
        return io.NodeOutput(WalkNoise(wired_keyframes(keyframes), _NOISE_PATHS[path], walk))


class SmoothNoiseMix(Node):
    """Mixes noises into one."""

    @classmethod
    def define_schema(cls):
        noise = io.MultiType.Input(
            "noise",
            types=[io.Noise, io.Latent],
            tooltip="A NOISE, or a LATENT that holds noise (an inverted picture). A latent batch counts as several "
            "noises, a walk as its own keyframes.",
        )
        return io.Schema(
            node_id="SmoothNoiseMix",
            display_name="Noise Mix",
            category=CATEGORY,
            description="One noise made of any number of noises, with the variance that noise must have, whether they "
            "resemble each other or not: the middle of several seeds or inverted pictures, or one made "
            "less like another by a negative weight.",
            search_aliases=[
                "smooth diffusion",
                "average noise",
                "centroid",
                "blend noise",
                "latent blend",
                "mix seeds",
                "weighted noise",
            ],
            inputs=[
                io.Autogrow.Input("noises", tooltip="2 to 100 noises.", template=_grown(noise, "noise_")),
                io.String.Input(
                    "weights",
                    default="1, 1",
                    tooltip="A number for each noise, in order. Only their ratios and signs matter; a "
                    "negative one leads away from its noise.",
                ),
            ],
            outputs=[
                io.Noise.Output(
                    display_name="noise",
                    tooltip="For any sampler or a Noise Walk; the same in every picture of a batch.",
                )
            ],
        )

    @classmethod
    def execute(cls, noises, weights) -> io.NodeOutput:
        mixed = mix_noises(wired_keyframes(noises, "Noise Mix"), parse_numbers(weights, "weights"))
        return io.NodeOutput(mixed)


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
                    template=_grown(keyframe),
                ),
                _text_path_input(),
                _walk_input(_LAID_OUT_TEXT),
            ],
            outputs=[_conditioning_output()],
        )

    @classmethod
    def execute(cls, keyframes, path, walk=None) -> io.NodeOutput:
        names, conditionings = list(keyframes), list(keyframes.values())
        return io.NodeOutput(walk_conditioning(conditionings, _TEXT_PATHS[path], walk, names))


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
                _walk_input(_LAID_OUT_TEXT),
            ],
            outputs=[_conditioning_output()],
        )

    @classmethod
    def execute(cls, clip, prompts, path, walk=None) -> io.NodeOutput:
        lines = parse_prompts(prompts)
        names = [f"prompt {place}" for place in range(1, len(lines) + 1)]
        return io.NodeOutput(walk_conditioning(encode_prompts(clip, lines), _TEXT_PATHS[path], walk, names))


NODES = [SmoothWalkSchedule, SmoothSeedWalk, SmoothNoiseWalk, SmoothNoiseMix, SmoothConditioningWalk, SmoothPromptWalk]
