"""The nodes that place frames along a walk, and those of noise that walks."""

from __future__ import annotations

from ...smooth_lora.walks.easing import EASINGS, EasingOver
from ...smooth_lora.walks.noise import PathRule
from ...smooth_lora.walks.typed import parse_easings, parse_numbers, parse_seeds
from ...smooth_lora.walks.walk import DEFAULT_FRAMES, MAX_FRAMES, schedule, schedule_at
from ..host.api import io
from ..host.node import Node
from ..host.types import CATEGORY, WALK
from .noise import WalkNoise, mix_noises, seed_keyframes, wired_keyframes

_EASING_OVER: dict[str, EasingOver] = {"whole walk": "walk", "between keyframes": "segment"}
_NOISE_PATHS: dict[str, PathRule] = {"slerp": "slerp", "spline": "spline", "variance exact": "variance_exact"}
_LAID_OUT_NOISE = "whose frames the noise is laid out for; without it, it spreads evenly over the latent's batch."


def walk_input(effect: str) -> io.Input:
    """Returns the input for the walk that stock samplers render; effect: what the Walk Schedule has to do with it."""
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


def keyframes_template(slot: io.Input, prefix: str = "keyframe_") -> io.Autogrow.TemplatePrefix:
    """Returns the template of an input that grows with what is wired, 2 to 100 times."""
    return io.Autogrow.TemplatePrefix(slot, prefix=prefix, min=2, max=100)


def _noise_output():
    return io.Noise.Output(
        display_name="noise", tooltip="For the Walk Sampler, or for SamplerCustomAdvanced with one latent per frame."
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
                walk_input(_LAID_OUT_NOISE),
            ],
            outputs=[_noise_output()],
        )

    @classmethod
    def execute(cls, seeds, path, walk=None) -> io.NodeOutput:
        return io.NodeOutput(WalkNoise(seed_keyframes(parse_seeds(seeds)), _NOISE_PATHS[path], walk, who="Seed Walk"))


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
                    template=keyframes_template(keyframe),
                ),
                _noise_path_input(),
                walk_input(_LAID_OUT_NOISE),
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
                io.Autogrow.Input("noises", tooltip="2 to 100 noises.", template=keyframes_template(noise, "noise_")),
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


NODES = [SmoothWalkSchedule, SmoothSeedWalk, SmoothNoiseWalk, SmoothNoiseMix]
