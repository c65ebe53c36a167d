"""Nodes that bring an inverted picture back, edited or not, on the host's own samplers, and keep it on disk."""

from __future__ import annotations

import torch

from ...smooth_lora.inversion.inversion_file import load_inversion, save_inversion
from ...smooth_lora.inversion.receipt import receipt_data, receipt_text
from ..host.api import SHOWS_ITSELF, io
from ..host.node import Node
from ..host.types import CATEGORY_INVERSION, INVERSION
from .guider import AS_INVERTED, ReplayGuider
from .inverted_noise import InvertedNoise
from .parts import parts
from .prompt_switch import switched
from .sampler import ReplaySampler
from .store import file_stamp, missing_file, new_path, saved_names, saved_path


class SmoothReplayGuider(Node):
    """Guides the replay of an inversion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothReplayGuider",
            display_name="Replay Guider",
            category=CATEGORY_INVERSION,
            description="The guider that brings an inverted picture back, with the texts and the guidance that its "
            "method needs. With another positive text it edits the picture.",
            search_aliases=[
                "smooth diffusion",
                "inversion",
                "cfg guider",
                "null text",
                "negative prompt inversion",
                "edit image",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model that was inverted with, with the same LoRAs."),
                INVERSION.Input("inversion", tooltip="From Invert Picture or Load Inversion."),
                io.Float.Input(
                    "cfg",
                    default=AS_INVERTED,
                    min=-1.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="Guidance scale; -1 takes the one that was inverted for.",
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="The text to edit to, for example from Prompt Switch; without it the "
                    "picture's own, which gives the picture back.",
                ),
                io.Conditioning.Input(
                    "negative",
                    optional=True,
                    tooltip="Another negative text; without it the one that the method needs.",
                ),
                io.Boolean.Input(
                    "allow_other_model",
                    default=False,
                    optional=True,
                    tooltip="Replay with another model, LoRA or strength than was inverted with. The "
                    "picture does not come back then, it is redrawn.",
                ),
            ],
            outputs=[
                io.Guider.Output(display_name="guider", tooltip="For SamplerCustomAdvanced, and for the Walk Sampler.")
            ],
        )

    @classmethod
    def execute(cls, model, inversion, cfg, positive=None, negative=None, allow_other_model=False) -> io.NodeOutput:
        return io.NodeOutput(ReplayGuider(model, inversion, cfg, positive, negative, allow_other_model))


class SmoothReplaySampler(Node):
    """Samples the way back from an inversion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothReplaySampler",
            display_name="Replay Sampler",
            category=CATEGORY_INVERSION,
            description="The sampler that undoes an inversion step by step, with the noise levels and the latent that "
            "belong to it. It refuses other noise levels or another size, and "
            "beside a stock guider another model.",
            search_aliases=["smooth diffusion", "inversion", "resample", "reconstruct", "edit friendly", "ddim"],
            inputs=[
                INVERSION.Input("inversion", tooltip="From Invert Picture or Load Inversion."),
                io.Int.Input(
                    "skip",
                    default=0,
                    min=0,
                    max=999,
                    tooltip="Steps left out at the noisy end, for edits that keep more of the picture: 18 of "
                    "50 is usual for edit_friendly. Leaves less to the text.",
                ),
            ],
            outputs=[
                io.Sampler.Output(display_name="sampler", tooltip="For SamplerCustomAdvanced."),
                io.Sigmas.Output(display_name="sigmas", tooltip="The noise levels of the inversion."),
                io.Latent.Output(
                    display_name="latent_image",
                    tooltip="An empty latent of the picture's size, one row per picture. With direct it "
                    "holds every picture twice: the first comes back, the second is edited.",
                ),
            ],
        )

    @classmethod
    def execute(cls, inversion, skip) -> io.NodeOutput:
        sampler = ReplaySampler(inversion, skip)
        rows = inversion.images * inversion.row.needs.rows_per_image
        return io.NodeOutput(sampler, sampler.sigmas, {"samples": torch.zeros(rows, *inversion.noise.shape[1:])})


class SmoothInversionParts(Node):
    """Takes an inversion apart for walks and for stock guiders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothInversionParts",
            display_name="Inversion Parts",
            category=CATEGORY_INVERSION,
            description="The noise and the texts of one inverted picture, for walks from picture to picture. Noise "
            "can be whitened, and the report says what that did.",
            search_aliases=["smooth diffusion", "inversion", "morph", "whiten", "null text conditioning"],
            inputs=[
                INVERSION.Input("inversion", tooltip="From Invert Picture or Load Inversion."),
                io.Int.Input("picture", default=1, min=1, max=64, tooltip="Which of the inverted pictures, from 1."),
                io.Float.Input(
                    "whiten",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How far the noise is brought to white noise, which makes the middle of a walk "
                    "look more like the model's own pictures. Above 0 the picture itself does not "
                    "come back.",
                ),
            ],
            outputs=[
                io.Noise.Output(display_name="noise", tooltip="A keyframe for Noise Walk."),
                io.Conditioning.Output(display_name="positive", tooltip="The picture's text."),
                io.Conditioning.Output(
                    display_name="negative",
                    tooltip="The negative text of the replay; with null_text one for every step.",
                ),
                io.String.Output(display_name="report", tooltip="The noise before and after whitening."),
            ],
        )

    @classmethod
    def execute(cls, inversion, picture, whiten) -> io.NodeOutput:
        return io.NodeOutput(*parts(inversion, picture, whiten))


class SmoothPromptSwitch(Node):
    """Edits by changing the text on the way."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothPromptSwitch",
            display_name="Prompt Switch",
            category=CATEGORY_INVERSION,
            description="The picture's own text while the noise is strong and the layout forms, the wanted text after "
            "that: the paper's rule for editing an inverted picture.",
            search_aliases=["smooth diffusion", "prompt editing", "prompt scheduling", "edit image", "timestep range"],
            inputs=[
                io.Conditioning.Input("source", tooltip="The text of the picture."),
                io.Conditioning.Input("target", tooltip="The text to edit to."),
                io.Float.Input(
                    "fraction",
                    default=0.8,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The share of the sampling that follows the target, counted from its end. 0 is "
                    "the source alone, 1 the target alone; larger edits more.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="For the Replay Guider's positive, or any guider."
                )
            ],
        )

    @classmethod
    def execute(cls, source, target, fraction) -> io.NodeOutput:
        return io.NodeOutput(switched(source, target, fraction))


class SmoothSaveInversion(Node):
    """Keeps an inversion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothSaveInversion",
            display_name="Save Inversion",
            category=CATEGORY_INVERSION,
            description="Writes an inversion with everything that its replay needs, and its receipt, to the output "
            "folder.",
            search_aliases=["smooth diffusion", "inversion", "save", "export"],
            is_output_node=True,
            inputs=[
                INVERSION.Input("inversion", tooltip="From Invert Picture."),
                io.String.Input(
                    "filename_prefix",
                    default="inversions/picture",
                    tooltip="Where in the output folder; a number is added.",
                ),
            ],
            outputs=[io.String.Output(display_name="file", tooltip="The name under which Load Inversion lists it.")],
        )

    @classmethod
    def execute(cls, inversion, filename_prefix) -> io.NodeOutput:
        path, name = new_path(filename_prefix)
        save_inversion(inversion, path)
        return io.NodeOutput(name)


class SmoothLoadInversion(Node):
    """Brings a kept inversion back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            **SHOWS_ITSELF,
            node_id="SmoothLoadInversion",
            display_name="Load Inversion",
            category=CATEGORY_INVERSION,
            description="Reads an inversion that Save Inversion wrote. A damaged file or one of another kind is "
            "refused.",
            search_aliases=["smooth diffusion", "inversion", "load", "import"],
            inputs=[
                io.Combo.Input(
                    "file",
                    options=saved_names(),
                    tooltip="Inversions in the input and output folders; press R after saving a new one.",
                )
            ],
            outputs=[
                INVERSION.Output(display_name="inversion", tooltip="As it was saved."),
                io.Noise.Output(display_name="noise", tooltip="Its noise, as Invert Picture gives it."),
                io.String.Output(display_name="receipt", tooltip="How exact it is, as measured when it was made."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file) -> str:
        return file_stamp(file)

    @classmethod
    def validate_inputs(cls, file) -> bool | str:
        return missing_file(file) or True

    @classmethod
    def execute(cls, file) -> io.NodeOutput:
        inversion = load_inversion(saved_path(file))
        return io.NodeOutput(
            inversion,
            InvertedNoise(inversion.noise),
            receipt_text(inversion),
            ui={"smooth_receipt": [receipt_data(inversion)]},
        )


NODES = [
    SmoothReplayGuider,
    SmoothReplaySampler,
    SmoothInversionParts,
    SmoothPromptSwitch,
    SmoothSaveInversion,
    SmoothLoadInversion,
]
