"""Nodes that put a LoRA on a model, and that write a trained one into a file."""

from ...smooth_lora.walks.typed import parse_numbers
from ..host.api import io
from ..host.names import LOADER, SAVER
from ..host.node import Node
from ..host.types import CATEGORY, CATEGORY_TRAINING
from .load import MAX_STRENGTH, load_lora, lora_names, lora_stamp
from .range import LoraStrength
from .write import FILE_PRECISIONS, KEY_STYLES, KOHYA, save_lora


class SmoothLoRALoader(Node):
    """Loads a LoRA in any of the five styles of key names, checks that it fits, and says what matched."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SmoothLoRALoader",
            display_name=LOADER,
            category=CATEGORY,
            description="Puts a Smooth-LoRA (or any other LoRA) on a model and reports what matched. Reads "
            "the key names of old and new diffusers, PEFT, kohya and ComfyUI, some of which the "
            "stock loader silently drops, and refuses a file that does not fit the model. Its "
            "strength can be limited to a part of the sampling.",
            search_aliases=[
                "smooth diffusion",
                "lora",
                "load lora",
                "lora loader",
                "peft",
                "diffusers",
                "scheduled lora",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model to put the LoRA on; it is copied, never changed."),
                io.Combo.Input(
                    "lora_name",
                    options=lora_names(),
                    tooltip="A safetensors file in a loras folder. The published Smooth-LoRA is "
                    "for Stable Diffusion 1.x.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-MAX_STRENGTH,
                    max=MAX_STRENGTH,
                    step=0.01,
                    tooltip="How strongly the LoRA acts: 1 as it was trained, 0 leaves the model "
                    "unchanged, negative values reverse it.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="Where in the sampling the LoRA begins to act: 0 is the first, "
                    "noisiest step. Outside of its range the model is exactly the one "
                    "wired in.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="Where in the sampling the LoRA ceases to act: 1 is the end. From 0 "
                    "to 1 the LoRA is merged into the weights, which is fastest.",
                ),
                io.Boolean.Input(
                    "allow_partial",
                    default=False,
                    tooltip="Use what fits when some of the file's tensors have no place in the "
                    "model, such as those for the text encoder. Off, such a file is "
                    "refused.",
                ),
                io.String.Input(
                    "walked_strength",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Numbers that strength is multiplied by at the keyframes of a walk, such as "
                    "'0, 1': frame by frame between them, in the Walk Sampler or over the batch of "
                    "a stock sampler. Empty: the same strength everywhere.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with the LoRA."),
                io.String.Output(display_name="report", tooltip="What the file is, what matched, and how it acts."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name, **kwargs) -> str | float:
        return lora_stamp(lora_name)

    @classmethod
    def execute(
        cls, model, lora_name, strength=1.0, start_percent=0.0, end_percent=1.0, allow_partial=False, walked_strength=""
    ) -> io.NodeOutput:
        walked = parse_numbers(walked_strength, "walked_strength")
        chosen = LoraStrength(strength, start_percent, end_percent, tuple(walked))
        patched, report = load_lora(model, lora_name, chosen, allow_partial=allow_partial)
        return io.NodeOutput(patched, report)


class SmoothSaveLoRA(Node):
    """Writes a trained LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SmoothSaveLoRA",
            display_name=SAVER,
            category=CATEGORY_TRAINING,
            description="Writes a trained LoRA with the names that other programs look for, and with what it was "
            "trained on and how it did in the checks. Never writes over a file.",
            search_aliases=["smooth diffusion", "save lora", "export lora", "kohya", "diffusers lora"],
            is_output_node=True,
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint that it was trained for, which knows the names."),
                io.LoraModel.Input("lora", tooltip="From Train Smooth-LoRA, or from the stock trainer."),
                io.String.Input(
                    "filename_prefix",
                    default="loras/my_smooth_lora",
                    tooltip="Where in the output folder the file goes. In loras/ the loaders find it after "
                    "a press of R.",
                ),
                io.Combo.Input(
                    "key_style",
                    options=list(KEY_STYLES),
                    default=KOHYA,
                    tooltip="kohya: for ComfyUI, A1111, Forge and diffusers. diffusers attention "
                    "processors: as the published Smooth-LoRA, attention only. ComfyUI: the "
                    "network's own names.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(FILE_PRECISIONS),
                    default="float16",
                    tooltip="float16 is enough to use it, float32 to train it further.",
                ),
                io.String.Input(
                    "record",
                    optional=True,
                    force_input=True,
                    tooltip="From Train Smooth-LoRA: what it was trained on and how it did, kept in the file.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="file", tooltip="Where it was written, from the output folder."),
                io.String.Output(display_name="report", tooltip="What is in the file."),
            ],
        )

    @classmethod
    def execute(cls, model, lora, filename_prefix, key_style, precision, record="") -> io.NodeOutput:
        name, report = save_lora(model, lora, filename_prefix, style=key_style, precision=precision, record=record)
        return io.NodeOutput(name, report)


NODES = [SmoothLoRALoader, SmoothSaveLoRA]
