"""Nodes that turn images into noise, and measure how exactly the noise brings them back."""

from __future__ import annotations

from ...smooth_lora.inversion.contract import AnySetting
from ...smooth_lora.inversion.methods import DEFAULT_METHOD, METHODS, asked_settings
from ...smooth_lora.inversion.receipt import error_curves, receipt_data, receipt_text
from ...smooth_lora.scores.chart import error_chart
from ..host.api import SHOWS_ITSELF, io
from ..host.memory_shortage import shortage_explained
from ..host.node import Node
from ..host.types import CATEGORY_INVERSION, INVERSION, SCHEDULERS
from ..model.latent_space import FINAL_SIGMAS, ZERO
from .images import SourceImages
from .invert import InversionRequest, invert_cached
from .inverted_noise import InvertedNoise

INVERSION_SHORTAGE = (
    "Invert Picture: memory ran out",
    "invert fewer or smaller pictures at once, or turn on low_memory if the method is a null-text one",
)


class SmoothInvert(Node):
    """Inverts images."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            **SHOWS_ITSELF,
            node_id="SmoothInvert",
            display_name="Invert Picture",
            category=CATEGORY_INVERSION,
            description="Finds the noise from which the model draws a given picture, replays it once, and says how "
            "exact that was. Ten methods; exact gives the picture back to many digits.",
            search_aliases=[
                "smooth diffusion",
                "inversion",
                "unsample",
                "unsampler",
                "ddim inversion",
                "null text",
                "edit friendly",
                "noise from image",
                "image to noise",
                "reconstruct",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model that is to draw the picture, with the LoRAs you use."),
                io.Conditioning.Input(
                    "positive",
                    tooltip="What the picture shows, in words. Two pictures: this text "
                    "is for both unless positive_2 is wired.",
                ),
                io.Conditioning.Input("negative", tooltip="The negative text; an empty one is the usual choice."),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default=DEFAULT_METHOD,
                    tooltip="exact: comes back to many digits. null_text: noise that also works in walks, "
                    "at a cfg above 1. edit_friendly: edits that keep the layout. The help page "
                    "compares all ten.",
                ),
                io.Float.Input(
                    "cfg",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="The guidance scale of the replay. 1 is the most exact and the quickest; the "
                    "null-text methods and negative_prompt are made for higher ones. Edits from "
                    "exact need the cfg that was inverted with, a low one.",
                ),
                io.Int.Input("steps", default=50, min=1, max=1000, tooltip="Sampling steps of the replay."),
                io.Combo.Input(
                    "scheduler",
                    options=SCHEDULERS,
                    default="ddim_uniform",
                    tooltip="The noise schedule of the replay. Even ones such as ddim_uniform lose least.",
                ),
                io.Image.Input("image", optional=True, tooltip="The picture, or a batch of them. Needs the vae."),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Encodes the picture, and lets the receipt compare pictures instead of latents only.",
                ),
                io.Latent.Input("latent_image", optional=True, tooltip="An encoded picture, instead of image."),
                io.Conditioning.Input("positive_2", optional=True, tooltip="What the second of two pictures shows."),
                *map(_setting_input, asked_settings()),
                io.Combo.Input(
                    "final_sigma",
                    options=list(FINAL_SIGMAS),
                    default=ZERO,
                    optional=True,
                    advanced=True,
                    tooltip="Where the picture lies: at no noise at all, or where diffusers' DDIM with "
                    "SD1.x puts it. Only for comparing numbers with diffusers.",
                ),
                io.Float.Input(
                    "cache_gb",
                    default=2.0,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    optional=True,
                    advanced=True,
                    tooltip="Finished inversions are kept on disk up to this size, the oldest go first, so "
                    "that nothing is inverted twice. 0 keeps none.",
                ),
            ],
            outputs=[
                INVERSION.Output(display_name="inversion", tooltip="For the replay nodes, and to save."),
                io.Noise.Output(
                    display_name="noise",
                    tooltip="For SamplerCustomAdvanced with an empty latent of the "
                    "picture's size, and for Noise Walk. It can check that "
                    "size alone; the replay nodes also check the model and "
                    "the noise levels.",
                ),
                io.String.Output(
                    display_name="receipt", tooltip="How exact the inversion is, against what, and what it cost."
                ),
                io.Image.Output(
                    display_name="chart", tooltip="How far the replay strays from the inversion's path, over the steps."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model,
        positive,
        negative,
        method,
        cfg,
        steps,
        scheduler,
        image=None,
        vae=None,
        latent_image=None,
        positive_2=None,
        final_sigma=ZERO,
        cache_gb=2.0,
        **settings,
    ) -> io.NodeOutput:
        request = InversionRequest.of(
            method, cfg=cfg, steps=steps, scheduler=scheduler, final_sigma=final_sigma, inputs=settings
        )
        images = SourceImages(model, image, latent_image, vae)
        texts = {"positive": positive, "negative": negative, "positive_2": positive_2}
        with shortage_explained(*INVERSION_SHORTAGE):
            inversion = invert_cached(model, images, request, **texts, cache_gb=cache_gb)
        return io.NodeOutput(
            inversion,
            InvertedNoise(inversion.noise),
            receipt_text(inversion),
            error_chart(error_curves(inversion), f"{method}, {inversion.steps} steps, cfg {cfg:g}"),
            ui={"smooth_receipt": [receipt_data(inversion)]},
        )


def _setting_input(setting: AnySetting) -> io.Input:
    """The input of a method's setting, by its type."""
    about = {"default": setting.default, "tooltip": setting.tooltip, "optional": True, "advanced": True}
    if isinstance(setting.default, bool):
        return io.Boolean.Input(setting.name, **about)
    if isinstance(setting.default, int) and setting.name == "seed":
        # The page would put a control that draws a new seed after each run behind any number of this name.
        about["control_after_generate"] = False
    kind = io.Int if isinstance(setting.default, int) else io.Float
    return kind.Input(setting.name, min=setting.low, max=setting.high, step=setting.step, **about)


NODES = [SmoothInvert]
