"""Nodes before a training: its images and captions, and its check."""

from __future__ import annotations

from ...smooth_lora.checks import MAX_SEED
from ...smooth_lora.scores.rows import WalkSetting
from ...smooth_lora.walks.typed import prompt_lines
from ..host.api import io
from ..host.names import TRAINING_CHECK_NODE, TRAINING_DATA_NODE
from ..host.node import Node
from ..host.types import CATEGORY_TRAINING, SAMPLERS, SCHEDULERS, TRAINING_CHECK
from .check import TrainingCheck, held_out_set
from .encode import MISSING_CAPTIONS, REFUSE, encode_set


class SmoothLoRATrainData(Node):
    """Makes a folder's images and captions ready for training."""

    LISTS = ("images", "texts")

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothLoRATrainData",
            display_name=TRAINING_DATA_NODE,
            category=CATEGORY_TRAINING,
            description="Cuts pictures to a few shared sizes near their own shapes, encodes them and their captions, "
            "keeps that on disk for the next time, and sets some aside for checks.",
            search_aliases=["smooth diffusion", "dataset", "training data", "bucket", "captions", "cache latents"],
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="Pictures of any sizes, from Load Image-Text (from Folder)."),
                io.String.Input(
                    "texts",
                    force_input=True,
                    tooltip="The caption of each picture in the same order, from the same node; or one text for all.",
                ),
                io.Vae.Input("vae", tooltip="Of the checkpoint that is to be trained."),
                io.Clip.Input("clip", tooltip="Of the checkpoint that is to be trained."),
                io.Int.Input(
                    "resolution",
                    default=512,
                    min=64,
                    max=4096,
                    step=64,
                    tooltip="Side of a square of the area that pictures are cut to: 512 for SD1.5, 1024 for "
                    "SDXL. Wide and tall pictures get a wide and a tall size of that area.",
                ),
                io.Int.Input(
                    "held_out",
                    default=0,
                    min=0,
                    max=100000,
                    tooltip="How many pictures are set aside, for Training Check.",
                ),
                io.Combo.Input(
                    "missing_captions",
                    options=list(MISSING_CAPTIONS),
                    default=REFUSE,
                    tooltip="What to do if some pictures have no caption.",
                ),
                io.Float.Input(
                    "cache_gb",
                    default=10.0,
                    min=0.0,
                    max=10000.0,
                    step=0.1,
                    optional=True,
                    advanced=True,
                    tooltip="Encoded pictures and texts are kept on disk up to this size, the oldest go "
                    "first. 0 keeps none.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latents", is_output_list=True, tooltip="For Train Smooth-LoRA."),
                io.Conditioning.Output(display_name="positive", is_output_list=True, tooltip="For Train Smooth-LoRA."),
                io.Conditioning.Output(
                    display_name="empty_text", tooltip="The text without words, for Train Smooth-LoRA."
                ),
                io.Latent.Output(
                    display_name="held_out_latents",
                    is_output_list=True,
                    tooltip="Pictures set aside, for Training Check.",
                ),
                io.Conditioning.Output(
                    display_name="held_out_positive", is_output_list=True, tooltip="Their captions, for Training Check."
                ),
                io.String.Output(display_name="report", tooltip="How many pictures of which sizes there are."),
            ],
        )

    @classmethod
    def execute(cls, images, texts, vae, clip, resolution, held_out, missing_captions, cache_gb=10.0) -> io.NodeOutput:
        encoded = encode_set(images, texts, vae, clip, side=resolution, missing=missing_captions, cache_gb=cache_gb)
        (latents, positive), (held_latents, held_positive) = encoded.split(held_out)
        return io.NodeOutput(latents, positive, encoded.empty, held_latents, held_positive, encoded.report)


class SmoothTrainingCheck(Node):
    """Chooses the prompts and images that a training is checked on."""

    LISTS = ("latents", "positive")

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothTrainingCheck",
            display_name=TRAINING_CHECK_NODE,
            category=CATEGORY_TRAINING,
            description="What Train Smooth-LoRA looks at before, while and after it trains: walks of prompts that it "
            "is not trained on, scored, and the loss on pictures that it has not seen.",
            search_aliases=["smooth diffusion", "validation", "held out", "training preview", "istd"],
            is_input_list=True,
            inputs=[
                io.Clip.Input("clip", tooltip="Encodes the prompts."),
                io.Vae.Input("vae", tooltip="Decodes the frames."),
                io.String.Input(
                    "prompts",
                    multiline=True,
                    dynamic_prompts=False,
                    default="a red circle on a blue background\na green square on a white background",
                    tooltip="One prompt per line, such that no training picture has it. Each is walked "
                    "from one noise to another at every check, so a few are enough.",
                ),
                io.String.Input(
                    "negative_prompt",
                    multiline=True,
                    dynamic_prompts=False,
                    default="",
                    tooltip="Negative prompt of all walks.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=False,
                    tooltip="Of the walks' noises, the same at every check.",
                ),
                io.Int.Input("steps", default=25, min=1, max=10_000, tooltip="Sampling steps."),
                io.Float.Input(
                    "cfg",
                    default=7.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="Classifier-free guidance scale, the one that you draw with.",
                ),
                io.Combo.Input("sampler_name", options=SAMPLERS, default="euler", tooltip="As in KSampler."),
                io.Combo.Input("scheduler", options=SCHEDULERS, default="normal", tooltip="As in KSampler."),
                io.Int.Input(
                    "width", default=512, min=16, max=16_384, step=8, tooltip="Width of the frames in pixels."
                ),
                io.Int.Input(
                    "height", default=512, min=16, max=16_384, step=8, tooltip="Height of the frames in pixels."
                ),
                io.Int.Input("frames", default=11, min=3, max=1_000, tooltip="Frames of every walk, ends included."),
                io.Latent.Input(
                    "latents",
                    optional=True,
                    tooltip="Pictures that are not trained on, from the held-out outputs of Smooth-LoRA "
                    "Training Data. Without them the loss is not checked.",
                ),
                io.Conditioning.Input("positive", optional=True, tooltip="Their captions, from the same node."),
                io.Model.Input("model", optional=True, tooltip="The checkpoint, if latents are wired."),
            ],
            outputs=[TRAINING_CHECK.Output(display_name="check", tooltip="For Train Smooth-LoRA.")],
        )

    @classmethod
    def execute(
        cls,
        clip,
        vae,
        prompts,
        negative_prompt,
        seed,
        steps,
        cfg,
        sampler_name,
        scheduler,
        width,
        height,
        frames,
        latents=(),
        positive=(),
        model=None,
    ) -> io.NodeOutput:
        setting = WalkSetting(negative_prompt, steps, cfg, sampler_name, scheduler, width, height, frames)
        held_out = held_out_set(latents, positive, model)
        return io.NodeOutput(TrainingCheck(clip, vae, prompt_lines(prompts), seed, setting, held_out))


NODES = [SmoothLoRATrainData, SmoothTrainingCheck]
