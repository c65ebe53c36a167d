"""What a Smooth-LoRA has become so far, seen on texts and pictures that it is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import comfy.sd
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...smooth_lora.drawing.strip import load_strip, save_strip, strip_of
from ...smooth_lora.files.content_key import content_key
from ...smooth_lora.scores.benchmark_report import summarise
from ...smooth_lora.scores.rows import Journal, Row
from ..scores.benchmark import Benchmark, Setting
from .pictures import WHO as TRAINER
from .pictures import TrainingSet, training_set

WHO = "Training Check"
WALKS_ENDING, STRIP = ".checks.jsonl", ".check_{check}_{step:08d}.png"
MODEL = "the Smooth-LoRA"  # what the journal's rows are of


@dataclass(frozen=True)
class TrainingCheck:
    """The wire SMOOTH_TRAINING_CHECK: walks to render, and pictures for the base loss.

    clip, vae, prompts, seed, setting: as of the benchmark node; pictures: not trained on, None leaves the loss out
    """

    clip: object
    vae: object
    prompts: tuple[str, ...]
    seed: int
    setting: Setting
    pictures: TrainingSet | None = None

    @cached_property
    def key(self) -> str:
        """Changes with everything that its numbers depend on beside the model and the VAE."""
        return content_key(
            prompts=list(self.prompts),
            seed=self.seed,
            setting=asdict(self.setting),
            pictures=None if self.pictures is None else self.pictures.key(),
        )

    def strip_path(self, folder: Path, name: str, step: int) -> Path:
        return folder / (name + STRIP.format(check=self.key[:8], step=int(step)))

    def walks(self, model: ModelPatcher, folder: Path, name: str, step: int) -> tuple[float, float, float]:
        """Mean ISTD, cv and step length of the walks, rendered through the host as a user would; the frames of the
        first one are kept as a picture beside the training.

        raises: what rendering raises, the host's interrupt included; walks finished before that are kept
        """
        plan = Benchmark({MODEL: model}, self.clip, self.vae, self.prompts, self.seed, self.setting)

        def keep_first(_: str, walk: int, frames: Tensor, __: Row) -> None:
            if walk == 0:
                save_strip(strip_of(frames), self.strip_path(folder, name, step))

        rows = plan.run(Journal(folder / (name + WALKS_ENDING)), keep_first)[MODEL]
        means = summarise(rows)
        return tuple(means[measure].mean for measure in ("istd", "cv", "mean_distance"))

    def strips(self, folder: Path, name: str, steps: Sequence[int]) -> Tensor:
        """[checks, H, W, 3] the pictures of those checks; one whose file is gone is black."""
        found = [load_strip(self.strip_path(folder, name, step)) for step in steps]
        known = next((strip for strip in found if strip is not None), torch.zeros(1, 64, 64, 3))
        return torch.cat([torch.zeros_like(known) if strip is None else strip for strip in found])


def held_out_set(latents: Sequence[dict], texts: Sequence[list], model: ModelPatcher | None) -> TrainingSet | None:
    """Pictures that are not trained on; None if there are none.

    raises: ValueError as `training_set`, or without a model
    """
    if not latents:
        return None
    if model is None:
        raise ValueError(f"{WHO}: latents are wired, but no model; wire the checkpoint as well")
    try:
        return training_set(model, latents, texts, None)
    except ValueError as error:
        raise ValueError(str(error).replace(TRAINER, WHO, 1)) from error


def with_lora(model: ModelPatcher, lora: dict[str, Tensor]) -> ModelPatcher:
    """A copy of the model with the host's own patches for it."""
    return comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0]
