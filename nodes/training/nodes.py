"""Nodes that train a Smooth-LoRA."""

from __future__ import annotations

from ...smooth_lora.checks import MAX_FIRST_SEED
from ...smooth_lora.training.estimators import ESTIMATORS
from ...smooth_lora.training.loop import OPTIMIZERS
from ...smooth_lora.training.settings import COMPUTE_PRECISIONS, LR_SCHEDULES, TrainingRun, TrainingSettings
from ..host.api import SHOWS_ITSELF, io
from ..host.memory_shortage import shortage_explained
from ..host.names import TRAINER, TRAINING_CHECK_NODE
from ..host.node import Node
from ..host.types import CATEGORY_TRAINING, TRAINING_CHECK
from ..page.blocked import blocked
from .images import training_set
from .run import state_path, train_lora
from .shown import TrainingShown
from .targets import ATTENTION, TARGETS

TRAINING_OUT_OF_MEMORY = (
    f"{TRAINER}: memory ran out, and what was trained so far is kept",
    "turn on low_memory, lower batch_size and raise accumulation instead, or train on smaller pictures; the same name "
    "goes on from here",
)
NO_CHECK = f"{TRAINER}: the checks output needs a check; wire a {TRAINING_CHECK_NODE} to the check input."


class SmoothLoRATrainer(Node):
    """Trains a Smooth-LoRA for the checkpoint that is wired."""

    LISTS = ("latents", "positive", "empty_text")

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            **SHOWS_ITSELF,
            node_id="SmoothLoRATrainer",
            display_name=TRAINER,
            category=CATEGORY_TRAINING,
            description="Trains a LoRA that makes a checkpoint's walks smoother, on pictures and captions of your "
            "own. It is kept on disk as it goes, so a run that was stopped goes on where it was.",
            search_aliases=["smooth diffusion", "train lora", "svr", "step-wise variation", "smooth latent space"],
            is_input_list=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint that is to become smoother."),
                io.Latent.Input(
                    "latents",
                    tooltip="Encoded pictures, from Make Training Dataset or Resolution Bucket. Some hundreds do.",
                ),
                io.Conditioning.Input(
                    "positive",
                    tooltip="The caption of each picture in the same order, from the "
                    "same node; or one text for all of them.",
                ),
                io.String.Input(
                    "name",
                    default="my_smooth_lora",
                    tooltip="What the run is kept under. The same name with the same settings goes on "
                    "where it was left; it may then take more steps.",
                ),
                io.Float.Input(
                    "svr_lambda",
                    default=1.0,
                    min=0.0,
                    max=1000.0,
                    step=0.1,
                    tooltip="How much smoothness counts beside the ordinary loss. The published value is "
                    "1; 0 trains an ordinary LoRA.",
                ),
                io.Int.Input("rank", default=8, min=1, max=1024, tooltip="Size of the LoRA. The published value is 8."),
                io.Combo.Input(
                    "targets",
                    options=list(TARGETS),
                    default=ATTENTION,
                    tooltip="Which layers are trained. The published choice is attention.",
                ),
                io.Int.Input("steps", default=1000, min=1, max=1000000, tooltip="Optimiser steps, all runs together."),
                io.Int.Input("batch_size", default=1, min=1, max=1024, tooltip="Pictures per call of the model."),
                io.Float.Input(
                    "learning_rate",
                    default=1e-4,
                    min=0.0,
                    max=1.0,
                    step=1e-6,
                    round=False,
                    tooltip="The published value is 0.0001, for 30,000 steps of 96 pictures. Short runs want more.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_FIRST_SEED,
                    control_after_generate=False,
                    tooltip="Decides everything that is drawn: the LoRA's start, order, noise and levels.",
                ),
                io.Conditioning.Input(
                    "empty_text",
                    optional=True,
                    tooltip="A text encode node without words. With it, a share of the captions is "
                    "left empty, which sampling with a cfg above 1 needs.",
                ),
                io.Int.Input(
                    "accumulation",
                    default=1,
                    min=1,
                    max=1024,
                    optional=True,
                    advanced=True,
                    tooltip="Calls per optimiser step: a larger batch in the memory of a small one.",
                ),
                io.Combo.Input(
                    "lr_schedule",
                    options=list(LR_SCHEDULES),
                    default="constant",
                    optional=True,
                    advanced=True,
                    tooltip="Whether the learning rate stays or falls to 2 percent along a cosine.",
                ),
                io.Int.Input(
                    "warmup_steps",
                    default=0,
                    min=0,
                    max=100000,
                    optional=True,
                    advanced=True,
                    tooltip="Steps over which the learning rate rises at the start.",
                ),
                io.Combo.Input(
                    "optimizer",
                    options=list(OPTIMIZERS),
                    default="adamw",
                    optional=True,
                    advanced=True,
                    tooltip="adafactor keeps less beside the weights.",
                ),
                io.Float.Input(
                    "weight_decay",
                    default=1e-4,
                    min=0.0,
                    max=1.0,
                    step=1e-5,
                    round=False,
                    optional=True,
                    advanced=True,
                    tooltip="Pulls the LoRA towards nothing. The paper has 0.0001.",
                ),
                io.Float.Input(
                    "clip",
                    default=1.0,
                    min=1e-6,
                    max=1e6,
                    step=0.1,
                    round=False,
                    optional=True,
                    advanced=True,
                    tooltip="The longest gradient of a step; longer ones are shortened.",
                ),
                io.Float.Input(
                    "ema",
                    default=0.0,
                    min=0.0,
                    max=0.99999,
                    step=0.001,
                    round=False,
                    optional=True,
                    advanced=True,
                    tooltip="Decay of averaged weights, which are given out in place of the last ones. 0 keeps none.",
                ),
                io.Float.Input(
                    "empty_share",
                    default=0.1,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="Which share of the captions is left empty, if empty_text is wired.",
                ),
                io.Combo.Input(
                    "estimator",
                    options=list(ESTIMATORS),
                    default="first_order",
                    optional=True,
                    advanced=True,
                    tooltip="How the gradient of the smoothness is found. first_order is "
                    "the quickest and takes the least memory, exact differentiates "
                    "twice, as published.",
                ),
                io.Float.Input(
                    "difference_step",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=1e-5,
                    round=False,
                    optional=True,
                    advanced=True,
                    tooltip="first_order: length of the difference, per value of the "
                    "network's input. 0 takes one that fits the precision.",
                ),
                io.Int.Input(
                    "save_every",
                    default=100,
                    min=1,
                    max=100000,
                    optional=True,
                    advanced=True,
                    tooltip="Steps after which the run is written to disk.",
                ),
                io.Boolean.Input(
                    "low_memory",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Compute the blocks of the network a second time instead of keeping what is inside them.",
                ),
                TRAINING_CHECK.Input(
                    "check",
                    optional=True,
                    tooltip="From Training Check: walks and pictures to look at before, while and after it trains.",
                ),
                io.Int.Input(
                    "check_every",
                    default=0,
                    min=0,
                    max=100000,
                    optional=True,
                    tooltip="Steps from one check to the next; 0 checks at the start and at the end alone.",
                ),
                io.Float.Input(
                    "pace_lambda",
                    default=0.0,
                    min=0.0,
                    max=1000.0,
                    step=0.01,
                    round=False,
                    optional=True,
                    advanced=True,
                    tooltip="An experiment: how much an even pace counts, in walks that the "
                    "model draws for it while it trains. 0 draws none. Read the help "
                    "page first.",
                ),
                io.Float.Input(
                    "pace_cfg",
                    default=7.5,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="The cfg of these walks: the one that you draw with.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(COMPUTE_PRECISIONS),
                    default="float32",
                    optional=True,
                    advanced=True,
                    tooltip="bfloat16 takes about half the time for the walks of pace_lambda, and at "
                    "svr_lambda 0 for everything. The differences behind svr_lambda are always "
                    "taken in float32.",
                ),
            ],
            outputs=[
                io.LoraModel.Output(display_name="lora", tooltip="For Save LoRA Weights and for Load LoRA Model."),
                io.LossMap.Output(display_name="loss_map", tooltip="The base loss of every step, for Plot Loss Graph."),
                io.String.Output(
                    display_name="report",
                    tooltip="What changed from the start to the end, and how true the gradient was.",
                ),
                io.Image.Output(
                    display_name="checks",
                    tooltip="The frames of the first walk at each check, side by "
                    "side, one picture per check. Needs a check.",
                ),
                io.String.Output(display_name="record", tooltip="The training in numbers, for Save Smooth-LoRA."),
            ],
        )

    @classmethod
    def execute(cls, model, latents, positive, name, empty_text=None, check=None, **choices) -> io.NodeOutput:
        settings, run = TrainingSettings.of(choices), TrainingRun.of({**choices, "name": name})
        images = training_set(model, latents, positive, empty_text)
        shown = TrainingShown(cls, state_path(run.name).parent, run.name, check)
        with shortage_explained(*TRAINING_OUT_OF_MEMORY):
            trained = train_lora(model, images, settings, run, check=check, watch=shown.watch)
        data = shown.data(len(trained.log), settings.steps, trained.log, trained.checks)
        strips = blocked(NO_CHECK) if trained.strips is None else trained.strips
        return io.NodeOutput(
            trained.lora, trained.loss_map(), trained.report(), strips, trained.record(), ui={"smooth_training": [data]}
        )


NODES = [SmoothLoRATrainer]
