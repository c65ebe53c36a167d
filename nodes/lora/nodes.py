"""The node that puts a Smooth-LoRA on a model."""

from ...smooth_lora.walks.typed import parse_numbers
from ..host.api import io
from ..host.node import Node
from ..host.types import CATEGORY
from .load import MAX_STRENGTH, load_lora, lora_names, lora_stamp


class SmoothLoRALoader(Node):
    """Loads a LoRA in any of the five styles of key names, checks that it fits, and says what matched."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="SmoothLoRALoader",
            display_name="Smooth-LoRA Loader",
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
        patched, report = load_lora(
            model,
            lora_name=lora_name,
            strength=strength,
            start_percent=start_percent,
            end_percent=end_percent,
            allow_partial=allow_partial,
            walked=parse_numbers(walked_strength, "walked_strength"),
        )
        return io.NodeOutput(patched, report)


NODES = [SmoothLoRALoader]
