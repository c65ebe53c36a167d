"""Nodes that turn pictures into noise, and say how exactly the noise gives them back."""

from __future__ import annotations

from ...smooth_lora.checks import MAX_FIRST_SEED
from ...smooth_lora.inversion.methods import METHODS
from ...smooth_lora.inversion.receipt import error_curves, receipt_data, receipt_text
from ...smooth_lora.scores.chart import error_chart
from ..host.api import SHOWS_ITSELF, io
from ..host.memory_shortage import shortage_explained
from ..host.node import Node
from ..host.types import CATEGORY_INVERSION, INVERSION, SCHEDULERS
from ..model.latent_space import FINAL_SIGMAS, ZERO
from .invert import Request, invert_cached
from .inverted_noise import InvertedNoise
from .pictures import Pictures

NO_MEMORY = (
    "Invert Picture: memory ran out",
    "invert fewer or smaller pictures at once, or turn on low_memory if the method is a null-text one",
)


class SmoothInvert(Node):
    """Inverts pictures."""

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
                    default="exact",
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
                io.Int.Input(
                    "iterations",
                    default=3,
                    min=1,
                    max=50,
                    optional=True,
                    advanced=True,
                    tooltip="fixed_point: model calls a step on average; steps at little noise take more.",
                ),
                io.Int.Input(
                    "inner_steps",
                    default=10,
                    min=1,
                    max=200,
                    optional=True,
                    advanced=True,
                    tooltip="null_text: steps of the optimiser at each sampling step, at most.",
                ),
                io.Float.Input(
                    "tolerance",
                    default=0.3,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="null_text: when the optimiser stops early, in parts of the published bound. "
                    "1 is as published, 0 never.",
                ),
                io.Boolean.Input(
                    "low_memory",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="null_text: compute the network's blocks twice instead of keeping what is "
                    "inside them; less memory, about a third slower.",
                ),
                io.Float.Input(
                    "eta",
                    default=1.0,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="edit_friendly and dpm_encoder: how much of each step is noise. The published "
                    "values are 1 and 0.1.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_FIRST_SEED,
                    optional=True,
                    advanced=True,
                    control_after_generate=False,
                    tooltip="edit_friendly and dpm_encoder: the noise of the path. It changes edits, not the "
                    "reconstruction.",
                ),
                io.Float.Input(
                    "quantile",
                    default=0.7,
                    min=0.0,
                    max=0.99,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="proximal: the share of an edit's changes, the weakest, that is dropped.",
                ),
                io.Float.Input(
                    "pull",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="proximal: how strongly the unedited part is pulled to the picture in the last "
                    "two fifths of the sampling.",
                ),
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
        iterations=3,
        inner_steps=10,
        tolerance=0.3,
        low_memory=False,
        eta=1.0,
        seed=0,
        quantile=0.7,
        pull=1.0,
        final_sigma=ZERO,
        cache_gb=2.0,
    ) -> io.NodeOutput:
        request = Request.of(
            method,
            cfg,
            steps,
            scheduler,
            final_sigma,
            {
                "iterations": iterations,
                "inner_steps": inner_steps,
                "tolerance": tolerance,
                "low_memory": low_memory,
                "eta": eta,
                "seed": seed,
                "quantile": quantile,
                "pull": pull,
            },
        )
        pictures = Pictures(model, image, latent_image, vae)
        with shortage_explained(*NO_MEMORY):
            inversion = invert_cached(model, positive, negative, positive_2, pictures, request, cache_gb)
        return io.NodeOutput(
            inversion,
            InvertedNoise(inversion.noise),
            receipt_text(inversion),
            error_chart(error_curves(inversion), f"{method}, {inversion.steps} steps, cfg {cfg:g}"),
            ui={"smooth_receipt": [receipt_data(inversion)]},
        )


NODES = [SmoothInvert]
