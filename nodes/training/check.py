"""Checks of a Smooth-LoRA on prompts and images that it is not trained on."""

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
from ...smooth_lora.scores.rows import Journal, Row, WalkSetting
from ..host.names import TRAINING_CHECK_NODE
from ..host.protocols import Clip, Conditioning, Latent, Vae
from ..scores.benchmark import Benchmark
from .images import TrainingSet, training_set

JOURNAL_ENDING, STRIP_ENDING = ".checks.jsonl", ".check_{check}_{step:08d}.png"
CHECKED_MODEL = "the Smooth-LoRA"  # the name of the model in the journal's rows


@dataclass(frozen=True)
class TrainingCheck:
    """The wire SMOOTH_TRAINING_CHECK: walks to render, and images for the base loss.

    clip, vae, prompts, seed, setting: as in the benchmark node; held_out: not trained on, None leaves the loss out
    """

    clip: Clip
    vae: Vae
    prompts: tuple[str, ...]
    seed: int
    setting: WalkSetting
    held_out: TrainingSet | None = None

    @cached_property
    def key(self) -> str:
        """Digest of everything that its numbers depend on, but for the model and the VAE."""
        return content_key(
            prompts=list(self.prompts),
            seed=self.seed,
            setting=asdict(self.setting),
            pictures=None if self.held_out is None else self.held_out.key(TRAINING_CHECK_NODE),
        )

    def strip_path(self, folder: Path, name: str, step: int) -> Path:
        """Path of the frame strip of the check at a step of a training."""
        return folder / (name + STRIP_ENDING.format(check=self.key[:8], step=step))

    def scores(self, model: ModelPatcher, folder: Path, name: str, step: int) -> tuple[float, float, float]:
        """Mean ISTD, cv and step length of the walks, rendered through the host as a user would.

        The frames of the first walk are kept as a strip next to the training's file.
        raises: what rendering raises, the host's interrupt included; walks finished before that are kept
        """
        plan = Benchmark({CHECKED_MODEL: model}, self.clip, self.vae, self.prompts, self.seed, self.setting)

        def keep_first(_: str, walk: int, frames: Tensor, __: Row) -> None:
            if walk == 0:
                save_strip(strip_of(frames), self.strip_path(folder, name, step))

        rows = plan.run(Journal(folder / (name + JOURNAL_ENDING)), keep_first)[CHECKED_MODEL]
        means = summarise(rows)
        return means["istd"].mean, means["cv"].mean, means["mean_distance"].mean

    def strips(self, folder: Path, name: str, steps: Sequence[int]) -> Tensor:
        """Returns the strips [checks, H, W, 3] of the checks at these steps; one whose file is gone is black."""
        strips = [load_strip(self.strip_path(folder, name, step)) for step in steps]
        present = next((strip for strip in strips if strip is not None), torch.zeros(1, 64, 64, 3))
        return torch.cat([torch.zeros_like(present) if strip is None else strip for strip in strips])


def held_out_set(
    latents: Sequence[Latent], texts: Sequence[Conditioning], model: ModelPatcher | None
) -> TrainingSet | None:
    """Sorts the images that are not trained on; None if there are none.

    raises: ValueError as `training_set`, or without a model
    """
    if not latents:
        return None
    if model is None:
        raise ValueError(f"{TRAINING_CHECK_NODE}: latents are wired, but no model; wire the checkpoint as well")
    return training_set(model, latents, texts, None, who=TRAINING_CHECK_NODE)


def with_lora(model: ModelPatcher, lora: dict[str, Tensor]) -> ModelPatcher:
    """Returns a copy of the model with the host's own patches for a LoRA."""
    return comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)[0]
